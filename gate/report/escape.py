"""Making text of models and tasks harmless in Markdown, HTML and logs: it is data, never markup or commands."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from gate.workflow_commands import disarm

# C0/C1 controls, the marks that reorder or hide text (bidi, zero width, invisible letters, tags), and what XML forbids
HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
# marks on one letter beyond these would cover the lines around it
_STACKED = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4})"
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
# what begins a numbered list at the start of a line
_LIST = re.compile("[0-9]+[.)]")
# GitHub links seven or more hexadecimal digits where they begin a commit's name
_COMMIT = re.compile("[0-9a-f]{7,64}")
# a word or a number in a sentence of ours; nothing in it can be markup, a link, a mention or an issue
_PLAIN = re.compile(
    r"\(?([A-Za-z]+('s)?(-[A-Za-z]+)*|[-+]?[0-9][0-9,]*(\.[0-9]+)*(e[-+]?[0-9]+)?%?|<?=|%|)[)]*[,.:;]?"
)
_SPECIAL = re.compile(r"[^0-9A-Za-z \-\u00a0-\U0010ffff]")


def one_line(text: str, limit: int = 200) -> str:
    """Return a text on one line, without control characters, at most `limit` characters long."""
    start = text[: _enough(limit) - 1]
    cut, text = len(text) > len(start), start
    text = unicodedata.normalize("NFC", text)
    text = " ".join(_STACKED.sub(r"\1", HIDDEN.sub(" ", text)).split())
    return text if len(text) <= limit and not cut else text[: limit - 1] + "…"


def _enough(limit: int) -> int:
    """Characters that are looked at for `limit` shown ones: a text of megabytes costs no more than one of these."""
    return 8 * limit + 100


def markdown(text: str, limit: int = 200) -> str:
    """Return text for a GitHub Markdown table cell or paragraph that shows exactly its characters.

    All ASCII punctuation but the hyphen becomes numeric entities, which Markdown never reads as markup, and the whole
    stands in a `<code>` element, inside which GitHub links no mentions or issue numbers. An e-mail address it would
    link even there, so its parts are held apart by a place where a line may break.
    """
    return _markdown(text[: _enough(limit)], limit)


@lru_cache(maxsize=4096)  # a report that is cut to a size is rendered many times
def _markdown(text: str, limit: int) -> str:
    escaped = _SPECIAL.sub(lambda match: f"&#{ord(match.group())};", one_line(text, limit))
    escaped = escaped.replace("&#64;", "&#64;<wbr>")
    return f"<code>{escaped}</code>" if escaped else "(empty)"


def prose(text: str, limit: int = 2000) -> str:
    """Return a sentence for GitHub Markdown: plain words and numbers as they are, all else (names) as `markdown`."""
    return _prose(text[: _enough(limit)], limit)


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
    """Return text for a workflow log: one line in which the runner finds no command (`::` at the start, `##[`)."""
    return disarm(one_line(text, limit))
