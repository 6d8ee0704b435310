"""An interrupted evaluation resumes: nothing is lost, repeated or mixed."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import run_python
from support.evaluations import (
    Attempt,
    Opened,
    StopError,
    choice_task,
    content,
    evaluate,
    names,
    opened,
    partial_folder,
    text_task,
)

from gate.errors import EvaluationError, SampleError
from gate.evaluation import plan
from gate.evaluation.evaluate import Steps, TaskEvaluation
from gate.store import SampleSet, open_set
from gate.tasks import Sampling

pytestmark = pytest.mark.usefixtures("small_data_files")


@pytest.mark.parametrize("stop_at", [0, 3, 4, 9, 23])
def test_an_interrupted_evaluation_resumes_and_gives_the_same_bytes(tmp_path: Path, tiny: Opened, stop_at: int) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "whole")
    first = Attempt(task, tiny, tmp_path / "set", stop_at)
    assert isinstance(first.error, StopError)
    assert not (tmp_path / "set").exists()
    second = Attempt(task, tiny, tmp_path / "set")
    assert second.resumed == stop_at // 4 * 4
    assert sum(second.steps) == 24
    assert content(tmp_path / "set") == content(tmp_path / "whole")
    assert names(tmp_path) == {"items.jsonl", "set", "whole"}
    assert (second.messages == []) == (second.resumed == 0)


def test_an_evaluation_resumes_after_several_interruptions(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "whole")
    for stop_at in (5, 5, 9, 14, 14, 22):
        Attempt(task, tiny, tmp_path / "set", stop_at)
    last = Attempt(task, tiny, tmp_path / "set")
    assert last.resumed == 20
    assert any("resuming with 20 of 24 items done" in line for line in last.messages)
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_the_time_is_the_sum_over_all_runs(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "set", 13)
    journal = json.loads((partial_folder(tmp_path / "set") / "journal.json").read_text())
    before = sum(one["seconds"] for one in journal["finished"].values())
    sample_set = Attempt(task, tiny, tmp_path / "set").sample_set
    assert sample_set is not None
    timings = sample_set.manifest.timings
    assert 0 < before < timings.seconds
    assert timings.items_per_second == pytest.approx(24 / timings.seconds)
    rows = sample_set.read().table
    assert timings.tokens_in == sum(rows["tokens_in"].to_pylist())
    assert timings.tokens_out == sum(rows["tokens_out"].to_pylist())


def test_an_error_says_what_is_kept_and_how_to_resume(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    stopped = Attempt(task, tiny, tmp_path / "set", 9, error=EvaluationError)
    assert "8 of 24 items are kept; run the same command to resume" in str(stopped.error)
    assert "task animals" in str(stopped.error)
    interrupted = Attempt(task, tiny, tmp_path / "set", 17, error=KeyboardInterrupt)
    assert interrupted.messages[-1] == "set: 16 of 24 items are kept; run the same command to resume."


def test_the_older_set_stays_until_the_new_one_is_complete(
    tmp_path: Path, tiny: Opened, other_tiny_model: Path
) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "set")
    before = content(tmp_path / "set")
    Attempt(task, opened(other_tiny_model), tmp_path / "set", 10)
    assert content(tmp_path / "set") == before
    Attempt(task, opened(other_tiny_model), tmp_path / "set")
    assert content(tmp_path / "set") != before
    assert names(tmp_path) == {"items.jsonl", "set"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_data_file_is_evaluated_again(tmp_path: Path, tiny: Opened, damage: Callable[[Path], object]) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "whole")
    Attempt(task, tiny, tmp_path / "set", 17)
    damage(partial_folder(tmp_path / "set") / "shard-00001.parquet")
    second = Attempt(task, tiny, tmp_path / "set")
    assert second.resumed == 12
    assert any("1 damaged data file(s) of the interrupted run are evaluated again" in line for line in second.messages)
    assert content(tmp_path / "set") == content(tmp_path / "whole")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"started": 1}', "null", "\x00\x00"])
def test_a_damaged_journal_starts_over_with_a_message(tmp_path: Path, tiny: Opened, text: str) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "whole")
    Attempt(task, tiny, tmp_path / "set", 17)
    (partial_folder(tmp_path / "set") / "journal.json").write_text(text)
    second = Attempt(task, tiny, tmp_path / "set")
    assert second.resumed == 0
    assert any("progress file, journal.json, is damaged" in line for line in second.messages)
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_a_data_file_that_is_not_in_the_journal_is_ignored(tmp_path: Path, tiny: Opened) -> None:
    """A kill between writing the data file and the journal leaves a file that may be incomplete."""
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "whole")
    Attempt(task, tiny, tmp_path / "set", 9)
    (partial_folder(tmp_path / "set") / "shard-00002.parquet").write_bytes(b"PAR1 half")
    (partial_folder(tmp_path / "set") / "journal.json.tmp").write_bytes(b"{")
    assert Attempt(task, tiny, tmp_path / "set").resumed == 8
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def shown(steps: Steps) -> tuple[list[str], SampleSet]:
    """Run an evaluation; return the item ids it yields, and its set."""
    ids: list[str] = []
    while True:
        try:
            ids += next(steps)["item_id"].to_pylist()
        except StopIteration as done:
            return ids, done.value


def test_rows_are_yielded_in_order_whether_new_or_resumed(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "set", 13)
    ids, _ = shown(TaskEvaluation(task, *tiny, tmp_path / "set").steps(lambda _: None))
    assert ids == [item.item_id for item in task.items]


def test_an_evaluation_ended_early_records_it_and_the_next_one_is_complete(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "whole")
    Attempt(task, tiny, tmp_path / "set", 21)  # gets further than where the next one stops
    steps = TaskEvaluation(task, *tiny, tmp_path / "set").steps(lambda _: None)
    next(steps)
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(True)
    stopped = open_set(tmp_path / "set")
    assert (stopped.manifest.items, stopped.manifest.stopped_of) == (8, 24)
    assert stopped.read().table.num_rows == 8
    assert len(list((tmp_path / "set").iterdir())) == 4  # manifest, its signature, two data files
    assert Attempt(task, tiny, tmp_path / "set").resumed == 0
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_closing_an_evaluation_keeps_its_data_files_and_releases_the_lock(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    steps = TaskEvaluation(task, *tiny, tmp_path / "set").steps(lambda _: None)
    next(steps)
    steps.close()
    assert Attempt(task, tiny, tmp_path / "set").resumed == 4


def test_long_generations_have_smaller_data_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "ITEMS_PER_DATA_FILE", 512)
    task = choice_task(tmp_path)
    assert plan.items_per_data_file(task) == 512
    for tokens, repeats, items in ((64, 1, 512), (256, 1, 512), (512, 1, 256), (4096, 1, 128), (64, 8, 256)):
        long = text_task(tmp_path, max_tokens=tokens)
        long = dataclasses.replace(long, sampling=Sampling(repeats=repeats, temperature=1.0))
        assert plan.items_per_data_file(long) == items


_KILLED_AT = """
import os, signal, sys
from pathlib import Path
import gate.store.writer as writer
rename = Path.rename
moves = []
def move(self, target):
    moves.append(target)
    if len(moves) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = move
