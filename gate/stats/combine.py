"""One decision over several tasks of any kind, with one error rate."""

import math
from collections.abc import Sequence

import numpy as np

from gate.stats import _linked, _margin_rules, _omnibus, _validate
from gate.stats._rules import Tasks
from gate.stats._validate import RNG
from gate.stats.evidence import Evidence
from gate.stats.links import Links
from gate.stats.multiplicity import holm
from gate.stats.results import AggregateResult, CombinedResult, OmnibusResult, Rule

RULES: tuple[Rule, ...] = ("omnibus", "pooled", "max", "fisher", "holm")


def combine(
    evidences: Sequence[Evidence],
    rule: Rule = "omnibus",
    *,
    margin: float | Sequence[float] = 0.0,
    n_resamples: int = 1_000_000,
    rng: RNG = None,
    alpha: float | None = None,
    links: Links | None = None,
) -> CombinedResult:
    """Test whether any task has dropped, over binary and other tasks together.

    Parameters
    ----------
    evidences : sequence of Evidence
        One per task, at least one. Their order does not affect the p-values of the rules.
    rule : {'omnibus', 'pooled', 'max', 'fisher', 'holm'}, default 'omnibus'
        The rule that decides. The others are returned too.
    margin : float or sequence of float, default 0
        Tolerated drop of every task, or one per task, in score units (a proportion for binary tasks).
    n_resamples, rng, alpha
        As for `omnibus`.
    links : Links, optional
        From `link`, where clusters have items in several tasks: their signs are then drawn once for all tasks, at
        most 200,000 times, and `alpha` has no effect. Without it, tasks are independent.

    Returns
    -------
    CombinedResult
        `statistic` and `pvalue` of the deciding rule, the p-values of the single tasks, and the results of all
        rules.

    Raises
    ------
    ValueError
        If there is no task, a margin is negative, not finite or missing, or a margin is tested on evidence without a
        number of items.

    Notes
    -----
    margin = 0: given the sizes of all differences, their signs are fair coins, independent between tasks. The
    signed sum T_k of each task has a known discrete distribution: a binomial, an exact convolution or, for
    continuous scores, the random sums together with the observed one, which are equally likely under the null.
    From these, pooled (the sum of the T_k, non-binary scores scaled to root mean square 1), max (the largest
    T_k in null standard deviations), Fisher and omnibus are computed as for counts. All are valid at any sample
    size. With binary evidence only, the results equal those of `pooled`, `max_drop`, `fisher` and `omnibus`.
    Holm's statistic is the smallest raw p-value and its p-value is the smallest adjusted one.

    margin > 0 for any task: the p-value of each task is that of `margin_test`, exact for independent binary items,
    and else that of a large-sample score test (see `Evidence.pvalue_at`); Holm's method applies directly. Pooled is
    the same test on the summed counts, with Tango's Z as its statistic (one regression less is counted where a task may
    improve on 30 % of its items, see `pooled_noninferiority`); with other tasks it is the score test on the summed
    scores. Its null hypothesis, a pooled drop of at most the mean margin over all items, contains "no task's drop
    exceeds its own margin". Max is 1 - (1 - p_min)**K with p_min as its statistic, and Fisher uses its chi-square
    reference; both only need valid p-values and independent tasks. Omnibus is min(1, 3 x the smallest of the three),
    valid under any dependence of the three; no draws are made.

    References
    ----------
    Pesarin, Salmaso (2010), Permutation Tests for Complex Data. Hemerik, Goeman (2018), TEST 27, 811-825
    (random sign flips). Berger, Boos (1994), JASA 89, 1012-1016 (tests at a margin).

    Examples
    --------
    >>> from gate.stats import Evidence, combine
    >>> tasks = [Evidence.from_counts(4, 5), Evidence.from_counts(10, 3), Evidence.from_counts(3, 2)]
    >>> result = combine(tasks)
    >>> print(f"{result.pvalue:.3f} {result.pooled.pvalue:.3f} {result.max_drop.pvalue:.3f}")
    0.126 0.124 0.094
    >>> print(f"{result.fisher.pvalue:.3f} {result.holm.pvalue:.3f}")
    0.105 0.138
    >>> mixed = [*tasks, Evidence.from_differences([0.5, 0.25, -0.25, 1.0, 0.75])]
    >>> round(combine(mixed, rng=0).pvalue, 3)
    0.058
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {', '.join(RULES)}, found {rule!r}")
    if not evidences:
        raise ValueError("evidences: expected at least one task, found none")
    margins = _margins(margin, len(evidences))
    _validate.at_least("n_resamples", n_resamples, 1)
    seed = _validate.seed(rng)
    pvalues = np.array([e.pvalue_at(own) for e, own in zip(evidences, margins, strict=True)])
    if links is not None:
        pooled, largest, fisher, omnibus = _linked.aggregates(evidences, links, margins, pvalues, n_resamples, seed)
    elif any(margins):
        pooled, largest, fisher, omnibus = _margin_rules.aggregates(evidences, margins, pvalues)
    else:
        tasks = Tasks.of(evidences)
        pooled, largest, fisher = tasks.pooled, tasks.max_drop, tasks.fisher
        omnibus = _omnibus.omnibus(tasks, n_resamples, seed, alpha)
    adjusted = holm(pvalues)
    smallest = AggregateResult(float(pvalues.min()), float(adjusted.min()))
    by_rule: dict[Rule, AggregateResult | OmnibusResult] = {
        "omnibus": omnibus,
        "pooled": pooled,
        "max": largest,
        "fisher": fisher,
        "holm": smallest,
    }
    return CombinedResult(
        rule=rule,
        statistic=by_rule[rule].statistic,
        pvalue=by_rule[rule].pvalue,
        margins=margins,
        task_pvalues=tuple(pvalues.tolist()),
        task_pvalues_holm=tuple(adjusted.tolist()),
        pooled=pooled,
        max_drop=largest,
        fisher=fisher,
        omnibus=omnibus,
        holm=smallest,
        linked=links is not None,
    )


def _margins(margin: float | Sequence[float], tasks: int) -> tuple[float, ...]:
    """Return one margin per task."""
    margins = (float(margin),) * tasks if isinstance(margin, int | float) else tuple(map(float, margin))
    if len(margins) != tasks:
        raise ValueError(f"margin: expected one number, or one per task ({tasks}), found {len(margins)}")
    for value in margins:
        if not 0.0 <= value < math.inf:
            raise ValueError(f"margin: expected a drop of at least 0, found {value}")
    return margins
