"""Escape the text of models and tasks in Markdown, HTML and logs, where it must never act as markup or a command."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache

from gate.common.workflow_commands import disarm

# C0/C1 controls, characters that reorder or hide text (bidi, zero width, invisible letters, tags), and those that
# XML forbids
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
# more combining marks than these on one letter would cover the lines around it
_STACKED = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
# starts a numbered list at the start of a line
_LIST = re.compile("[0-9]+[.)]")
# GitHub links seven or more hexadecimal digits that are the prefix of a commit hash
_COMMIT = re.compile("[0-9a-f]{7,64}")
# a word or a number that cannot be markup, a link, a mention or an issue
_PLAIN = re.compile(
    r"\(?([A-Za-z]+('s)?(-[A-Za-z]+)*|[-+]?[0-9][0-9,]*(\.[0-9]+)*(e[-+]?[0-9]+)?%?|<?=|≤|%|)[)]*[,.:;]?"
)
# hidden characters except line feed and tab
_INVISIBLE = re.compile(f"(?![\n\t]){_HIDDEN.pattern}")
# an entity does nothing in a code block: characters that could end it or look like HTML become similar ones
_LOOKALIKES = str.maketrans("`<>", "'‹›")
_SPECIAL = re.compile(r"[^0-9A-Za-z \-\u00a0-\U0010ffff]")


def one_line(text: str, limit: int = 200) -> str:
    """Return a text on one line, without control characters, at most `limit` characters long."""
    start = text[: _read_limit(limit) - 1]
    cut, text = len(text) > len(start), start
    text = unicodedata.normalize("NFC", text)
    text = " ".join(_STACKED.sub(r"\1", _HIDDEN.sub(" ", text)).split())
    return text if len(text) <= limit and not cut else text[: limit - 1] + "…"


def _read_limit(limit: int) -> int:
    """Return how many characters to read in order to show `limit`; bounds the cost of a text of megabytes."""
    return 8 * limit + 100


def markdown(text: str, limit: int = 200) -> str:
    """Return text for a GitHub Markdown table cell or paragraph that shows exactly its characters.

    All ASCII punctuation except the hyphen becomes numeric entities, which Markdown never reads as markup. The text is
    in a `<code>` element, in which GitHub links no mentions or issue numbers. GitHub links e-mail addresses even there,
    so `<wbr>` (an optional line break) splits them.
    """
    return _markdown(text[: _read_limit(limit)], limit)


@lru_cache(maxsize=4096)  # a report that is shortened to a limit is rendered many times
def _markdown(text: str, limit: int) -> str:
    escaped = _SPECIAL.sub(lambda match: f"&#{ord(match.group())};", one_line(text, limit))
    escaped = escaped.replace("&#64;", "&#64;<wbr>")
    return f"<code>{escaped}</code>" if escaped else "(empty)"


def prose(text: str, limit: int = 2000) -> str:
    """Return a sentence for GitHub Markdown: plain words and numbers unchanged, names as in `markdown`."""
    return _prose(text[: _read_limit(limit)], limit)


@lru_cache(maxsize=256)
def _prose(text: str, limit: int) -> str:
    words = one_line(text, limit).split(" ")
    shown = [word if _is_plain(word) else _name(word) for word in words]
    if _LIST.fullmatch(words[0]):
        shown[0] = _name(words[0])
    return " ".join(shown) or "(empty)"


def _is_plain(word: str) -> bool:
    return bool(_PLAIN.fullmatch(word)) and not _COMMIT.search(word.lower())


def _name(word: str) -> str:
    name = word.lstrip("(").rstrip(",.;)")
    before, _, after = word.partition(name) if name else ("", "", "")
    return before + markdown(name or word) + after


def log_line(text: str, limit: int = 200) -> str:
    """Return text on one line for a workflow log, without workflow commands."""
    return disarm(one_line(text, limit))


def code_line(text: str) -> str:
    """Return text on one line for a fenced code block in Markdown, which may also be printed to a log."""
    return log_line(text).translate(_LOOKALIKES)


def visible(text: str | None, limit: int) -> str | None:
    """Return the first `limit` characters of a text, with hidden characters shown by their code points."""
    if text is None:
        return None
    rest = len(text) - limit
    cut = text if rest <= 0 else f"{text[:limit]}… [{rest:,} more characters]"
    return _INVISIBLE.sub(lambda match: f"[U+{ord(match.group()):04X}]", cut.replace("\r\n", "\n"))


def compact_json(data: object) -> str:
    """Return JSON without spaces; raise ValueError for numbers that JSON does not have."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def script_json(data: object) -> str:
    """Return JSON for an HTML script element, without characters that could end the element."""
    text = compact_json(data)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
