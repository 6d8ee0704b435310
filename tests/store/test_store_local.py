"""Sample sets on disk: complete or absent, and never lost."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sample_sets import MODEL, manifest, table, write_set

from gate.errors import EvaluationError, SampleError
from gate.files import write_text
from gate.samples import SAMPLE_SCHEMA
from gate.store import Store, as_samples, open_set, read_sets
from gate.store.writer import SetWriter


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path) -> str:
    """The error of opening and reading the set in `folder`."""
    with pytest.raises(SampleError) as caught:
        open_set(folder).read()
    assert caught.value.hint
    return str(caught.value)


def everything_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    samples = open_set(tmp_path / "set").read()
    assert samples.table.equals(table(range(7)))
    assert samples.table.schema == SAMPLE_SCHEMA
    assert (samples.task, samples.metric, samples.facets) == ("facts", "acc", {"prompt": "Q"})


def test_a_set_is_its_data_files_and_its_manifest_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    write_set(tmp_path / "set")
    files = {"set/manifest.json", "set/shard-00000.parquet", "set/shard-00001.parquet"}
    assert everything_under(tmp_path) == {"set", *files}
    for data_file in open_set(tmp_path / "set").manifest.data_files:
        content = (tmp_path / "set" / data_file.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == data_file.sha256
        assert pq.read_table(pa.BufferReader(content)).num_rows == data_file.rows


def test_a_set_can_be_read_by_others_than_its_writer(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("place", [0, 100, -1])
def test_one_altered_byte_is_refused(tmp_path: Path, place: int) -> None:
    write_set(tmp_path / "set")
    data_file = tmp_path / "set" / "shard-00001.parquet"
    content = bytearray(data_file.read_bytes())
    content[place] ^= 1
    data_file.write_bytes(content)
    message = refused(tmp_path / "set")
    assert str(data_file) in message
    assert "altered or truncated" in message


@pytest.mark.parametrize("kept", [0, 1, 500])
def test_a_data_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    write_set(tmp_path / "set")
    data_file = tmp_path / "set" / "shard-00000.parquet"
    assert len(data_file.read_bytes()) > kept
    data_file.write_bytes(data_file.read_bytes()[:kept])
    assert str(data_file) in refused(tmp_path / "set")


def test_a_missing_data_file_is_refused_when_the_set_is_opened(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "shard-00001.parquet").unlink()
    with pytest.raises(SampleError, match=r"set is incomplete: shard-00001\.parquet is missing"):
        open_set(tmp_path / "set")


def test_a_data_file_that_vanishes_after_opening_is_refused(tmp_path: Path) -> None:
    opened = write_set(tmp_path / "set")
    (tmp_path / "set" / "shard-00000.parquet").unlink()
    with pytest.raises(SampleError, match=r"shard-00000\.parquet cannot be read"):
        opened.read()


def test_a_folder_without_manifest_is_no_set(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").unlink()
    message = refused(tmp_path / "set")
    assert str(tmp_path / "set") in message
    assert "no manifest.json" in message
    assert Store(tmp_path).find(tmp_path / "set", "f" * 64, "a" * 64) is None


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_set_of_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    write_set(tmp_path / "set")
    change_manifest(tmp_path / "set", schema_version=version)
    message = refused(tmp_path / "set")
    assert str(tmp_path / "set") in message
    assert f"schema version {version}" in message
    assert "reads version 1" in message


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_store_of_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    (tmp_path / "store.json").write_text(json.dumps({"schema_version": version}))
    with pytest.raises(
        SampleError, match=f"schema version {version}; this quantgate reads version 1"
    ) as caught:
        Store(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", "\udcff"])
def test_an_unreadable_store_marker_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "store.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SampleError, match=r"store\.json is not readable"):
        Store(tmp_path)


def test_rows_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    change_manifest(tmp_path / "set", rows=8)
    message = refused(tmp_path / "set")
    assert str(tmp_path / "set" / "manifest.json") in message
    assert "is inconsistent: its data files have 7 rows, its total is 8" in message


def test_a_data_file_with_other_rows_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    """Both numbers of rows were changed, so the manifest adds up, and the hashes hold."""
    write_set(tmp_path / "set")
    data_files = json.loads((tmp_path / "set" / "manifest.json").read_text())["shards"]
    data_files[0]["rows"] += 1
    change_manifest(tmp_path / "set", shards=data_files, rows=8)
    message = refused(tmp_path / "set")
    assert "shard-00000.parquet" in message
    assert "has 4 rows; its manifest says 5" in message


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"not Parquet", "is not a Parquet file"), (None, "does not have the columns")]
)
def test_a_data_file_of_other_content_with_a_matching_hash_is_refused(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    write_set(tmp_path / "set")
    data_file = tmp_path / "set" / "shard-00000.parquet"
    if content is None:
        pq.write_table(pa.table({"task": ["facts"] * 4}), data_file)
    else:
        data_file.write_bytes(content)
    data_files = json.loads((tmp_path / "set" / "manifest.json").read_text())["shards"]
    data_files[0]["sha256"] = hashlib.sha256(data_file.read_bytes()).hexdigest()
    change_manifest(tmp_path / "set", shards=data_files)
    assert complaint in refused(tmp_path / "set")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"schema_version": 1}', b'{"schema_version": 1, "task": 3}', b"\xff"],
)
def test_a_broken_manifest_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").write_bytes(content)
    assert str(tmp_path / "set" / "manifest.json") in refused(tmp_path / "set")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "shard-0.parquet", "shard-00000.parquet/.."]
)
def test_a_manifest_cannot_point_out_of_its_folder(tmp_path: Path, name: str) -> None:
    write_set(tmp_path / "set")
    data_files = json.loads((tmp_path / "set" / "manifest.json").read_text())["shards"]
    data_files[0]["file"] = name
    change_manifest(tmp_path / "set", shards=data_files)
    assert "shards.0.file" in refused(tmp_path / "set")


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
    before = everything_under(tmp_path)
    with pytest.raises(error), SetWriter(tmp_path / "set") as writer:
        writer.add(table(range(2)))
        raise error
    assert everything_under(tmp_path) == before
    assert open_set(tmp_path / "set").read().table.num_rows == 7


def test_an_error_while_the_set_is_put_in_its_place_restores_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "set")
    before = everything_under(tmp_path)
    rename = Path.rename

    def fail_for_the_new_set(self: Path, target: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_set)
    with pytest.raises(EvaluationError, match="no space left"):
        write_set(tmp_path / "set", score=0.0)
    assert everything_under(tmp_path) == before
    assert set(open_set(tmp_path / "set").read().table.column("score").to_pylist()) == {1.0}


def test_a_writer_that_is_left_before_it_has_finished_leaves_nothing(tmp_path: Path) -> None:
    with SetWriter(tmp_path / "set") as writer:
        writer.add(table(range(2)))
    assert everything_under(tmp_path) == set()


@pytest.mark.parametrize("kind", ["folder", "file", "set with a stranger"])
def test_a_folder_that_holds_other_things_is_never_replaced(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "facts"
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
        (place / "thesis.tex").write_text("mine")
    else:
        write_set(place)
        (place / "thesis.tex").write_text("mine")
    before = everything_under(tmp_path)
    with pytest.raises(SampleError, match="is not a sample set") as caught:
        write_set(place, score=0.0)
    assert str(place) in str(caught.value)
    assert everything_under(tmp_path) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "facts").mkdir()
    write_set(tmp_path / "facts")
    assert open_set(tmp_path / "facts").manifest.rows == 7


def test_a_place_that_cannot_be_written_is_an_evaluation_error_naming_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (
        lambda folder: write_set(folder),
        lambda path: write_text(path, "text"),
        lambda folder: Store(folder).prepare(),
    ):
        with pytest.raises(EvaluationError, match="file/here/set cannot be written: Not a directory"):
            write(tmp_path / "file" / "here" / "set")


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.md"
    write_text(path, "old")
    write_text(path, "new \udcff")  # a lone surrogate, as in text of a model, is no reason to fail
    assert path.read_text() == "new ?"
    assert everything_under(tmp_path) == {"deep", "deep/report.md"}


_UNDER_A_LIMIT = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.sample_sets import write_set
from gate.errors import GateError
from gate.files import write_text
folder = Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # Python ignores SIGXFSZ
for write in (lambda: write_set(folder / "set", score=0.0), lambda: write_text(folder / "result.json", "x" * 5000)):
    try:
        write()
    except GateError as error:
        print(int(error.exit_code), error)
"""


