"""Scoring on SGLang through its own route /generate.

It returns the log-probabilities of the prompt from a position on (`logprob_start_len`), so the context may come from
its prefix cache, and those of given token ids (`token_ids_logprob`). The first of the returned positions has no
log-probability (`SchedulerLogprobResultProcessor` of SGLang), so the position before a continuation is the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from gate.engines.openai.batches import by_tokens
from gate.engines.openai.client import ATTEMPTS, Client, RefusedError
from gate.engines.openai.id_scorer import Firsts, IdScorer, context_of
from gate.engines.openai.scoring import TextScore, list_length, text_score
from gate.engines.openai.tokens import TokenSource
from gate.engines.openai.wire import Likely, Logprob, Position, TokenId, read
from gate.engines.tokens.sequences import ScoredSequence
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest

_ROUTE = "generate"

Entry = tuple[Logprob | None, TokenId, str | None]
"""Log-probability (nats), token id and text."""
Row = list[Entry] | None


class _Facts(BaseModel):
    input_token_logprobs: list[Entry] = []
    input_top_logprobs: list[Row] = []
    output_token_logprobs: list[Entry] = []
    output_top_logprobs: list[Row] = []
    output_token_ids_logprobs: list[Row] = []


class _Generated(BaseModel):
    text: str = ""
    meta_info: _Facts


class Generate:
    """Requests to /generate, with prompts of token ids; `many` tells whether several fit into one request."""

    def __init__(self, client: Client, tokens: TokenSource, many: bool = True) -> None:
        self._client, self._tokens, self.many = client, tokens, many

    async def prompt(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        return (await self._tokens.encode([text]))[0]

    async def generated(self, prompt: list[int], length: int) -> tuple[list[Position], str]:
        """Return the tokens that the server generates at temperature 1, and their text."""
        (reply,) = await self._each([prompt], {}, length)
        facts = reply.meta_info
        return _positions(facts.output_token_logprobs, facts.output_top_logprobs), reply.text

    async def echo(self, prompt: list[int], attempts: int = ATTEMPTS) -> list[Position]:
        """Return the prompt's tokens with their log-probabilities."""
        (reply,) = await self._each([prompt], {"logprob_start_len": [0]}, attempts=attempts)
        return _positions(reply.meta_info.input_token_logprobs, reply.meta_info.input_top_logprobs)

    async def tails(self, sequences: Sequence[ScoredSequence]) -> list[list[Position]]:
        """Return the scored tokens of sequences, with their log-probabilities."""
        starts = [sequence.start - 1 for sequence in sequences]
        replies = await self._each([sequence.ids for sequence in sequences], {"logprob_start_len": starts})
        tails = []
        for sequence, reply in zip(sequences, replies, strict=True):
            expected = sequence.ids[sequence.start :]
            rows = _positions(reply.meta_info.input_token_logprobs, reply.meta_info.input_top_logprobs)[1:]
            if len(rows) != len(expected):
                raise EvaluationError(
                    f"the server answers /{_ROUTE} with log-probabilities of {len(rows)} tokens of a prompt; "
                    f"expected {len(expected)}.",
                    "Check the server's log.",
                )
            for row, token in zip(rows, expected, strict=True):
                # SGLang writes id 0 in place of the last one of the vocabulary
                if row.token is not None and row.token.id not in (token, 0):
                    raise EvaluationError(
                        f"the server echoes token {row.token.id} in place of token {token} of the prompt.",
                        "It changes token ids; set `tokenizer:` to the served model's own.",
                    )
            tails.append(rows)
        return tails

    async def after(
        self, prompts: Sequence[Sequence[int]], ids: Sequence[Sequence[int]], top: int
    ) -> list[tuple[Likely, ...]]:
        """Return given tokens and the `top` likeliest after each prompt, likeliest first."""
        # an empty list of ids could mean none, or all
        replies = await self._each(prompts, {"token_ids_logprob": [list(each) or [0] for each in ids]}, top=max(1, top))
        lists = []
        for reply, wanted in zip(replies, ids, strict=True):
            facts = reply.meta_info
            rows = [*facts.output_top_logprobs[:1], *facts.output_token_ids_logprobs[:1]]
            tokens = {
                number: Likely(text or str(number), number, logprob)
                for row in rows
                for logprob, number, text in row or ()
                if logprob is not None
            }
            if not tokens.keys() >= set(wanted):
                raise EvaluationError(
                    f"the server answers /{_ROUTE} without log-probabilities of all token ids that were asked for.",
                    "Use a newer version of SGLang.",
                )
            lists.append(tuple(sorted(tokens.values(), key=lambda token: -token.logprob)))
        return lists

    async def _each(
        self,
        prompts: Sequence[Sequence[int]],
        lists: dict[str, list[Any]],
        length: int = 1,
        top: int = 1,
        attempts: int = ATTEMPTS,
    ) -> list[_Generated]:
        """Return the reply to each prompt; `lists` has one value per prompt for each option."""
        replies: list[_Generated] = []
        for group in by_tokens(prompts, self.many):
            try:
                replies += await self._send(prompts, lists, group, length, top, attempts)
            except RefusedError:
                if len(group) == 1:
                    raise
                for index in group:
                    replies += await self._send(prompts, lists, range(index, index + 1), length, top, attempts)
        return replies

    async def _send(
        self,
        prompts: Sequence[Sequence[int]],
        lists: dict[str, list[Any]],
        group: range,
        length: int,
        top: int,
        attempts: int,
    ) -> list[_Generated]:
        body = {
            "input_ids": [list(prompts[index]) for index in group],
            "sampling_params": {"max_new_tokens": length, "temperature": 1},
            "return_logprob": True,
            "top_logprobs_num": top,
            **{name: [values[index] for index in group] for name, values in lists.items()},
        }
        reply = await self._client.request(_ROUTE, body, attempts)
        if not isinstance(reply, list) or len(reply) != len(group):
            found = len(reply) if isinstance(reply, list) else "no"
            raise EvaluationError(f"the server answers {len(group)} prompts on /{_ROUTE} with {found} texts.")
        return [read(_Generated, each, _ROUTE) for each in reply]


