"""After an early stop, every report marks the intervals, which assume a fixed number of items."""

from __future__ import annotations

import io

from rich.console import Console

from gate.decision.run_sections import EarlyStopping
from gate.report import Result
from gate.report.html import render_html
from gate.report.junit import render_junit
from gate.report.markdown import render_markdown
from gate.report.terminal import print_result
from tests.support.binary_results import answers, result_of

MARK = "not adjusted for the stop"


def reports(result: Result) -> list[str]:
    console = Console(file=io.StringIO(), width=250, highlight=False)
    print_result(result, console)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return [stream.getvalue(), render_markdown(result), render_html(result), render_junit(result)]


def test_every_report_marks_the_intervals_of_a_stopped_run() -> None:
    running = result_of({"arc": answers(40, 10, 200)})
    early = EarlyStopping(alpha=0.01, log_e_value=9.0, stopped=True, items=200, total=1000)
    stopped = running.model_copy(update={"early_stop": early})
    assert all(MARK in text for text in reports(stopped))
    assert not any(MARK in text for text in reports(running))
