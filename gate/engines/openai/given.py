"""Scoring on vLLM by the log-probabilities of given token ids (`logprob_token_ids`).

A continuation is scored token by token: each of its tokens after the context and the tokens before it. Such a prompt
generates one token, so vLLM may read it from its prefix cache; it reads no prompt from there whose own
log-probabilities are asked for, as an echo does (`skip_reading_prefix_cache` of its SamplingParams). Tokens of the
baseline's list are asked for in the same way, so a divergence is exact at them.

An answer costs less this way if its continuations are single tokens, or if its context is long and cached. Otherwise
the continuations are echoed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gate.engines.openai.client import Client, RefusedError
from gate.engines.openai.completions import Completions
from gate.engines.openai.echo import EchoScorer
from gate.engines.openai.id_scorer import Firsts, context_of
from gate.engines.openai.scoring import TextScore
from gate.engines.openai.tokens import TokenSource
from gate.engines.openai.wire import Likely
from gate.engines.tokens.sequences import ScoredSequence
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest

_MOST_IDS = (128, 20)  # vLLM's own limit per prompt, and its default of --max-logprobs
_MOST_REQUESTS = 2  # for one prompt: the tokens of a baseline and the choices may be more than vLLM's limit
_SHARED_IDS = 32  # ids of several prompts in one request: each is answered for each prompt
_TOLERANCE = 0.05  # nats, between a token's log-probability as listed and by its id

Prefix = tuple[int, ...]


@dataclass(frozen=True)
class GivenIds:
    """A server's support of given ids.

    Attributes
    ----------
    limit : int
        Most ids per request.
    block : int or None
        Tokens per block of the server's prefix cache; None if it has none, or does not say.
    """

    limit: int
    block: int | None = None


async def find_given_ids(client: Client, completions: Completions, text: str) -> GivenIds | None:
    """Return the support of given ids by a server; None unless it returns what it lists itself for the same ids."""
    if completions.server.kind != "vllm" or completions.tokens is None:
        return None
    (prompt,) = await completions.tokens.encode([text])
    try:
        listed, _ = await completions.likeliest(prompt, 5, attempts=1)
    except EvaluationError:
        return None
    known = {token.id: token.logprob for token in listed[1:4] if token.id is not None}
    others = [number for number in range(140) if number not in {token.id for token in listed}]
    for limit in _MOST_IDS:
        ids = [*known, *others][:limit]
        try:
            (found,) = await given_each(completions, [prompt], ids, attempts=1)
        except RefusedError:
            continue
        except EvaluationError:
            return None
        values = {token.id: token.logprob for token in found}
        same = all(abs(values.get(number, 1.0) - logprob) <= _TOLERANCE for number, logprob in known.items())
        complete = known and values.keys() >= set(ids) and len(values) <= limit + 1
        if same and complete and found[0].id == listed[0].id:
            return GivenIds(limit, await _block(client))
        return None
    return None


async def given_each(
    completions: Completions, prompts: Sequence[Sequence[int]], ids: Sequence[int], **options: int
) -> list[tuple[Likely, ...]]:
    """Return the tokens `ids` and the likeliest token after each prompt, likeliest first."""
    # at temperature 0, the generated token is the likeliest; vLLM returns it beside the given ones
    choices = await completions.complete_each(
        prompts, logprobs=len(ids), logprob_token_ids=list(ids), temperature=0, **options
    )
    return [positions[0].top if (positions := choice.positions) else () for choice in choices]


async def given_all(
    completions: Completions, prompt: Sequence[int], ids: Sequence[int], given: GivenIds, **options: int
) -> tuple[Likely, ...]:
    """Return tokens after a prompt, likeliest first, with at most `_MOST_REQUESTS` requests.

    The first of `ids` are returned if these requests cannot hold all of them.
    """
    distinct = list(dict.fromkeys(ids))[: given.limit * _MOST_REQUESTS]
    found: dict[int | None, Likely] = {}
    for start in range(0, len(distinct), given.limit):
        (tokens,) = await given_each(completions, [prompt], distinct[start : start + given.limit], **options)
        found |= {token.id: token for token in tokens}
    return tuple(sorted(found.values(), key=lambda token: -token.logprob))


async def _block(client: Client) -> int | None:
    """Return the block size of vLLM's prefix cache, from its metrics."""
    try:
        text = await client.text("metrics")
    except EvaluationError:
        return None
    facts = dict(re.findall(r'(\w+)="([^"]*)"', next(iter(re.findall(r"vllm:cache_config_info\{(.*)\}", text)), "")))
    size = facts.get("block_size", "")
    return int(size) if facts.get("enable_prefix_caching") == "True" and size.isdecimal() else None


