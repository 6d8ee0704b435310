"""The reference values of the specification, computed independently of this code."""

import math

import numpy as np
import pytest
from scipy.special import ndtr

from gate.stats import (
    fisher,
    holm,
    log_e_value,
    max_drop,
    mcnemar_exact,
    mcnemar_midp,
    noninferiority,
    omnibus,
    pooled,
    power,
    tango_interval,
)

# b, c, n, exact p, mid-p, Tango 90 % in points, Tango 95 % in points, score p of non-inferiority at one point, ln e
SINGLE_TASKS = [
    (163, 168, 25282, 0.6292, 0.6081, (-0.139, 0.099), (-0.162, 0.122), 3.42e-33, -2.8835),
    (1241, 1042, 25282, 1.689e-05, 1.547e-05, (0.477, 1.098), (0.417, 1.158), 0.1301, 5.7322),
    (1816, 1378, 25282, 4.804e-15, 4.217e-15, (1.366, 2.100), (1.295, 2.171), 0.9995, 27.0015),
    (68, 18, 1000, 2.647e-08, 1.661e-08, (3.541, 6.577), (3.266, 6.898), 1.0, 13.9688),
    (1, 2, 499, 0.875, 0.6875, (-1.026, 0.532), (-1.270, 0.760), 0.0123, -0.8755),
    (46, 46, 975, 0.5415, 0.5, (-1.637, 1.637), (-1.960, 1.960), 0.1558, -2.0432),
    (0, 0, 100, 1.0, 1.0, (-2.634, 2.634), (-3.699, 3.699), 0.1574, 0.0),
    (7, 0, 50, 0.007812, 0.003906, (7.772, 23.92), (5.866, 26.19), 0.9944, 3.4618),
]


@pytest.mark.parametrize(("b", "c", "n", "exact", "midp", "ci90", "ci95", "ni", "log_e"), SINGLE_TASKS)
def test_one_task(
    b: int,
    c: int,
    n: int,
    exact: float,
    midp: float,
    ci90: tuple[float, float],
    ci95: tuple[float, float],
    ni: float,
    log_e: float,
) -> None:
    assert mcnemar_exact(b, c).pvalue == pytest.approx(exact, rel=5e-4)
    assert mcnemar_midp(b, c).pvalue == pytest.approx(midp, rel=5e-4)
    assert [100 * x for x in tango_interval(b, c, n, 0.90)] == pytest.approx(ci90, rel=5e-4, abs=6e-4)
    assert [100 * x for x in tango_interval(b, c, n, 0.95)] == pytest.approx(ci95, rel=5e-4, abs=6e-4)
    certificate = noninferiority(b, c, n, 0.01)
    assert ndtr(certificate.statistic) == pytest.approx(ni, rel=5e-3), "Tango's score test"
    if n > 400:
        assert certificate.pvalue == pytest.approx(ni, abs=0.01)
    assert log_e_value(b, c) == pytest.approx(log_e, abs=6e-5)


def test_the_published_example_of_tango() -> None:
    assert tango_interval(40, 20, 160, 0.95) == pytest.approx((0.0309, 0.2181), abs=6e-5)


@pytest.mark.parametrize(
    ("n", "flip_rate", "drop", "expected"),
    [
        (1319, 0.10, 0.02, 0.717),
        (25282, 0.09, 0.003, 0.470),
        (61824, 0.09, 0.003, 0.796),
        (20607, 0.03, 0.003, 0.789),
    ],
)
def test_power(n: int, flip_rate: float, drop: float, expected: float) -> None:
    assert power(n, flip_rate, drop, 0.05) == pytest.approx(expected, abs=6e-4)


def test_three_degraded_tasks() -> None:
    b, c = [68, 86, 45], [18, 43, 37]
    p = mcnemar_exact(b, c).pvalue
    assert p == pytest.approx([2.647e-08, 9.597e-05, 0.2199], rel=5e-4)
    assert holm(p) == pytest.approx([7.94e-08, 1.919e-04, 0.2199], rel=5e-4)
    assert pooled(b, c).pvalue == pytest.approx(2.341e-09, rel=5e-4)
    assert max_drop(b, c).pvalue == pytest.approx(5.047e-08, rel=5e-4)
    assert fisher(b, c).pvalue < 2.386e-10, "the chi-square reference is conservative"
    assert omnibus(b, c, rng=0).pvalue == pytest.approx(1.7e-10, rel=0.01), "exact: fewer than a million outcomes"