def test_a_full_disk_leaves_what_was_stored_and_says_so(tmp_path: Path) -> None:
    """The file-size limit of the process stands for the full disk."""
    write_set(tmp_path / "set")
    write_text(tmp_path / "result.json", "older result")
    before = everything_under(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_A_LIMIT, str(Path(__file__).parents[1]), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.count("no space left") == 2, done.stdout + done.stderr
    assert [line[0] for line in done.stdout.splitlines() if "cannot be written" in line] == ["4", "4"]
    assert str(tmp_path / "result.json") in done.stdout
    assert everything_under(tmp_path) == before
    assert set(open_set(tmp_path / "set").read().table.column("score").to_pylist()) == {1.0}
    assert (tmp_path / "result.json").read_text() == "older result"


def test_a_folder_of_sets_is_one_model(tmp_path: Path) -> None:
    write_set(tmp_path / "one" / "facts")
    write_set(tmp_path / "one" / "more", task="more", score=0.0)
    samples = read_sets(tmp_path / "one")
    assert samples is not None
    assert samples.label == "org/model"
    assert {name: one.table.num_rows for name, one in samples.tasks.items()} == {"facts": 7, "more": 7}
    sets = samples.about["sets"]
    assert isinstance(sets, dict)
    assert sets["more"]["created"] == "2026-01-01T00:00:00+00:00"
    assert json.loads(json.dumps(samples.about)) == samples.about


def test_a_single_set_is_a_side_whatever_its_folder_is_called(tmp_path: Path) -> None:
    for name in ("set", "set.old", "set.tmp"):
        write_set(tmp_path / name)
        samples = read_sets(tmp_path / name)
        assert samples is not None
        assert list(samples.tasks) == ["facts"]


def test_a_folder_without_sets_is_none(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert read_sets(tmp_path) is None


def test_what_a_killed_run_left_is_not_read(tmp_path: Path) -> None:
    write_set(tmp_path / "facts")
    shutil.copytree(tmp_path / "facts", tmp_path / ".facts.x1y2.old")
    shutil.copytree(tmp_path / "facts", tmp_path / ".facts.x1y2.tmp")
    samples = read_sets(tmp_path)
    assert samples is not None
    assert list(samples.tasks) == ["facts"]


def test_a_folder_that_holds_a_task_twice_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "a")
    write_set(tmp_path / "b")
    with pytest.raises(SampleError, match="holds task facts twice: a and b"):
        read_sets(tmp_path)


def test_a_folder_of_two_models_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "a")
    other = MODEL.model_copy(update={"fingerprint": "e" * 64, "name": "other"})
    write_set(tmp_path / "b", task="more", model=other)
    with pytest.raises(SampleError, match="sets of 2 models: org/model, other"):
        read_sets(tmp_path)


