"""A report that is too long loses whole rows, says how many, and links to the full report."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.results import example, many_tasks

from gate.github.comment import COMMENT_LIMIT, comment_body
from gate.report import Result
from gate.report.markdown import render_markdown

RUN = "https://github.com/o/r/actions/runs/1"
WORST = "<@#|`&" * 4_000
"""Text that grows the most when it is escaped: six characters for each one."""


def rows(text: str) -> tuple[int, int]:
    """Return the numbers of rows in the tables of tasks and of flips."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    counts = {table.splitlines()[0].count("|"): len(table.splitlines()) - 2 for table in tables}
    return counts.get(9, 0), counts.get(6, 0)


def test_report_within_the_limit_is_complete() -> None:
    for verdict in ("PASS", "FAIL", "INCONCLUSIVE"):
        text = render_markdown(example(verdict))
        assert text == render_markdown(example(verdict), limit=len(text.encode()))
        assert "omitted" not in text
        assert rows(text) == (3, len(example(verdict).flips))


def test_flips_are_dropped_before_tasks() -> None:
    result = many_tasks(100, flips=10, text="x" * 150)
    whole = len(render_markdown(result).encode())
    text = render_markdown(result, limit=whole - 1_000, full_report=RUN)
    assert rows(text)[0] == 100
    assert 0 < rows(text)[1] < 10
    assert f"{10 - rows(text)[1]} of 10 flips omitted" in text
    shorter = render_markdown(result, limit=15_000, full_report=RUN)
    assert rows(shorter)[1] == 0
    assert 0 < rows(shorter)[0] < 100
    assert f"{100 - rows(shorter)[0]} of 100 tasks, 10 of 10 flips, " in shorter
    assert shorter.count(f"]({RUN})") == 2


def test_remaining_tasks_have_the_smallest_p_values() -> None:
    result = many_tasks(400)
    result = result.model_copy(update={"tasks": result.tasks[::-1]})
    text = render_markdown(result, limit=10_000)
    shown = [int(found) for found in re.findall(r"<code>task-(\d+)-x</code> \(fails\) \|", text)]
    assert shown == sorted(range(len(shown)), reverse=True)
    assert len(shown) > 20


def test_rows_are_never_split() -> None:
    result = many_tasks(60, text="<b>|" * 20)
    whole = render_markdown(result)
    full_rows = {line for line in whole.splitlines() if line.startswith("|")}
    for limit in range(6_000, len(whole.encode()), 977):
        text = render_markdown(result, limit=limit)
        assert len(text.encode()) <= limit
        assert {line for line in text.splitlines() if line.startswith("|")} <= full_rows
        assert text.count("<details") == text.count("</details>")


def test_largest_accepted_file_fits_into_a_comment() -> None:
    result = many_tasks(2_000, flips=2_000, text=WORST[:20_000])
    words = " ".join("a@" for _ in range(6_000))
    result = result.model_copy(
        update={
            "reasons": [words] * 500,
            "notes": [WORST] * 500,
            "rule": words,
            "baseline": dict.fromkeys(("label", "fingerprint", "engine", "loaded_dtype", "hardware"), WORST),
            "candidate": dict.fromkeys(("label", "fingerprint", "engine", "loaded_dtype", "hardware"), WORST),
            "provenance": {"quantgate": words, "seed": words, "reproduce": [WORST] * 500},
            "sensitivity": result.sensitivity.model_copy(update={"blind_tasks": [words] * 100}),
        }
    )
    body = comment_body(result, "x" * 64, RUN, "footer")
    assert len(body.encode()) <= COMMENT_LIMIT
    assert body.endswith("\nfooter\n")


@settings(max_examples=60, deadline=None)
@given(
    tasks=st.integers(1, 1_500),
    flips=st.integers(0, 40),
    text=st.text(max_size=400),
    limit=st.integers(9_000, COMMENT_LIMIT),
)
def test_limit_holds_for_any_text(tasks: int, flips: int, text: str, limit: int) -> None:
    result: Result = many_tasks(tasks, flips, text.encode("utf-8", "replace").decode())
    found = render_markdown(result, limit=limit, full_report=RUN, name="nightly")
    assert len(found.encode()) <= limit
    hidden = tasks - rows(found)[0]
    assert (f"{hidden:,} of {tasks:,} tasks" in found) == (hidden > 0)


def test_limit_below_the_shortest_report_is_an_error() -> None:
    with pytest.raises(ValueError, match="even without any rows"):
        render_markdown(example("PASS"), limit=100)
    with pytest.raises(ValueError, match="not an address"):
        render_markdown(example("PASS"), full_report="javascript:x")
