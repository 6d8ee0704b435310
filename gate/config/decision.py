"""The `decision` and `distance` sections."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gate.config.section import Level, Margin, OpenProportion, Proportion, Section


class AlphaSpending(Section):
    """How a gate that runs repeatedly limits its false alarms. The history is kept in the store."""

    kind: Literal["yearly", "lord", "evalue"] = Field(
        description="yearly: the same level for every run, the smaller of `alarms / runs` and decision.alpha. lord: "
        "LORD++, which computes the level from earlier runs; decision.alpha bounds the false discovery rate. evalue: "
        "e-values accumulate over the runs, and the threshold is 1 / decision.alpha at every run."
    )
    alarms: float = Field(1.0, gt=0, description="yearly: expected number of false alarms in `runs` runs.")
    runs: int = Field(
        365,
        ge=1,
        description="yearly, evalue: number of runs in the period, e.g. one per night for a year. evalue: repetitions "
        "of a run (the same models and items) count as one.",
    )
    runs_per_baseline: int | None = Field(
        None,
        ge=1,
        description="evalue: planned runs that share the baseline (or the candidate) and items; 1 if every run has "
        "fresh items. null: all runs of the period.",
    )


class EarlyStop(Section):
    """Stop evaluating a candidate as soon as it is clearly worse."""

    alpha: Level = Field(0.01, description="Part of decision.alpha for early stopping; the final test uses the rest.")
    every: int = Field(256, ge=16, le=4096, description="Number of items, over all gating tasks, between two tests.")


class DecisionSettings(Section):
    """When the verdict is FAIL."""

    alpha: Level = Field(
        0.05,
        description="Level of the decision (proportion): the largest probability that the tests fail a run although no "
        "gating task has dropped by more than its margin.",
    )
    rule: Literal["omnibus", "pooled", "max", "fisher", "holm"] = Field(
        "omnibus", description="The test that decides over all gating tasks."
    )
    margin: Margin = Field(0.0, description="Tolerated drop (proportion; 0.01 is one point).")
    certify: OpenProportion | None = Field(
        None,
        description="PASS also requires proof that the mean drop is below this proportion (non-inferiority).",
    )
    power: OpenProportion = Field(0.8, description="Power of the detectable drop (proportion).")
    on_inconclusive: Literal["pass", "fail"] = Field(
        "pass",
        description="Whether INCONCLUSIVE for lack of proof (`certify`) passes (exit code 0) or blocks the workflow "
        "(exit code 3). A run that could not have shown a loss always blocks.",
    )
    max_truncated: Proportion | None = Field(
        None,
        description="FAIL if a larger proportion of the candidate's generated texts, over all gating tasks that have "
        "any, is stopped by max_tokens. A limit, not a test.",
    )
    max_broken: Proportion | None = Field(
        None,
        description="FAIL if a larger proportion of them is broken: truncated, empty, ending in a loop, without an "
        "answer to extract, or with reasoning that never ends. A limit, not a test.",
    )
    alpha_spending: AlphaSpending | None = Field(
        None, description="For nightly runs: limit the false alarms over a series of runs."
    )
    early_stop: EarlyStop | None = Field(
        None, description="Test during the evaluation of the candidate, and stop with FAIL once it is proven."
    )
    control: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Which run of the baseline the candidate of `gate run` is compared with. auto: if the stack of the "
        "cached answers (engine, versions, hardware, compute dtype, batch settings) is not the candidate's, the "
        "baseline answers again on the candidate's stack, and that run decides. always: where the stacks are equal, "
        "the baseline also answers a second time in other batches, to show the noise. never: the cached answers.",
    )
    draws: int = Field(
        1_000_000,
        ge=1_000,
        le=100_000_000,
        description="Number of Monte Carlo draws of the omnibus test; none with a margin.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> DecisionSettings:
        if self.early_stop is not None:
            if self.early_stop.alpha >= self.alpha:
                raise ValueError(f"early_stop.alpha must be below alpha ({self.alpha:g}), because it is a part of it")
            if self.margin > 0:
                raise ValueError("early_stop tests for any drop and cannot be used with a margin: remove one of them")
            if self.alpha_spending is not None:
                raise ValueError("early_stop and alpha_spending cannot be used together: remove one of them")
        return self


class DistanceSettings(Section):
    """How much the candidate's behaviour differs, better or worse. Affects the verdict only where a limit is set."""

    max_flip_rate: Proportion | None = Field(None, description="FAIL if the proportion of items that flip is larger.")
    kl: bool = Field(
        True,
        description="Measure the KL divergence along the answers: the right choice, a generated text, or a text.",
    )
    kl_top: Annotated[int, Field(ge=1, le=10_000)] | Literal["whole"] = Field(
        64,
        description="Number of likeliest tokens of the baseline's distribution to store; whole stores all, of the "
        "first token only.",
    )
    kl_sampled: int = Field(
        16,
        ge=0,
        le=1_000,
        description="Number of tokens to draw from the rest of the distribution. With them the KL divergence is an "
        "unbiased estimate over the whole vocabulary with a standard error, without them (0) a lower bound.",
    )
    kl_positions: int = Field(
        16,
        ge=1,
        le=1_000,
        description="Most positions per answer or text at which the divergence is measured: its first token and a "
        "seeded sample of the others. 1 measures the first token only.",
    )
    kl_texts: int = Field(
        200,
        ge=2,
        description="Most generated texts per task with a divergence: a random sample of the items, the same in every "
        "run. With early_stop all are measured.",
    )
    max_kl: float | None = Field(
        None, ge=0, description="FAIL if the mean KL divergence over the gating tasks is larger (nats)."
    )

    @model_validator(mode="after")
    def _consistent(self) -> DistanceSettings:
        if self.kl_sampled == 1:
            raise ValueError("kl_sampled must be 0 or at least 2: one token gives no standard error")
        if self.max_kl is not None and not self.kl:
            raise ValueError("max_kl needs kl: true")
        return self
