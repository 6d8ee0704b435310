"""The keys of a task of kind `text`."""

from __future__ import annotations

from pydantic import BaseModel, Field

LIKELIHOOD_METRIC = "loglikelihood_per_byte"
"""The score of a text: its log-likelihood (nats) per UTF-8 byte, which does not depend on the tokenizer."""
DEFAULT_WINDOW = 2000
_FOREIGN = ("choices", "answer", "filter", "fewshot", "stop", "extract", "scorer", "chat_template", "chat", "turns")


class TextSettings(BaseModel):
    """How a text is cut into windows, which are the items."""

    window: int | None = Field(
        None,
        ge=20,
        le=1_000_000,
        description="text: characters that a window has, with its context; windows end at white space. null: 2000 for "
        "a text file; each document as a whole for JSONL, CSV and Parquet.",
    )
    stride: int | None = Field(
        None,
        ge=10,
        le=1_000_000,
        description="text: characters of a window that are scored; the rest before them is context. null takes window: "
        "no context.",
    )

    def check_text(self, kind: str) -> None:
        """Raise a ValueError where keys do not fit the kind of the task."""
        if kind != "text":
            if self.window is not None or self.stride is not None:
                raise ValueError("window and stride belong to text tasks")
            return
        foreign = [key for key in _FOREIGN if key in self.model_fields_set]
        if foreign:
            raise ValueError(f"a text task has no {' and no '.join(foreign)}")
        if getattr(self, "max_flip_rate", None) is not None:
            raise ValueError("max_flip_rate does not fit a text task: every likelihood changes; use max_kl")
        if self.stride is not None and self.stride > (self.window or DEFAULT_WINDOW):
            raise ValueError(f"stride must be at most window ({self.window or DEFAULT_WINDOW})")
