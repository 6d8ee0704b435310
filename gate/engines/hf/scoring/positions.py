"""From the logits of a batch of trees to the log-likelihoods of their continuations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gate.engines.hf.model.distribution import queue_distributions
from gate.engines.hf.model.load import to_device
from gate.engines.hf.scoring.forward import Position
from gate.engines.hf.scoring.trees import Scored, Tree
from gate.tasks.requests import Distribution, Divergence, LoglikelihoodRequest

# log-probabilities held in float32 at a time: 8 MiB fit into a CPU's cache, 256 MiB into any GPU's memory
_CHUNK = {"cpu": 1 << 21}
_GPU_CHUNK = 1 << 26


@dataclass(frozen=True)
class Answer:
    """The log-likelihood of a continuation (nats), and whether greedy decoding would generate it."""

    target: Scored
    loglikelihood: float
    greedy: bool


class Positions:
    """The positions of a batch whose logits are needed, each once, and what is computed from these.

    Parameters
    ----------
    trees : sequence of Tree
    requests : sequence of LoglikelihoodRequest
        For `top` and `reference`, which concern the token after a request's context.
    """

    def __init__(self, trees: Sequence[Tree], requests: Sequence[LoglikelihoodRequest] = ()) -> None:
        self.targets = [target for tree in trees for target in tree.targets]
        index: dict[Position, int] = {}
        scored: list[tuple[int, int, int]] = []  # index of the position, token, continuation
        distributions: list[tuple[int, int]] = []  # index of the position, request
        number = 0
        for row, tree in enumerate(trees):
            for target in tree.targets:
                for at, token in zip(target.at, target.ids, strict=True):
                    scored.append((index.setdefault((row, at), len(index)), token, number))
                if requests and target.place[1] == 0:
                    request = requests[target.place[0]]
                    if request.top or request.reference is not None:
                        distributions.append((index[row, target.at[0]], target.place[0]))
                number += 1
        self.needed: list[Position] = list(index)
        scored.sort()
        self._at, self._token, self._continuation = (np.array(column) for column in zip(*scored, strict=True))
        self._distributions = sorted(distributions)
        self._requests = requests

    def read(
        self, logits: torch.Tensor
    ) -> Callable[[], tuple[list[Answer], dict[int, Distribution | Divergence]]]:
        """Queue all computations on the logits and the transfer of their results to the CPU.

        Parameters
        ----------
        logits : tensor of shape (needed, vocabulary)

        Returns
        -------
        callable
            Waits for the device; returns the answers, and the distribution or divergence per request.
        """
        values, likeliest = [], []
        waits: list[Callable[[], dict[int, Distribution | Divergence]]] = []
        for start, logprobs in _chunks(logits):
            low, high = np.searchsorted(self._at, (start, start + len(logprobs)))
            at = to_device(self._at[low:high] - start, logits.device)
            token = to_device(self._token[low:high], logits.device)
            picked = logprobs[at, token]
            values.append(picked)
            likeliest.append(is_likeliest(logprobs, at, token, picked))
            inside = [
                (position - start, request)
                for position, request in self._distributions
                if start <= position < start + len(logprobs)
            ]
            waits.append(self._queue_distributions(logprobs, inside))
        value, greedy = (torch.cat(parts).to("cpu", non_blocking=True) for parts in (values, likeliest))
        event = torch.cuda.current_stream(logits.device).record_event() if logits.is_cuda else None

        def wait() -> tuple[list[Answer], dict[int, Distribution | Divergence]]:
            if event is not None:  # not for the whole stream, which has the next batch queued by now
                event.synchronize()
            count = len(self.targets)
            sums = np.bincount(self._continuation, weights=value.double().numpy(), minlength=count)
            misses = np.bincount(self._continuation, weights=~greedy.numpy(), minlength=count)
            answers = [
                Answer(target, float(total), not missed)
                for target, total, missed in zip(self.targets, sums, misses, strict=True)
            ]
            return answers, {request: result for part in waits for request, result in part().items()}

        return wait

    def _queue_distributions(
        self, logprobs: torch.Tensor, positions: Sequence[tuple[int, int]]
    ) -> Callable[[], dict[int, Distribution | Divergence]]:
        """Queue the distributions, or divergences, at (row, request) pairs; the results are by request."""
        if not positions:
            return dict
        chosen = logprobs[to_device([row for row, _ in positions], logprobs.device)]
        requests = [request for _, request in positions]
        wait = queue_distributions(chosen, [self._requests[request] for request in requests])
        return lambda: dict(zip(requests, wait(), strict=True))


def _chunks(logits: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (first row, log-probabilities in float32) of a few rows at a time."""
    step = max(1, _CHUNK.get(logits.device.type, _GPU_CHUNK) // logits.shape[1])
    for start in range(0, len(logits), step):
        yield start, torch.log_softmax(logits[start : start + step].float(), dim=1)


def is_likeliest(
    logprobs: torch.Tensor, at: torch.Tensor, token: torch.Tensor, picked: torch.Tensor
) -> torch.Tensor:
    """Tell for each (row, token) pair whether the token is the row's likeliest, the first one on a tie.

    Parameters
    ----------
    logprobs : tensor of shape (rows, vocabulary)
    at, token : int64 tensors of shape (pairs,)
    picked : tensor of shape (pairs,)
        Their log-probabilities.
    """
    if logprobs.device.type != "cpu":
        return logprobs.argmax(dim=1)[at] == token
    # on a CPU amax is much cheaper than argmax, and few tokens reach it
    likeliest = picked == logprobs.amax(dim=1)[at]
    candidates = likeliest.nonzero().squeeze(1)
    likeliest[candidates] = logprobs[at[candidates]].argmax(dim=1) == token[candidates]
    return likeliest
