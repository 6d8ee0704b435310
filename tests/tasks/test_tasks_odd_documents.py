"""Documents that are valid lines and still cannot be used end in an error that names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.errors import TaskError
from gate.tasks.documents import read_documents


@pytest.mark.parametrize(
    "line",
    ['{"question": "\\ud800"}', '{"n": ' + "9" * 5000 + "}", "[" * 100_000 + "]" * 100_000],
    ids=["half a surrogate pair", "a number of 5,000 digits", "100,000 brackets"],
)
def test_the_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"question": "fine"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"items\.jsonl:2"):
        read_documents(path, "odd")
