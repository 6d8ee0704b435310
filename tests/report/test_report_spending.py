"""The guarantee in a result from elsewhere is data, never markup or a workflow command."""

from __future__ import annotations

import io

import pyarrow as pa
from rich.console import Console

from gate.config import DecisionSettings
from gate.decision import Spending, decide
from gate.report import Result, build_result, print_result
from gate.report.markdown import render_markdown
from gate.samples import SAMPLE_SCHEMA, ModelSamples, TaskSamples, pair

HOSTILE = "x\n::error::pwned\n<img src=https://evil.example/a.png> @team [ok](http://evil.example) #1"


def result() -> Result:
    rows = [
        {"task": "t", "item_id": f"i{k}", "repeat": 0, "metric": "acc", "score": 1.0, "correct": True}
        for k in range(20)
    ]
    table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    a, b = (ModelSamples(name, {"t": TaskSamples("t", "acc", table)}) for name in ("a", "b"))
    pairing = pair(a, b)
    settings = DecisionSettings()
    made = build_result(decide(pairing.tasks, settings), pairing, a, b, settings, 0, ["gate compare a b"])
    spending = Spending(kind="lord", level=0.01, run=3, alarms=0, guarantee=HOSTILE)
    return made.model_copy(update={"spending": spending})


def test_guarantee_is_escaped_in_markdown() -> None:
    text = render_markdown(result())
    assert "Run 3 of its series" in text
    for raw in ("<img", "@team", "](http", "https://evil"):
        assert raw not in text


def test_guarantee_starts_no_command_in_a_log() -> None:
    out = io.StringIO()
    print_result(result(), Console(file=out, width=60))
    assert "Run 3 of its series" in out.getvalue()
    assert not [line for line in out.getvalue().splitlines() if line.lstrip().startswith("::")]
