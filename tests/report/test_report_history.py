"""The past runs of a store as a table, JSON lines, a badge and a page; and the command."""

from __future__ import annotations

import html
import io
import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from gate.cli.main import main
from gate.report.history import alpha_spent, print_history, render_badge, render_history_lines
from gate.report.history_html import render_history_html
from gate.store.history import LocalHistory, Record, pvalues_of_runs


def run_on(day: int, verdict: str = "PASS", p: float = 0.5, series: str = "aaaa0000", **other: object) -> Record:
    values: dict[str, object] = {
        "time": f"2026-11-{day:02}T02:00:00+00:00",
        "series": series,
        "verdict": verdict,
        "p_value": p,
        "alpha": 0.01,
        "drop": 0.004,
        "flip_rate": 0.03,
        "baseline": "b" * 64,
        "candidate": "c" * 64,
        **other,
    }
    return Record.model_validate(values)


def test_alpha_spent_is_a_running_sum() -> None:
    assert alpha_spent([run_on(1), run_on(2), run_on(3)]) == pytest.approx([0.01, 0.02, 0.03])


def test_the_candidates_of_one_run_share_its_level_and_its_p_value() -> None:
    night = [run_on(1, name="int8", run="r1", p=0.2), run_on(1, "FAIL", name="int4", run="r1", p=0.001)]
    records = [run_on(0, p=0.7), *night, run_on(2, p=0.4)]
    assert alpha_spent(records) == pytest.approx([0.01, 0.02, 0.02, 0.03])
    assert pvalues_of_runs(records) == [0.7, 0.001, 0.4]
    console = Console(file=io.StringIO(), width=160, record=True)
    print_history(records, console)
    text = console.export_text()
    assert "3 runs, 1 FAIL" in text
    assert "int4" in text


def test_lines_have_every_run_and_the_alpha_spent() -> None:
    lines = [json.loads(line) for line in render_history_lines([run_on(1), run_on(2, "FAIL", 0.001)]).splitlines()]
    assert [line["verdict"] for line in lines] == ["PASS", "FAIL"]
    assert lines[1]["alpha_spent"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("verdict", "colour", "error"),
    [("PASS", "brightgreen", False), ("FAIL", "red", True), ("INCONCLUSIVE", "yellow", False)],
)
def test_badge_shows_the_last_run(verdict: str, colour: str, error: bool) -> None:
    badge = json.loads(render_badge([run_on(1), run_on(2, verdict, 0.0123)]))
    # the fields of https://shields.io/badges/endpoint-badge
    assert badge == {
        "schemaVersion": 1,
        "label": "quantgate",
        "message": f"{verdict}, drop +0.40 points, p = 0.0123",
        "color": colour,
        "isError": error,
    }


def test_table_has_every_run() -> None:
    out = io.StringIO()
    print_history([run_on(1), run_on(2, "FAIL", 1e-5)], Console(file=out, width=140))
    text = out.getvalue()
    assert "2026-11-02 02:00" in text
    assert "1e-05" in text
    assert "2 runs, 1 FAIL" in text


def test_page_has_a_point_per_run_in_both_plots_and_loads_nothing() -> None:
    page = render_history_html([run_on(1), run_on(2, "FAIL", 1e-5), run_on(3, "INCONCLUSIVE")])
    assert [page.count(f'class="{name}"') for name in ("PASS", "FAIL", "INCONCLUSIVE")] == [2, 2, 2]
    assert "default-src 'none'" in html.unescape(page)
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)', page)


@pytest.mark.parametrize("count", [1, 2, 400])
def test_page_renders_any_number_of_runs(count: int) -> None:
    records = [
        run_on(1, p=1.0, drop=0.0, time=(date(2025, 1, 1) + timedelta(n)).isoformat() + "T00:00:00")
        for n in range(count)
    ]
    page = render_history_html(records)
    assert page.count("<tr>") == count + 1
    assert f"<title>{count} run{'' if count == 1 else 's'}, last PASS" in page


def test_hostile_text_is_escaped() -> None:
    page = render_history_html([run_on(1, candidate="<script>alert(1)</script>", series="<img src=x>"), run_on(2)])
    assert "<script" not in page
    assert "<img" not in page


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["history", *words])
    return int(left.value.code or 0)


def test_the_command_reads_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for record in (run_on(1), run_on(2), run_on(3, series="bbbb1111")):
        LocalHistory(tmp_path).append(record)
    assert run("--store", str(tmp_path), "-f", "jsonl", "--series", "aaaa", "--last", "1") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["time"] == "2026-11-02T02:00:00+00:00"
    assert run("--store", str(tmp_path), "-f", "badge", "-o", str(tmp_path / "badge.json")) == 0
    assert json.loads((tmp_path / "badge.json").read_text())["schemaVersion"] == 1


def test_empty_store_is_an_error_that_says_where_history_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--store", str(tmp_path)) == 2
    assert "has no run" in capsys.readouterr().err
