"""An interrupted evaluation resumes: nothing is lost, repeated or mixed."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.evaluations import (
    Opened,
    OtherRuntime,
    choice_task,
    content,
    evaluate,
    opened,
    text_task,
)

import gate.evaluation.plan as plan
from gate.engines import Engine, Runtime
from gate.errors import EvaluationError, SampleError
from gate.evaluation.evaluate import Steps, evaluation
from gate.store import SampleSet, open_set
from gate.tasks import Sampling, Task


class StopError(Exception):
    """Interrupts an evaluation in these tests."""


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Opened:
    return opened(tiny_model)


@pytest.fixture(autouse=True)
def small_data_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six data files of four items."""
    monkeypatch.setattr(plan, "ITEMS_PER_DATA_FILE", 4)


class Run:
    """One evaluation, its messages and its reports of progress."""

    def __init__(
        self,
        task: Task,
        model: Opened,
        folder: Path,
        stop_at: int = 10**9,
        error: type[BaseException] = StopError,
        **options: Any,
    ) -> None:
        self.said: list[str] = []
        self.steps: list[int] = []
        self.shown: list[str] = []
        self.done: SampleSet | None = None
        self.error: BaseException | None = None

        def progress(count: int) -> None:
            self.steps.append(count)
            if sum(self.steps) > stop_at:
                raise error("stopped")

        try:
            steps = evaluation(task, *model, folder, progress, say=self.said.append, **options)
            while True:
                self.shown += next(steps)["item_id"].to_pylist()
        except StopIteration as end:
            self.done = end.value
        except (StopError, EvaluationError, KeyboardInterrupt) as caught:
            self.error = caught

    @property
    def resumed(self) -> int:
        """Number of resumed items: the first report of progress."""
        return self.steps[0]


def partial(folder: Path) -> Path:
    """The only partial folder beside a set."""
    (found,) = folder.parent.glob(f".{folder.name}.partial-*")
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize("stop_at", [0, 3, 4, 9, 23])
def test_an_interrupted_evaluation_resumes_and_gives_the_same_bytes(
    tmp_path: Path, tiny: Opened, stop_at: int
) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "whole")
    first = Run(task, tiny, tmp_path / "set", stop_at)
    assert isinstance(first.error, StopError)
    assert not (tmp_path / "set").exists()
    second = Run(task, tiny, tmp_path / "set")
    assert second.resumed == stop_at // 4 * 4
    assert sum(second.steps) == 24
    assert content(tmp_path / "set") == content(tmp_path / "whole")
    assert names(tmp_path) == {"items.jsonl", "set", "whole"}
    assert (second.said == []) == (second.resumed == 0)


def test_an_evaluation_resumes_after_several_interruptions(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "whole")
    for stop_at in (5, 5, 9, 14, 14, 22):
        Run(task, tiny, tmp_path / "set", stop_at)
    last = Run(task, tiny, tmp_path / "set")
    assert last.resumed == 20
    assert any("resuming with 20 of 24 items done" in line for line in last.said)
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_the_time_is_the_sum_over_all_runs(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "set", 13)
    journal = json.loads((partial(tmp_path / "set") / "journal.json").read_text())
    before = sum(one["seconds"] for one in journal["finished"].values())
    done = Run(task, tiny, tmp_path / "set").done
    assert done is not None
    timings = done.manifest.timings
    assert 0 < before < timings.seconds
    assert timings.items_per_second == pytest.approx(24 / timings.seconds)
    rows = done.read().table
    assert timings.tokens_in == sum(rows["tokens_in"].to_pylist())
    assert timings.tokens_out == sum(rows["tokens_out"].to_pylist())


