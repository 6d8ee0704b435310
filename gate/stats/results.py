"""What the tests return: frozen dataclasses with `statistic` and `pvalue`, as in `scipy.stats`."""

from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from numpy.typing import NDArray

from gate.stats import _unconditional, _validate
from gate.stats._validate import FloatArray, IntArray

Value = TypeVar("Value", float, FloatArray)
"""A float for one task, an array for several."""

Rule: TypeAlias = Literal["omnibus", "pooled", "max", "fisher", "holm"]


class ConfidenceInterval(NamedTuple, Generic[Value]):
    """Bounds of a confidence interval: floats, or arrays with one value per task where the counts were arrays."""

    low: Value
    high: Value


@dataclass(frozen=True)
class McNemarResult(Generic[Value]):
    """Result of `mcnemar_exact` or `mcnemar_midp`.

    Attributes
    ----------
    statistic : float or ndarray of float
        Regressions minus improvements, b - c.
    pvalue : float or ndarray of float
        One-sided p-value; small where the candidate is worse.
    method : {'exact', 'mid-p'}
        How the p-value was computed.
    regressions, improvements : int or ndarray of int
        The discordant counts b and c.
    n : int or ndarray of int, or None
        Paired items, where given.
    """

    statistic: Value
    pvalue: Value
    method: Literal["exact", "mid-p"]
    regressions: int | IntArray
    improvements: int | IntArray
    n: int | IntArray | None

    def drop_ci(self, confidence_level: float = 0.9) -> ConfidenceInterval[Value]:
        """Return the exact interval of the drop (b - c) / n, a proportion; see `drop_interval`.

        Raises
        ------
        ValueError
            If the test was called without `n`, or `confidence_level` is not in (0, 1).

        Examples
        --------
        >>> from gate.stats import mcnemar_exact
        >>> low, high = mcnemar_exact(40, 20, n=160).drop_ci(0.95)
        >>> print(f"{low:.3f} {high:.3f}")
        0.030 0.219
        """
        if self.n is None:
            raise ValueError("n: expected the number of paired items for an interval of the drop, found None")
        counts = _validate.triple(self.regressions, self.improvements, self.n)
        _validate.open_unit("confidence_level", confidence_level)
        low, high = _unconditional.intervals(*counts, 0.5 - 0.5 * confidence_level)
        return ConfidenceInterval(unwrap(low), unwrap(high))


@dataclass(frozen=True)
class MarginTestResult(Generic[Value]):
    """Result of `margin_test` or `noninferiority`.

    Attributes
    ----------
    statistic : float or ndarray of float
        Tango's score statistic Z at the margin; positive where the observed drop exceeds the margin.
    pvalue : float or ndarray of float
        One-sided p-value.
    margin : float
        The drop tested against, a proportion.
    method : str
        Name of the test.
    """

    statistic: Value
    pvalue: Value
    margin: float
    method: Literal["exact unconditional"] = "exact unconditional"


@dataclass(frozen=True, slots=True)
class SignFlipResult:
    """Result of `sign_flip`.

    Attributes
    ----------
    statistic : float
        Sum of the differences, in the units of the score.
    pvalue : float
        One-sided p-value; small where the candidate is worse.
    n_resamples : int
        Sign patterns drawn; 0 where the p-value is exact.
    """

    statistic: float
    pvalue: float
    n_resamples: int


@dataclass(frozen=True, slots=True)
class AggregateResult:
    """One test over all tasks together.

    Attributes
    ----------
    statistic : float
        The test statistic, which each test's own documentation defines.
    pvalue : float
        One-sided p-value of "no task has dropped".
    """

    statistic: float
    pvalue: float


@dataclass(frozen=True, slots=True)
class OmnibusResult:
    """Result of `omnibus`.

    Attributes
    ----------
    statistic : float
        Smallest of the p-values of pooled, max and Fisher.
    pvalue : float
        (1 + hits) / (n_resamples + 1), or the exact probability.
    n_resamples : int
        Draws behind the p-value; 0 where it is exact.
    pvalue_ci : ConfidenceInterval
        99.9 % Clopper-Pearson interval of the p-value that infinitely many draws would give.
    """

    statistic: float
    pvalue: float
    n_resamples: int
    pvalue_ci: ConfidenceInterval[float]


@dataclass(frozen=True, slots=True)
class CombinedResult:
    """Result of `combine`: every test over all tasks, and the one that decides.

    Attributes
    ----------
    rule : {'omnibus', 'pooled', 'max', 'fisher', 'holm'}
        The rule that decides.
    statistic, pvalue : float
        Those of the deciding rule. Reject "no task has dropped by more than its margin" if pvalue <= alpha.
    margins : tuple of float, one per task
        Tolerated drop of each task, in score units.
    task_pvalues : tuple of float, one per task
        P-values of the single tasks, in the order given.
    task_pvalues_holm : tuple of float, one per task
        The same, adjusted by Holm's method.
    pooled, max_drop, fisher : AggregateResult
        The three aggregates.
    omnibus : OmnibusResult
        The smallest of the three, under one error rate.
    holm : AggregateResult
        Smallest raw and smallest Holm-adjusted p-value.
    linked : bool
        Whether tasks share clusters, so that they are dependent.
    """

    rule: Rule
    statistic: float
    pvalue: float
    margins: tuple[float, ...]
    task_pvalues: tuple[float, ...]
    task_pvalues_holm: tuple[float, ...]
    pooled: AggregateResult
    max_drop: AggregateResult
    fisher: AggregateResult
    omnibus: OmnibusResult
    holm: AggregateResult
    linked: bool = False


def unwrap(array: NDArray[Any]) -> Any:
    """Return a plain number for an array without dimensions, else the array."""
    return array.item() if array.ndim == 0 else array
