"""Work that somebody else left in the workspace: planted rows, planted sets and symbolic links decide nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.evaluations import Attempt, Opened, choice_task, content, evaluate, partial_folder

from gate.evaluation.evaluate import TaskEvaluation
from gate.store import open_set
from gate.store.trust import KEY

pytestmark = pytest.mark.usefixtures("small_data_files")

START = "2020-01-01T00:00:00.000+00:00"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of this user is created in an empty cache folder."""
    monkeypatch.setenv("GATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(KEY, raising=False)


def forge_rows(file: Path) -> str:
    """Make every row of a data file right, and return the new hash."""
    table = pq.read_table(file)
    index = table.schema.get_field_index("score")
    pq.write_table(table.set_column(index, table.schema.field(index), pa.array([1.0] * len(table))), file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def forge_journal(folder: Path) -> None:
    path = partial_folder(folder) / "journal.json"
    journal = json.loads(path.read_text())
    for finished in journal["finished"].values():
        finished["shard"]["sha256"] = forge_rows(path.parent / finished["shard"]["file"])
    path.write_text(json.dumps(journal))


@pytest.mark.parametrize("role", ["baseline", "candidate"])
def test_planted_unfinished_rows_are_evaluated_again(
    tmp_path: Path, tiny: Opened, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if role == "baseline":  # an unsigned baseline is only refused where a key makes signatures the rule
        monkeypatch.setenv(KEY, "k" * 32)
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "whole", role=role)
    Attempt(task, tiny, tmp_path / "set", 9, role=role)
    forge_journal(tmp_path / "set")
    second = Attempt(task, tiny, tmp_path / "set", role=role)
    assert second.resumed == 0
    assert any("is not signed with this machine's key" in line for line in second.messages)
    assert open_set(tmp_path / "set").read().table.equals(open_set(tmp_path / "whole").read().table)


def test_unfinished_rows_of_another_machine_need_the_shared_key(
    tmp_path: Path, tiny: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = choice_task(tmp_path)
    for key, resumed in (("", 0), ("k" * 32, 8)):
        monkeypatch.setenv(KEY, key)
        Attempt(task, tiny, tmp_path / "set", 9)
        monkeypatch.setenv("GATE_CACHE", str(tmp_path / f"other-{resumed}"))
        assert Attempt(task, tiny, tmp_path / "set").resumed == resumed


def test_planted_complete_candidate_is_evaluated_again(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    folder = tmp_path / "set"
    evaluate(task, tiny, folder)
    genuine = content(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["shards"]:
        file["sha256"] = forge_rows(folder / file["file"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    messages: list[str] = []
    TaskEvaluation(task, *tiny, folder, message=messages.append, since=START).run(lambda _: None)
    assert not any("already complete" in line for line in messages)
    assert content(folder) == genuine


def test_complete_candidate_of_this_machine_is_reused(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    evaluate(task, tiny, tmp_path / "set")
    messages: list[str] = []
    TaskEvaluation(task, *tiny, tmp_path / "set", message=messages.append, since=START).run(lambda _: None)
    assert messages == ["set: already complete, from the interrupted run"]


def test_key_that_others_can_read_is_replaced(tmp_path: Path, tiny: Opened) -> None:
    """Git makes no file private, so a key from a checkout is readable by others."""
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "set", 9)
    key = tmp_path / "cache" / "quantgate" / "work.key"
    assert key.stat().st_mode & 0o077 == 0
    key.chmod(0o644)
    assert Attempt(task, tiny, tmp_path / "set").resumed == 0


def test_symbolic_links_are_replaced_and_their_targets_untouched(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    Attempt(task, tiny, tmp_path / "whole")
    Attempt(task, tiny, tmp_path / "set", 9)
    partial = partial_folder(tmp_path / "set")
    for file in partial.iterdir():
        file.unlink()
    partial.rmdir()
    partial.symlink_to(victim)
    (tmp_path / ".set.old").symlink_to(victim)
    (tmp_path / ".set.lock").unlink()
    (tmp_path / ".set.lock").symlink_to(victim / "precious")
    (tmp_path / ".set.holder").symlink_to(victim / "precious")
    evaluate(task, tiny, tmp_path / "set")
    assert content(tmp_path / "set") == content(tmp_path / "whole")
    assert [file.name for file in victim.iterdir()] == ["precious"]
    assert (victim / "precious").read_text() == "precious"


def test_linked_set_folder_does_not_block_later_writes(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    evaluate(task, tiny, tmp_path / "elsewhere")
    before = content(tmp_path / "elsewhere")
    (tmp_path / "set").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        evaluate(task, tiny, tmp_path / "set")
        assert not (tmp_path / "set").is_symlink()
    assert content(tmp_path / "elsewhere") == before
