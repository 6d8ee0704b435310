"""The same hostile strings on every way out to GitHub, read as GitHub and its runner read them.

Markdown goes through cmark-gfm, the library that GitHub itself renders with; raw HTML is let through, so that what is
looked at is what reaches GitHub's own sanitiser, which is not relied on.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.hostile import HOSTILE, naming
from support.hostile_result import PLACEHOLDER, pattern, result_with

from gate.cli.main import _say
from gate.github.annotations import annotation, verdict_annotations
from gate.github.client import GitHubError
from gate.github.comment import COMMENT_LIMIT, comment_body, marker
from gate.github.outputs import write_outputs
from gate.github.status import status_description
from gate.github.summary import append_summary
from gate.report.escape import log_line, one_line, prose

OURS = {
    "h2",
    "p",
    "strong",
    "code",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "pre",
    "summary",
    "blockquote",
    "br",
    "wbr",
}
REFERENCE = re.compile(
    r"@|#\d|GH-\d|://|www\.|\b[0-9a-f]{7,40}\b|:[a-z0-9_+-]+:|\$|[\w.+-]+/[\w.-]+|[\w-]+\.(example|com)", re.I
)
INVISIBLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]"
)


class Page(HTMLParser):
    """What a browser would be given: tags, comments, and the text outside of code."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.comments: list[str] = []
        self.plain = ""
        self.code: list[str] = []
        self._inside = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "code":
            self._inside += 1
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = max(0, self._inside - (tag == "code"))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_decl(self, decl: str) -> None:
        self.comments.append(decl)

    unknown_decl = handle_pi = handle_decl

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.code[-1] += data
        else:
            self.plain += data


def page(text: str) -> Page:
    return Page(cmarkgfm.github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES))


def check(text: str) -> None:
    """Assert that a comment with `text` in every foreign place is our own markup around code, and nothing else."""
    seen = page(text)
    assert set(seen.tags) <= OURS
    assert seen.attributes <= {"align", "open"}
    assert seen.comments == [" quantgate:nightly "]
    assert seen.tags.count("h2") == 1
    assert seen.tags.count("pre") == 1
    subtasks = "1 of 1 subtasks" not in seen.plain
    assert seen.tags.count("table") == 2 - ("10 of 10 flips" in seen.plain) + subtasks
    flips = (seen.tags.count("td") - 2 * 8 - 7 * subtasks) / 5
    assert flips == 10 or ("of 10 flips" in seen.plain and flips in range(10))
    assert not REFERENCE.search(seen.plain.replace("https", "")), seen.plain
    assert not INVISIBLE.search(seen.plain + "".join(seen.code))
    assert text.count("<!--") == text.count("-->") == 1


def test_this_parser_does_see_what_must_not_be_there() -> None:
    """Without escaping, cmark-gfm makes links, images, HTML and tables of these strings (scripts it stops itself)."""
    seen = [page(text[:2000].encode("utf-8", "replace").decode()) for text in HOSTILE]
    tags = {tag for one in seen for tag in one.tags}
    assert {
        "a",
        "img",
        "table",
        "h1",
        "pre",
        "ul",
        "ol",
        "hr",
        "blockquote",
        "del",
        "input",
    } <= tags
    assert sum("a" in one.tags for one in seen) >= 30
    assert sum(bool(one.comments) for one in seen) >= 8
    assert sum(bool(REFERENCE.search(one.plain)) for one in seen) >= 40


def test_in_the_comment_nothing_survives_but_characters() -> None:
    for text in HOSTILE:
        with naming(text):
            result = result_with(text)
            body = comment_body(result, "nightly")
            check(body)
            assert body.startswith(marker("nightly") + "\n## ")
            assert len(body.encode()) <= COMMENT_LIMIT
            shown = one_line(text.encode("utf-8", "replace").decode())  # a Result holds no lone surrogates
            assert not shown or any(one.strip() == shown.strip() for one in page(body).code)


def test_in_the_summary_nothing_survives_but_characters(tmp_path: Path) -> None:
    for text in HOSTILE:
        with naming(text):
            result = result_with(text)
            file = tmp_path / "summary.md"
            file.unlink(missing_ok=True)
            assert append_summary(file, result)
            check(marker("nightly") + file.read_text(encoding="utf-8"))


