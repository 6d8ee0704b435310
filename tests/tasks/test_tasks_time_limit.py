"""Templates and patterns without an end are stopped with an error that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.opened import open_model
from support.tiny import write_tiny_model

import gate.engines.tokens.tokenizer
import gate.tasks.templates
from gate.common.time_limit import time_limit
from gate.errors import TaskError
from gate.tasks import Message
from gate.tasks.documents import Document
from gate.tasks.scoring import extract
from gate.tasks.templates import Template

_LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x"


def test_chat_template_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.engines.tokens.tokenizer, "_TEMPLATE_SECONDS", 0.3)
    model = write_tiny_model(tmp_path / "model")
    (model / "chat_template.jinja").write_text(_LOOPS)
    with pytest.raises(TaskError, match=r"cannot render the chat: it takes more than 0\.3 s"):
        open_model(model).render_chat([Message("user", "hello")])


def test_task_template_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.tasks.templates, "_SECONDS", 0.3)
    loops = "{% for a in xs %}{% for b in xs %}{% for c in xs %}{% endfor %}{% endfor %}{% endfor %}"
    document = Document({"xs": list(range(5_000))}, Path("items.jsonl"), 7, "id")
    with pytest.raises(TaskError, match=r"items\.jsonl:7: prompt cannot be rendered: it takes more than 0\.3 s"):
        Template(loops, "prompt").text(document)


def test_pattern_that_backtracks_without_an_end() -> None:
    with pytest.raises(TaskError, match="takes more than 2 s on a generated text"):
        extract("a" * 60 + "!", "^(a|a)*$")


def test_time_limit_leaves_no_timer_behind() -> None:
    with time_limit(0.05):
        pass
    end = 0
    for _ in range(2_000_000):  # longer than the limit
        end += 1
    assert end == 2_000_000
