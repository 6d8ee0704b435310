"""The section "Behaviour" in every form of the report."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from rich.console import Console

from gate.config import DecisionSettings
from gate.decision import decide
from gate.report.behaviour import behaviour_tables
from gate.report.detail import build_detail
from gate.report.flips import worst_flips
from gate.report.html import render_html
from gate.report.markdown import render_markdown
from gate.report.result import Result
from gate.report.terminal import print_result
from gate.samples import ModelSamples, Pairing, TaskSamples, pair
from gate.samples.record import SAMPLE_SCHEMA


def compared(**candidate: Any) -> tuple[Result, Pairing]:
    """Return the result and the pairs of 40 texts of 60 bytes and 12 tokens, each less likely to the candidate."""
    base = {"task": "t", "repeat": 0, "metric": "loglikelihood_per_byte", "tokens_out": 12}
    sides = []
    for name, logprob in (("a", -2.0), ("b", -2.1)):
        rows = [
            base
            | {"item_id": f"i{number}", "prompt": f"{number:060d}", "score": logprob * 12 / 60}
            | {"choice_logprobs": [logprob * 12], "token_logprobs": [logprob] * 12}
            | ({} if name == "a" else {"kl": 0.25, "kl_variance": 0.01, "same_top": True} | candidate)
            for number in range(40)
        ]
        table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
        about = {
            "label": name,
            "fingerprint": "base",
            "weights_bytes": 269_000_000,
            "sets": {"t": {"seconds": 2.0, "tokens": 480, "peak_memory": 1_500_000_000}},
        }
        sides.append(ModelSamples(name, {"t": TaskSamples("t", base["metric"], table, reference="base")}, about))
    pairing = pair(*sides)
    decision = decide(pairing.tasks, DecisionSettings())
    about = [{"label": side.label, **side.about} for side in sides]
    rest = {"baseline": about[0], "candidate": about[1], "flips": [], "notes": [], "provenance": {}}
    return Result.model_validate({**decision.model_dump(), **rest}), pairing


LATER = {
    "answer_tokens": 12, "later_positions": [1, 5], "later_kl": [0.5, 0.75], "later_kl_variance": [0.0, 0.0],
    "later_same_top": [True, False],
}  # fmt: skip


def test_every_form_shows_the_same_tables() -> None:
    result, pairing = compared(**LATER)
    tables = behaviour_tables(result)
    assert [table.title for table in tables] == [
        "KL divergence", "KL divergence by position", "Likelihood of text", "Cost",
    ]  # fmt: skip
    stream = io.StringIO()
    print_result(result, Console(file=stream, width=250))
    forms = [stream.getvalue(), render_markdown(result), render_html(result, build_detail(pairing))]
    for form in forms:
        for table in tables:
            assert table.title in form
            for row in table.rows:
                assert all(cell in form for cell in row)


def test_figures_are_stated_with_their_errors_and_directions() -> None:
    tables = {table.title: table for table in behaviour_tables(compared(**LATER)[0])}
    (ladder,) = tables["KL divergence"].rows
    # (0.25 + 11 * 0.625) / 12 per item; positions are a sample, so the mean has an error
    assert ladder[2].startswith("0.594 ± ")
    assert ladder[1] == "120"
    tokens, size = tables["Likelihood of text"].rows
    assert tokens[1:4] == ("480 tokens", "7.3891 → 8.1662", "1.1052")
    assert size[1:] == ("2,400 bytes", "1.4918 → 1.522", "1.0202", "-", "-")
    assert tables["KL divergence by position"].head == ("Task", "0", "1", "4 to 5")
    assert tables["Cost"].rows[0] == ("Baseline", "480", "2.0", "240", "269 MB", "1.50 GB")


def test_bounds_are_marked() -> None:
    (table, *_) = behaviour_tables(compared(kl_variance=None)[0])
    assert table.rows[0][2:8] == ("≥ 0.25",) * 6


def test_a_worse_perplexity_fails_and_is_not_written_as_a_percentage() -> None:
    result, _ = compared()
    assert result.verdict == "FAIL"
    (row,) = [line for line in render_markdown(result).splitlines() if "(fails)" in line]
    assert "%" not in row.split("worse")[0]
    assert result.tasks[0].unit == "score"


def test_the_worst_windows_of_a_text_are_listed_with_their_likelihoods() -> None:
    _, pairing = compared()
    (task,) = pairing.tasks
    for index, flip in enumerate(worst_flips([task])):
        assert (flip.baseline, flip.candidate) == ("-0.4 nats per byte", "-0.42 nats per byte")
        assert flip.item_id == sorted(task.baseline["item_id"].to_pylist())[index]
    assert build_detail(pairing).flips[0].candidate == "-0.42 nats per byte"


def test_results_of_old_versions_have_no_behaviour() -> None:
    result, _ = compared()
    old = result.model_dump()
    for task in old["tasks"]:
        for key in ("behaviour", "kl_error", "kl_is_bound"):
            del task[key]
    for side in ("baseline", "candidate"):
        old[side] = {"label": side}
    assert behaviour_tables(Result.model_validate(old)) == []
    assert "≥ 0.25" in render_markdown(Result.model_validate(old))  # they were lower bounds
