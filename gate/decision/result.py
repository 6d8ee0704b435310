"""The decision as data: the part of result.json that says what was found. Proportions, never per cent."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gate.errors import ExitCode

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class Part(BaseModel):
    """Base of the result's sections: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskResult(Part):
    """One task: what changed, and whether that could be chance."""

    task: str
    metric: str
    role: Literal["gating", "advisory"]
    n: int = Field(description="Paired items.")
    baseline: float = Field(description="Mean score of the baseline.")
    candidate: float = Field(description="Mean score of the candidate.")
    drop: float = Field(description="baseline - candidate; positive where the candidate is worse.")
    drop_ci90: tuple[float, float] = Field(
        description="Two-sided 90 % interval of the drop: Tango's score interval, or Student's t for other scores."
    )
    regressions: int
    improvements: int
    flip_rate: float = Field(description="(regressions + improvements) / n.")
    flip_rate_ci95: tuple[float, float] = Field(description="Clopper-Pearson 95 % interval of the flip rate.")
    all_flip_rate: float = Field(description="Flips and changes from one wrong answer to another, over n.")
    test: Literal["exact McNemar", "sign-flip permutation", "Tango score at the margin"]
    p_exact: float = Field(description="One-sided p-value of that test.")
    p_mid: float | None = Field(description="McNemar's mid-p; reported, decides nothing.")
    p_holm: float | None = Field(
        description="p_exact adjusted by Holm over the gating tasks; null for advisory tasks."
    )
    can_reject: bool = Field(
        description="False where even all flips being regressions would not reject under Holm."
    )
    mde: float | None = Field(
        description="Smallest true drop that this task's own test finds with the stated power."
    )
    kl_mean: float | None = Field(
        description="Mean KL divergence, baseline || candidate, of the answer's first token, in nats; a lower bound "
        "(the baseline's top tokens and one bucket for the rest). Null where not measured."
    )
    kl_median: float | None
    kl_p99: float | None = Field(description="99th percentile.")
    same_top_rate: float | None = Field(
        description="Share of items whose likeliest first token is the baseline's."
    )
    subtasks: list[TaskResult] = Field(
        default_factory=list,
        description="The parts of a group of tasks, each by itself; they decide nothing.",
    )


class P(Part):
    """P-value of an aggregate over the gating tasks."""

    p: float


class OmnibusP(P):
    """P-value of the omnibus rule and how it was computed."""

    draws: int = Field(description="Monte-Carlo draws; 0 where all outcomes were enumerated.")
    p_low: float
    p_high: float


class Aggregate(Part):
    """Every aggregate, whichever decides."""

    pooled: P
    max: P
    fisher: P
    holm: P
    omnibus: OmnibusP


class Certification(Part):
    """Non-inferiority at `certify` of the drop over all items of the gating tasks."""

    margin: float
    p_value: float = Field(
        description="Of drop >= margin: Tango's score test on the pooled counts, or, where items are clustered or not "
        "right or wrong, a score test on the differences (both large-sample)."
    )
    certified: bool
    items_needed: int | None = Field(
        description="Items that would prove it with the stated power if the candidate were as good as the baseline."
    )


class Sensitivity(Part):
    """What a PASS of this run could have seen."""

    power: float
    drop: float | None = Field(
        description="Smallest drop, equal on every gating task, found with that power."
    )
    blind_tasks: list[str] = Field(description="Gating tasks that cannot reject on their own.")


class Spending(Part):
    """Which share of alpha this run had, out of a history of runs."""

    kind: Literal["yearly", "lord"]
    level: float = Field(description="Alpha of this run.")
    run: int = Field(description="Number of this run in its series; the first is 1.")
    alarms: int = Field(description="Earlier runs of the series that failed.")
    guarantee: str


class EarlyStopping(Part):
    """What looking at the flips during the evaluation found (an e-process over the gating tasks)."""

    alpha: float = Field(description="Part of decision.alpha that it may spend; the final test has the rest.")
    log_e_value: float = Field(description="Natural logarithm of the evidence at the last look.")
    stopped: bool = Field(description="Whether the evidence reached 1 / alpha, which ended the evaluation.")
    items: int = Field(description="Items of the gating tasks that were answered.")
    of: int = Field(description="Items of the gating tasks.")


class Decision(Part):
    """The verdict and all it rests on."""

    verdict: Verdict
    exit_code: int
    rule: str
    alpha: float = Field(description="Level of this decision: decision.alpha, or what alpha_spending allots.")
    margin: float
    p_value: float
    reasons: list[str]
    spending: Spending | None = None
    early_stop: EarlyStopping | None = None
    certification: Certification | None
    sensitivity: Sensitivity
    tasks: list[TaskResult]
    aggregate: Aggregate

    @property
    def exit(self) -> ExitCode:
        """The process's exit code."""
        return ExitCode(self.exit_code)
