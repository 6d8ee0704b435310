"""Broken answers as data: a part of result.json."""

from __future__ import annotations

from pydantic import Field

from gate.decision.section import ResultSection


class BrokenCounts(ResultSection):
    """Generated texts of one side with each problem, whatever their score; a text may have several."""

    truncated: int | None = Field(description="Stopped by max_tokens. Null where the samples do not tell.")
    empty: int = Field(description="Without any text.")
    loop: int = Field(
        description="End in a loop: of the last 128 words (at least 32), more than half of all sequences of four words "
        "have occurred before among them."
    )
    unreadable: int = Field(description="Nothing was extracted, or not in the form that the scorer reads.")
    unclosed: int = Field(description="Reasoning that never ended.")
    broken: int = Field(description="With any of these problems.")


class BrokenAnswers(ResultSection):
    """Broken answers of one task on both sides. Advisory: they decide only through `max_truncated` and `max_broken`."""

    baseline: BrokenCounts
    candidate: BrokenCounts
    newly: int = Field(description="Items of which only the candidate's answer is broken.")
    no_longer: int = Field(description="Items of which only the baseline's answer is broken.")
    p_value: float = Field(
        description="One-sided exact McNemar test of `newly` against `no_longer` (sign-flips of whole clusters, where "
        "items are clustered). Not adjusted for the number of tasks."
    )
