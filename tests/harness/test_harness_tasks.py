"""What a registry task is made of: metrics, filters, groups, repeats, fingerprints; and what is refused."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.harness_tasks import write_tasks
from support.runs import opened, our_rows, our_task
from support.tiny import write_gate_yml

from gate.config import load_config
from gate.engines import Engine
from gate.errors import ConfigError, TaskError
from gate.tasks import Task, build_suite
from gate.tasks.harness import registry
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest


@pytest.fixture(scope="module")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return opened(tiny_model)


def refused(folder: Path, name: str, samples: dict[str, Any] | None = None, **settings: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        our_task(folder, name, samples, **settings)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("name", "metric", "chosen", "generates"),
    [
        ("own_choice", "acc", "none", False),
        ("own_last_word", "acc", "none", False),  # perplexity comes first there, but is not right or wrong
        ("own_mutual", "acc", "none", False),
        ("own_text", "loglikelihood_per_word", "none", False),
        ("own_written", "exact_match", "strict-match", True),
        ("own_voted", "exact_match", "vote", True),
        ("own_edits", "-edits", "none", True),
        ("own_group", "acc", "none", False),
        ("own_tag", "acc", "none", False),
    ],
)
def test_one_metric_counts_and_right_or_wrong_is_preferred(
    own_tasks: Path, name: str, metric: str, chosen: str, generates: bool
) -> None:
    task = our_task(own_tasks, name)
    assert (task.metric, task.facets["filter"], task.generates) == (metric, chosen, generates)
    assert task.facets["metric"] == metric


def test_an_unknown_metric_or_filter_is_refused_with_the_list(own_tasks: Path) -> None:
    error = refused(own_tasks, "own_choice", metric="f1")
    assert "no metric 'f1'" in error.message
    assert "acc, acc_norm" in str(error.hint)
    error = refused(own_tasks, "own_written", filter="flexible-extract")
    assert "no filter 'flexible-extract'" in error.message
    assert "strict-match, whole" in str(error.hint)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("own_corpus", {}, r"no metric with one score a document \(found: bleu\)"),
        ("own_far", {}, "its dataset cannot be loaded: .*no-such-owner/no-such-data"),
        ("own_unsafe", {}, "runs code that the model wrote"),
        ("own_beams", {}, "asks for num_beams, which is not supported"),
        ("own_nucleus", {}, "asks for top_p 0.9"),
        ("own_mixture", {}, "no filter in common"),
        ("own_zero", {"fewshot": 2}, "made without few-shot examples"),
        ("own_shots", {"fewshot": 17}, "cannot build its prompts"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_a_model_is_loaded(
    own_tasks: Path, name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        our_task(own_tasks, name, **settings)


def test_an_unknown_name_is_refused_with_the_nearest(own_tasks: Path) -> None:
    error = refused(own_tasks, "own_choise")
    assert "LM Evaluation Harness has no task, group or tag of that name" in error.message
    assert "Did you mean own_choice" in str(error.hint)
    assert "arc_challenge" in str(refused(own_tasks, "arc_chalenge").hint)


def test_a_folder_of_tasks_that_is_not_there_is_named(own_tasks: Path, tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone'} is not a folder" in refused(tmp_path / "gone", "own_choice").message


def test_without_lm_eval_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "lm_eval.py").write_text("raise ImportError('no lm_eval here')", encoding="utf-8")
    code = (
        "from pathlib import Path\n"
        "from gate.config import SampleSettings, TaskSettings\n"
        "from gate.tasks import build_task\n"
        "build_task(TaskSettings(name='arc_challenge'), SampleSettings(), Path('.'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert "pip install 'quantgate[lm-eval]'" in done.stderr
    assert "arc_challenge" in done.stderr


def test_building_tasks_from_files_does_not_import_lm_eval() -> None:
    code = "import sys, gate.tasks, gate.evaluation.answer; assert not {'lm_eval', 'datasets', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_subtasks_of_a_group_share_no_item_and_are_named(
    own_tasks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        task = our_task(own_tasks, "own_group")
    assert "own_part_b: 1 documents stand there more than once" in caplog.text
    names = [item.subtask for item in task.items]
    assert (names.count("own_part_a"), names.count("own_part_b")) == (13, 14)
    ids = [item.item_id for item in task.items]
    assert len(set(ids)) == 27
    assert [one for one in ids if "#" in one] == [f"{ids[14]}#2"]
    alone = our_task(own_tasks, "own_part_a")
    assert {item.subtask for item in alone.items} == {None}
    assert our_task(own_tasks, "own_tag").items[0].subtask == "own_part_a"
    # a limit is of each subtask, as in lm-eval
    assert len(our_task(own_tasks, "own_group", limit=3).items) == 6


def test_rows_of_a_group_carry_their_subtask(own_tasks: Path, engine: Engine) -> None:
    rows = our_rows(our_task(own_tasks, "own_group", limit=2), engine)
    assert [row["task"] for row in rows] == ["own_part_a"] * 2 + ["own_part_b"] * 2


@pytest.mark.parametrize(
    ("settings", "samples", "facet"),
    [
        ({"fewshot": 2}, {}, "num_fewshot"),
        ({"fewshot_seed": 7}, {}, "fewshot_seed"),
        ({"metric": "acc_norm"}, {}, "metric"),
        ({"limit": 5}, {}, "documents"),
        ({}, {"limit": 5}, "documents"),
        ({"chat_template": True}, {}, "chat_template"),
        ({"chat_template": True, "system": "Be short."}, {}, "chat_template"),
    ],
)
def test_whatever_decides_questions_or_scores_is_in_the_fingerprint(
    own_tasks: Path, settings: dict[str, Any], samples: dict[str, Any], facet: str
) -> None:
    before, after = our_task(own_tasks, "own_shots"), our_task(own_tasks, "own_shots", samples, **settings)
    assert before.facets[facet] != after.facets[facet]
    assert before.fingerprint != after.fingerprint


def test_an_edited_task_file_is_another_task(own_tasks: Path, tmp_path: Path) -> None:
    text = (own_tasks / "own_written.yaml").read_text(encoding="utf-8")
    prints = set()
    for number, (old, new) in enumerate(
        [("", ""), ("(cat|dog)", "(dog|cat)"), ("max_gen_toks: 6", "max_gen_toks: 7")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "own_written.yaml").write_text(text.replace(old, new), encoding="utf-8")
        prints.add(our_task(folder, "own_written").fingerprint)
    assert len(prints) == 3


def test_choices_share_a_request_and_its_distribution_is_kept_once(own_tasks: Path, engine: Engine) -> None:
    task = our_task(own_tasks, "own_mutual", metric="acc_mutual_info")
    requests = task.requests(task.items[0], 0, engine.render_chat)
    assert [type(one) for one in requests] == [LoglikelihoodRequest] * 2
    assert [len(one.continuations) for one in requests if isinstance(one, LoglikelihoodRequest)] == [3, 3]
    assert requests[1].context == ""
    rows = our_rows(task, engine)
    assert all(len(row["top_tokens"]) == 128 for row in rows)


def test_a_task_that_votes_is_asked_several_times(own_tasks: Path, engine: Engine) -> None:
    task = our_task(own_tasks, "own_voted")
    requests = [
        one for one in task.requests(task.items[0], 0, engine.render_chat) if isinstance(one, GenerateRequest)
    ]
    assert [one.temperature for one in requests] == [0.7] * 3
    assert len({one.seed for one in requests}) == 3
    rows = our_rows(task, engine)
    assert [row["repeat"] for row in rows] == [0] * 12
    assert rows == our_rows(task, engine)


def test_repeats_ask_a_greedy_task_again_at_a_temperature(own_tasks: Path, engine: Engine) -> None:
    samples = {"repeats": 3, "temperature": 2.0, "seed": 5}
    task = our_task(own_tasks, "own_written", samples, filter="whole")
    assert (task.facets["repeats"], task.facets["temperature"], task.facets["sampling_seed"]) == (
        "3",
        "2",
        "5",
    )
    rows = our_rows(task, engine)
    assert [row["repeat"] for row in rows] == [0, 1, 2] * 12
    assert len({row["output"] for row in rows}) > 12
    # choices are scored once, whatever is asked of tasks that generate
    assert our_task(own_tasks, "own_choice", samples).repeats == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["arc_challenge", "mmlu", "ai2_arc", "openllm", "leaderboard", "gsm8k", "wikitext"]
)
def test_the_quick_look_into_the_registry_finds_what_lm_eval_finds(name: str) -> None:
    def found(manager: Any, one: str, seen: dict[str, Any]) -> dict[str, Any]:
        entry = manager.task_index.get(one)
        if one not in seen and entry is not None:
            seen[one] = (entry.kind, entry.yaml_path, sorted(entry.tags) if entry.kind.name == "TAG" else [])
            for part in registry._subtasks(entry):
                found(manager, part, seen)
        return seen

    quick = found(registry._manager(name, ()), name, {})
    assert quick == found(_whole_registry(), name, {})
    assert quick


_WHOLE: list[Any] = []


def _whole_registry() -> Any:
    from lm_eval.tasks import TaskManager

    if not _WHOLE:
        _WHOLE.append(TaskManager())
    return _WHOLE[0]


@pytest.mark.parametrize("names", [["own_group", "own_part_a"], ["own_part_a", "own_tag"]])
def test_an_item_gates_in_one_task_only(own_tasks: Path, tmp_path: Path, names: list[str]) -> None:
    def built(roles: list[str]) -> tuple[Task, ...]:
        tasks = [{"name": name, "role": role} for name, role in zip(names, roles, strict=True)]
        path = write_gate_yml(tmp_path, "base", "other", tasks=tasks, include_path=[str(own_tasks)])
        return build_suite(load_config(path).config, tmp_path)

    with pytest.raises(
        ConfigError, match=f"{names[0]} and {names[1]} ask about the same documents"
    ) as caught:
        built(["gating", "gating"])
    assert "advisory" in str(caught.value.hint)
    assert len(built(["gating", "advisory"])) == 2
