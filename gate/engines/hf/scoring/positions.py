"""From the trees of a batch to log-probabilities of their continuations' tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gate.engines.base import Distribution, Divergence, LoglikelihoodRequest
from gate.engines.hf.model.distribution import queue_asked
from gate.engines.hf.model.load import to_device
from gate.engines.hf.scoring.forward import Place
from gate.engines.hf.scoring.trees import Scored, Tree

_AT_ONCE = {"cpu": 1 << 21}  # log-probabilities that are held in float32 at a time: 8 MiB stay in the cache
_MOST_AT_ONCE = 1 << 26  # 256 MiB on a GPU


@dataclass(frozen=True)
class Answer:
    """What a continuation was found to be: its log-likelihood (nats), and whether greedy decoding would give it."""

    target: Scored
    loglikelihood: float
    greedy: bool


class Positions:
    """The positions of a batch whose logits are needed, each once, and what is read there.

    Parameters
    ----------
    trees : sequence of Tree
    requests : sequence of LoglikelihoodRequest
        For `top` and `reference`, which are about the token after a request's context.
    """

    def __init__(self, trees: Sequence[Tree], requests: Sequence[LoglikelihoodRequest] = ()) -> None:
        self.targets = [target for tree in trees for target in tree.targets]
        index: dict[Place, int] = {}
        read: list[tuple[int, int, int]] = []  # position, token, continuation
        extras: list[tuple[int, int]] = []  # position, request
        number = 0
        for row, tree in enumerate(trees):
            for target in tree.targets:
                for at, token in zip(target.at, target.ids, strict=True):
                    read.append((index.setdefault((row, at), len(index)), token, number))
                if requests and target.place[1] == 0:
                    request = requests[target.place[0]]
                    if request.top or request.reference is not None:
                        extras.append((index[row, target.at[0]], target.place[0]))
                number += 1
        self.needed: list[Place] = list(index)
        read.sort()
        self._at, self._token, self._owner = (np.array(column) for column in zip(*read, strict=True))
        self._extras = sorted(extras)
        self._requests = requests

    def read(
        self, logits: torch.Tensor
    ) -> Callable[[], tuple[list[Answer], dict[int, Distribution | Divergence]]]:
        """Queue all work on the logits, and the copies of its results; what is returned waits for them.

        Parameters
        ----------
        logits : tensor of shape (needed, vocabulary)
        """
        values, greedy = [], []
        extras: list[Callable[[], dict[int, Distribution | Divergence]]] = []
        for start, logprobs in _chunks(logits):
            low, high = np.searchsorted(self._at, (start, start + len(logprobs)))
            at = to_device(self._at[low:high] - start, logits.device)
            token = to_device(self._token[low:high], logits.device)
            picked = logprobs[at, token]
            values.append(picked)
            greedy.append(is_likeliest(logprobs, at, token, picked))
            inside = [
                (place - start, one) for place, one in self._extras if start <= place < start + len(logprobs)
            ]
            extras.append(self._compare(logprobs, inside))
        value, first = (torch.cat(some).to("cpu", non_blocking=True) for some in (values, greedy))
        done = torch.cuda.current_stream(logits.device).record_event() if logits.is_cuda else None

        def wait() -> tuple[list[Answer], dict[int, Distribution | Divergence]]:
            if done is not None:  # not the whole queue, which holds the next batch by now
                done.synchronize()
            count = len(self.targets)
            sums = np.bincount(self._owner, weights=value.double().numpy(), minlength=count)
            missed = np.bincount(self._owner, weights=~first.numpy(), minlength=count)
            answers = [
                Answer(target, float(total), not miss)
                for target, total, miss in zip(self.targets, sums, missed, strict=True)
            ]
            return answers, {key: one for part in extras for key, one in part().items()}

        return wait

    def _compare(
        self, logprobs: torch.Tensor, wanted: Sequence[tuple[int, int]]
    ) -> Callable[[], dict[int, Distribution | Divergence]]:
        """Take the distributions at the answer positions, or their divergences from the references."""
        if not wanted:
            return dict
        chosen = logprobs[to_device([place for place, _ in wanted], logprobs.device)]
        waiting = queue_asked(chosen, [self._requests[number] for _, number in wanted])
        return lambda: dict(zip((number for _, number in wanted), waiting(), strict=True))


def _chunks(logits: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (first row, log-probabilities in float32) of a few rows at a time."""
    step = max(1, _AT_ONCE.get(logits.device.type, _MOST_AT_ONCE) // logits.shape[1])
    for start in range(0, len(logits), step):
        yield start, torch.log_softmax(logits[start : start + step].float(), dim=1)


def is_likeliest(
    logprobs: torch.Tensor, at: torch.Tensor, token: torch.Tensor, picked: torch.Tensor
) -> torch.Tensor:
    """Tell of each (row, token) whether it is the row's likeliest, the first of equals."""
    if logprobs.device.type != "cpu":
        return logprobs.argmax(dim=1)[at] == token
    # here the maximum is much cheaper to find than where it is, and few tokens have it
    first = picked == logprobs.amax(dim=1)[at]
    maybe = first.nonzero().squeeze(1)
    first[maybe] = logprobs[at[maybe]].argmax(dim=1) == token[maybe]
    return first
