"""Scorers of generated texts: one class per kind of `scorer` in gate.yml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gate.common.canonical import canonical_json
from gate.config import TaskSettings
from gate.config.judge import JudgeScorer
from gate.config.scorers import ContainsScorer, JsonSchemaScorer, NumericScorer, PythonScorer
from gate.tasks.scorers.base import Grade, Scorer, Unjudged
from gate.tasks.scorers.json_schema import read_schema
from gate.tasks.scorers.numeric import Numeric
from gate.tasks.scorers.python import PythonFunction
from gate.tasks.scorers.text import F1, SQUAD, Contains, ExactMatch, Regex, RougeL

__all__ = ["Grade", "Scorer", "build_scorer", "scorer_facets"]


def build_scorer(settings: TaskSettings, folder: Path, include_path: Sequence[Path] = ()) -> Scorer:
    """Return the scorer of a generate_until task.

    Parameters
    ----------
    folder : Path
        Folder that a relative name of a schema refers to.
    include_path : sequence of Path
        Folders with Python modules of the user.

    Raises
    ------
    TaskError
        A schema, a module or a package is missing or invalid.
    """
    scorer, steps = settings.scorer, tuple(settings.normalise)
    if isinstance(scorer, ContainsScorer):
        return Contains(steps, scorer.words)
    if isinstance(scorer, NumericScorer):
        return Numeric(scorer.tolerance, scorer.relative)
    if isinstance(scorer, JsonSchemaScorer):
        return read_schema(scorer.json_schema, folder)
    if isinstance(scorer, PythonScorer):
        low, high = settings.scale or (0.0, 1.0)
        return PythonFunction(scorer.function, include_path, (low, high), settings.lower_is_better is True)
    if isinstance(scorer, JudgeScorer):
        return Unjudged()
    if scorer.kind == "f1":
        return F1(steps if "normalise" in settings.model_fields_set else SQUAD)
    plain = {"exact_match": lambda: ExactMatch(steps), "regex": Regex, "rouge_l": RougeL}
    return plain[scorer.kind]()


def scorer_facets(settings: TaskSettings, scorer: Scorer) -> dict[str, str]:
    """Return the facets of the task fingerprint; none for exact_match, whose settings have always been facets."""
    if settings.scorer.kind == "exact_match":
        return {}
    if isinstance(settings.scorer, JudgeScorer):
        return {"scorer": "judge"}  # the texts do not depend on the judge: another judge does not need them again
    own = settings.scorer.model_dump(exclude={"json_schema"})
    if settings.scorer.kind == "f1":
        own["normalise"] = "normalise" in settings.model_fields_set
    if settings.scorer.kind == "python":
        own |= {"scale": settings.scale, "lower_is_better": settings.lower_is_better is True}
    return {"scorer": canonical_json(own), **scorer.facets}