def test_a_set_without_rows_reads_as_an_empty_table(tmp_path: Path) -> None:
    with SetWriter(tmp_path / "set") as writer:
        done = writer.finish(manifest(writer))
    assert as_samples([done]).tasks["facts"].table.equals(SAMPLE_SCHEMA.empty_table())


def test_the_store_marks_its_schema_version_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    marker = tmp_path / "store" / "store.json"
    assert json.loads(marker.read_text()) == {"schema_version": 1}
    stamp = marker.stat().st_mtime_ns
    Store(tmp_path / "store").prepare()
    assert marker.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "model", ["org/model", "../../../etc", "..", "/abs/path", "a\nb c", "模型", "x" * 300]
)
def test_a_set_has_its_place_inside_the_store_whatever_the_model_is_called(
    tmp_path: Path, model: str
) -> None:
    store = Store(tmp_path)
    place = store.folder("baseline", model, "f" * 64, "facts", "a" * 64)
    assert place.resolve().is_relative_to(tmp_path.resolve())
    assert place.relative_to(tmp_path).parts[0] == "baseline"
    assert len(place.relative_to(tmp_path).parts) == 3
    assert len(place.parent.name) < 100


def test_models_tasks_and_roles_never_share_a_place(tmp_path: Path) -> None:
    store = Store(tmp_path)
    places = {
        store.folder(role, "m", fingerprint, task, task_fingerprint)
        for role in ("baseline", "candidate")
        for fingerprint in ("a" * 64, "b" * 64)
        for task in ("t", "u")
        for task_fingerprint in ("a" * 64, "b" * 64)
    }
    assert len(places) == 16


def test_the_store_finds_a_whole_set_and_refuses_a_damaged_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find(tmp_path / "set", "f" * 64, "a" * 64) is None
    write_set(tmp_path / "set")
    found = store.find(tmp_path / "set", "f" * 64, "a" * 64)
    assert found is not None
    assert found.manifest.rows == 7
    (tmp_path / "set" / "shard-00000.parquet").unlink()
    with pytest.raises(SampleError, match="incomplete"):
        store.find(tmp_path / "set", "f" * 64, "a" * 64)


def test_a_set_of_another_model_or_task_is_not_found_under_a_name_that_looks_alike(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_set(tmp_path / "set")
    for model, task in (("f" * 63 + "0", "a" * 64), ("f" * 64, "a" * 63 + "0")):
        with pytest.raises(SampleError, match="another model or task"):
            store.find(tmp_path / "set", model, task)
