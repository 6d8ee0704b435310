"""The decision as data: the part of result.json that holds the findings. Scores and drops are proportions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gate.decision.accepted import Acceptance
from gate.decision.aggregate import Aggregate
from gate.decision.behaviour import Behaviour
from gate.decision.broken_result import BrokenAnswers
from gate.decision.finding import Finding
from gate.decision.run_sections import Adjustment, EarlyStopping, Sensitivity
from gate.decision.section import ResultSection
from gate.decision.series import Spending
from gate.decision.slice_result import SliceResult

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
CertificationTest = Literal["exact unconditional", "large-sample score"]
TestName = Literal[
    "exact McNemar",
    "sign-flip permutation",
    "exact unconditional test at the margin",
    "Tango score at the margin",
    "score test on the differences at the margin",
]
Unit = Literal["proportion", "score"]


class Recovery(ResultSection):
    """Candidate score / baseline score of one task."""

    ratio: float
    ci90: tuple[float | None, float | None] = Field(
        description="Fieller's two-sided 90% interval; null where the data do not bound the ratio."
    )


class Limit(ResultSection):
    """A limit on an observed value of one task: a plain comparison, whose false-positive rate is not controlled."""

    kind: Literal["max_drop", "min_recovery", "max_flip_rate", "max_kl", "max_truncated", "max_broken"]
    limit: float
    observed: float
    exceeded: bool = Field(description="Whether the observed value is beyond the limit; FAIL for a gating task.")


class TaskResult(ResultSection):
    """One task: what changed, and whether chance explains it."""

    task: str
    metric: str
    role: Literal["gating", "advisory"]
    n: int = Field(ge=0, le=10**9, description="Paired items.")
    repeats: int = Field(1, description="Answers per item. An item's score is their mean, so it is one unit.")
    baseline: float = Field(description="Mean score of the baseline.")
    candidate: float = Field(description="Mean score of the candidate.")
    drop: float = Field(description="baseline - candidate; positive where the candidate is worse.")
    drop_ci90: tuple[float, float] = Field(
        description="Two-sided 90% interval of the drop: the inverted exact test for independent binary items "
        "(Tango's score interval in results of old versions), else inverted score tests (Student's t in old versions). "
        "Not adjusted for an early stop."
    )
    regressions: int = Field(ge=0)
    improvements: int = Field(ge=0)
    flip_rate: float = Field(description="(regressions + improvements) / n.")
    flip_rate_ci95: tuple[float, float] = Field(
        description="95% interval of the flip rate: Clopper-Pearson, with clusters at the effective number of items."
    )
    all_flip_rate: float = Field(description="Flips and changes from one wrong answer to another, over n.")
    independent: bool | None = Field(
        None,
        description="Whether items are independent; false where they are clustered, null in results of old versions.",
    )
    units: int | None = Field(
        None, description="Independent units: items, or clusters of items. Null in results of old versions."
    )
    effective_units: float | None = Field(
        None,
        description="Number of equal units whose squares vary as much: `units` where all have as many items. Null "
        "in results of old versions.",
    )
    unit: Unit = Field(
        "proportion", description="proportion: scores from 0 to 1. score: the metric's own unit, of unknown range."
    )
    test: TestName
    p_exact: float = Field(description="One-sided p-value of `test`.")
    p_is_bound: bool = Field(
        False, description="Whether p_exact is an upper bound: no drawn sign pattern was as extreme."
    )
    p_mid: float | None = Field(description="McNemar's mid-p; reported only, never decides.")
    p_holm: float | None = Field(description="p_exact adjusted by Holm over the gating tasks; null for advisory tasks.")
    p_adjusted: float | None = Field(
        None,
        description="Largest p-value of the deciding test over all sets of gating tasks that contain this task (closed "
        "testing). Null where that test does not reject, for advisory tasks and in results of old versions.",
    )
    fails: bool | None = Field(
        None,
        description="Whether the task fails: p_adjusted is at most the level. Null in results of old versions.",
    )
    can_reject: bool = Field(description="False where the task could not fail even if every flip were a regression.")
    detectable_drop: float | None = Field(
        alias="mde", description="Smallest true drop that the task's own test detects with the stated power."
    )
    kl_mean: float | None = Field(
        description="Mean KL divergence, baseline || candidate, over the answers' tokens (of old baselines: their "
        "first token), in nats: an estimate over the whole vocabulary, or a lower bound. Null where not measured."
    )
    kl_error: float | None = Field(
        None,
        description="Standard error of kl_mean over the random draws of stored tokens, positions and texts, given the "
        "items. Null for a lower bound, where one of several texts was measured, and in results of old versions.",
    )
    kl_is_bound: bool | None = Field(
        None,
        description="Whether kl_mean is a lower bound (the baseline's likeliest tokens and one bucket for the rest). "
        "Null where not measured, and in results of old versions, where it always was one.",
    )
    kl_median: float | None
    kl_p99: float | None = Field(description="99th percentile.")
    same_top_rate: float | None = Field(description="Share of measured tokens with the baseline's most likely token.")
    broken: BrokenAnswers | None = Field(
        None, description="Broken answers of both sides, where texts are generated; null in results of old versions."
    )
    margin: float | None = Field(
        None, description="Tolerated drop of this task; null in results of old versions: that of the decision."
    )
    drop_bound: float | None = Field(
        None,
        description="Upper bound of the drop at level decision.alpha / (number of gating tasks), so that all bounds "
        "hold together with confidence 1 - decision.alpha (approximately, where `test` needs more than counts). Null "
        "for advisory tasks, after an early stop, and with fewer than 5 effective units.",
    )
    certification: Certification | None = Field(
        None, description="Non-inferiority test of this task alone, where the task sets `certify`."
    )
    recovery: Recovery | None = Field(None, description="Where the task sets `min_recovery`.")
    limits: list[Limit] = Field(default_factory=list, description="The limits that the task sets.")
    behaviour: Behaviour | None = Field(
        None, description="How far the answers' distributions and texts moved. Null in results of old versions."
    )
    subtasks: list[TaskResult] = Field(
        default_factory=list, description="The subtasks of a group, each tested alone; they never decide."
    )

    @property
    def exceeds_limit(self) -> bool:
        """Whether an observed value is beyond a limit that the task sets, and the task counts towards the verdict."""
        return self.role == "gating" and any(limit.exceeded for limit in self.limits)

    @property
    def tested_by_counts(self) -> bool:
        """Whether the test needs only the numbers of regressions and improvements (independent binary items)."""
        if self.test == "Tango score at the margin":
            return self.independent is True  # old versions gave every test at a margin this name
        return self.test in ("exact McNemar", "exact unconditional test at the margin")

    @property
    def count(self) -> str:
        """Number of items for a table, with the answers per item if there are several."""
        return f"{self.n:,}" if self.repeats == 1 else f"{self.n:,} \N{MULTIPLICATION SIGN} {self.repeats}"

    @property
    def test_label(self) -> str:
        """Name of the test, for a report."""
        if self.independent is None and self.test == "Tango score at the margin":
            return "score test at the margin"  # an old version, see `tested_by_counts`
        return f"{self.test} (clustered items)" if self.independent is False else self.test


class Certification(ResultSection):
    """Non-inferiority test at the bound `certify`: of the mean drop over all gating items, or of one task's drop."""

    margin: float
    p_value: float = Field(description="P-value of H0 drop >= margin, from `test`.")
    certified: bool
    items_needed: int | None = Field(
        description="Items that would prove it with the stated power if the true drop were 0. Null where the observed "
        "drop is not below the margin, or where the items of this run should have proven it."
    )
    test: CertificationTest | None = Field(
        None,
        description="exact unconditional: on the pooled counts of independent binary items. large-sample score: on the "
        "differences, where items are clustered or scores are not binary. null in results of old versions, which used "
        "large-sample tests.",
    )


