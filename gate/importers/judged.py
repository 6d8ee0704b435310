"""Verdicts of judges: MT-Bench (grades and pairs), AlpacaEval annotations, Arena-Hard.

The formats are those of FastChat `llm_judge/common.py` at commit 007ecd07 (`model_judgment/*_single.jsonl` and
`*_pair.jsonl`), alpaca_eval `annotators/pairwise_evaluator.py` at commit 07a35c07 (`annotations.json`), and
arena-hard-auto `gen_judgment.py` and `show_result.py` at commits 01109e99 and 005ac120 (`model_judgment/*/*.jsonl`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gate.common.canonical import digest
from gate.common.jsonlines import json_lines, optional_text
from gate.errors import SampleError
from gate.importers.files import shorten, stem_of
from gate.importers.reading import Reading
from gate.importers.scored import Part, Row, Rows, read_scored
from gate.samples.record import ModelSamples

WIN_RATE, GRADE = "win_rate", "judge_score"
_NO_VERDICT = "the judge gave no verdict"
_LABEL = re.compile(r"\s*([AB])([<>]{1,2}|=)([AB])\s*")


def read_judged(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read what judges said about one model in `files`, which were found at `path`, one task per file.

    The model is that of `FILE::MODEL`. Without it, it is the only model of MT-Bench's grades, the second of AlpacaEval
    (`generator_2`), and the one that Arena-Hard compares with its baseline.

    A win scores 1, a tie 0.5 and a loss 0 (`win_rate`). With two orders (MT-Bench, Arena-Hard) a win or a loss counts
    only if it is the same in both. AlpacaEval's preferences between 1 and 2 are the probability that the second answer
    is better. The turns of a question form one cluster. Rows without a verdict are errors, which `allow_partial` leaves
    out.

    Raises
    ------
    SampleError
        See `gate.importers.read_foreign`; or the file has several models and none is named, or not the one named.
    """
    parts = []
    names = set()
    for file in files:
        rows = [row for _, row in json_lines(file)]
        model = _model(file, rows, reading.model)
        names.add(model)
        read = partial(_read, file, rows, model)
        parts.append(Part(stem_of(file), file, read, model, named_after_file=True))
    samples = read_scored("judge's verdicts", path, parts, reading)
    model = sorted(names)[0]
    return replace(samples, label=model, about={**samples.about, "judged_model": model})


def _model(file: Path, rows: Sequence[Mapping[str, Any]], wanted: str | None) -> str:
    models = sorted({str(row[key]) for row in rows for key in _sides(row)})
    if wanted is None:
        own = {"generator_2", "model"} & set(_sides(rows[0]))
        candidates = sorted({str(row[key]) for row in rows for key in own})
        if len(candidates) == 1:
            return candidates[0]
    elif wanted in models:
        return wanted
    found = f"it has {len(models)}: {shorten(models)}"
    problem = "name the model" if wanted is None else f"no verdicts about {wanted}"
    raise SampleError(f"{file}: {problem}; {found}.", f"Write the file's name with the model's: {file.name}::MODEL.")


def _sides(row: Mapping[str, Any]) -> list[str]:
    """Return the keys of the models that a row compares; the reference of a row is optional in Arena-Hard."""
    keys = ("model_1", "model_2", "generator_1", "generator_2", "model", "baseline")
    return [key for key in keys if isinstance(row.get(key), str)]


def _read(file: Path, rows: Sequence[Mapping[str, Any]], model: str) -> Rows:
    read = []
    for number, row in enumerate(rows, start=1):
        side = next((key for key in _sides(row) if row[key] == model), None)
        if side is not None:
            read.append(_row(row, side, file, number))
    if not read:
        raise SampleError(f"{file}: no verdicts about {model}.")
    higher = {WIN_RATE: True, GRADE: True}
    return Rows(read, {}, (WIN_RATE, GRADE), higher, file.name)


def _row(row: Mapping[str, Any], side: str, file: Path, number: int) -> Row:
    where = f"row {number}"
    if "preference" in row:
        return _alpaca(row, side, where)
    question = row.get("question_id", row.get("uid"))
    if question is None:
        raise SampleError(f"{file}, {where}: no question_id or uid.", "Expected verdicts of MT-Bench or Arena-Hard.")
    turn = row.get("turn")
    name = str(question) if turn is None else f"{question}/turn {turn}"
    score: float | None
    if "games" in row:
        score = _arena(row, side)
        return _with(name, question, where, WIN_RATE, score)
    if side == "model":
        grade = row.get("score")
        if not isinstance(grade, int | float) or isinstance(grade, bool) or not grade >= 0:  # -1: no grade was found
            grade = None
        return _with(name, question, where, GRADE, grade)
    opponents = " against ".join(sorted([str(row["model_1"]), str(row["model_2"])]))
    return _with(f"{name}/{opponents}", question, where, WIN_RATE, _mt_bench(row, side))


def _with(name: str, question: object, where: str, metric: str, score: float | None) -> Row:
    error = None if score is not None else _NO_VERDICT
    return Row(name, where, {metric: score}, cluster=str(question), error=error)


def _mt_bench(row: Mapping[str, Any], side: str) -> float | None:
    """Return the outcome of a pair for one side; the verdict of a person has one order."""
    winners = [row["winner"]] if "winner" in row else [row.get("g1_winner"), row.get("g2_winner")]
    if any(winner not in ("model_1", "model_2", "tie") and not _is_tie(winner) for winner in winners):
        return None
    if len(set(winners)) > 1 or winners[0] not in ("model_1", "model_2"):
        return 0.5
    return float(winners[0] == side)


def _is_tie(winner: object) -> bool:
    return isinstance(winner, str) and winner.startswith("tie")  # of people also: tie (inconsistent), tie (bothbad)


def _arena(row: Mapping[str, Any], side: str) -> float | None:
    """Return the outcome for one side: in the first game A is the reference, in the second one the model."""
    games = row["games"]
    if not isinstance(games, list) or len(games) != 2:
        return None
    preferred = []
    for game, sign in zip(games, (-1, 1), strict=True):
        label = game.get("score") if isinstance(game, Mapping) else None
        match = _LABEL.fullmatch(label) if isinstance(label, str) else None
        if match is None or match[1] == match[3]:
            return None
        first, relation = match[1], match[2]
        better = 0 if relation == "=" else (1 if relation[0] == ">" else -1) * (1 if first == "A" else -1)
        preferred.append(sign * better)
    outcome = 1.0 if preferred == [1, 1] else 0.0 if preferred == [-1, -1] else 0.5
    return outcome if side == "model" else 1.0 - outcome


def _alpaca(row: Mapping[str, Any], side: str, where: str) -> Row:
    preference = row.get("preference")
    score = None
    if isinstance(preference, int | float) and not isinstance(preference, bool) and math.isfinite(preference):
        if preference == 0:  # a tie, in old versions
            score = 0.5
        elif 1 <= preference <= 2:
            score = preference - 1.0 if side == "generator_2" else 2.0 - preference
    question = row.get("instruction")
    return Row(
        digest(question),
        where,
        {WIN_RATE: score},
        output=optional_text(row.get(f"output_{side[-1]}")),
        prompt=optional_text(question),
        error=None if score is not None else _NO_VERDICT,
    )
