"""Registry tasks: metrics, filters, groups, repeats, fingerprints, and unsupported tasks."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_python
from support.harness_tasks import write_tasks
from support.runs import gate_rows, gate_task
from support.tiny import write_gate_yml

from gate.config import load_config
from gate.engines import Engine
from gate.errors import ConfigError, TaskError
from gate.tasks import Task, build_suite
from gate.tasks.harness import registry
from gate.tasks.reasoning import ReasoningTags
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest


def refusal(folder: Path, name: str, samples: dict[str, Any] | None = None, **settings: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        gate_task(folder, name, samples, **settings)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("name", "metric", "filter_name", "generates"),
    [
        ("own_choice", "acc", "none", False),
        ("own_last_word", "acc", "none", False),  # perplexity is listed first, but is not binary
        ("own_mutual", "acc", "none", False),
        ("own_text", "loglikelihood_per_word", "none", False),
        ("own_written", "exact_match", "strict-match", True),
        ("own_voted", "exact_match", "vote", True),
        ("own_edits", "-edits", "none", True),
        ("own_group", "acc", "none", False),
        ("own_tag", "acc", "none", False),
    ],
)
def test_binary_metrics_are_preferred(
    own_tasks: Path, name: str, metric: str, filter_name: str, generates: bool
) -> None:
    task = gate_task(own_tasks, name)
    assert (task.metric, task.facets["filter"], task.generates) == (metric, filter_name, generates)
    assert task.facets["metric"] == metric


@pytest.mark.parametrize(("lower", "label"), [(None, "-edits"), (True, "-edits"), (False, "edits")])
def test_gate_yml_can_declare_the_direction(own_tasks: Path, lower: bool | None, label: str) -> None:
    task = gate_task(own_tasks, "own_edits", lower_is_better=lower)
    assert (task.metric, task.facets["metric"]) == (label, label)


def test_an_undeclared_direction_is_higher_is_better(own_tasks: Path, tmp_path: Path) -> None:
    """An unknown metric without higher_is_better was negated, which inverts the verdict."""
    text = (own_tasks / "own_edits.yaml").read_text(encoding="utf-8")
    assert "higher_is_better: false" in text
    for line, label in (("", "edits"), ("higher_is_better: false", "-edits")):
        folder = tmp_path / label
        folder.mkdir()
        (folder / "own_code.py").write_bytes((own_tasks / "own_code.py").read_bytes())
        edited = text.replace("  higher_is_better: false\n", f"  {line}\n" if line else "")
        (folder / "own_edits.yaml").write_text(edited, encoding="utf-8")
        assert gate_task(folder, "own_edits").metric == label


def test_an_unknown_metric_or_filter_is_refused_with_the_valid_names(own_tasks: Path) -> None:
    error = refusal(own_tasks, "own_choice", metric="f1")
    assert "no metric 'f1'" in error.message
    assert "acc, acc_norm" in str(error.hint)
    error = refusal(own_tasks, "own_written", filter="flexible-extract")
    assert "no filter 'flexible-extract'" in error.message
    assert "strict-match, whole" in str(error.hint)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("own_corpus", {}, r"no metric with one score per document \(found: bleu\)"),
        ("own_far", {}, "its dataset cannot be loaded: .*no-such-owner/no-such-data"),
        ("own_unsafe", {}, "runs code that the model wrote"),
        ("own_beams", {}, "sets num_beams, which is not supported"),
        ("own_typical", {}, "sets typical_p 0.9"),
        ("own_mixture", {}, "no filter in common"),
        ("own_zero", {"fewshot": 2}, "it fixes num_fewshot: 0"),
        ("own_shots", {"fewshot": 17}, "cannot build its prompts"),
    ],
)
def test_unsupported_tasks_are_refused_before_a_model_is_loaded(
    own_tasks: Path, name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        gate_task(own_tasks, name, **settings)


def test_an_unknown_task_is_refused_with_similar_names(own_tasks: Path) -> None:
    error = refusal(own_tasks, "own_choise")
    assert "LM Evaluation Harness has no task, group or tag of that name" in error.message
    assert "Did you mean own_choice" in str(error.hint)
    assert "arc_challenge" in str(refusal(own_tasks, "arc_chalenge").hint)


def test_a_missing_folder_of_tasks_is_refused(own_tasks: Path, tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone'} is not a folder" in refusal(tmp_path / "gone", "own_choice").message


def test_without_lm_eval_the_error_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "lm_eval.py").write_text("raise ImportError('no lm_eval here')", encoding="utf-8")
    code = (
        "from pathlib import Path\n"
        "from gate.config import SampleSettings, TaskSettings\n"
        "from gate.tasks import build_task\n"
        "build_task(TaskSettings(name='arc_challenge'), SampleSettings(), Path('.'))\n"
    )
    _, _, err = run_python(code, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert "pip install 'quantgate[lm-eval]'" in err
    assert "arc_challenge" in err


def test_building_tasks_from_files_does_not_import_lm_eval() -> None:
    code = (
        "import sys, gate.tasks, gate.evaluation.answer; assert not {'lm_eval', 'datasets', 'torch'} & set(sys.modules)"
    )
    assert run_python(code).code == 0


def test_items_of_a_group_name_their_subtask_and_are_unique(own_tasks: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        task = gate_task(own_tasks, "own_group")
    assert "own_subtask_b: 1 documents are duplicated; numbered by position" in caplog.text
    names = [item.subtask for item in task.items]
    assert (names.count("own_subtask_a"), names.count("own_subtask_b")) == (13, 14)
    ids = [item.item_id for item in task.items]
    assert len(set(ids)) == 27
    assert [item_id for item_id in ids if "#" in item_id] == [f"{ids[14]}#2"]
    alone = gate_task(own_tasks, "own_subtask_a")
    assert {item.subtask for item in alone.items} == {None}
    assert gate_task(own_tasks, "own_tag").items[0].subtask == "own_subtask_a"
    # the limit applies to each subtask, as in lm-eval
    assert len(gate_task(own_tasks, "own_group", limit=3).items) == 6


def test_rows_of_a_group_name_their_subtask(own_tasks: Path, engine: Engine) -> None:
    rows = gate_rows(gate_task(own_tasks, "own_group", limit=2), engine)
    assert [row["task"] for row in rows] == ["own_subtask_a"] * 2 + ["own_subtask_b"] * 2


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
def test_every_setting_of_prompts_and_scores_changes_the_fingerprint(
    own_tasks: Path, settings: dict[str, Any], samples: dict[str, Any], facet: str
) -> None:
    before, after = gate_task(own_tasks, "own_shots"), gate_task(own_tasks, "own_shots", samples, **settings)
    assert before.facets[facet] != after.facets[facet]
    assert before.fingerprint != after.fingerprint


def test_an_edited_task_file_changes_the_fingerprint(own_tasks: Path, tmp_path: Path) -> None:
    text = (own_tasks / "own_written.yaml").read_text(encoding="utf-8")
    fingerprints = set()
    for number, (old, new) in enumerate([("", ""), ("(cat|dog)", "(dog|cat)"), ("max_gen_toks: 6", "max_gen_toks: 7")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "own_written.yaml").write_text(text.replace(old, new), encoding="utf-8")
        fingerprints.add(gate_task(folder, "own_written").fingerprint)
    assert len(fingerprints) == 3


def test_choices_share_a_request_and_one_distribution(own_tasks: Path, engine: Engine) -> None:
    task = gate_task(own_tasks, "own_mutual", metric="acc_mutual_info")
    requests = task.requests(task.items[0], 0, engine.render_chat)
    assert [type(request) for request in requests] == [LoglikelihoodRequest] * 2
    assert [len(request.continuations) for request in requests if isinstance(request, LoglikelihoodRequest)] == [3, 3]
    assert requests[1].context == ""
    rows = gate_rows(task, engine)
    assert all(len(row["top_tokens"]) == 64 for row in rows)


def test_a_voting_task_samples_several_texts(own_tasks: Path, engine: Engine) -> None:
    task = gate_task(own_tasks, "own_voted")
    requests = [
        request
        for request in task.requests(task.items[0], 0, engine.render_chat)
        if isinstance(request, GenerateRequest)
    ]
    assert [request.temperature for request in requests] == [0.7] * 3
    assert len({request.seed for request in requests}) == 3
    rows = gate_rows(task, engine)
    assert [row["repeat"] for row in rows] == [0] * 12
    assert rows == gate_rows(task, engine)


def test_repeats_sample_a_greedy_task_at_the_set_temperature(own_tasks: Path, engine: Engine) -> None:
    samples = {"repeats": 3, "temperature": 2.0, "seed": 5}
    task = gate_task(own_tasks, "own_written", samples, filter="whole")
    assert (task.facets["repeats"], task.facets["temperature"], task.facets["sampling_seed"]) == (
        "3",
        "2",
        "5",
    )
    rows = gate_rows(task, engine)
    assert [row["repeat"] for row in rows] == [0, 1, 2] * 12
    assert len({row["output"] for row in rows}) > 12
    # multiple choice is scored once, whatever the sampling settings
    assert gate_task(own_tasks, "own_choice", samples).repeats == 1


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("arc_challenge", "arc"),
        ("ai2_arc", "arc"),
        ("mmlu", "mmlu"),
        *(
            pytest.param(name, "", marks=pytest.mark.exhaustive)
            for name in ("arc_challenge", "mmlu", "ai2_arc", "openllm", "leaderboard", "gsm8k", "wikitext")
        ),
    ],
)
def test_the_fast_registry_scan_agrees_with_lm_eval(name: str, folder: str) -> None:
    """lm-eval reads all files of a folder of its registry, or of the whole registry."""

    def entries(manager: Any, member: str, seen: dict[str, Any]) -> dict[str, Any]:
        entry = manager.task_index.get(member)
        if member not in seen and entry is not None:
            tags = sorted(entry.tags) if entry.kind.name == "TAG" else []
            seen[member] = (entry.kind, entry.yaml_path, tags)
            for subtask in registry._subtasks(entry):
                entries(manager, subtask, seen)
        return seen

    fast = entries(registry._manager(name, ()), name, {})
    assert fast == entries(_full_registry(folder), name, {})
    assert fast


@functools.cache
def _full_registry(folder: str) -> Any:
    import lm_eval
    from lm_eval.tasks import TaskManager

    if not folder:
        return TaskManager()
    return TaskManager(include_path=str(Path(lm_eval.__file__).parent / "tasks" / folder), include_defaults=False)


@pytest.mark.parametrize("names", [["own_group", "own_subtask_a"], ["own_subtask_a", "own_tag"]])
def test_two_gating_tasks_may_not_share_documents(own_tasks: Path, tmp_path: Path, names: list[str]) -> None:
    def suite(roles: list[str]) -> tuple[Task, ...]:
        tasks = [{"name": name, "role": role} for name, role in zip(names, roles, strict=True)]
        path = write_gate_yml(tmp_path, "base", "other", tasks=tasks, include_path=[str(own_tasks)])
        return build_suite(load_config(path).config, tmp_path)

    with pytest.raises(ConfigError, match=f"{names[0]} and {names[1]} share documents") as caught:
        suite(["gating", "gating"])
    assert "advisory" in str(caught.value.hint)
    assert len(suite(["gating", "advisory"])) == 2


def test_fingerprint_covers_helper_code_of_own_tasks(tmp_path: Path) -> None:
    """A function of another file decides the score; the task's own YAML and functions stay the same."""
    own = write_tasks(tmp_path / "own")
    helper = own / "helpers" / "score.py"
    helper.parent.mkdir()
    helper.write_text("def right(text): return 1.0\n")

    def fingerprints() -> list[str]:
        path = write_gate_yml(tmp_path, "base", "other", tasks=[{"name": "own_subtask_a"}], include_path=[str(own)])
        return [task.fingerprint for task in build_suite(load_config(path).config, tmp_path)]

    before = fingerprints()
    assert fingerprints() == before
    helper.write_text("def right(text): return 0.0\n")
    assert fingerprints() != before