def _positions(tokens: Sequence[Entry], tops: Sequence[Row]) -> list[Position]:
    if len(tokens) != len(tops):
        raise EvaluationError(
            f"the server answers with {len(tokens)} tokens and {len(tops)} lists of likeliest tokens; "
            "expected equal numbers."
        )
    return [
        Position(
            None if logprob is None else Likely(str(number), number, logprob),
            str(number),
            tuple(Likely(str(other), other, value) for value, other, _ in top or () if value is not None),
        )
        for (logprob, number, _), top in zip(tokens, tops, strict=True)
    ]


class SglangScorer(IdScorer):
    """Scores continuations by the end of a prompt, and single tokens by their ids after the context."""

    def __init__(self, generate: Generate, tokens: TokenSource, lanes: int, max_length: int | None) -> None:
        super().__init__(tokens, lanes, max_length)
        self._generate = generate

    async def _score_sequences(self, sequences: Sequence[ScoredSequence]) -> list[TextScore]:
        """Return the score of each sequence."""
        return list(map(text_score, await self._generate.tails(sequences)))

    async def _firsts(
        self, requests: Sequence[LoglikelihoodRequest], sequences: Sequence[Sequence[ScoredSequence]]
    ) -> Firsts:
        """Return the likeliest tokens, or those of the references, and single tokens that are scored."""
        wanted: dict[int, list[int]] = {}
        for number, (request, own) in enumerate(zip(requests, sequences, strict=True)):
            ids = [each.ids[-1] for each in own] if _are_single(own) else []
            reference = request.reference.ids if request.reference else ()
            if own and (ids or reference or request.top):
                wanted[number] = list(dict.fromkeys([*ids, *reference]))
        contexts = [context_of(sequences[number]) for number in wanted]
        top = max((list_length(requests[number]) for number in wanted if not requests[number].reference), default=1)
        lists = await self._generate.after(contexts, list(wanted.values()), top)
        return dict(zip(wanted, lists, strict=True))

    async def _score_requests(
        self, sequences: Sequence[Sequence[ScoredSequence]], firsts: Firsts
    ) -> list[list[TextScore]]:
        """Return the scores of each request's sequences."""
        others = iter(await self._score_sequences([each for own in sequences if not _are_single(own) for each in own]))
        return [
            [_score_in(firsts[number], each.ids[-1]) if _are_single(own) else next(others) for each in own]
            for number, own in enumerate(sequences)
        ]


def _are_single(sequences: Sequence[ScoredSequence]) -> bool:
    """Return whether a request's continuations have one token each, after the same context."""
    contexts = {each.ids[: each.start] for each in sequences}
    return len(contexts) == 1 and all(len(each.ids) == each.start + 1 for each in sequences)


def _score_in(first: Sequence[Likely], token: int) -> TextScore:
    logprob = next(each.logprob for each in first if each.id == token)
    return TextScore(logprob, token == first[0].id)
