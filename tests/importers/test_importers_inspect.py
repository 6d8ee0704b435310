"""Inspect logs, written by Inspect itself with its mock model."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
from support.importing import message

from gate.importers import read_foreign

installed = pytest.mark.skipif(
    importlib.util.find_spec("inspect_ai") is None,
    reason='inspect-ai is missing: pip install "quantgate[inspect]"',
)


def run(folder: Path, ending: str = "eval", scorers: tuple[str, ...] = ("match",), **options: Any) -> Path:
    """Evaluate Inspect's mock model, which always answers "Paris", on two samples; return its log."""
    from inspect_ai import Epochs, Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import Score, accuracy, includes, match, scorer
    from inspect_ai.solver import generate, system_message

    calls = itertools.count()

    def answer(*_: Any) -> ModelOutput:
        if options.get("broken") is True or next(calls) in options.get("broken", ()):
            raise RuntimeError("no GPU")
        output = ModelOutput.from_content("mockllm/model", options.get("answer", "Paris"))
        output.usage = ModelUsage(input_tokens=9, output_tokens=2, total_tokens=11)
        return output

    def fixed(name: str, value: Any) -> Any:
        async def score(state: Any, target: Any) -> Score:
            return Score(value=value(state.sample_id) if callable(value) else value)

        return scorer(metrics=[accuracy()], name=name)(lambda: score)()

    known = {
        "match": match(),
        "includes": includes(),
        "grade": fixed("grade", 0.25),
        "partial": fixed("partial", lambda sample: "P" if sample == "fr" else "N"),
        "third": fixed("third", lambda sample: "C" if next(counter) % 3 == 2 else "I"),
        "minutes": fixed("minutes", lambda sample: 12.5),
        "wer": fixed("wer", lambda sample: 12.5),
        "unscored": fixed("unscored", lambda sample: 1.0 if sample == "fr" else float("nan")),
        "several": fixed("several", {"style": 1, "facts": 0}),
        "prose": fixed("prose", "rather good"),
    }
    counter = itertools.count()
    samples = [
        Sample(id="fr", input="Capital of France?" + " Think." * 40, target="Paris"),
        Sample(id="de", input=options.get("question", "Capital of Germany?"), target=["Berlin", "berlin"]),
    ]
    task = Task(
        dataset=MemoryDataset(samples),
        name=options.get("task", "capitals"),
        solver=[system_message(options.get("system", "Be brief.")), generate()],
        scorer=[known[name] for name in scorers],
        epochs=Epochs(*options["reducer"]) if "reducer" in options else options.get("epochs", 1),
        version=3,
    )
    (log,) = evaluate(
        task,
        model=get_model("mockllm/model", custom_outputs=answer, memoize=False),
        log_dir=str(folder),
        log_format=ending,
        display="none",
        temperature=0.0,
        fail_on_error=options.get("fail_on_error", True),
        max_samples=options.get("max_samples"),
    )
    return Path(log.location.removeprefix("file://"))


@installed
@pytest.mark.parametrize("ending", ["eval", "json"])
def test_both_log_formats_give_the_same_samples(tmp_path: Path, ending: str) -> None:
    path = run(tmp_path, ending, epochs=2)
    for samples in (read_foreign(path), read_foreign(tmp_path)):
        assert list(samples.tasks) == ["capitals"]
        task = samples.tasks["capitals"]
        assert (task.metric, task.facets) == (
            "match",
            {"task_version": "3", "task_args": "{}", "epochs_reducer": "mean", "generation": '{"temperature":0.0}'},
        )
        rows = sorted(task.table.to_pylist(), key=lambda row: (row["item_id"], row["repeat"]))
        assert [(row["item_id"], row["repeat"], row["correct"]) for row in rows] == [
            ("de", 0, False),
            ("de", 1, False),
            ("fr", 0, True),
            ("fr", 1, True),
        ]
        assert rows[2]["target"] == "Paris"
        assert rows[0]["target"] == '["Berlin","berlin"]'
        assert rows[2]["output"] == "Paris"
        assert rows[2]["prompt"].startswith("Capital of France? Think.")
        assert (rows[2]["tokens_in"], rows[2]["tokens_out"]) == (9, 2)
        assert samples.about["model"] == "mockllm/model"


@installed
def test_the_prompt_hash_depends_on_the_prompt_and_not_on_the_answer(tmp_path: Path) -> None:
    def hashes(name: str, **options: Any) -> dict[str, str]:
        table = read_foreign(run(tmp_path / name, **options)).tasks["capitals"].table
        return dict(zip(table["item_id"].to_pylist(), table["prompt_hash"].to_pylist(), strict=True))

    base = hashes("base")
    assert hashes("answer", answer="Berlin") == base
    other = hashes("question", question="Which is Germany's capital?")
    assert other["fr"] == base["fr"]
    assert other["de"] != base["de"]
    assert set(hashes("system", system="Think long.").values()).isdisjoint(base.values())


@installed
def test_several_scorers_are_refused_unless_one_is_chosen(tmp_path: Path) -> None:
    path = run(tmp_path, scorers=("match", "grade", "several"))
    assert "has 4 metrics: grade, match, several/facts, several/style" in message(path)
    graded = read_foreign(path, metric="grade").tasks["capitals"]
    assert graded.table["score"].to_pylist() == [0.25, 0.25]
    assert graded.table["correct"].null_count == 2
    assert read_foreign(path, metric="several/style").tasks["capitals"].table["correct"].to_pylist() == [
        True,
        True,
    ]


