"""Sample sets and text files are written atomically: complete or absent, and never lost."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import run_python
from support.sample_sets import SetWriter, table, write_set

from gate.common.files import write_text
from gate.errors import EvaluationError, SampleError
from gate.store import Store, open_set


def paths_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_set_is_data_files_and_a_manifest_and_nothing_else_remains(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    write_set(tmp_path / "set")
    files = {"set/manifest.json", "set/shard-00000.parquet", "set/shard-00001.parquet"}
    assert paths_under(tmp_path) == {"set", *files}
    for data_file in open_set(tmp_path / "set").manifest.data_files:
        content = (tmp_path / "set" / data_file.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == data_file.sha256
        assert pq.read_table(pa.BufferReader(content)).num_rows == data_file.rows


def test_a_set_is_readable_by_other_users(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o755


def test_a_new_set_replaces_the_older_one(tmp_path: Path) -> None:
    write_set(tmp_path / "set", score=1.0)
    write_set(tmp_path / "set", score=0.0)
    assert set(open_set(tmp_path / "set").read().table.column("score").to_pylist()) == {0.0}


def test_a_damaged_set_can_be_replaced(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").unlink()
    write_set(tmp_path / "set", score=0.0)
    assert open_set(tmp_path / "set").read().table.num_rows == 7


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_while_writing_leaves_the_older_set_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    write_set(tmp_path / "set")
    before = paths_under(tmp_path)
    with pytest.raises(error), SetWriter(tmp_path / "set") as writer:
        writer.add(table(range(2)))
        raise error
    assert paths_under(tmp_path) == before
    assert open_set(tmp_path / "set").read().table.num_rows == 7


def test_an_error_while_the_set_is_put_in_place_restores_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "set")
    before = paths_under(tmp_path)
    rename = Path.rename

    def fail_for_the_new_set(self: Path, target: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_set)
    with pytest.raises(EvaluationError, match="no space left"):
        write_set(tmp_path / "set", score=0.0)
    assert paths_under(tmp_path) == before
    assert set(open_set(tmp_path / "set").read().table.column("score").to_pylist()) == {1.0}


def test_a_writer_that_does_not_finish_leaves_nothing(tmp_path: Path) -> None:
    with SetWriter(tmp_path / "set") as writer:
        writer.add(table(range(2)))
    assert paths_under(tmp_path) == set()


@pytest.mark.parametrize("kind", ["folder", "file", "set with a stranger"])
def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "facts"
    if kind == "file":
        folder.write_text("mine")
    elif kind == "folder":
        folder.mkdir()
        (folder / "thesis.tex").write_text("mine")
    else:
        write_set(folder)
        (folder / "thesis.tex").write_text("mine")
    before = paths_under(tmp_path)
    with pytest.raises(SampleError, match="is not a sample set") as caught:
        write_set(folder, score=0.0)
    assert str(folder) in str(caught.value)
    assert paths_under(tmp_path) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "facts").mkdir()
    write_set(tmp_path / "facts")
    assert open_set(tmp_path / "facts").manifest.rows == 7


def test_an_unwritable_path_is_an_evaluation_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (
        lambda folder: write_set(folder),
        lambda path: write_text(path, "text"),
        lambda folder: Store(folder).prepare(),
    ):
        with pytest.raises(EvaluationError, match="file/here/set cannot be written: Not a directory"):
            write(tmp_path / "file" / "here" / "set")


def test_text_is_written_atomically(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.md"
    write_text(path, "old")
    write_text(path, "new \udcff")  # models can generate lone surrogates
    assert path.read_text() == "new ?"
    assert paths_under(tmp_path) == {"deep", "deep/report.md"}


_UNDER_A_LIMIT = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.sample_sets import write_set
from gate.errors import GateError
from gate.common.files import write_text
folder = Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # Python ignores SIGXFSZ
for write in (lambda: write_set(folder / "set", score=0.0), lambda: write_text(folder / "result.json", "x" * 5000)):
    try:
        write()
    except GateError as error:
        print(int(error.exit_code), error)
"""


def test_a_full_disk_keeps_the_older_files_and_is_reported(tmp_path: Path) -> None:
    """A limit on the process's file size simulates the full disk."""
    write_set(tmp_path / "set")
    write_text(tmp_path / "result.json", "older result")
    before = paths_under(tmp_path)
    code, out, err = run_python(_UNDER_A_LIMIT, Path(__file__).parents[1], tmp_path)
    assert code == 0, err
    assert out.count("no space left") == 2, out + err
    assert [line[0] for line in out.splitlines() if "cannot be written" in line] == ["4", "4"]
    assert str(tmp_path / "result.json") in out
    assert paths_under(tmp_path) == before
    assert set(open_set(tmp_path / "set").read().table.column("score").to_pylist()) == {1.0}
    assert (tmp_path / "result.json").read_text() == "older result"