class GivenIdScorer(EchoScorer):
    """Scores continuations by given ids where that costs less than their echo; see the module."""

    def __init__(
        self, completions: Completions, tokens: TokenSource, lanes: int, max_length: int | None, given: GivenIds
    ) -> None:
        super().__init__(completions, tokens, lanes, max_length)
        self._given = given

    async def _firsts(
        self, requests: Sequence[LoglikelihoodRequest], sequences: Sequence[Sequence[ScoredSequence]]
    ) -> Firsts:
        """Return the likeliest tokens, or those of the references, and single tokens that are scored."""
        plain = [number for number, request in enumerate(requests) if request.reference is None]
        lists = await super()._firsts([requests[n] for n in plain], [sequences[n] for n in plain])
        firsts = {plain[place]: tokens for place, tokens in lists.items()}
        for number, (request, own) in enumerate(zip(requests, sequences, strict=True)):
            if request.reference is not None and own:
                context = context_of(own)
                scored = [each.ids[-1] for each in own if each.ids[:-1] == context]
                ids = [*request.reference.ids, *scored]
                firsts[number] = await given_all(self._completions, context, ids, self._given)
        return firsts

    async def _score_requests(
        self, sequences: Sequence[Sequence[ScoredSequence]], firsts: Firsts
    ) -> list[list[TextScore]]:
        """Return the scores of each request's sequences."""
        steps = [self._steps(own) for own in sequences]
        known = _Known()
        for number, first in firsts.items():
            known.add(context_of(sequences[number]), first)
        missing: dict[Prefix, list[int]] = {}
        for own in steps:
            for prefix, ids in (own or {}).items():
                if any((prefix, token) not in known.steps for token in ids):
                    missing.setdefault(prefix, []).extend(ids)
        for prefixes, ids in shared(missing, self._given.limit):
            for prefix, tokens in zip(prefixes, await given_each(self._completions, prefixes, ids), strict=True):
                known.add(prefix, tokens)
        pairs = list(zip(sequences, steps, strict=True))
        echoed = iter(await self._score_sequences([each for own, given in pairs if given is None for each in own]))
        return [[next(echoed) if given is None else known.score(each) for each in own] for own, given in pairs]

    def _steps(self, sequences: Sequence[ScoredSequence]) -> dict[Prefix, list[int]] | None:
        """Return the tokens to ask for after each prefix; None if the server computes fewer tokens for an echo."""
        steps = steps_of(sequences)
        if any(len(ids) > self._given.limit for ids in steps.values()):
            return None
        cost = computed_tokens(list(steps), self._given.block)
        return steps if cost <= sum(len(each.ids) for each in sequences) else None


class _Known:
    """Log-probabilities of tokens after prefixes, and whether a token is the likeliest."""

    def __init__(self) -> None:
        self.steps: dict[tuple[Prefix, int | None], tuple[float, bool]] = {}

    def add(self, prefix: Prefix, tokens: Sequence[Likely]) -> None:
        """Add tokens after a prefix, likeliest first."""
        for token in tokens:
            self.steps[prefix, token.id] = token.logprob, token.id == tokens[0].id

    def score(self, sequence: ScoredSequence) -> TextScore:
        """Return the score of a sequence."""
        total, greedy = 0.0, True
        for index in range(sequence.start, len(sequence.ids)):
            step = self.steps.get((sequence.ids[:index], sequence.ids[index]))
            if step is None:
                raise EvaluationError("the server returned no log-probability for a token id that was asked for.")
            total, greedy = total + step[0], greedy and step[1]
        return TextScore(total, greedy)


def steps_of(sequences: Sequence[ScoredSequence]) -> dict[Prefix, list[int]]:
    """Return the tokens that follow each prefix of a request's sequences."""
    steps: dict[Prefix, list[int]] = {}
    for sequence in sequences:
        for index in range(sequence.start, len(sequence.ids)):
            tokens = steps.setdefault(sequence.ids[:index], [])
            if sequence.ids[index] not in tokens:
                tokens.append(sequence.ids[index])
    return steps


def computed_tokens(prefixes: Sequence[Prefix], block: int | None) -> int:
    """Return how many tokens a server computes for prompts, of which each may start with blocks of the first."""
    total = 0
    for number, prefix in enumerate(prefixes):
        cached = 0
        if number and block is not None:
            pairs = enumerate(zip(prefix, prefixes[0], strict=False))
            common = next((place for place, (a, b) in pairs if a != b), min(len(prefix), len(prefixes[0])))
            cached = min(common, len(prefix) - 1) // block * block  # the last token is always computed
        total += len(prefix) - cached
    return total


def shared(steps: dict[Prefix, list[int]], limit: int) -> Iterator[tuple[list[Prefix], list[int]]]:
    """Yield adjacent prefixes and the ids that are asked for after each of them, in one request."""
    prefixes: list[Prefix] = []
    ids: dict[int, None] = {}
    for prefix, tokens in steps.items():
        joined = ids | dict.fromkeys(tokens)
        if prefixes and len(joined) > max(len(ids), min(_SHARED_IDS, limit)):
            yield prefixes, list(ids)
            prefixes, joined = [], dict.fromkeys(tokens)
        prefixes.append(prefix)
        ids = joined
    if prefixes:
        yield prefixes, list(ids)