@installed
def test_partial_and_missing_answers_score_as_in_inspect(tmp_path: Path) -> None:
    table = read_foreign(run(tmp_path, scorers=("partial",))).tasks["capitals"].table
    scores = dict(zip(table["item_id"].to_pylist(), table["score"].to_pylist(), strict=True))
    assert scores == {"fr": 0.5, "de": 0.0}


@installed
def test_unscored_samples_and_text_scores_are_refused(tmp_path: Path) -> None:
    text = message(run(tmp_path / "a", scorers=("unscored",)))
    assert "1 of 2 samples have no score" in text
    assert "de" in text
    assert "'rather good'; expected C, I, P, N or a number" in message(run(tmp_path / "b", scorers=("prose",)))


@installed
@pytest.mark.parametrize(
    ("reducer", "expected"),
    [("max", [1.0, 1.0]), ("mean", [1 / 3, 1 / 3]), ("at_least_2", [0.0, 0.0]), ("pass_at_1", [1 / 3, 1 / 3])],
)
def test_epochs_are_reduced_as_the_log_says(tmp_path: Path, reducer: str, expected: list[float]) -> None:
    samples = read_foreign(run(tmp_path, scorers=("third",), reducer=(3, reducer), max_samples=1))
    task = samples.tasks["capitals"]
    table = task.table.group_by("item_id").aggregate([("score", "mean"), ("score", "count")])
    assert table["score_mean"].to_pylist() == pytest.approx(expected)
    reduced = reducer != "mean"
    assert table["score_count"].to_pylist() == [1 if reduced else 3] * 2
    assert task.facets["epochs_reducer"] == (f"{reducer} of 3" if reduced else "mean")
    assert any(reducer in note for note in samples.notes) == reduced


@installed
def test_samples_with_errors_are_left_out_where_part_of_them_is_enough(tmp_path: Path) -> None:
    path = run(tmp_path, broken=(0,), fail_on_error=False, max_samples=1)
    assert "1 of 2 samples ended with an error" in message(path)
    samples = read_foreign(path, allow_partial=True)
    assert samples.tasks["capitals"].table["item_id"].to_pylist() == ["de"]
    assert "1 of 2 samples ended with an error; left out: fr" in samples.notes[0]
    all_broken = run(tmp_path / "all", broken=True, fail_on_error=False)
    assert "2 of 2 samples ended with an error" in message(all_broken, allow_partial=True)


@installed
def test_scores_of_an_error_or_of_unknown_direction(tmp_path: Path) -> None:
    task = read_foreign(run(tmp_path, scorers=("wer",))).tasks["capitals"]
    assert (task.metric, task.table["score"].to_pylist()) == ("-wer", [-12.5, -12.5])
    path = run(tmp_path / "b", scorers=("minutes",))
    assert "unknown whether higher or lower values of the metric minutes" in message(path)
    assert read_foreign(path, lower_is_better=["minutes"]).tasks["capitals"].metric == "-minutes"


@installed
def test_logs_of_one_task_with_different_arguments_are_different_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Inspect takes only relative paths of tasks
    (tmp_path / "quiz.py").write_text(
        """
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import match

@task
def quiz(subject: str = "law", level: int = 1) -> Task:
    return Task(dataset=MemoryDataset([Sample(id=1, input=f"A {subject} question", target="x")]), scorer=match())
""",
        encoding="utf-8",
    )
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def answer(*_: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", "x")
        output.usage = ModelUsage(input_tokens=9, output_tokens=2, total_tokens=11)  # else counted online
        return output

    for subject in ("law", "art", "art"):
        evaluate(
            "quiz.py",
            task_args={"subject": subject},
            model=get_model("mockllm/model", custom_outputs=answer, memoize=False),
            log_dir=str(tmp_path / "logs"),
            display="none",
        )
    samples = read_foreign(tmp_path / "logs")
    assert sorted(samples.tasks) == ['quiz(subject="art")', 'quiz(subject="law")']
    assert '"subject":"art"' in samples.tasks['quiz(subject="art")'].facets["task_args"]
    assert [line.split(": ")[1] for line in samples.left_out] == ['an older log of quiz(subject="art").']
    only = read_foreign(tmp_path / "logs", tasks=['quiz(subject="law")'])
    assert (list(only.tasks), only.unread) == (['quiz(subject="law")'], ('quiz(subject="art")',))


@installed
def test_failed_runs_and_samples_with_errors_are_refused(tmp_path: Path) -> None:
    text = message(run(tmp_path / "a", broken=True))
    assert "not complete: status 'error'" in text
    assert "2 of 2 samples ended with an error" in message(run(tmp_path / "b", broken=True, fail_on_error=False))


@installed
def test_the_newest_log_of_each_task_is_read(tmp_path: Path) -> None:
    first, second = run(tmp_path, answer="Berlin"), run(tmp_path)
    assert first != second
    run(tmp_path, task="towns")
    samples = read_foreign(tmp_path)
    assert sorted(samples.tasks) == ["capitals", "towns"]
    assert "capitals: 2 logs in the folder; read the newest" in samples.notes[0]


@installed
def test_a_cut_log_is_refused(tmp_path: Path) -> None:
    for ending in ("eval", "json"):
        path = run(tmp_path / ending, ending)
        path.write_bytes(path.read_bytes()[:-300])
        assert str(path) in message(path)


def test_without_inspect_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    path = tmp_path / "log.eval"
    path.write_bytes(b"PK")
    assert 'pip install "quantgate[inspect]"' in message(path)
