"""How much a tokenizer.json may multiply a text: a few nested replacements turn one character into gigabytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gate.errors import ModelError

MOST_GROWTH = 1_000.0
"""Most bytes that normalisation may make of one; NFKC makes 33 of 3 at most."""
_MOST_SPECIAL = 10_000  # tokens that the post-processor may add to a text
_TYPICAL = 100.0  # bytes of the text for which the growth is estimated


def check_growth(folder: Path, name: str) -> None:
    """Refuse the tokenizer in a folder, before it is loaded, if it could fill the memory.

    Raises
    ------
    ModelError
        Its normalizer or decoder can multiply texts by more than `MOST_GROWTH`, or its post-processor adds more than
        10,000 tokens to a text.
    """
    for path in sorted(folder.glob("tokenizer*.json")):
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue  # the loader explains it
        if not isinstance(content, dict):
            continue
        for part in ("normalizer", "decoder"):
            growth = estimated_growth(content.get(part))
            if growth > MOST_GROWTH:
                raise ModelError(
                    f"model {name}: the {part} in {path} can make a text {growth:.3g} times as long; expected at most "
                    f"{MOST_GROWTH:,.0f} times.",
                    "The tokenizer is damaged or hostile. Set `tokenizer:` to one that you trust.",
                )
        added = _special_tokens(content.get("post_processor"))
        if added > _MOST_SPECIAL:
            raise ModelError(
                f"model {name}: the post_processor in {path} adds {added:,} tokens to every text; expected at most "
                f"{_MOST_SPECIAL:,}.",
                "The tokenizer is damaged or hostile. Set `tokenizer:` to one that you trust.",
            )


def estimated_growth(part: object) -> float:
    """Return an upper bound of the factor by which a normalizer or decoder makes a text of 100 bytes longer."""
    size = _TYPICAL
    for step in _steps(part):
        factor, added = _step_growth(step)
        size = size * factor + added
    return size / _TYPICAL


def _steps(part: object) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of nested sequences in their order."""
    if not isinstance(part, Mapping):
        return
    nested = [part[key] for key in ("normalizers", "decoders") if isinstance(part.get(key), list)]
    if not nested:
        yield part
    for steps in nested:
        for step in steps:
            yield from _steps(step)


def _step_growth(step: Mapping[str, Any]) -> tuple[float, float]:
    """Return the factor of one step, and the bytes that it adds to a text."""
    kind = step.get("type")
    if kind == "Replace":
        pattern = step.get("pattern")
        text = pattern.get("String") if isinstance(pattern, Mapping) else None
        # a regular expression may match between any two characters
        replaced = _size(text)
        return (max(1.0, _size(step.get("content")) / replaced) if replaced else 1.0 + _size(step.get("content"))), 0.0
    if kind == "Prepend":
        return 1.0, _size(step.get("prepend"))
    if kind == "Precompiled":
        return _longest_mapping(step.get("precompiled_charsmap")), 0.0
    if kind in ("NFD", "NFKD", "NFC", "NFKC"):
        return 11.0, 0.0  # one character of 3 bytes becomes 33 bytes
    return 3.0, 0.0  # spaces around a character, a byte written as a character


def _longest_mapping(charsmap: object) -> float:
    """Return the longest text, in bytes, for which SentencePiece's map of characters replaces one."""
    if not isinstance(charsmap, str):
        return 1.0
    try:
        content = base64.b64decode(charsmap)
    except ValueError:
        return 1.0
    start = 4 + int.from_bytes(content[:4], "little")  # the size of the trie, the trie, then texts that end with NUL
    return float(max(1, *map(len, content[start:].split(b"\0"))))


def _special_tokens(part: object) -> int:
    """Return how many tokens the templates of a post-processor add."""
    if not isinstance(part, Mapping):
        return 0
    nested = part.get("processors")
    total = sum(map(_special_tokens, nested)) if isinstance(nested, list) else 0
    found = part.get("special_tokens")
    known = found if isinstance(found, Mapping) else {}
    for template in (part.get("single"), part.get("pair")):
        for piece in template if isinstance(template, list) else ():
            special = piece.get("SpecialToken") if isinstance(piece, Mapping) else None
            entry = known.get(str(special.get("id"))) if isinstance(special, Mapping) else None
            total += len(entry["ids"]) if isinstance(entry, Mapping) and isinstance(entry.get("ids"), list) else 0
    return total


def _size(text: object) -> float:
    return float(len(text.encode("utf-8", "replace"))) if isinstance(text, str) else 0.0