def test_an_error_says_what_is_kept_and_how_to_resume(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    stopped = Run(task, tiny, tmp_path / "set", 9, error=EvaluationError)
    assert "8 of 24 items are kept; run the same command to resume" in str(stopped.error)
    assert "task animals" in str(stopped.error)
    interrupted = Run(task, tiny, tmp_path / "set", 17, error=KeyboardInterrupt)
    assert interrupted.said[-1] == "set: 16 of 24 items are kept; run the same command to resume."


def test_the_older_set_stays_until_the_new_one_is_complete(
    tmp_path: Path, tiny: Opened, other_tiny_model: Path
) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "set")
    before = content(tmp_path / "set")
    Run(task, opened(other_tiny_model), tmp_path / "set", 10)
    assert content(tmp_path / "set") == before
    Run(task, opened(other_tiny_model), tmp_path / "set")
    assert content(tmp_path / "set") != before
    assert names(tmp_path) == {"items.jsonl", "set"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_data_file_is_evaluated_again(
    tmp_path: Path, tiny: Opened, damage: Callable[[Path], object]
) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "whole")
    Run(task, tiny, tmp_path / "set", 17)
    damage(partial(tmp_path / "set") / "shard-00001.parquet")
    second = Run(task, tiny, tmp_path / "set")
    assert second.resumed == 12
    assert any(
        "1 damaged data file(s) of the interrupted run are evaluated again" in line for line in second.said
    )
    assert content(tmp_path / "set") == content(tmp_path / "whole")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"started": 1}', "null", "\x00\x00"])
def test_a_damaged_journal_starts_over_with_a_message(tmp_path: Path, tiny: Opened, text: str) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "whole")
    Run(task, tiny, tmp_path / "set", 17)
    (partial(tmp_path / "set") / "journal.json").write_text(text)
    second = Run(task, tiny, tmp_path / "set")
    assert second.resumed == 0
    assert any("journal is damaged" in line for line in second.said)
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_a_data_file_that_is_not_in_the_journal_is_ignored(tmp_path: Path, tiny: Opened) -> None:
    """A kill between writing the data file and the journal leaves a file that may be incomplete."""
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "whole")
    Run(task, tiny, tmp_path / "set", 9)
    (partial(tmp_path / "set") / "shard-00002.parquet").write_bytes(b"PAR1 half")
    (partial(tmp_path / "set") / "journal.json.tmp").write_bytes(b"{")
    assert Run(task, tiny, tmp_path / "set").resumed == 8
    assert content(tmp_path / "set") == content(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"device": "cuda:0"}, "device cpu -> cuda"),
        ({"hardware": "H200"}, "-> H200"),
        ({"dtype": "bfloat16"}, "dtype float32 -> bfloat16"),
        ({"tokenizer": "e" * 64}, "tokenizer"),
        ({"end_tokens": (1, 2)}, "end_tokens [1] -> [1,2]"),
        ({"versions": {"torch": "99"}}, "-> 99)"),
    ],
)
def test_work_of_another_machine_or_library_is_not_mixed_in(
    tmp_path: Path, tiny: Opened, changes: dict[str, Any], named: str
) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "set", 13)
    other: Any = OtherRuntime(tiny[0], **dict(changes))
    second = Run(task, (other, tiny[1]), tmp_path / "set", 5)
    assert second.resumed == 0
    (line,) = (line for line in second.said if "other settings" in line)
    assert named in line
    assert "12 items" in line
    back = Run(task, tiny, tmp_path / "set")  # a mistaken run on another machine has lost nothing
    assert back.resumed == 12
    assert names(tmp_path) == {"items.jsonl", "set"}


