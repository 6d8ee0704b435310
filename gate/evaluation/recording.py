"""What is stored of the distributions along a baseline's answers."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

from gate.config import GateConfig
from gate.tasks import Task
from gate.tasks.positions import text_seed

UNMEASURED_HINT = "Evaluate both models with engine.kind: transformers, make these tasks advisory, or remove max_kl."
"""What to do where a limit needs KL divergence and it cannot be measured."""
_ALL = 2**31 - 1  # more than any vocabulary or task; an engine returns what there is


@dataclass(frozen=True)
class Recording:
    """How many tokens are stored of each distribution.

    Attributes
    ----------
    top : int or "whole"
        Likeliest tokens: 6 bytes per token before compression; 0 for no distributions.
    drawn : int
        Tokens drawn from the rest; 6 bytes each.
    positions : int
        Most positions per answer or text, each with its own distribution; 1 for the first token only.
    texts : int
        Most generated texts per task with distributions.
    """

    top: int | Literal["whole"] = 64
    drawn: int = 16
    positions: int = 16
    texts: int = 200

    @classmethod
    def of(cls, config: GateConfig) -> Recording:
        """Return what `distance` of gate.yml asks for."""
        distance = config.distance
        if not distance.kl:
            return NONE
        # with early stopping nobody knows beforehand which items are answered, and a sample could miss all of them
        texts = distance.kl_texts if config.decision.early_stop is None else _ALL
        if distance.kl_top == "whole":  # 100 KB or more per position
            return cls("whole", 0, 1, texts)
        return cls(distance.kl_top, distance.kl_sampled, distance.kl_positions, texts)

    def chosen_of(self, task: Task) -> frozenset[str]:
        """Return the ids of the items whose distributions are stored: of many generated texts, a random sample.

        It is the same in every run, because the order is that of a hash of the item id. Reading a text again costs
        a quarter to a third of generating it.
        """
        items = [item.item_id for item in task.items]
        return frozenset(heapq.nsmallest(self.texts, items, key=text_seed) if self.is_sample_of(task) else items)

    def is_sample_of(self, task: Task) -> bool:
        """Return whether distributions are stored of some of the task's answers only."""
        return task.generates and self.texts < len(task.items)

    @property
    def requested_top(self) -> int:
        """The number of likeliest tokens that an engine is asked for."""
        return _ALL if self.top == "whole" else self.top

    def __str__(self) -> str:
        tokens = f"{self.top} + {self.drawn}" if self.drawn else str(self.top)
        return f"{tokens} at {self.positions} positions" if self.top else tokens


NONE = Recording(0, 0, 0)
"""No distributions."""
DEFAULT = Recording()
"""What gate.yml asks for by default."""
