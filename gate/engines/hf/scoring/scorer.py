"""Log-likelihoods: trees of tokens through the model, log-softmax in float32 of the needed positions only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from gate.engines.base import (
    Distribution,
    Divergence,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Progress,
    RollingAnswer,
    RollingRequest,
)
from gate.engines.hf.model.batching import BatchLimit, run_in_batches
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import Costs, automatic_tokens, free_memory, is_out_of_memory
from gate.engines.hf.scoring.forward import Forward
from gate.engines.hf.scoring.method import Method, choose_method
from gate.engines.hf.scoring.positions import Answer, Positions
from gate.engines.hf.scoring.prefix_cache import Prefixes
from gate.engines.hf.scoring.trees import Group, Tree, chains, plan
from gate.engines.tokens.requests import Row, scoring_rows
from gate.engines.tokens.rolling import rolling_rows

_LOG = logging.getLogger(__name__)

__all__ = ["Scorer", "free_memory", "is_out_of_memory"]

Extra = Distribution | Divergence
Finish = Callable[[], tuple[list[Answer], dict[int, Extra]]]


class Scorer:
    """Scores continuations and texts with one model.

    Parameters
    ----------
    loaded : LoadedModel
    max_batch_tokens : int or None
        Upper bound of rows x padded length in one forward pass; None finds one.
    multiple : int
        Rows are padded to a multiple of this.
    max_length : int
        Tokens that the model reads at most.
    method : Method or None
        How to score; None finds the fastest way that holds for the model.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        max_batch_tokens: int | None,
        multiple: int,
        max_length: int,
        method: Method | None = None,
    ) -> None:
        self._loaded = loaded
        self._asked = max_batch_tokens
        self._multiple = multiple
        self._max_length = max_length
        self._method = method
        self._prefixes = Prefixes()

    @property
    def model(self) -> Any:
        """The model of transformers."""
        return self._loaded.model

    @property
    def method(self) -> Method:
        """How this model is scored; found, and logged, when it is first needed."""
        if self._method is None:
            self._method = choose_method(self._loaded, self._multiple)
        return self._method

    @property
    def method_name(self) -> str | None:
        """What the records say of the method; None while nothing was scored."""
        return None if self._method is None else self._method.name

    def one_at_a_time(self) -> Scorer:
        """Return a scorer of the same model that does each choice alone, by the definition: slow, for comparison."""
        return Scorer(self._loaded, 1, 1, self._max_length, Method(packed=False, gathered=False))

    @cached_property
    def _bounds(self) -> tuple[BatchLimit, Costs]:
        if self._asked is not None:
            return BatchLimit(self._asked), Costs()
        tokens, costs = automatic_tokens(self._loaded, self._multiple)
        return BatchLimit(tokens), costs

    @property
    def limit(self) -> BatchLimit:
        """The bound of a forward pass in tokens, which shrinks where memory runs out; found when it is first needed."""
        return self._bounds[0]

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], progress: Progress
    ) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""
        if not requests:
            return []
        rows = scoring_rows(self._loaded.tokenizer, requests, self._max_length)
        answers: list[list[Answer | None]] = [[None] * len(request.continuations) for request in requests]
        waiting = [len(request.continuations) for request in requests]
        extras: dict[int, Extra] = {}

        def keep(found: Sequence[Answer], more: dict[int, Extra]) -> None:
            extras.update(more)
            done = 0
            for answer in found:
                request, number = answer.target.place
                answers[request][number] = answer
                waiting[request] -= 1
                done += waiting[request] == 0
            progress(done)

        self._run(self._groups(rows), requests, keep)
        return [_answer(found, extras.get(number)) for number, found in enumerate(answers)]

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], progress: Progress
    ) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        rows = rolling_rows(self._loaded.tokenizer, requests, self._max_length)
        totals, tokens = [0.0] * len(requests), [0] * len(requests)
        waiting = [0] * len(requests)
        for row in rows:
            for target in row.targets:
                waiting[target.place[0]] += 1
        progress(waiting.count(0))  # texts without tokens
        parts: dict[tuple[int, int], float] = {}

        def keep(found: Sequence[Answer], _: dict[int, Extra]) -> None:
            done = 0
            for answer in found:
                request = answer.target.place[0]
                parts[answer.target.place] = answer.loglikelihood
                tokens[request] += len(answer.target.ids)
                waiting[request] -= 1
                done += waiting[request] == 0
            progress(done)

        if rows:
            self._run([chains(rows)], (), keep)
        for (request, _), value in sorted(parts.items()):  # sums do not depend on the order of batches
            totals[request] += value
        return [RollingAnswer(total, count) for total, count in zip(totals, tokens, strict=True)]

    def _groups(self, rows: Sequence[Row]) -> list[Group]:
        longest = self.method.longest
        if not self.method.packed:
            return [chains(rows)]
        fit = [row for row in rows if longest is None or len(row.tokens) <= longest]
        groups = plan(fit, self.limit.tokens, longest)
        if len(fit) < len(rows):
            _LOG.info("%d of %d rows are longer than the model's window of %s tokens: scored without shared contexts",
                      len(rows) - len(fit), len(rows), longest)  # fmt: skip
            groups.append(chains([row for row in rows if longest is not None and len(row.tokens) > longest]))
        return groups

    def _run(
        self,
        groups: Sequence[Group],
        requests: Sequence[LoglikelihoodRequest],
        keep: Callable[[Sequence[Answer], dict[int, Extra]], None],
    ) -> None:
        limit, costs = self._bounds
        for group in groups:
            self._run_group(group, requests, keep, limit, costs)
        if limit.costly:
            _LOG.warning(
                "%.0f %% of the time went into passes that ran out of memory; set engine.max_batch_tokens: %d",
                100 * limit.wasted / limit.seconds,
                limit.tokens,
            )

    def _run_group(
        self,
        group: Group,
        requests: Sequence[LoglikelihoodRequest],
        keep: Callable[[Sequence[Answer], dict[int, Extra]], None],
        limit: BatchLimit,
        costs: Costs,
    ) -> None:
        run = Forward(self._loaded, self._multiple, self.method.gathered)
        before = len(group.prefix)
        pending: list[Finish] = []

        def forward(batch: list[int]) -> None:
            trees = [group.trees[index] for index in batch]
            cache = None
            if group.prefix:
                cache = self._prefixes.get(group.prefix, lambda empty: run.fill(group.prefix, empty))
            positions = Positions(trees, requests)
            logits = run.logits(trees, positions.needed, cache)
            finish = positions.read(logits)
            del logits
            # the device works on this batch while the answers of the one before are fetched and the next is made
            waiting = pending.copy()
            pending[:] = [finish]
            for one in waiting:
                keep(*one())

        def forget() -> None:
            self._prefixes.clear()
            free_memory()

        extra = [_extra(tree, before, costs) for tree in group.trees]
        lengths = [len(tree.tokens) for tree in group.trees]
        run_in_batches(lengths, limit, forward, is_out_of_memory, forget, self._multiple, extra)
        for one in pending:
            keep(*one())


def _extra(tree: Tree, before: int, costs: Costs) -> float:
    """Return what a tree takes beside its own tokens, in tokens: logits, a mask, its copy of the prefix."""
    width = len(tree.tokens)
    masked = before > 0 or not tree.chain
    positions = len({at for target in tree.targets for at in target.at})
    return costs.position * positions + (costs.pair * width * (before + width) + before if masked else 0.0)


def _answer(found: Sequence[Answer | None], extra: Extra | None) -> LoglikelihoodAnswer:
    answers = [answer for answer in found if answer is not None]
    return LoglikelihoodAnswer(
        tuple(answer.loglikelihood for answer in answers),
        tokens_in=sum(answer.target.context for answer in answers),
        tokens_out=sum(len(answer.target.ids) for answer in answers),
        greedy=tuple(answer.greedy for answer in answers),
        distribution=extra if isinstance(extra, Distribution) else None,
        divergence=extra if isinstance(extra, Divergence) else None,
    )
