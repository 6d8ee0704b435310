"""From the logits of a batch of trees to the log-likelihoods of their continuations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from gate.engines.hf.model.distribution import likeliest, queue_distributions
from gate.engines.hf.model.load import to_device
from gate.engines.hf.scoring.forward import Position
from gate.engines.hf.scoring.trees import Scored, Tree
from gate.engines.hf.scoring.wanted import Wanted
from gate.tasks.requests import Distribution, Divergence

Results = list[tuple[int, Distribution | Divergence]]
"""Pairs of a request and a result."""

# log-probabilities held in float32 at a time: 8 MiB fit into a CPU's cache, 256 MiB into any GPU's memory
_CPU_CHUNK, _GPU_CHUNK = 1 << 21, 1 << 26


@dataclass(frozen=True)
class Answer:
    """The log-likelihood of a continuation (nats), and whether greedy decoding would generate it.

    `token_logprobs` are those of its tokens.
    """

    target: Scored
    loglikelihood: float
    greedy: bool
    token_logprobs: npt.NDArray[np.float64]


class Positions:
    """The positions of a batch whose logits are needed, each once, and what is computed from these.

    Parameters
    ----------
    wanted : mapping
        Where distributions are needed.
    unscored : collection of int
        Requests whose tokens are not scored: of these, only the positions in `wanted` are needed, and their answers are
        empty.
    """

    def __init__(self, trees: Sequence[Tree], wanted: Wanted, unscored: Collection[int] = ()) -> None:
        pairs = [(row, target) for row, tree in enumerate(trees) for target in tree.targets]
        self._targets = [target for _, target in pairs]
        index: dict[Position, int] = {}
        scored: list[tuple[int, int, int]] = []  # index of the position, token, continuation
        distributions = []  # index of the position, request, place
        for number, (row, target) in enumerate(pairs):
            places = wanted.get(target.indices, ())
            if target.indices[0] in unscored:  # at least one position, because a forward pass returns some logits
                for offset in sorted(offset for offset, _ in places) or [0]:
                    index.setdefault((row, target.at[offset]), len(index))
            else:
                for at, token in zip(target.at, target.ids, strict=True):
                    scored.append((index.setdefault((row, at), len(index)), token, number))
            for offset, place in places:
                distributions.append((index[row, target.at[offset]], target.indices[0], place))
        self.needed: list[Position] = list(index)
        scored.sort()
        self._at, self._token, self._continuation = np.array(scored, np.int64).reshape(-1, 3).T
        self._distributions = sorted(distributions, key=lambda each: each[:2])

    def read(self, logits: torch.Tensor) -> Callable[[], tuple[list[Answer], Results]]:
        """Queue all computations on the logits and the transfer of their results to the CPU.

        Parameters
        ----------
        logits : tensor of shape (needed, vocabulary)

        Returns
        -------
        callable
            Waits for the device; returns the answers, and the distributions or divergences with their requests.
        """
        values, greedy = [], []
        queued: list[tuple[list[int], Callable[[], list[Distribution | Divergence]]]] = []
        step = max(1, (_CPU_CHUNK if logits.device.type == "cpu" else _GPU_CHUNK) // logits.shape[1])
        for start in range(0, len(logits), step):
            logprobs = torch.log_softmax(logits[start : start + step].float(), dim=1)
            low, high = np.searchsorted(self._at, (start, start + len(logprobs)))
            at = to_device(self._at[low:high] - start, logits.device)
            token = to_device(self._token[low:high], logits.device)
            picked = logprobs[at, token]
            values.append(picked)
            greedy.append(likeliest(logprobs)[at] == token if high > low else picked.bool())
            inside = [each for each in self._distributions if start <= each[0] < start + len(logprobs)]
            if inside:
                rows = [position - start for position, *_ in inside]
                whole = rows == list(range(len(logprobs)))
                chosen = logprobs if whole else logprobs[to_device(rows, logprobs.device)]
                numbers = [request for _, request, _ in inside]
                queued.append((numbers, queue_distributions(chosen, [place for *_, place in inside])))
        value, is_greedy = (torch.cat(parts).to("cpu", non_blocking=True) for parts in (values, greedy))
        event = torch.cuda.current_stream(logits.device).record_event() if logits.is_cuda else None

        def wait() -> tuple[list[Answer], Results]:
            if event is not None:  # not for the whole stream, which has the next batch queued by now
                event.synchronize()
            count = len(self._targets)
            values = value.double().numpy()
            sums = np.bincount(self._continuation, weights=values, minlength=count)
            misses = np.bincount(self._continuation, weights=~is_greedy.numpy(), minlength=count)
            ends = np.cumsum(np.bincount(self._continuation, minlength=count))[:-1]
            # in the order of the tokens: a token's position has a larger index than that of the token before it
            single = np.split(values[np.argsort(self._continuation, kind="stable")], ends)
            answers = [
                Answer(target, float(total), not missed, own)
                for target, total, missed, own in zip(self._targets, sums, misses, single, strict=True)
            ]
            results = [
                (number, result)
                for numbers, wait_for_results in queued
                for number, result in zip(numbers, wait_for_results(), strict=True)
            ]
            return answers, results

        return wait
