"""Smoothed accuracy in `gate run` and, from stored samples, in `gate compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import run_gate
from support.tiny import TINY_TASK, write_gate_yml, write_tiny_model, write_tiny_task


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("smoothed")
    (folder / "base").symlink_to(tiny_model)
    write_tiny_model(folder / "other", seed=5)
    write_tiny_task(folder / "items.jsonl", 60)
    return folder


def test_a_run_and_a_comparison_of_its_samples_agree(folder: Path) -> None:
    results = []
    for metric in ({}, {"metric": "acc_smooth"}):
        config = write_gate_yml(folder, "base", "other", tasks=[{**TINY_TASK, **metric}])
        assert run_gate("run", "-c", config, "-q").code in (0, 1, 3)  # tiny models may be at chance
        results.append(json.loads((folder / "gate-result.json").read_text()))
    plain, smooth = results
    # the same cached samples, and flips of the chosen answers
    assert plain["baseline"]["sets"] == smooth["baseline"]["sets"]
    before, after = plain["tasks"][0], smooth["tasks"][0]
    assert (before["metric"], after["metric"]) == ("acc", "acc_smooth")
    assert (before["regressions"], before["improvements"]) == (after["regressions"], after["improvements"])
    assert after["test"] == "sign-flip permutation"
    assert any("averaged over noise of 0.2 nats" in note for note in smooth["notes"])

    for side, name in (("base", "a"), ("other", "b")):
        config = write_gate_yml(folder, side, side)
        assert run_gate("evaluate", "-c", config, "-o", folder / name, "-q").code == 0
    out = folder / "compared.json"
    assert run_gate("compare", folder / "a", folder / "b", "--metric", "acc_smooth", "--json", out).code in (0, 1, 3)
    compared = json.loads(out.read_text())
    assert compared["tasks"][0]["drop"] == pytest.approx(after["drop"], abs=1e-6)
    assert compared["p_value"] == pytest.approx(smooth["p_value"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metric", "acc_smooth", "--smoothing", "0.6"), "measures confidence, not accuracy"),
        (("--metric", "acc_smooth", "--smoothing", "0"), "measures confidence, not accuracy"),
        (("--smoothing", "0.2"), "needs a smoothed metric"),
    ],
)
def test_smoothing_out_of_range_is_refused(folder: Path, options: tuple[str, ...], message: str) -> None:
    result = run_gate("compare", folder / "items.jsonl", folder / "items.jsonl", *options)
    assert result.code == 2
    assert message in result.err


def test_early_stop_needs_binary_scores(folder: Path) -> None:
    task = {**TINY_TASK, "metric": "acc_smooth"}
    config = write_gate_yml(folder, "base", "other", tasks=[task], decision={"early_stop": {"alpha": 0.01}})
    result = run_gate("run", "-c", config)
    assert result.code == 2
    assert "early_stop needs binary scores" in result.err
