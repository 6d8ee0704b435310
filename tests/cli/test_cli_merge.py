"""Shards of a workflow matrix on a tiny real model: evaluated, merged, compared, and stored as a baseline."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import run_gate
from support.tiny import write_tiny_task

from gate.store import open_set, read_sets


def output_lines(*arguments: object) -> list[str]:
    """Return the lines on standard output of a command that must succeed."""
    code, out, err = run_gate(*arguments)
    assert code == 0, err
    return out.splitlines()


def test_merged_shards_equal_an_evaluation_on_one_machine(project: Path) -> None:
    output_lines("evaluate", "-o", "whole")
    for index in (1, 2, 3):
        (folder,) = output_lines("evaluate", "--shard", f"{index}/3", "-o", f"shard{index}")
        assert Path(folder) == Path(f"shard{index}/animals.{index}-of-3")
        assert open_set(Path(folder)).manifest.items == 8
    code, out, err = run_gate("merge", "shard2", "shard3", "shard1", "-o", "out")
    assert code == 0, err
    assert out.splitlines() == ["out/animals"]
    assert "animals: 24 items from 3 shards" in err
    whole, merged = (open_set(project / name / "animals").read().table for name in ("whole", "out"))
    for name in ("item_id", "output", "correct", "prompt_hash", "tokens_out", "top_tokens"):
        assert merged[name].to_pylist() == whole[name].to_pylist()
    # batches of other items sum float32 values in another order
    for logprobs, expected in zip(
        merged["choice_logprobs"].to_pylist(), whole["choice_logprobs"].to_pylist(), strict=True
    ):
        assert logprobs == pytest.approx(expected, abs=1e-3)
    compared = run_gate("compare", "whole", "out")
    assert compared.code == 3
    assert "is at chance on animals" in compared.out


def test_merged_shards_of_the_baseline_fill_the_store(project: Path) -> None:
    for index in (1, 2):
        output_lines("evaluate", "--baseline", "--shard", f"{index}/2", "-o", f"shard{index}")
    (folder,) = output_lines("merge", "shard1", "shard2", "--into-store")
    assert Path(folder).is_relative_to(Path(".gate", "baseline"))
    code, _, err = run_gate("run")
    assert code == 0
    assert "1 task(s) from the cache" in err
    result = json.loads((project / "gate-result.json").read_text())
    assert result["tasks"][0]["kl_mean"] > 0


def test_shards_measure_the_kl_divergence(project: Path) -> None:
    code, _, err = run_gate("evaluate", "--kl", "--shard", "1/2", "-o", "shard1")
    assert code == 2
    assert "no samples of the baseline base for task animals" in err
    assert "gate baseline" in err
    (baseline,) = output_lines("baseline")
    output_lines("run")
    expected = json.loads((project / "gate-result.json").read_text())["tasks"][0]["kl_mean"]
    for index in (1, 2):
        output_lines("evaluate", "--kl", "--shard", f"{index}/2", "-o", f"shard{index}")
    output_lines("merge", "shard1", "shard2", "-o", "out")
    code, out, err = run_gate("compare", Path(baseline).parent, "out", "--json", "-")
    assert json.loads(out)["tasks"][0]["kl_mean"] == pytest.approx(expected, rel=1e-3)
    code, _, err = run_gate("merge", "shard1", "shard2", "--into-store")
    assert code == 2
    assert "not the distributions that a baseline stores" in err


def test_a_single_shard_is_refused(project: Path) -> None:
    output_lines("evaluate", "-o", "whole")
    output_lines("evaluate", "--shard", "2/4", "-o", "shard2")
    code, _, err = run_gate("compare", "whole", "shard2")
    assert code == 2
    assert "shard2/animals.2-of-4 is shard 2 of 4 of task animals, not the whole set" in err
    assert "gate merge" in err
    code, _, err = run_gate("merge", "shard2", "-o", "out")
    assert code == 2
    assert "3 of 4 shards are missing: 1, 3, 4" in err
    assert not (project / "out").exists()


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "1 /4", "1/4x", "¹/4"])
def test_an_invalid_shard_is_wrong_usage(project: Path, shard: str) -> None:
    code, _, err = run_gate("evaluate", f"--shard={shard}", "-o", "out")
    assert code == 2
    assert "is not a shard such as 1/4" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["merge", "shard1"],
        ["merge", "shard1", "-o", "out", "--into-store"],
        ["merge", "-o", "out"],
        ["evaluate", "other", "--baseline", "-o", "out"],
        ["evaluate", "--kl", "--baseline", "-o", "out"],
    ],
    ids=" ".join,
)
def test_contradictory_options_are_wrong_usage(project: Path, arguments: list[str]) -> None:
    assert run_gate(*arguments)[0] == 2


@pytest.mark.exhaustive
def test_the_same_command_resumes_after_kill_9(project: Path) -> None:
    write_tiny_task(project / "items.jsonl", 1200)  # three data files
    command = [sys.executable, "-m", "gate", "evaluate", "-o", "out"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        journals = list((project / "out").glob(".animals.partial-*/journal.json"))
        if journals and '"0"' in journals[0].read_text():
            process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    assert process.returncode == -signal.SIGKILL
    code, _, err = run_gate("evaluate", "-o", "out")
    assert code == 0
    assert "animals: resuming with 512 of 1200 items done" in err
    samples = read_sets(project / "out")
    assert samples is not None
    assert samples.tasks["animals"].table.num_rows == 1200
