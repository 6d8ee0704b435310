"""Templates: texts and values from the fields of a document, in a sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gate.errors import TaskError
from gate.tasks.documents import Document
from gate.tasks.templates import Template


def document(**fields: Any) -> Document:
    return Document(fields, Path("a.jsonl"), 3, "0" * 64)


def text(source: str, **fields: Any) -> str:
    return Template(source, "prompt").text(document(**fields))


def value(source: str, **fields: Any) -> Any:
    return Template(source, "choices").value(document(**fields))


def test_text_is_rendered_without_html_escapes_and_with_its_last_newline() -> None:
    assert text("Q: {{ q }}\n", q="<b> & 'c'") == "Q: <b> & 'c'\n"
    assert text("{% for c in cs %}{{ loop.index }}. {{ c }}\n{% endfor %}", cs="ab") == "1. a\n2. b\n"


@pytest.mark.parametrize("source", ["{{ x }}", " {{x}}\n", "{{- x -}}", "{{-x-}}", "{{ x or [] }}", "{{+ x }}"])
def test_a_single_expression_keeps_its_type(source: str) -> None:
    assert value(source, x=["a", "b"]) == ["a", "b"]
    assert value(source, x=2) == 2


def test_other_templates_give_text() -> None:
    assert value("{{ x }}{{ x }}", x=1) == "11"
    assert value("n{{ x }}", x=1) == "n1"
    assert value("{{ -x }}", x=1) == -1
    assert value("{{ '}}' }}", x=1) == "}}"


def test_fromjson_parses_a_cell() -> None:
    assert value("{{ x | fromjson }}", x='["a", 1]') == ["a", 1]


@pytest.mark.parametrize("name", ["self", "args", "range", "loop", "cycler", "environment"])
def test_a_field_may_have_any_name(name: str) -> None:
    assert value("{{ other }}", **{name: "x", "other": 1}) == 1
    assert text("{{ other }}", **{name: "x", "other": 1}) == "1"


@pytest.mark.parametrize("render", [text, value])
def test_a_missing_field_is_refused_with_the_available_fields(render: Any) -> None:
    key = "prompt" if render is text else "choices"
    with pytest.raises(TaskError) as caught:
        render("{{ qestion }}", question="?", gold=1)
    assert "a.jsonl:3" in caught.value.message
    assert "uses a field that the document lacks" in caught.value.message
    assert "qestion" in caught.value.message
    assert caught.value.hint == f"Check `{key}:`; the document has: question, gold."


@pytest.mark.parametrize("source", ["{{ x", "{% for %}", "{{ x | nofilter }}", "{{ x y }}", "{% if x %}"])
def test_an_invalid_template_is_refused_with_its_key(source: str) -> None:
    with pytest.raises(TaskError, match=r"^choices is not a valid Jinja2 template"):
        value(source, x=1)


@pytest.mark.parametrize(
    "source",
    ["{{ x + 1 }}", "{{ x | fromjson }}", "{{ x.nothing.more }}", "{{ 1 / 0 }}", "{{ x[5] }}"],
)  # fmt: skip
def test_a_template_that_fails_on_a_document_names_its_line(source: str) -> None:
    for render in (text, value):
        with pytest.raises(TaskError, match=r"^a\.jsonl:3: "):
            render(source, x="a")


ESCAPES = [
    "{{ ().__class__ }}",
    "{{ ().__class__.__bases__[0].__subclasses__() }}",
    "{{ x.__class__ }}",
    "{{ x['__class__'] }}",
    "{{ x | attr('__class__') | string }}",
    "{{ self.__init__.__globals__ }}",
    "{{ x.format.__globals__ }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '%s' | format(x.__class__) }}",
    "{{ cycler.__init__ }}",
    "{{ lipsum() }}",
    "{{ joiner }}",
    "{{ range(1000000000) }}",
    "{% for i in range(1000000000) %}{% endfor %}",
    "{{ dict(a=1) }}",
    "{% set _ = many.append(1) %}",
    "{{ many.clear() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ open('/etc/passwd') }}",
    "{{ ''.__class__.__mro__ }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_cannot_leave_the_sandbox(source: str) -> None:
    many = [1]
    for render in (text, value):
        with pytest.raises(TaskError):
            render(source, x="a", many=many)
    assert many == [1]
