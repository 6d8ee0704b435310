"""Alpha spending over a history of runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gate.config import DecisionSettings
from gate.decision import spend
from gate.errors import SampleError
from gate.store.history import Record, append_history, read_history


def settings(kind: str) -> DecisionSettings:
    return DecisionSettings.model_validate({"alpha_spending": {"kind": kind}})


def record(p: float, series: str = "s") -> Record:
    return Record(
        time="2026-01-01T00:00:00+00:00",
        series=series,
        verdict="PASS",
        p_value=p,
        alpha=0.01,
        drop=0.0,
        flip_rate=0.02,
        baseline="b",
        candidate="c",
    )


def test_without_a_policy_nothing_is_spent() -> None:
    assert spend(DecisionSettings(), [0.5]) is None


def test_a_yearly_policy_alarms_once_a_year_on_an_unchanged_model() -> None:
    """20,000 simulated years of uniform p-values: the mean number of alarms is 1 within three standard errors."""
    level = spend(settings("yearly"), [])
    assert level is not None
    years = np.random.default_rng(1).random((20_000, 365))
    alarms = (years <= level.level).sum(axis=1)
    assert alarms.mean() == pytest.approx(1.0, abs=3 * alarms.std() / np.sqrt(len(alarms)))


def test_lord_alarms_on_an_unchanged_model_with_probability_at_most_half_of_alpha() -> None:
    """400 simulated histories of 60 nights, each night's level taken from the history before it."""
    generator = np.random.default_rng(2)
    ever = 0
    for _ in range(400):
        past: list[float] = []
        for p in generator.random(60):
            tonight = spend(settings("lord"), past)
            assert tonight is not None
            past.append(float(p))
            if p <= tonight.level:
                ever += 1
                break
    assert ever / 400 <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / 400)


def test_an_alarm_earns_lord_a_higher_level() -> None:
    quiet, after_alarm = (spend(settings("lord"), past) for past in ([0.5, 0.5], [0.5, 1e-9]))
    assert quiet is not None
    assert after_alarm is not None
    assert after_alarm.level > quiet.level
    assert (quiet.alarms, after_alarm.alarms) == (0, 1)
    assert after_alarm.run == 3


def test_history_keeps_the_order_and_tells_series_apart(tmp_path: Path) -> None:
    append_history(tmp_path, [record(0.1), record(0.2, "other")])
    append_history(tmp_path, [record(0.3)])
    assert [one.p_value for one in read_history(tmp_path)] == [0.1, 0.2, 0.3]
    assert [one.p_value for one in read_history(tmp_path, "s")] == [0.1, 0.3]


def test_no_history_is_an_empty_one(tmp_path: Path) -> None:
    assert read_history(tmp_path / "absent") == []


def test_a_damaged_history_is_refused_with_its_line(tmp_path: Path) -> None:
    append_history(tmp_path, [record(0.1)])
    with (tmp_path / "history.jsonl").open("a", encoding="utf-8") as handle:
        handle.write("{broken\n")
    with pytest.raises(SampleError, match=r"history\.jsonl:2"):
        read_history(tmp_path)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    append_history(tmp_path, [record(0.1)])
    size = (tmp_path / "history.jsonl").stat().st_size
    code = (
        "import resource, signal, sys; from pathlib import Path; from gate.store.history import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 50}, {size + 50}))\n"
        "root = Path(sys.argv[1]); append_history(root, read_history(root))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "no space left" in done.stderr
    assert [one.p_value for one in read_history(tmp_path)] == [0.1]


def test_a_margin_or_a_budget_is_not_promised_what_holds_without_it() -> None:
    policy = DecisionSettings.model_validate({"alpha_spending": {"kind": "yearly"}, "margin": 0.01})
    spent = spend(policy, [])
    assert spent is not None
    assert "in large samples" in spent.guarantee
    assert "budgets on flips or KL come on top" in spent.guarantee
