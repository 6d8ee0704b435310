"""The flips as data inside the HTML report: JSON that no text can break out of, small enough to open and to mail."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass

from gate.report.detail import KINDS, Detail, FlipDetail
from gate.report.escape import compact_json, script_json, visible

BUDGET = 12_000_000
"""Maximum size of the flips in bytes; keeps the whole file under 15 MB."""

_MOST_UNCOMPRESSED = 300_000  # bytes
_TEXT_LIMITS = (4000, 2000, 1000, 500, 250)  # characters kept per text, tried in this order
_CHOICE_LIMIT = 300


@dataclass(frozen=True)
class Payload:
    """The flips as they are written to the file.

    `text` is JSON: an object with the rows, or with the key `gzip`, which holds that object compressed, in base64.
    `limit` is the number of characters kept per text, `flips` the number of flips kept.
    """

    text: str
    limit: int
    flips: int


def flips_payload(detail: Detail, budget: int = BUDGET) -> Payload:
    """Return the flips; where they exceed the budget (in bytes), texts are cut first, then flips are dropped."""
    kept, limit = detail.flips, _TEXT_LIMITS[0]
    while True:
        text = _encode(kept, limit)
        if len(text) <= budget or not kept:
            return Payload(text, limit, len(kept))
        if limit > _TEXT_LIMITS[-1]:
            # skip limits that are unlikely to save enough
            largest = 1.5 * limit * budget / len(text)
            limit = next((lower for lower in _TEXT_LIMITS if lower < limit and lower <= largest), _TEXT_LIMITS[-1])
        else:
            kept = kept[: len(kept) // 2]


def _encode(flips: Sequence[FlipDetail], limit: int) -> str:
    tasks = {name: index for index, name in enumerate(dict.fromkeys(flip.task for flip in flips))}
    rows = [_row(flip, tasks[flip.task], limit) for flip in flips]
    content = {"tasks": [visible(task, 200) for task in tasks], "rows": rows}
    data = compact_json(content).encode("utf-8")
    if len(data) <= _MOST_UNCOMPRESSED:
        return script_json(content)
    return script_json({"gzip": base64.b64encode(gzip.compress(data, 5, mtime=0)).decode("ascii")})


def _row(flip: FlipDetail, task: int, limit: int) -> list[object]:
    """Return a flip as a list, in the order of `Row` in web/src/data.ts."""
    logprobs = flip.logprobs or ((), ())
    return [
        task,
        visible(flip.item_id, 200),
        KINDS.index(flip.kind),
        visible(flip.prompt, limit),
        visible(flip.target, limit),
        visible(flip.baseline, limit),
        visible(flip.candidate, limit),
        flip.scores,
        None if flip.shift is None else round(flip.shift, 4),
        [visible(choice, _CHOICE_LIMIT) for choice in flip.choices],
        flip.picked,
        flip.right,
        [[round(value, 4) for value in side] for side in logprobs],
        None if flip.kl is None else float(f"{flip.kl:.4g}"),
    ]