if len(sys.argv) > 3:  # after the last rename
    writer._sync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
sys.path.insert(0, str(Path(sys.argv[1]) / "here"))
writer.put_in_place(Path(sys.argv[1]) / ".set.partial-x", Path(sys.argv[1]) / "set")
"""


@pytest.mark.parametrize("moment", [["1"], ["2"], ["9", "after"]])
def test_a_kill_while_the_set_is_put_in_place_leaves_the_older_or_the_newer_set(
    tmp_path: Path, tiny: Opened, moment: list[str]
) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "set")
    whole = content(tmp_path / "set")
    # the same evaluation again, complete in its partial folder
    Attempt(task, tiny, tmp_path / "set", 23)
    (tmp_path / "set").rename(tmp_path / "older")
    Attempt(task, tiny, tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / ".set.partial-x")
    (tmp_path / "older").rename(tmp_path / "set")
    assert run_python(_KILLED_AT, tmp_path, *moment).code == -signal.SIGKILL
    Attempt(task, tiny, tmp_path / "set", 0)  # the next writer restores the set, then stops
    assert content(tmp_path / "set") == whole
    Attempt(task, tiny, tmp_path / "set")
    assert content(tmp_path / "set") == whole
    assert names(tmp_path) == {"items.jsonl", "set"}


def test_a_folder_with_other_files_is_refused_before_the_evaluation(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.tex").write_text("mine")
    with pytest.raises(SampleError, match="is not a sample set"):
        evaluate(task, tiny, tmp_path / "set")
    assert names(tmp_path) == {"items.jsonl", "set"}


def test_a_leftover_journal_in_a_complete_set_is_ignored_and_removed(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "set")
    (tmp_path / "set" / "journal.json").write_text("{}")
    assert open_set(tmp_path / "set").read().table.num_rows == 24
    Attempt(task, tiny, tmp_path / "set")
    assert "journal.json" not in names(tmp_path / "set")
