"""The comments in docs/examples match the code. `UPDATE_EXAMPLES=1 pytest tests/github/test_examples.py` updates them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.results import example

from gate import __version__
from gate.github.comment import COMMENT_LIMIT, comment_body

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples"
RUN = "https://github.com/octo-org/octo-repo/actions/runs/7654321"


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_example_comment_matches_the_code(verdict: str, tmp_path: Path) -> None:
    body = comment_body(example(verdict), "quantgate", RUN).replace(f"quantgate {__version__}", "quantgate 1.x")
    written = tmp_path / f"comment-{verdict.lower()}.md"
    written.write_text(body, encoding="utf-8")
    committed = FOLDER / written.name
    if os.environ.get("UPDATE_EXAMPLES"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        committed.write_text(body, encoding="utf-8")
    assert committed.read_text(encoding="utf-8") == written.read_text(encoding="utf-8")
    assert len(body.encode()) < COMMENT_LIMIT