def test_a_generating_task_can_use_the_chat_route_and_one_of_choices_cannot(own_tasks: Path) -> None:
    task = gate_task(own_tasks, "own_written", filter="whole", chat=True, chat_template_kwargs={"thinking": False})
    (request,) = task.requests(task.items[0], 0, lambda messages: f"rendered {len(messages)}")
    assert isinstance(request, GenerateRequest)
    assert (request.context, request.template_kwargs) == ("rendered 1", '{"thinking":false}')
    assert [message.role for message in request.messages] == ["user"]
    assert request.reasoning == ReasoningTags()
    plain = gate_task(own_tasks, "own_written", filter="whole", chat_template=True)
    (rendered,) = plain.requests(plain.items[0], 0, lambda messages: f"rendered {len(messages)}")
    assert isinstance(rendered, GenerateRequest)
    assert (rendered.messages, rendered.reasoning) == ((), None)
    assert task.fingerprint != plain.fingerprint
    for key, value in (("chat", True), ("reasoning", {}), ("sampling", {"temperature": 1.0})):
        with pytest.raises(TaskError, match=f"{key}: only for tasks that generate text"):
            gate_task(own_tasks, "own_mutual", **{key: value})


def test_the_tasks_own_sampling_applies_where_gate_yml_sets_none(own_tasks: Path) -> None:
    def first(**settings: Any) -> GenerateRequest:
        task = gate_task(own_tasks, "own_nucleus", **settings)
        request = task.requests(task.items[0], 0, lambda _: "")[0]
        assert isinstance(request, GenerateRequest)
        return request

    assert (first().temperature, first().top_p, first().top_k) == (0.7, 0.9, 0)
    own = first(sampling={"temperature": 0.4, "top_k": 7, "top_p": 0.5})
    assert (own.temperature, own.top_p, own.top_k) == (0.4, 0.5, 7)
