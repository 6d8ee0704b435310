"""`gate report` of a result.json with impossible numbers: an error that names the number, and no traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.commands import run_gate

RESULT = sorted((Path(__file__).parent / "old_results").glob("*.json"))[-1]


@pytest.mark.parametrize(
    ("number", "complaint"),
    [
        ("NaN", "the number NaN is not finite"),
        ("-Infinity", "the number -Infinity is not finite"),
        ("1e999", "the number 1e999 is not finite"),
        ("9" * 30, "has 30 digits"),
        ("9" * 5000, "has 5000 digits"),
        ("9" * 19, "should be less than or equal to 1000000000"),
        ("-1", "should be greater than or equal to 0"),
    ],
)
@pytest.mark.parametrize("form", ["html", "markdown"])
def test_an_impossible_number_of_items_is_refused(tmp_path: Path, number: str, complaint: str, form: str) -> None:
    text = re.sub(r'"n": \d+', f'"n": {number}', RESULT.read_text(encoding="utf-8"), count=1)
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    code, _, err = run_gate("report", path, "--format", form)
    assert code == 2
    assert complaint in err