class Decision(ResultSection):
    """The verdict and everything it rests on."""

    verdict: Verdict
    exit_code: int
    rule: str
    alpha: float = Field(description="Level of this decision: decision.alpha, or what alpha_spending allots.")
    margin: float
    p_value: float = Field(description="P-value of the test that decides; adjusted where there are several candidates.")
    reasons: list[str]
    spending: Spending | None = None
    early_stop: EarlyStopping | None = None
    adjustment: Adjustment | None = Field(None, description="Where the candidate is one of several.")
    certification: Certification | None
    accepted: Acceptance | None = Field(None, description="Where gate.yml has `accept`.")
    sensitivity: Sensitivity
    bound_confidence: float | None = Field(
        None, description="Confidence with which all `drop_bound` of gating tasks hold together: 1 - decision.alpha."
    )
    tasks: list[TaskResult]
    slices: list[SliceResult] = Field(default_factory=list, description="The worst slice first; they never decide.")
    aggregate: Aggregate
    validity: list[Finding] = Field(
        default_factory=list, description="What makes the evaluation itself doubtful; reports show it first."
    )

    @property
    def warnings(self) -> list[Finding]:
        """The findings that are not among the reasons of the verdict."""
        return [finding for finding in self.validity if finding.message not in self.reasons]

    @property
    def gating(self) -> list[TaskResult]:
        """Gating tasks, in order."""
        return [task for task in self.tasks if task.role == "gating"]

    @property
    def items(self) -> int:
        """Paired items of the gating tasks."""
        return sum(task.n for task in self.gating)

    @property
    def drop(self) -> float:
        """Mean drop over the items of the gating tasks."""
        return sum(task.drop * task.n for task in self.gating) / self.items

    @property
    def flip_rate(self) -> float:
        """Share of the items of the gating tasks whose score changed."""
        return sum(task.regressions + task.improvements for task in self.gating) / self.items

    def margin_of(self, task: TaskResult) -> float:
        """Return the tolerated drop of a task."""
        return self.margin if task.margin is None else task.margin

    @property
    def has_margin(self) -> bool:
        """Whether a gating task has a tolerated drop above 0."""
        return any(self.margin_of(task) > 0 for task in self.gating)

    @property
    def common_margin(self) -> float | None:
        """The tolerated drop of the gating tasks; None where it is not the same for all."""
        margins = {self.margin_of(task) for task in self.gating}
        return margins.pop() if len(margins) == 1 else None

    def task_fails(self, task: TaskResult) -> bool:
        """Return whether a task fails by itself: closed testing, so that no task fails unless the decision does.

        Results of old versions have no closed test: there, the deciding test and Holm's method must both reject.
        """
        if self.verdict != "FAIL" or task.role != "gating":
            return False
        if task.fails is not None:
            return task.fails
        rejected = self.stopped_early or self.p_value <= self.alpha
        return rejected and task.p_holm is not None and task.p_holm <= self.alpha

    @property
    def failed_tasks(self) -> list[TaskResult]:
        """Tasks that fail by themselves."""
        return [task for task in self.tasks if self.task_fails(task)]

    @property
    def p_alone(self) -> float:
        """P-value of this candidate alone, without an adjustment over several candidates."""
        return self.p_value if self.adjustment is None else self.adjustment.p_alone

    @property
    def stopped_early(self) -> bool:
        """Whether the e-process ended the evaluation, so that `p_value` is its own."""
        return self.early_stop is not None and self.early_stop.stopped

    @property
    def p_is_bound(self) -> bool:
        """Whether `p_value` is an upper bound: no draw was as extreme as the data."""
        if self.stopped_early or self.decided_by == "evalue":
            return False
        alone = len(self.gating) == 1 and self.gating[0].p_is_bound
        return alone or (self.decided_by in Aggregate.model_fields and self.aggregate.is_bound(self.decided_by))

    @property
    def decided_by(self) -> str:
        """The rule, or `evalue` where the evidence of a series of runs decides."""
        return "evalue" if self.spending is not None and self.spending.evidence is not None else self.rule

    @property
    def blocks(self) -> bool:
        """Whether the policy stops the job: a FAIL, or an INCONCLUSIVE where `on_inconclusive` is fail."""
        return self.exit_code != 0
