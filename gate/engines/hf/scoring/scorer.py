"""Log-likelihoods: packed rows through the model, then a float32 log-softmax at the needed positions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from gate.engines.base import Progress
from gate.engines.hf.model.batching import BatchLimit, run_in_batches
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import release_cached_memory
from gate.engines.hf.scoring.costs import Costs, automatic_tokens
from gate.engines.hf.scoring.forward import Forward
from gate.engines.hf.scoring.method import Method, choose_method
from gate.engines.hf.scoring.packing import plan_groups
from gate.engines.hf.scoring.positions import Answer, Positions
from gate.engines.hf.scoring.prefix_cache import PrefixCache
from gate.engines.hf.scoring.trees import Group, Tree, unpacked
from gate.engines.tokens.rows import Row, rolling_rows, scoring_rows
from gate.tasks.requests import (
    Distribution,
    Divergence,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    RollingAnswer,
    RollingRequest,
)

_LOG = logging.getLogger(__name__)

_FirstTokens = dict[int, Distribution | Divergence]  # by request
_Keep = Callable[[Sequence[Answer], _FirstTokens], None]


class Scorer:
    """Scores continuations and texts with one model.

    Parameters
    ----------
    loaded : LoadedModel
    max_batch_tokens : int or None
        Upper bound of rows x padded length in one forward pass; None derives it from the free memory.
    max_length : int
        Longest input of the model, in tokens.
    method : Method or None
        How to score; None chooses the fastest method that is exact for the model.
    """

    def __init__(
        self, loaded: LoadedModel, max_batch_tokens: int | None, max_length: int, method: Method | None = None
    ) -> None:
        self._loaded = loaded
        self._max_batch_tokens = max_batch_tokens
        self._max_length = max_length
        self._method = method
        self._prefixes = PrefixCache()

    @property
    def model(self) -> Any:
        """The transformers model."""
        return self._loaded.model

    @property
    def method(self) -> Method:
        """How this model is scored; chosen, and logged, on first use."""
        if self._method is None:
            self._method = choose_method(self._loaded)
        return self._method

    @property
    def method_name(self) -> str | None:
        """The method's name in sample sets; None before anything was scored."""
        return None if self._method is None else self._method.name

    def one_at_a_time(self) -> Scorer:
        """Return a scorer of the same model that runs one pass per choice: slow, for comparison."""
        return Scorer(self._loaded, 1, self._max_length, Method(packed=False, gathered=False))

    @cached_property
    def _bounds(self) -> tuple[BatchLimit, Costs]:
        if self._max_batch_tokens is not None:
            return BatchLimit(self._max_batch_tokens), Costs()
        tokens, costs = automatic_tokens(self._loaded)
        return BatchLimit(tokens), costs

    @property
    def limit(self) -> BatchLimit:
        """The bound of a forward pass in tokens, which shrinks when memory runs out."""
        return self._bounds[0]

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], progress: Progress
    ) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""
        if not requests:
            return []
        rows = scoring_rows(self._loaded.tokenizer, requests, self._max_length)
        answers: list[list[Answer | None]] = [[None] * len(request.continuations) for request in requests]
        pending = [len(request.continuations) for request in requests]
        first_tokens: _FirstTokens = {}

        def keep(results: Sequence[Answer], first: _FirstTokens) -> None:
            first_tokens.update(first)
            finished = 0
            for answer in results:
                request, number = answer.target.place
                answers[request][number] = answer
                pending[request] -= 1
                finished += pending[request] == 0
            progress(finished)

        self._run(self._groups(rows), requests, keep)
        return [_answer(choices, first_tokens.get(number)) for number, choices in enumerate(answers)]

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], progress: Progress
    ) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        rows = rolling_rows(self._loaded.tokenizer, requests, self._max_length)
        totals, tokens = [0.0] * len(requests), [0] * len(requests)
        pending = [0] * len(requests)
        for row in rows:
            for target in row.targets:
                pending[target.place[0]] += 1
        progress(pending.count(0))  # texts without tokens
        windows: dict[tuple[int, int], float] = {}

        def keep(results: Sequence[Answer], _: _FirstTokens) -> None:
            finished = 0
            for answer in results:
                request = answer.target.place[0]
                windows[answer.target.place] = answer.loglikelihood
                tokens[request] += len(answer.target.ids)
                pending[request] -= 1
                finished += pending[request] == 0
            progress(finished)

        if rows:
            self._run([unpacked(rows)], (), keep)
        for (request, _), value in sorted(windows.items()):  # sums do not depend on the order of batches
            totals[request] += value
        return [RollingAnswer(total, count) for total, count in zip(totals, tokens, strict=True)]

    def _groups(self, rows: Sequence[Row]) -> list[Group]:
        if not self.method.packed:
            return [unpacked(rows)]
        window = self.method.window
        if window is None:
            return plan_groups(rows, self.limit.tokens)
        long = [row for row in rows if len(row.tokens) > window]
        groups = plan_groups([row for row in rows if len(row.tokens) <= window], self.limit.tokens, window)
        if long:
            _LOG.info(
                "%d of %d rows are longer than the model's window of %d tokens: scored without shared contexts",
                len(long),
                len(rows),
                window,
            )
            groups.append(unpacked(long))
        return groups

    def _run(self, groups: Sequence[Group], requests: Sequence[LoglikelihoodRequest], keep: _Keep) -> None:
        for group in groups:
            self._run_group(group, requests, keep)
        if self.limit.costly:
            _LOG.warning(
                "%.0f %% of the time went into passes that ran out of memory; set engine.max_batch_tokens: %d",
                100 * self.limit.wasted / self.limit.seconds,
                self.limit.tokens,
            )

    def _run_group(self, group: Group, requests: Sequence[LoglikelihoodRequest], keep: _Keep) -> None:
        limit, costs = self._bounds
        run = Forward(self._loaded, self.method.gathered)
        queued: list[Callable[[], tuple[list[Answer], _FirstTokens]]] = []

        def forward(batch: list[int]) -> None:
            trees = [group.trees[index] for index in batch]
            cache = None
            if group.prefix:
                cache = self._prefixes.get(group.prefix, lambda empty: run.prefill(group.prefix, empty))
            positions = Positions(trees, requests)
            logits = run.logits(trees, positions.needed, cache)
            wait = positions.read(logits)
            del logits
            # the device works on this batch while the answers of the previous one are fetched and the next is prepared
            previous = queued.copy()
            queued[:] = [wait]
            for wait_for_previous in previous:
                keep(*wait_for_previous())

        def release_memory() -> None:
            self._prefixes.clear()
            release_cached_memory()

        extra = [_extra(tree, len(group.prefix), costs) for tree in group.trees]
        run_in_batches([len(tree.tokens) for tree in group.trees], limit, forward, release_memory, extra)
        for wait in queued:
            keep(*wait())


def _extra(tree: Tree, before: int, costs: Costs) -> float:
    """Return the memory of a tree's logits, mask and copy of the prefix, in tokens."""
    width = len(tree.tokens)
    masked = before > 0 or not tree.linear
    positions = len({at for target in tree.targets for at in target.at})
    return costs.position * positions + (costs.pair * width * (before + width) + before if masked else 0.0)


def _answer(
    choices: Sequence[Answer | None], first_token: Distribution | Divergence | None
) -> LoglikelihoodAnswer:
    answers = [answer for answer in choices if answer is not None]
    return LoglikelihoodAnswer(
        tuple(answer.loglikelihood for answer in answers),
        tokens_in=sum(answer.target.context for answer in answers),
        tokens_out=sum(len(answer.target.ids) for answer in answers),
        greedy=tuple(answer.greedy for answer in answers),
        distribution=first_token if isinstance(first_token, Distribution) else None,
        divergence=first_token if isinstance(first_token, Divergence) else None,
    )