def commands(text: str) -> list[tuple[str, str]]:
    """Return the commands that GitHub's runner finds in a log: `::name properties::value`, `##[name]value`."""
    found = []
    for line in re.split(r"[\r\n\x0b\x0c\x85\u2028\u2029]", text):
        new = re.match(r"\s*::([^:\s]+)( [^\r\n]*?)?::(.*)", line)
        old = re.search(r"##\[([^\]]*)\]", line)
        found += [(one[1], one[0]) for one in (new, old) if one]
    return found


def test_annotations_are_the_commands_that_we_mean() -> None:
    for text in HOSTILE:
        with naming(text):
            result = result_with(text)
            printed = verdict_annotations(result, "gate.yml", {task.task: 7 for task in result.tasks})
            # the two sides have one fingerprint, which is a warning
            assert [name for one in printed for name, _ in commands(one)] == ["warning", "error", "error"]
            for one in printed:
                assert len(re.split(r"[\r\n\x0b\x0c\x85\u2028\u2029]", one)) == 1
                assert re.fullmatch(r"::(?:warning |error file=gate.yml,line=\d,)title=[^:,]*::(?:(?!::).)*", one)
            single = annotation("warning", text, text, text, 1)
            assert [name for name, _ in commands(single)] == ["warning"]
            assert single.count("::") == 2


def test_the_status_has_no_foreign_text() -> None:
    for text in HOSTILE:
        with naming(text):
            result = result_with(text)
            description = status_description(result)
            expected = r"FAIL: (1 task|2 tasks), 60 paired items, p = [0-9.e-]+, 1 worse on its own"
            assert re.fullmatch(expected, description)


def test_log_lines_and_error_messages_hold_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    for text in HOSTILE:
        with naming(text):
            _say(f"error: {GitHubError(f'POST /x: HTTP 403: {log_line(text)}', 'next step')}")
            _say(f"error: {text.encode('utf-8', 'replace').decode()}")
            told = capsys.readouterr().err
            assert commands(told) == []
            assert "##[" not in told


def test_an_output_sets_itself_and_nothing_else(tmp_path: Path) -> None:
    for text in HOSTILE:
        with naming(text):
            file = tmp_path / "output"
            file.unlink(missing_ok=True)
            write_outputs({"GITHUB_OUTPUT": str(file)}, {"comment-url": text, "verdict": "FAIL"})
            lines = re.split(r"\r\n|\r|\n", file.read_bytes().decode("utf-8"))
            found: list[str] = []
            place = 0
            while place < len(lines) and lines[place]:
                name, mark = lines[place].split("<<")
                found.append(name)
                place = lines.index(mark, place + 1) + 1
            assert found == ["comment-url", "verdict"]


TRICKY = st.text(
    alphabet=st.sampled_from("<>!-[]()#@:/`|\\*_~&;$%=\"' \n\r\tax1.w{}^+\u200b\u202e\u2028é🌈"), max_size=120
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(TRICKY, st.text(max_size=200), st.lists(st.sampled_from(HOSTILE[:300]), max_size=4).map(" ".join)))
@example("")
def test_any_text_in_any_place_of_the_comment(text: str) -> None:
    check(comment_body(result_with(text), "nightly"))


@settings(max_examples=500, deadline=None)
@given(st.one_of(TRICKY, st.text(max_size=300)))
@example("1)")
@example("12. of the list")
def test_any_text_in_a_sentence_and_in_a_command(text: str) -> None:
    seen = page(prose(text))
    assert set(seen.tags) <= {"p", "code", "wbr"}
    assert not seen.comments
    assert not REFERENCE.search(seen.plain)
    one = annotation("error", text, text, text, 1)
    assert [name for name, _ in commands(one)] == ["error"]
    assert commands(log_line(text)) == []


def test_the_pattern_puts_text_into_every_place() -> None:
    """The placeholder stands in each text of the result, so that no place is left out of these tests."""
    data = pattern()
    for place in (
        data["reasons"],
        data["notes"],
        data["tasks"],
        data["flips"],
        data["baseline"],
        data["candidate"],
    ):
        assert PLACEHOLDER in str(place)
    assert PLACEHOLDER in str(data["provenance"])