def test_the_index_of_the_gpu_does_not_matter(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    one: Any = OtherRuntime(tiny[0], device="cuda:0")
    other: Any = OtherRuntime(tiny[0], device="cuda:3")
    Run(task, (one, tiny[1]), tmp_path / "set", 13)
    assert Run(task, (other, tiny[1]), tmp_path / "set").resumed == 12


def test_work_with_another_model_task_shard_or_baseline_is_not_resumed(
    tmp_path: Path, tiny: Opened, other_tiny_model: Path
) -> None:
    task = choice_task(tmp_path)
    reordered = dataclasses.replace(task, items=task.items[::-1])
    base = Run(task, tiny, tmp_path / "base").done
    assert base is not None
    Run(task, tiny, tmp_path / "set", 13)
    for again in (
        Run(task, opened(other_tiny_model), tmp_path / "set", 0),
        Run(choice_task(tmp_path, metric="acc_norm"), tiny, tmp_path / "set", 0),
        Run(reordered, tiny, tmp_path / "set", 0),
        Run(task, tiny, tmp_path / "set", 0, shard=(1, 2)),
        Run(task, tiny, tmp_path / "set", 0, baseline=base),
    ):
        assert again.resumed == 0
    assert Run(task, tiny, tmp_path / "set", 13).resumed == 12


def test_another_data_file_size_is_another_setting(
    tmp_path: Path, tiny: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "set", 13)
    monkeypatch.setattr(plan, "ITEMS_PER_DATA_FILE", 6)
    assert Run(task, tiny, tmp_path / "set").resumed == 0


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
    Run(task, tiny, tmp_path / "set", 13)
    ids, _ = shown(evaluation(task, *tiny, tmp_path / "set", lambda _: None))
    assert ids == [item.item_id for item in task.items]


def test_an_evaluation_ended_early_records_it_and_the_next_one_is_complete(
    tmp_path: Path, tiny: Opened
) -> None:
    task = choice_task(tmp_path)
    Run(task, tiny, tmp_path / "whole")
    Run(task, tiny, tmp_path / "set", 21)  # gets further than where the next one stops
    steps = evaluation(task, *tiny, tmp_path / "set", lambda _: None)
    next(steps)
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(True)
    stopped = open_set(tmp_path / "set")
    assert (stopped.manifest.items, stopped.manifest.stopped_of) == (8, 24)
    assert stopped.read().table.num_rows == 8
    assert len(list((tmp_path / "set").iterdir())) == 3
    assert Run(task, tiny, tmp_path / "set").resumed == 0
    assert content(tmp_path / "set") == content(tmp_path / "whole")


def test_closing_an_evaluation_keeps_its_data_files_and_releases_the_lock(
    tmp_path: Path, tiny: Opened
) -> None:
    task = choice_task(tmp_path)
    steps = evaluation(task, *tiny, tmp_path / "set", lambda _: None)
    next(steps)
    steps.close()
    assert Run(task, tiny, tmp_path / "set").resumed == 4


def test_long_generations_have_smaller_data_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "ITEMS_PER_DATA_FILE", 512)
    task = choice_task(tmp_path)
    assert plan.items_per_data_file(task) == 512
    for tokens, repeats, items in ((64, 1, 512), (256, 1, 512), (512, 1, 256), (4096, 1, 128), (64, 8, 256)):
        long = text_task(tmp_path, max_tokens=tokens)
        long = dataclasses.replace(long, sampling=Sampling(repeats=repeats, temperature=1.0))
        assert plan.items_per_data_file(long) == items


class Method:
    """The same engine; its scoring method is known after its first scores."""

    def __init__(self, engine: Engine, method: str) -> None:
        self._engine, self._method, self._asked = engine, method, False

    @property
    def runtime(self) -> Runtime:
        versions = dict(self._engine.runtime.versions)
        versions.pop("scoring", None)
        return dataclasses.replace(
            self._engine.runtime, versions=versions | ({"scoring": self._method} if self._asked else {})
        )

    def loglikelihood(self, *asked: Any) -> Any:
        self._asked = True
        return self._engine.loglikelihood(*asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def test_data_files_scored_with_another_method_are_evaluated_again(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    a: Any = Method(tiny[0], "trees")
    Run(task, (a, tiny[1]), tmp_path / "set", 13)
    same: Any = Method(tiny[0], "trees")
    Run(task, (same, tiny[1]), tmp_path / "set", 17)
    other: Any = Method(tiny[0], "plain")
    last = Run(task, (other, tiny[1]), tmp_path / "set")
    assert last.resumed == 16
    assert "set: 4 data file(s) are evaluated again: scored with trees, now with plain" in last.said
    assert last.done is not None
    assert last.done.manifest.model.versions["scoring"] == "plain"
    assert sum(last.steps) == 24 + 16
    assert (
        last.shown == last.done.read().table["item_id"].to_pylist() == [item.item_id for item in task.items]
    )


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
    Run(task, tiny, tmp_path / "set")
    whole = content(tmp_path / "set")
    # the same evaluation again, complete in its partial folder
    Run(task, tiny, tmp_path / "set", 23)
    (tmp_path / "set").rename(tmp_path / "older")
    Run(task, tiny, tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / ".set.partial-x")
    (tmp_path / "older").rename(tmp_path / "set")
    done = subprocess.run([sys.executable, "-c", _KILLED_AT, str(tmp_path), *moment], check=False)
    assert done.returncode == -signal.SIGKILL
    Run(task, tiny, tmp_path / "set", 0)  # the next writer restores the set, then stops
    assert content(tmp_path / "set") == whole
    Run(task, tiny, tmp_path / "set")
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
    Run(task, tiny, tmp_path / "set")
    (tmp_path / "set" / "journal.json").write_text("{}")
    assert open_set(tmp_path / "set").read().table.num_rows == 24
    Run(task, tiny, tmp_path / "set")
    assert "journal.json" not in names(tmp_path / "set")
