"""Log-likelihoods: packed rows through the model, then a float32 log-softmax at the needed positions."""

from __future__ import annotations

import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import cached_property

import torch

from gate.engines.base import Progress
from gate.engines.hf.model.batching import BatchLimit, run_in_batches
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.scoring.costs import Costs, automatic_tokens
from gate.engines.hf.scoring.forward import Forward
from gate.engines.hf.scoring.method import Method, choose_method
from gate.engines.hf.scoring.packing import plan_groups
from gate.engines.hf.scoring.positions import Answer, Positions, Results
from gate.engines.hf.scoring.prefix_cache import PrefixCache
from gate.engines.hf.scoring.trees import Group, Tree, unpacked
from gate.engines.hf.scoring.wanted import Wanted, along, wanted_places
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

_ByRequest = dict[int, list[Distribution | Divergence]]


class Scorer:
    """Scores continuations and texts with one model.

    Parameters
    ----------
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
        self.loaded = loaded
        self._max_batch_tokens = max_batch_tokens
        self._max_length = max_length
        self._method = method
        self._prefixes = PrefixCache()

    @property
    def method(self) -> Method:
        """How this model is scored; chosen, and logged, on first use."""
        if self._method is None:
            self._method = choose_method(self.loaded)
        return self._method

    @property
    def method_name(self) -> str | None:
        """The method's name in sample sets; None before anything was scored."""
        return None if self._method is None else self._method.name

    def one_at_a_time(self) -> Scorer:
        """Return a scorer of the same model that runs one pass per choice: slow, for comparison."""
        return Scorer(self.loaded, 1, self._max_length, Method(packed=False, gathered=False))

    @cached_property
    def _bounds(self) -> tuple[BatchLimit, Costs]:
        if self._max_batch_tokens is not None:
            return BatchLimit(self._max_batch_tokens), Costs()
        tokens, costs = automatic_tokens(self.loaded)
        return BatchLimit(tokens), costs

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest], progress: Progress) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""
        if not requests:
            return []
        rows = scoring_rows(self.loaded.tokenizer, requests, self._max_length)
        unscored = {index for index, request in enumerate(requests) if request.ids}
        answers, found = self._run(self._groups(rows), wanted_places(rows, requests), progress, unscored)
        results = []
        for index, request in enumerate(requests):
            scored = [answers[index, number] for number in range(len(request.continuations) or 1)]
            length = len(scored[request.later.followed].target.ids) if scored else 0
            distribution, divergence, later = along(found[index], length)
            results.append(
                LoglikelihoodAnswer(
                    () if request.ids else tuple(answer.loglikelihood for answer in scored),
                    tokens_in=sum(answer.target.context for answer in scored),
                    tokens_out=sum(len(answer.target.ids) for answer in scored),
                    greedy=() if request.ids else tuple(answer.greedy for answer in scored),
                    distribution=distribution,
                    divergence=divergence,
                    along=later,
                )
            )
        return results

    def loglikelihood_rolling(self, requests: Sequence[RollingRequest], progress: Progress) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        rows = rolling_rows(self.loaded.tokenizer, requests, self._max_length)
        progress(len(requests) - len({row.targets[0].indices[0] for row in rows}))  # texts without tokens
        if not rows:
            return [RollingAnswer(0.0, 0)] * len(requests)
        answers, found = self._run([unpacked(rows)], wanted_places(rows, requests), progress)
        values: list[list[float]] = [[] for _ in requests]
        totals = [0.0] * len(requests)
        for (request, _), answer in sorted(answers.items(), key=lambda pair: pair[0]):
            totals[request] += answer.loglikelihood  # sums do not depend on the order of batches
            values[request] += answer.token_logprobs.tolist()
        return [
            RollingAnswer(total, len(own), tuple(own), *along(found[index], len(own)))
            for index, (total, own) in enumerate(zip(totals, values, strict=True))
        ]

    def _groups(self, rows: Sequence[Row]) -> list[Group]:
        if not self.method.packed:
            return [unpacked(rows)]
        limit, _ = self._bounds
        window = self.method.window or sys.maxsize
        long = [row for row in rows if len(row.tokens) > window]
        groups = plan_groups([row for row in rows if len(row.tokens) <= window], limit.tokens, window)
        if long:
            _LOG.info("%d of %d rows exceed the window of %d tokens: not packed", len(long), len(rows), window)
            groups.append(unpacked(long))
        return groups

    def _run(
        self, groups: Sequence[Group], wanted: Wanted, progress: Progress, unscored: Collection[int] = ()
    ) -> tuple[dict[tuple[int, int], Answer], _ByRequest]:
        """Return the answers by request and continuation, and the distributions or divergences by request."""
        answers: dict[tuple[int, int], Answer] = {}
        found: _ByRequest = defaultdict(list)
        pending = Counter(target.indices[0] for group in groups for tree in group.trees for target in tree.targets)

        def keep(results: Sequence[Answer], distributions: Results) -> None:
            for request, distribution in distributions:
                found[request].append(distribution)
            answers.update((answer.target.indices, answer) for answer in results)
            counts = Counter(answer.target.indices[0] for answer in results)
            pending.subtract(counts)
            progress(sum(pending[request] == 0 for request in counts))

        for group in groups:
            self._run_group(group, wanted, unscored, keep)
        limit, _ = self._bounds
        if limit.costly:
            _LOG.warning(
                "%.0f %% of the time went into passes that ran out of memory; set engine.max_batch_tokens: %d",
                100 * limit.wasted / limit.seconds,
                limit.tokens,
            )
        return answers, found

    def _run_group(
        self,
        group: Group,
        wanted: Wanted,
        unscored: Collection[int],
        keep: Callable[[list[Answer], Results], None],
    ) -> None:
        limit, costs = self._bounds
        run = Forward(self.loaded, self.method.gathered)
        queued: list[Callable[[], tuple[list[Answer], Results]]] = []

        def forward(batch: list[int]) -> None:
            trees = [group.trees[index] for index in batch]
            cache = self._prefixes.get(group.prefix, run.prefill) if group.prefix else None
            positions = Positions(trees, wanted, unscored)
            logits = run.logits(trees, positions.needed, cache)
            queued.append(positions.read(logits))
            del logits
            # the device works on this batch while the answers of the previous one are fetched and the next is prepared
            if len(queued) > 1:
                keep(*queued.pop(0)())

        def release_memory() -> None:
            self._prefixes.clear()
            torch.cuda.empty_cache()

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
