"""KL divergence as a diagnostic, and as a reason to fail where a limit is set."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from gate.config import DecisionSettings, DistanceSettings
from gate.decision import decide
from gate.errors import ConfigError
from gate.samples import SAMPLE_SCHEMA, ModelSamples, PairedTask, TaskSamples, pair


def paired(kl: list[float] | None, n: int = 40, reference: str = "of the baseline") -> PairedTask:
    rows = [
        {
            "task": "t",
            "item_id": f"i{k}",
            "repeat": 0,
            "metric": "acc",
            "score": 1.0,
            "correct": True,
            "output": "0",
        }
        for k in range(n)
    ]
    baseline = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    measured = [
        row | ({} if kl is None else {"kl": kl[k % len(kl)], "same_top": k % 4 != 0}) for k, row in enumerate(rows)
    ]
    candidate = pa.Table.from_pylist(measured, schema=SAMPLE_SCHEMA)
    about = {"fingerprint": "of the baseline"}
    sides = [
        ModelSamples(name, {"t": TaskSamples("t", "acc", table, reference=reference)}, about)
        for name, table in (("a", baseline), ("b", candidate))
    ]
    (task,) = pair(*sides).tasks
    return task


def test_mean_median_p99_and_top_agreement_are_reported() -> None:
    (row,) = decide([paired([0.0, 0.1, 0.2, 0.7])], DecisionSettings()).tasks
    assert row.kl_mean == pytest.approx(0.25, abs=1e-6)
    assert row.kl_median == pytest.approx(0.15, abs=1e-6)
    assert row.kl_p99 == pytest.approx(float(np.quantile([0.0, 0.1, 0.2, 0.7] * 10, 0.99)), abs=1e-6)
    assert row.same_top_rate == 0.75


def test_without_a_limit_any_divergence_passes() -> None:
    assert decide([paired([9.0])], DecisionSettings()).verdict == "PASS"


@pytest.mark.parametrize(("limit", "verdict"), [(0.24, "FAIL"), (0.26, "PASS")])
def test_limit_applies_to_the_mean(limit: float, verdict: str) -> None:
    decision = decide([paired([0.0, 0.1, 0.2, 0.7])], DecisionSettings(), DistanceSettings(max_kl=limit))
    assert decision.verdict == verdict
    assert any("KL divergence is 0.25 nats" in reason for reason in decision.reasons) == (verdict == "FAIL")


def test_limit_without_measured_divergence_is_an_error() -> None:
    with pytest.raises(ConfigError, match="not measured on: t"):
        decide([paired(None)], DecisionSettings(), DistanceSettings(max_kl=0.1))


def test_divergence_from_another_baseline_is_ignored() -> None:
    other = paired([0.7], reference="of another model")
    (row,) = decide([other], DecisionSettings()).tasks
    assert (row.kl_mean, row.same_top_rate) == (None, None)
    with pytest.raises(ConfigError, match="not measured"):
        decide([other], DecisionSettings(), DistanceSettings(max_kl=0.1))
