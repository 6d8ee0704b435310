"""Where in the rows of a call distributions are needed, and the results per request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from gate.engines.hf.model.distribution import Place
from gate.engines.tokens.rows import Row
from gate.tasks.positions import chosen_positions, text_seed
from gate.tasks.requests import Along, Distribution, Divergence, LoglikelihoodRequest, RollingRequest

Wanted = Mapping[tuple[int, int], Sequence[tuple[int, Place]]]
"""By request and continuation (or window): index of a scored token, and what is needed of its distribution."""


def wanted_places(rows: Iterable[Row], requests: Sequence[LoglikelihoodRequest | RollingRequest]) -> Wanted:
    """Return the places whose distributions the requests ask for."""
    lengths: dict[int, dict[int, int]] = defaultdict(dict)  # tokens by request and continuation
    for row in rows:
        for target in row.targets:
            index, number = target.indices
            request = requests[index]
            if isinstance(request, RollingRequest) or number == request.later.followed:
                lengths[index][number] = len(target.ids)
    wanted: dict[tuple[int, int], list[tuple[int, Place]]] = {}
    for index, parts in lengths.items():
        places = places_of(requests[index], sum(parts.values()))
        start = 0
        for number, length in sorted(parts.items()):  # the windows of a text follow each other
            inside = [(place.position - start, place) for place in places if start <= place.position < start + length]
            if inside:
                wanted[index, number] = inside
            start += length
    return wanted


def places_of(request: LoglikelihoodRequest | RollingRequest, tokens: int) -> list[Place]:
    """Return the places in an answer or text with this number of tokens."""
    prompt = request.text if isinstance(request, RollingRequest) else request.context
    references = [*([request.reference] if request.reference else []), *request.later.references]
    if references:
        return [Place(prompt, request.top, request.drawn, each.position, each) for each in references]
    if not request.top:
        return []
    chosen = chosen_positions(tokens, request.later.most, text_seed(prompt))
    return [Place(prompt, request.top, request.drawn, position) for position in chosen]


def along(
    results: Sequence[Distribution | Divergence], tokens: int
) -> tuple[Distribution | None, Divergence | None, Along]:
    """Return the distribution or divergence at the first position, and those after it."""
    ordered = sorted(results, key=lambda result: result.position)
    distributions = [result for result in ordered if isinstance(result, Distribution)]
    divergences = [result for result in ordered if isinstance(result, Divergence)]
    first = distributions[0] if distributions and distributions[0].position == 0 else None
    first_divergence = divergences[0] if divergences and divergences[0].position == 0 else None
    later = Along(
        tokens,
        tuple(each for each in distributions if each.position),
        tuple(each for each in divergences if each.position),
    )
    return first, first_divergence, later
