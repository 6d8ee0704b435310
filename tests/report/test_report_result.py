"""result.json, the terminal and Markdown agree about one decision."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from rich.console import Console
from support.binary_results import answered, answers, result_of

from gate.config import DecisionSettings
from gate.decision import decide, wording
from gate.decision.run_sections import EarlyStopping
from gate.errors import SampleError
from gate.importers.build import task_samples
from gate.report import Result, build_result, print_result, read_result, to_json
from gate.report.flips import worst_flips
from gate.report.html import render_html
from gate.report.markdown import render_markdown
from gate.samples import ModelSamples, pair

DESIGN = {
    "": "schema_version verdict exit_code rule alpha margin p_value reasons certification tasks aggregate baseline "
    "candidate provenance",
    "tasks": "task metric role n baseline candidate drop drop_ci90 regressions improvements flip_rate all_flip_rate "
    "p_exact p_mid p_holm can_reject mde kl_mean",
    "aggregate": "pooled max fisher omnibus",
}


@pytest.fixture(scope="module")
def failing() -> Result:
    return result_of({"arc": answers(40, 10, 200), "faq": answers(2, 3, 60)}, roles={"faq": "advisory"})


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return Result.model_json_schema(by_alias=True)


def terminal(result: Result, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=160, highlight=False)
    print_result(result, console, **options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_result_json_has_every_documented_field(failing: Result) -> None:
    data = json.loads(to_json(failing))
    assert set(DESIGN[""].split()) <= set(data)
    assert set(DESIGN["aggregate"].split()) <= set(data["aggregate"])
    for task in data["tasks"]:
        assert set(DESIGN["tasks"].split()) <= set(task)
    for name in DESIGN["aggregate"].split():
        assert 0 <= data["aggregate"][name]["p"] <= 1
    assert "draws" in data["aggregate"]["omnibus"]
    assert next(iter(data)) == "schema_version"
    assert (data["schema_version"], data["verdict"], data["exit_code"]) == (1, "FAIL", 1)
    assert (data["baseline"]["label"], data["candidate"]["label"]) == ("org/base", "out/awq")
    assert data["provenance"]["seconds"] == 1.5
    assert data["provenance"]["reproduce"] == ["gate compare a b"]
    assert data["provenance"]["seed"] == 7


def test_numbers_are_proportions_and_p_values_are_not_rounded(failing: Result) -> None:
    task = json.loads(to_json(failing))["tasks"][0]
    assert (task["n"], task["regressions"], task["improvements"]) == (200, 40, 10)
    assert task["drop"] == 0.15
    assert task["baseline"] - task["candidate"] == pytest.approx(0.15)
    assert task["flip_rate"] == 0.25
    assert len(str(task["p_exact"])) > 10


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_results_follow_the_schema_and_survive_a_round_trip(
    tmp_path: Path, schema: dict[str, Any], verdict: str
) -> None:
    b = 40 if verdict == "FAIL" else 10
    settings = {"certify": 0.01} if verdict == "INCONCLUSIVE" else {}
    result = result_of({"arc": answers(b, 10, 200)}, settings=settings, notes=("a note",))
    assert result.verdict == verdict
    text = to_json(result)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(text), schema, jsonschema.Draft202012Validator)
    (tmp_path / "r.json").write_text(text)
    assert read_result(tmp_path / "r.json") == result
    assert to_json(read_result(tmp_path / "r.json")) == text


def test_schema_refuses_other_data(failing: Result, schema: dict[str, Any]) -> None:
    data = json.loads(to_json(failing))
    for wrong in (
        {**data, "verdict": "MAYBE"},
        {**data, "extra": 1},
        {k: v for k, v in data.items() if k != "tasks"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "does not exist"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "is not a quantgate result: it has no schema_version"),
        (b'{"schema_version": 2}', "schema version 2; expected 1"),
        (b'{"schema_version": 1}', "is not a valid result: verdict: Field required"),
    ],
)
def test_file_that_is_not_a_result_is_refused_by_name(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SampleError, match=complaint) as caught:
        read_result(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_result_without_provenance_is_rendered(failing: Result) -> None:
    bare = failing.model_copy(update={"baseline": {}, "candidate": {}, "provenance": {}})
    assert "quantgate: FAIL" in render_markdown(bare)
    assert "FAIL" in terminal(bare)


def test_different_devices_and_dtypes_are_noted() -> None:
    about = [{"device": "cpu", "loaded_dtype": "float32"}, {"device": "cuda:0", "loaded_dtype": "float16"}]
    notes = result_of({"arc": answers(1, 1, 20)}, about=about).notes
    assert notes == [
        "The stacks differ (device: cpu against cuda; compute dtype: float32 against float16): the comparison does not "
        "separate the model from the stack.",
    ]
    equal = [{**facts, "weights": "w" * 64} for facts in about]
    (note,) = [note for note in result_of({"arc": answers(1, 1, 20)}, about=equal).notes if "stacks" in note]
    assert note.endswith("the candidate has the baseline's weights, so this is what the comparison tests.")
    assert result_of({"arc": answers(1, 1, 20)}, about=[about[0], about[0]]).notes == []


def test_the_report_names_the_quantisation_that_was_loaded(failing: Result) -> None:
    facts: dict[str, Any] = {"fingerprint": "f" * 64, "engine": "transformers", "loaded_dtype": "bfloat16"}
    facts |= {"hardware": "L4", "quantization": "compressed-tensors W4A16 int"}
    result = failing.model_copy(update={"candidate": {**failing.candidate, **facts}})
    (line,) = [line for line in render_markdown(result).splitlines() if line.startswith("Candidate: ")]
    assert "quantisation <code>compressed-tensors W4A16 int</code> on <code>L4</code>" in line
    assert "compressed-tensors W4A16 int" in render_html(result)
    plain = failing.model_copy(update={"candidate": {**failing.candidate, **facts, "quantization": "none"}})
    assert "quantisation" not in render_markdown(plain)


def test_every_report_shows_the_same_numbers(failing: Result) -> None:
    in_terminal, in_markdown = terminal(failing), render_markdown(failing)
    assert len(failing.tasks) == 2
    for task in failing.tasks:
        for number in (
            f"{task.n:,}",
            wording.percent(task.baseline),
            wording.percent(task.candidate),
            wording.drop_interval(task),
            wording.number(task.p_exact),
            wording.number(task.p_holm),
        ):
            assert number in in_terminal
            assert number in in_markdown
        assert f"{task.regressions}/{task.improvements}" in in_terminal
        assert f"{task.regressions} worse, {task.improvements} better" in in_markdown
        assert f"{task.task} (advisory)" in in_terminal or task.role == "gating"
    for report in (in_terminal, in_markdown):
        assert "FAIL" in report
        assert "1 task, 200 paired items" in report
        assert f"p = {failing.p_value:.3g}" in report
    assert "<summary>10 of 42 regressions (not ranked: no log-likelihoods)</summary>" in in_markdown
    assert in_markdown.count("<details open>") == 1
    assert in_markdown.index("FAIL") < 40


def test_pass_collapses_the_flips_and_states_the_detectable_drop() -> None:
    result = result_of({"arc": answers(9, 10, 300)})
    text = render_markdown(result)
    assert "PASS" in text.splitlines()[0]
    assert "<details open>" not in text
    assert result.sensitivity.detectable_drop is not None
    assert f"A true drop of {100 * result.sensitivity.detectable_drop:.2g} points on every task" in text
    assert "80% power" in text


def test_sentences_stay_plain_in_markdown() -> None:
    """Only names become code; the words of the reports are prose."""
    for b, settings in (
        (40, {}),
        (10, {}),
        (10, {"certify": 0.01}),
        (40, {"margin": 0.01}),
        (0, {"certify": 0.2}),
    ):
        result = result_of({"arc": answers(b, 10, 200)}, settings=settings)
        for reason in result.reasons:
            assert f"**{reason}**" in render_markdown(result)
        assert settings.get("margin") or wording.detectable_drop(result) in render_markdown(result)


def test_inconclusive_report_says_how_many_items_are_needed() -> None:
    result = result_of({"arc": answers(10, 10, 200)}, settings={"certify": 0.01})
    assert result.certification is not None
    assert result.certification.items_needed == 6183
    sentence = (
        "If the true drop is zero and the flip rate stays as observed, about 6,200 items would prove it with 80% power."
    )
    assert sentence in render_markdown(result)
    assert sentence in " ".join(terminal(result).split())
    assert sentence in render_html(result)
    assert "certify 1 point, seed" in render_markdown(result)
    assert "certify" not in render_markdown(result_of({"arc": answers(10, 10, 200)}))


@pytest.mark.parametrize(
    ("shown", "regressions", "ranked", "title"),
    [
        (10, 42, True, "The 10 worst of 42 regressions"),
        (1, 1_042, True, "The worst of 1,042 regressions"),
        (10, 42, False, "10 of 42 regressions (not ranked: no log-likelihoods)"),
        (1, 42, False, "1 of 42 regressions (not ranked: no log-likelihoods)"),
        (1, 1, True, "The only regression"),
        (1, 1, False, "The only regression"),
    ],
)
def test_regressions_are_called_the_worst_only_if_they_are_ranked(
    shown: int, regressions: int, ranked: bool, title: str
) -> None:
    assert wording.flips_title(shown, regressions, ranked) == title


def test_flips_with_log_likelihoods_are_ranked(failing: Result) -> None:
    known = [failing.flips[0].model_copy(update={"shift": 2.5}), *failing.flips[1:]]
    assert "The 10 worst of 42 regressions" in render_markdown(failing.model_copy(update={"flips": known}))


def test_no_flips_give_no_table_of_flips(failing: Result) -> None:
    clean = result_of({"arc": answers(0, 3, 30)})
    assert clean.flips == []
    assert "regression" not in render_markdown(clean)
    assert "regression" not in terminal(clean)
    assert "5 of 42 regressions (not ranked: no log-likelihoods)" in terminal(failing)
    assert "regressions" not in terminal(failing, flips=0)


def test_the_worst_flips_are_those_whose_log_likelihood_fell_most() -> None:
    shifts = [0.5, 3.0, 1.0]
    a = answered("arc", [True] * 3, choice_logprobs=[[-1.0, -2.0, -9.0]] * 3)
    b = answered("arc", [False] * 3, choice_logprobs=[[-1.0, -2.0 + 1.0 + s - 1.0, -9.0] for s in shifts])
    pairing = pair(ModelSamples("a", {"arc": a}), ModelSamples("b", {"arc": b}))
    flips = worst_flips(pairing.tasks, 2)
    assert [flip.item_id for flip in flips] == ["arc-001", "arc-002"]
    assert [flip.shift for flip in flips] == pytest.approx([3.0, 1.0], abs=1e-6)
    assert (flips[0].prompt, flips[0].target, flips[0].baseline, flips[0].candidate) == (
        "Question 1 of arc?", "yes", "yes", "no",
    )  # fmt: skip


def test_without_log_likelihoods_tasks_take_turns() -> None:
    result = result_of({"arc": answers(8, 0, 20), "faq": answers(8, 0, 20), "few": answers(1, 0, 20)})
    assert len(result.flips) == 10
    assert [flip.task for flip in result.flips[:4]] == ["arc", "faq", "few", "arc"]
    assert {flip.shift for flip in result.flips} == {None}


def test_flips_of_generated_text_show_the_text() -> None:
    a = answered("say", [True], output=["four"], target=["4"], choices=[None], prompt=[None])
    b = answered("say", [False], output=["2"], target=["4"], choices=[None], prompt=[None])
    (flip,) = worst_flips(pair(ModelSamples("a", {"say": a}), ModelSamples("b", {"say": b})).tasks)
    assert (flip.prompt, flip.target, flip.baseline, flip.candidate) == (None, "4", "four", "2")


def test_impossible_log_likelihoods_do_not_break_the_order() -> None:
    a = answered("arc", [True] * 2, choice_logprobs=[[-1.0, -2.0], [-1.0, float("-inf")]])
    b = answered("arc", [False] * 2, choice_logprobs=[[-2.0, -1.0], [float("-inf"), -1.0]])
    flips = worst_flips(pair(ModelSamples("a", {"arc": a}), ModelSamples("b", {"arc": b})).tasks)
    assert [flip.item_id for flip in flips] == ["arc-000", "arc-001"]
    json.dumps([flip.model_dump() for flip in flips], allow_nan=False)


@pytest.mark.parametrize(("value", "text"), [(0.0, "0.00"), (0.05, "+5.00"), (-0.0123, "-1.23"), (1.0, "+100.00")])
def test_points_carry_their_sign(value: float, text: str) -> None:
    assert wording.points(value) == text


def test_number_formats() -> None:
    assert wording.percent(0.7534) == "75.3%"
    assert wording.number(None) == "-"
    assert wording.number(2.647e-08) == "2.65e-08"
    assert wording.p_value(1.0) == "1"
    assert wording.p_value(1e-6, bound=True) == "≤ 1e-06"


def test_blind_tasks_are_named() -> None:
    result = result_of({"arc": answers(20, 20, 200), "tiny": answers(1, 1, 20)})
    sentence = "Tasks with too few flips to be significant, whatever their direction: tiny."
    assert wording.detectable_drop(result).endswith(sentence)
    assert wording.headline(result) == "2 tasks, 220 paired items"


def test_the_detectable_drop_of_graded_scores_is_marked_as_an_approximation() -> None:
    rng = np.random.default_rng(0)
    sides = [
        ModelSamples(label, {"grade": task_samples("grade", "f1", {
            "item_id": [str(n) for n in range(30)], "score": np.round(rng.random(30), 2)})})
        for label in "ab"
    ]  # fmt: skip
    pairing = pair(*sides)
    settings = DecisionSettings(draws=10_000)
    result = build_result(decide(pairing.tasks, settings), pairing, *sides, settings, 0, [])
    assert wording.detectable_drop(result).endswith("is detected with 80% power (an approximation).")
    assert re.search(r"sign-flip permutation", render_markdown(result))


def test_subtasks_are_shown_and_are_omitted_first() -> None:
    result = result_of({"mmlu": answers(40, 10, 200)})
    (row,) = result.tasks
    subtasks = [
        row.model_copy(update={"task": name, "role": "advisory", "p_exact": p, "p_holm": None})
        for name, p in (("anatomy", 0.5), ("law", 0.001))
    ]
    result = result.model_copy(update={"tasks": [row.model_copy(update={"subtasks": subtasks})]})
    whole = render_markdown(result)
    assert "2 subtasks" in whole
    assert whole.index("<code>law</code> of <code>mmlu</code>") < whole.index("<code>anatomy</code>")
    cut = render_markdown(result, limit=len(whole.encode()) - 1)
    assert "1 of 2 subtasks" in cut
    assert "law" in cut
    assert "anatomy" not in cut


@pytest.mark.parametrize("stopped", [True, False])
def test_early_stop_says_what_it_saved(stopped: bool) -> None:
    early = EarlyStopping(
        alpha=0.01,
        log_e_value=math.log(120 if stopped else 3),
        stopped=stopped,
        items=300 if stopped else 1000,
        total=1000,
    )
    result = result_of({"arc": answers(40, 10, 200)}).model_copy(update={"early_stop": early})
    out = io.StringIO()
    print_result(result, Console(file=out, width=160))
    for text in (render_markdown(result), out.getvalue(), render_html(result)):
        assert "threshold 100" in text
        assert ("Stopped after 300 of 1,000 gating items" in text) == stopped
        assert ("700 items" in text) == stopped
        assert ("e-value 120" in text) == stopped
        assert ("1,000 items were evaluated" in text) != stopped
        assert ("e-value 3," in text) != stopped


def test_early_stop_at_the_last_look_saved_nothing() -> None:
    early = EarlyStopping(alpha=0.01, log_e_value=5.0, stopped=True, items=1000, total=1000)
    report = render_markdown(result_of({"arc": answers(40, 10, 200)}).model_copy(update={"early_stop": early}))
    assert "saved" not in report
    assert "the last of 1,000 gating items" in report


def test_plot_without_all_tasks_says_so() -> None:
    result = result_of({f"task{n:02}": answers(1 + n, 1, 60) for n in range(33)})
    report = render_markdown(result)
    assert "The plot shows the 30 tasks with the smallest p." in report
    plot = report.split("\n```\n")[1]
    assert "task32" in plot
    assert "task00" not in plot
    assert "The plot shows" not in render_markdown(result_of({"arc": answers(4, 1, 60)}))
