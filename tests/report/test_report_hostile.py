"""Text of models, tasks and files is data: in a report it is never markup, a link, a mention or a command."""

from __future__ import annotations

import io
import re
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from rich.console import Console
from support.hostile import HOSTILE, naming
from support.hostile_result import result_with

from gate.report import print_result
from gate.report.escape import log_line, markdown, one_line, prose
from gate.report.markdown import render_markdown

ALLOWED = {"code", "/code", "details", "/details", "details open", "summary", "/summary", "br", "wbr"}
GITHUB = MarkdownIt("commonmark", {"html": True, "linkify": True}).enable(["table", "strikethrough", "linkify"])


def without_drawing(report: str) -> str:
    """The report but for its one code block, in which nothing is markup."""
    before, inside, after = report.split("\n```\n")
    assert not set("`<>") & set(inside)
    return f"{before}\n{after}"


def tokens_of(text: str) -> list[Any]:
    flat = []
    for token in GITHUB.parse(text):
        flat += [token, *(token.children or [])]
    return flat


@cache
def rendered(text: str) -> tuple[str, str]:
    """Return the Markdown and the terminal report of a result full of hostile text."""
    result = result_with(text)
    out = io.StringIO()
    print_result(result, Console(file=out, width=160, highlight=False))
    return render_markdown(result), out.getvalue()


def test_the_parser_used_here_does_see_what_must_not_be_there() -> None:
    """Without escaping, the same parser finds links, images, HTML and mail addresses in these strings."""
    found = {token.type for text in HOSTILE for token in tokens_of(text)}
    assert {
        "link_open",
        "image",
        "html_inline",
        "html_block",
        "heading_open",
        "code_inline",
        "fence",
    } <= found
    assert sum("link_open" in {t.type for t in tokens_of(text)} for text in HOSTILE) >= 8
    assert len(set(HOSTILE)) >= 350


def test_hostile_text_leaves_no_markup_but_the_templates_and_the_tables_as_they_are() -> None:
    for text in HOSTILE:
        with naming(text):
            report, _ = rendered(text)
            tokens = tokens_of(report)
            assert not {"link_open", "image", "code_inline", "em_open", "s_open", "code_block", "hr"} & {
                token.type for token in tokens
            }
            (drawing,) = [token for token in tokens if token.type == "fence"]
            assert (drawing.info, drawing.markup, len(drawing.content.splitlines())) == (
                "",
                "```",
                3,
            )  # two tasks, the axis
            html = "".join(token.content for token in tokens if token.type.startswith("html"))
            assert set(re.findall(r"<([^>]*)>", html)) <= ALLOWED
            assert [token.tag for token in tokens if token.type == "heading_open"] == ["h2"]
            tables: list[list[int]] = []
            for token in tokens:
                if token.type == "table_open":
                    tables.append([])
                elif token.type == "tr_open":
                    tables[-1].append(0)
                elif token.type in ("td_open", "th_open"):
                    tables[-1][-1] += 1
            assert [set(rows) for rows in tables] == [{8}, {5}, {7}]
            assert [len(rows) for rows in tables] == [3, 11, 2]
            # markdown-it and GitHub drop cells beyond the header's, so the source is counted too
            rows = [line.replace("\\|", "") for line in without_drawing(report).splitlines() if line.startswith("|")]
            assert {line.count("|") - 1 for line in rows} == {8, 5, 7}


def test_hostile_text_outside_code_is_only_words_and_numbers() -> None:
    """GitHub links mentions, issues and commits in text, but not in code."""
    for text in HOSTILE:
        with naming(text):
            report, _ = rendered(text)
            outside = re.sub(r"<code>[^<]*</code>", "", without_drawing(report).replace("<wbr>", ""))
            assert not re.search(r"[@#\[\]\\`~$]", outside.replace("## ", "", 1))
            assert "http" not in outside
            assert "www." not in outside
            assert "evil.example" not in outside
            assert "GH-" not in outside
            assert report.count("<code>") == report.count("</code>") > 10
            assert not re.search(
                "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]",
                report,
            )


def test_hostile_text_is_no_command_to_the_workflow_runner() -> None:
    for text in HOSTILE:
        with naming(text):
            for report in rendered(text):
                for line in re.split(r"[\r\n\x85\u2028\u2029]", report):
                    assert not line.strip().startswith("::")
                    assert "##[" not in line
            assert "\x1b" not in rendered(text)[1]


def test_escaped_text_shows_exactly_its_characters() -> None:
    for text in HOSTILE:
        tokens = tokens_of(markdown(text, 10_000))
        shown = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
        assert shown == (one_line(text, 10_000) or "(empty)"), ascii(text)[:100]


def test_a_log_line_is_one_line_without_commands() -> None:
    for text in HOSTILE:
        line = log_line(text)
        assert len(line.splitlines()) <= 1, ascii(text)[:100]
        assert len(one_line(text)) <= 200, ascii(text)[:100]
        assert "::" not in line
        assert "##[" not in line


def test_a_terminal_that_breaks_lines_makes_no_command_either() -> None:
    out = io.StringIO()
    reason = "x" * 150 + ":::error title=a::b " + "y" * 100
    result = result_with("x").model_copy(update={"reasons": [reason], "notes": [reason]})
    for width in range(100, 180):
        print_result(result, Console(file=out, width=width, highlight=False), flips=0)
    assert not any(line.strip().startswith("::") for line in out.getvalue().splitlines())


def test_long_text_is_cut_with_a_mark() -> None:
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
    assert one_line("x" * 10, 10) == "x" * 10


def test_prose_keeps_words_and_numbers_and_codes_names() -> None:
    plain = "Fisher's test (pooled, 90 % of 1,546 items): p = 2.5e-06, non-inferiority -0.5 to +3; done."
    assert prose(plain) == plain
    assert prose("on its own: support_faq, arc.") == "on its own: <code>support&#95;faq</code>, arc."
    assert prose("(www.x.y)") == "(<code>www&#46;x&#46;y</code>)"
