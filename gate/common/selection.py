"""The rule by which `gate curate` selects items, applied again to both models when they are compared."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from gate.common.lm_eval import choice_lengths

FACET = "selection"
"""Facet of a curated task that holds its rule."""


@dataclass(frozen=True)
class Selection:
    """How items were selected.

    Attributes
    ----------
    by : "baseline" or "other"
        Whose answers selected the items: the baseline's, or those of a model that is not compared.
    weights : str
        SHA-256 of the weights of that model.
    runs : int
        Answers per item.
    temperature : float
        Sampling temperature.
    seed : int
        Seed of the random number of each item.
    audit : float
        Smallest probability of selecting an item.

    Notes
    -----
    Each item has one random number U, uniform on [0, 1), that depends only on the seed and the item. An item is
    selected where U is below max(audit, 1 - p^runs - (1 - p)^runs): p is the probability of the right answer at the
    temperature, and the second term is the probability that `runs` answers are neither all right nor all wrong.

    Items that are selected by the baseline's own log-likelihoods regress to the mean when the candidate answers them.
    Where an item counts only if the candidate's log-likelihoods select it too, with the same U, the set of counted
    items is a symmetric function of both models. If the models are exchangeable, each flip is then a fair coin again,
    exactly. `audit` keeps a candidate visible whose answers all became certain and wrong.
    """

    by: Literal["baseline", "other"]
    weights: str
    runs: int
    temperature: float
    seed: int
    audit: float

    def facet(self) -> str:
        """Return the rule as text; `Selection.parse` reads it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, facet: str) -> Selection:
        """Return the rule of a facet."""
        return cls(**json.loads(facet))

    def draw(self, item_id: str) -> float:
        """Return the item's random number."""
        digest = hashlib.sha256(f"curate:{self.seed}:{item_id}".encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2.0**56  # 56 bits: below 1 after rounding to 53

    def selects(self, item_id: str, right: float) -> bool:
        """Return whether an item is selected whose right answer has the probability `right` at the temperature."""
        varies = 1.0 - right**self.runs - (1.0 - right) ** self.runs
        return self.draw(item_id) < max(varies, self.audit)

    def probability_of_right(
        self, metric: str, logprobs: Sequence[float], choices: Sequence[str], target: int
    ) -> float:
        """Return the probability of the target if a choice is sampled in proportion to exp(score / temperature).

        The score is the choice's log-likelihood in nats. For `acc_norm` and `acc_bytes` it is divided by the choice's
        length and multiplied by the mean length of the choices, which keeps the ranking of the metric and the unit.
        """
        scores = list(logprobs)
        lengths = choice_lengths(metric, choices)
        if lengths is not None:
            mean = sum(lengths) / len(lengths)
            scores = [
                score / length * mean if length else -math.inf for score, length in zip(scores, lengths, strict=True)
            ]
        largest = max(scores)
        weights = [math.exp((score - largest) / self.temperature) for score in scores]
        return weights[target] / sum(weights)