def test_four_unchanged_tasks() -> None:
    b, c = [5, 9, 7, 12], [14, 6, 3, 9]
    p = mcnemar_exact(b, c).pvalue
    assert p == pytest.approx([0.9904, 0.3036, 0.1719, 0.3318], rel=5e-4)
    assert holm(p) == pytest.approx([0.9904, 0.9109, 0.6875, 0.9109], rel=5e-4)
    assert pooled(b, c).pvalue == pytest.approx(0.5, rel=1e-9)
    assert max_drop(b, c).pvalue == pytest.approx(0.4165, rel=5e-4)
    assert fisher(b, c).pvalue == pytest.approx(0.254, abs=1e-3)
    assert omnibus(b, c, rng=0).pvalue == pytest.approx(0.331, abs=2e-3)


# regressions, improvements, exact p: Qwen2.5-1.5B, Llama-3.2-3B, Phi-3.5-mini, 4 and 8 bits, arc csqa mmlu
QUANTIZED_LLMS = [
    (68, 18, 2.647e-08),
    (45, 37, 0.2199),
    (86, 43, 9.597e-05),
    (5, 14, 0.9904),
    (11, 15, 0.8365),
    (20, 22, 0.678),
    (46, 33, 0.08831),
    (38, 33, 0.3177),
    (63, 51, 0.1514),
    (16, 13, 0.3555),
    (19, 16, 0.3679),
    (39, 23, 0.02795),
    (36, 20, 0.02202),
    (25, 21, 0.3294),
    (46, 27, 0.01721),
    (16, 13, 0.3555),
    (29, 19, 0.09671),
    (28, 18, 0.09196),
]


def test_eighteen_tasks_of_quantized_models() -> None:
    b, c, expected = (np.array(column) for column in zip(*QUANTIZED_LLMS, strict=True))
    assert mcnemar_exact(b.astype(np.int64), c.astype(np.int64)).pvalue == pytest.approx(expected, rel=6e-4)


# counts, exact p, smallest Holm, pooled, max, Fisher, omnibus: SmolLM2 at another batch size, and in 8 bits
LM_EVAL_PAIRS = [
    ([0, 0, 0], [0, 0, 0], (1, 1, 1), 1, 1, 1, 1, 1),
    ([0, 0, 0], [1, 0, 0], (1, 1, 1), 1, 1, 1, 1, 1),
    ([4, 10, 3], [5, 3, 2], (0.746, 0.046, 0.5), 0.138, 0.124, 0.094, 0.104, 0.126),
    ([5, 8, 10], [6, 8, 8], (0.726, 0.598, 0.407), 1, 0.5, 0.743, 0.598, 0.602),
]


@pytest.mark.parametrize(("b", "c", "exact", "smallest", "pool", "largest", "fish", "omni"), LM_EVAL_PAIRS)
def test_lossless_and_8_bit_pairs(
    b: list[int],
    c: list[int],
    exact: tuple[float, ...],
    smallest: float,
    pool: float,
    largest: float,
    fish: float,
    omni: float,
) -> None:
    assert mcnemar_exact(b, c).pvalue == pytest.approx(exact, abs=6e-4)
    assert holm(mcnemar_exact(b, c).pvalue).min() == pytest.approx(smallest, abs=6e-4)
    assert pooled(b, c).pvalue == pytest.approx(pool, abs=6e-4)
    assert max_drop(b, c).pvalue == pytest.approx(largest, abs=6e-4)
    assert fisher(b, c).pvalue == pytest.approx(fish, abs=6e-4)
    assert omnibus(b, c, rng=0).pvalue == pytest.approx(omni, abs=1e-3)


def test_a_million_discordant_pairs_do_not_overflow() -> None:
    assert mcnemar_exact(500_000, 500_000).pvalue == pytest.approx(0.5, abs=1e-3)
    assert mcnemar_exact(520_000, 480_000).pvalue == 0.0
    assert math.isfinite(log_e_value(1_000_000, 0))
    assert 0 < mcnemar_exact(515_000, 485_000).pvalue < 1e-190
