"""A user's own template of the comment: sandboxed, bounded, and no text of a model becomes markup."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.results import example

from gate.errors import ConfigError
from gate.github.comment import COMMENT_LIMIT, comment_body, marker
from gate.github.template import TemplateFailedError, read_template
from gate.report.result import Result


@pytest.fixture
def body(tmp_path: Path):
    def render(text: str, result: Result | None = None) -> str:
        path = tmp_path / "comment.md.j2"
        path.write_text(text, encoding="utf-8")
        shown = result or example("FAIL")
        return comment_body(shown, "nightly", "https://x.y/1", change="**changed**", template=read_template(path))

    return render


def test_a_template_sees_the_result_and_the_report(body) -> None:
    text = body(
        "{{ result.verdict }} {{ candidates[0].drop | points }} of {{ candidates[0].n }}"
        "{% for task in result.tasks %}\n* {{ task.task }}: {{ task.drop | percent }}{% endfor %}\n"
        "{{ change }} [log]({{ run_url }}) {{ name }}\n{{ report }}"
    )
    lines = text.splitlines()
    assert lines[0] == marker("nightly")
    assert lines[1].startswith(f"<code>FAIL</code> <code>&#43;{100 * example('FAIL').drop:.2f}".replace(".", "&#46;"))
    assert lines[2].startswith("* <code>addition</code>: ")
    assert "**changed** [log](https://x.y/1) nightly" in text
    assert "| Task | n | Baseline |" in text


def test_text_of_a_model_never_becomes_markup(body) -> None:
    evil = "](https://evil) @team <img src=x> #1 `x` \n# title"
    flip = example("FAIL").flips[0].model_copy(update={"candidate": evil})
    text = body("{{ result.flips[0].candidate }}", example("FAIL").model_copy(update={"flips": [flip]}))
    shown = text.split("\n", 1)[1]
    assert not set("@<>`#[]()!") & set(
        shown.replace("<code>", "").replace("</code>", "").replace("&#", "").replace("<wbr>", "")
    )
    assert "\n" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ result.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.environ }}",
        "{{ result.update({'verdict': 'PASS'}) }}",
        "{% include '/etc/passwd' %}",
        "{{ missing }}",
        "{% for a in range(90000) %}{% for b in range(90000) %}{{ report }}{% endfor %}{% endfor %}",
        "{{ 'x' * 1000000000000 }}",
    ],
)
def test_a_template_can_neither_leave_the_sandbox_nor_fill_the_memory(body, text: str) -> None:
    with pytest.raises(TemplateFailedError):
        body(text)


def test_a_template_that_takes_too_long_is_stopped(body, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.github.template._SECONDS", 0.3)
    with pytest.raises(TemplateFailedError, match=r"takes more than 0\.3 s"):
        body("{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}")


def test_the_text_keeps_githubs_limit(body) -> None:
    assert len(body("x" * 60_000).encode()) <= COMMENT_LIMIT
    with pytest.raises(TemplateFailedError, match="longer than"):
        body("é" * 32_000 + "{{ report }}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{{ x", "line 1: "),
        (b"{% for %}", "line 1: "),
        (b"\xff", "utf-8"),
        (b"x" * 65_537, "larger than 64 KiB"),
        (None, "cannot be read: No such file"),
    ],
)
def test_an_unusable_template_is_an_input_error(tmp_path: Path, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / "t").write_bytes(data)
    with pytest.raises(ConfigError, match=message) as caught:
        read_template(tmp_path / "t")
    assert str(caught.value).startswith("input comment-template: ")
