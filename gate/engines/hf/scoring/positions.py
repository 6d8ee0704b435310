"""From the logits of a batch of trees to the log-likelihoods of their continuations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gate.engines.hf.model.distribution import Place, queue_distributions
from gate.engines.hf.model.load import to_device
from gate.engines.hf.scoring.forward import Position
from gate.engines.hf.scoring.trees import Scored, Tree
from gate.tasks.requests import Distribution, Divergence, LoglikelihoodRequest

# log-probabilities held in float32 at a time: 8 MiB fit into a CPU's cache, 256 MiB into any GPU's memory
_CPU_CHUNK, _GPU_CHUNK = 1 << 21, 1 << 26


@dataclass(frozen=True)
class Answer:
    """The log-likelihood of a continuation (nats), and whether greedy decoding would generate it."""

    target: Scored
    loglikelihood: float
    greedy: bool


class Positions:
    """The positions of a batch whose logits are needed, each once, and what is computed from these.

    The `top` and `reference` of a request concern the token after its context. `requests` is empty for rolling texts.
    """

    def __init__(self, trees: Sequence[Tree], requests: Sequence[LoglikelihoodRequest]) -> None:
        pairs = [(row, target) for row, tree in enumerate(trees) for target in tree.targets]
        self._targets = [target for _, target in pairs]
        index: dict[Position, int] = {}
        scored: list[tuple[int, int, int]] = []  # index of the position, token, continuation
        distributions: list[tuple[int, int]] = []  # index of the position, request
        for number, (row, target) in enumerate(pairs):
            for at, token in zip(target.at, target.ids, strict=True):
                scored.append((index.setdefault((row, at), len(index)), token, number))
            if requests and target.indices[1] == 0:
                request = requests[target.indices[0]]
                if request.top or request.reference is not None:
                    distributions.append((index[row, target.at[0]], target.indices[0]))
        self.needed: list[Position] = list(index)
        scored.sort()
        self._at, self._token, self._continuation = (np.array(column) for column in zip(*scored, strict=True))
        self._distributions = sorted(distributions)
        self._requests = requests

    def read(self, logits: torch.Tensor) -> Callable[[], tuple[list[Answer], dict[int, Distribution | Divergence]]]:
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
        queued: list[tuple[list[int], Callable[[], list[Distribution | Divergence]]]] = []
        step = max(1, (_CPU_CHUNK if logits.device.type == "cpu" else _GPU_CHUNK) // logits.shape[1])
        for start in range(0, len(logits), step):
            logprobs = torch.log_softmax(logits[start : start + step].float(), dim=1)
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
            if inside:
                chosen = logprobs[to_device([row for row, _ in inside], logits.device)]
                numbers = [request for _, request in inside]
                places = [Place.first(self._requests[number]) for number in numbers]
                queued.append((numbers, queue_distributions(chosen, places)))
        value, greedy = (torch.cat(parts).to("cpu", non_blocking=True) for parts in (values, likeliest))
        event = torch.cuda.current_stream(logits.device).record_event() if logits.is_cuda else None

        def wait() -> tuple[list[Answer], dict[int, Distribution | Divergence]]:
            if event is not None:  # not for the whole stream, which has the next batch queued by now
                event.synchronize()
            count = len(self._targets)
            sums = np.bincount(self._continuation, weights=value.double().numpy(), minlength=count)
            misses = np.bincount(self._continuation, weights=~greedy.numpy(), minlength=count)
            answers = [
                Answer(target, float(total), not missed)
                for target, total, missed in zip(self._targets, sums, misses, strict=True)
            ]
            distributions = {
                number: result
                for numbers, wait_for_results in queued
                for number, result in zip(numbers, wait_for_results(), strict=True)
            }
            return answers, distributions

        return wait


def is_likeliest(logprobs: torch.Tensor, at: torch.Tensor, token: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
    """Tell for each pair of a row (`at`) and a token whether the token is the row's likeliest, the first one on a tie.

    `logprobs` has the shape (rows, vocabulary), `picked` the log-probabilities of the pairs.
    """
    if logprobs.device.type != "cpu":
        return logprobs.argmax(dim=1)[at] == token
    # on a CPU amax is much cheaper than argmax, and few tokens reach it
    likeliest = picked == logprobs.amax(dim=1)[at]
    candidates = likeliest.nonzero().squeeze(1)
    likeliest[candidates] = logprobs[at[candidates]].argmax(dim=1) == token[candidates]
    return likeliest
