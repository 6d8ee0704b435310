"""Making text of models and tasks harmless in Markdown, HTML and logs: it is data, never markup or commands."""

from __future__ import annotations

import re
import unicodedata

# C0/C1 controls, and the marks that reorder or hide text (bidi, zero width, tags)
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# a word or a number in a sentence of ours; nothing in it can be markup, a link, a mention or an issue
_PLAIN = re.compile(
    r"\(?([A-Za-z]+('s)?(-[A-Za-z]+)*|[-+]?[0-9][0-9,]*(\.[0-9]+)?(e[-+]?[0-9]+)?%?|<?=|%|)[)]*[,.:;]?"
)
_SPECIAL = re.compile(r"[^0-9A-Za-z \-\u00a0-\U0010ffff]")


def one_line(text: str, limit: int = 200) -> str:
    """Return a text on one line, without control characters, at most `limit` characters long."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    text = " ".join(_HIDDEN.sub(" ", text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def markdown(text: str, limit: int = 200) -> str:
    """Return text for a GitHub Markdown table cell or paragraph that shows exactly its characters.

    All ASCII punctuation but the hyphen becomes numeric entities, which Markdown never reads as markup, and the whole
    stands in a `<code>` element, inside which GitHub links no mentions or issue numbers.
    """
    escaped = _SPECIAL.sub(lambda match: f"&#{ord(match.group())};", one_line(text, limit))
    return f"<code>{escaped}</code>" if escaped else "(empty)"


def prose(text: str, limit: int = 2000) -> str:
    """Return a sentence for GitHub Markdown: plain words and numbers as they are, all else (names) as `markdown`."""
    words = one_line(text, limit).split(" ")
    return " ".join(word if _PLAIN.fullmatch(word) else _name(word) for word in words) or "(empty)"


def _name(word: str) -> str:
    name = word.lstrip("(").rstrip(",.;)")
    before, _, after = word.partition(name) if name else ("", "", "")
    return before + markdown(name or word) + after


def log_line(text: str, limit: int = 200) -> str:
    """Return text for a workflow log: one line in which the runner finds no command (`::` at the start, `##[`)."""
    # every pair of colons is parted: a terminal may break the line at any space
    return re.sub(":(?=:)", ": ", one_line(text, limit)).replace("##[", "# #[")
