"""From the texts of two models to their scores by a judge."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gate.evaluation.judge import Asked, preference, proportion
from gate.evaluation.judge_prompt import Case

_SWAYED = (("A", "A"), ("B", "B"))
_FEWEST_PAIRS, _FEWEST_GRADES = 5, 10
_COLUMNS = ("item_id", "repeat", "prompt", "target", "output")
Ask = Callable[[Sequence[Case]], Asked]


@dataclass(frozen=True)
class Tally:
    """What a judge said about the answers to one task.

    Attributes
    ----------
    answers : int
        Pairs of answers.
    equal : int
        Pairs of equal texts, about which the judge is not asked.
    judgements, calls, unreadable : int
        Judgements that count, those that were asked for in this run, and those without a verdict.
    baseline, candidate : int
        Pairs in which one answer is preferred in both orders, or has the better grade.
    swayed : int
        Pairs in which the preference changed with the order.
    blind : bool
        Whether the verdicts say nothing: of at least 5 pairs with a verdict in both orders, each preference changed
        with the order; or at least 10 texts all have one grade.
    """

    answers: int
    equal: int
    judgements: int
    calls: int
    unreadable: int
    baseline: int
    candidate: int
    swayed: int = 0
    blind: bool = False


def compare_texts(baseline: pa.Table, candidate: pa.Table, ask: Ask) -> tuple[pa.Table, pa.Table, Tally]:
    """Return both tables with a score of 1 for every answer that is at least as good as the other one, else 0.

    A preference is a discordant pair, in favour of the preferred side; without one, both sides score 1. The judge sees
    each pair in both orders, and a preference counts only if it is the same in both. A reply without a verdict is no
    preference.
    """
    pairs = _pairs(baseline, candidate)
    differing = {key: pair for key, pair in pairs.items() if pair.texts[0] != pair.texts[1]}
    cases = [
        Case(pair.question, pair.reference, order)
        for pair in differing.values()
        for order in (pair.texts, pair.texts[::-1])
    ]
    asked = ask(cases)
    verdicts = list(zip(asked.verdicts[::2], asked.verdicts[1::2], strict=True))
    preferred = {key: preference(*both) for key, both in zip(differing, verdicts, strict=True)}
    scores = {key: (float(preferred.get(key, 0) <= 0), float(preferred.get(key, 0) >= 0)) for key in pairs}
    swayed = sum(both in _SWAYED for both in verdicts)
    tally = Tally(
        answers=len(pairs),
        equal=len(pairs) - len(differing),
        judgements=len(cases),
        calls=asked.calls,
        unreadable=asked.unreadable,
        baseline=sum(value < 0 for value in preferred.values()),
        candidate=sum(value > 0 for value in preferred.values()),
        swayed=swayed,
        blind=swayed >= _FEWEST_PAIRS and all(both in _SWAYED for both in verdicts if None not in both),
    )
    return _with_scores(baseline, scores, 0), _with_scores(candidate, scores, 1), tally


def grade_texts(baseline: pa.Table, candidate: pa.Table, ask: Ask) -> tuple[pa.Table, pa.Table, Tally]:
    """Return both tables with the grades as scores: 0 for grade 1, 1 for grade 10.

    Equal texts have one grade. Where the reply about one side has no grade, both sides get that of the other one, so
    that the pair does not count as a difference; 0 if neither has one.
    """
    pairs = _pairs(baseline, candidate)
    cases = {Case(pair.question, pair.reference, (text,)): None for pair in pairs.values() for text in pair.texts}
    asked = ask(list(cases))
    grades = {
        case: None if verdict is None else proportion(verdict)
        for case, verdict in zip(cases, asked.verdicts, strict=True)
    }
    both: dict[_Key, tuple[float, float]] = {}
    for key, pair in pairs.items():
        before, after = (grades[Case(pair.question, pair.reference, (text,))] for text in pair.texts)
        if before is None or after is None:
            before = after = next((grade for grade in (before, after) if grade is not None), 0.0)
        both[key] = (before, after)
    tally = Tally(
        answers=len(pairs),
        equal=sum(pair.texts[0] == pair.texts[1] for pair in pairs.values()),
        judgements=len(cases),
        calls=asked.calls,
        unreadable=asked.unreadable,
        baseline=sum(a > b for a, b in both.values()),
        candidate=sum(b > a for a, b in both.values()),
        blind=len(cases) >= _FEWEST_GRADES and len(set(grades.values()) - {None}) <= 1,
    )
    return _with_scores(baseline, both, 0), _with_scores(candidate, both, 1), tally


@dataclass(frozen=True)
class _Pair:
    question: str
    reference: str
    texts: tuple[str, str]


_Key = tuple[str, int]


def _pairs(baseline: pa.Table, candidate: pa.Table) -> dict[_Key, _Pair]:
    """Return the answers that both sides have."""
    sides: list[dict[_Key, dict[str, Any]]] = [
        {(row["item_id"], row["repeat"]): row for row in table.select(_COLUMNS).to_pylist()}
        for table in (baseline, candidate)
    ]
    return {
        key: _Pair(row["prompt"] or "", row["target"] or "", (_text(row), _text(sides[1][key])))
        for key, row in sides[0].items()
        if key in sides[1]
    }


def _text(row: dict[str, Any]) -> str:
    """Return an answer; the answers of a conversation are numbered."""
    output = row["output"] or ""
    try:
        texts = json.loads(output) if output.startswith('["') else None
    except (ValueError, RecursionError):
        texts = None
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) for text in texts):
        return str(output)
    return "\n\n".join(f"[Answer {number}]\n{text}" for number, text in enumerate(texts, start=1))


def _with_scores(table: pa.Table, scores: dict[_Key, tuple[float, float]], side: int) -> pa.Table:
    keys = zip(table.column("item_id").to_pylist(), table.column("repeat").to_pylist(), strict=True)
    values = [scores[key][side] if key in scores else math.nan for key in keys]
    right = [value == 1.0 if value in (0.0, 1.0) else None for value in values]
    table = table.set_column(table.schema.get_field_index("score"), table.schema.field("score"), pa.array(values))
    field = table.schema.field("correct")
    return table.set_column(table.schema.get_field_index("correct"), field, pa.array(right, pa.bool_()))
