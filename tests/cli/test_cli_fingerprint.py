"""`gate fingerprint`: the cache key of the baseline, which changes if and only if the samples could change."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import imported_packages, run_gate
from support.tiny import edit_gate_yml, write_tiny_task

from gate.store import open_set


def fingerprint(*arguments: object) -> str:
    """Return the standard output of `gate fingerprint`."""
    code, out, err = run_gate("fingerprint", *arguments)
    assert code == 0, err
    return out


def test_the_key_is_one_line_of_hexadecimal_digits_and_is_stable(project: Path) -> None:
    first = fingerprint()
    assert re.fullmatch(r"[0-9a-f]{64}\n", first)
    assert fingerprint() == first
    assert fingerprint("-c", str(project / "gate.yml")) == first
    edit_gate_yml(project, candidate={"model": "base"}, decision={"alpha": 0.01}, samples={"store": "elsewhere"})
    assert fingerprint() == first


def swap_weights(project: Path) -> None:
    shutil.copy(project / "other" / "model.safetensors", project / "base" / "model.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        swap_weights,
        lambda project: write_tiny_task(project / "items.jsonl", 25),
        lambda project: edit_gate_yml(project, baseline={"model": "base", "dtype": "bfloat16"}),
        lambda project: edit_gate_yml(project, samples={"limit": 5}),
        lambda project: edit_gate_yml(project, distance={"kl_top": 32}),
    ],
    ids=["weights", "items", "dtype", "limit", "kl_top"],
)
def test_a_change_that_affects_the_baselines_samples_changes_the_key(
    project: Path, change: Callable[[Path], object]
) -> None:
    first = fingerprint()
    change(project)
    assert fingerprint() != first


def test_the_parts_of_the_key_equal_the_stored_baselines(project: Path) -> None:
    parts = json.loads(fingerprint("--json"))
    manifest = open_set(Path(run_gate("baseline", "--quiet").out.strip())).manifest
    assert parts["model"] == manifest.model.fingerprint
    assert parts["tasks"] == {"animals": manifest.task_fingerprint}
    assert parts["schema_version"] == manifest.schema_version
    assert parts["baseline"] == "base"
    assert parts["key"] == fingerprint().strip()


def test_no_model_library_is_imported(project: Path) -> None:
    code, packages = imported_packages("fingerprint")
    assert code == 0
    assert "gate" in packages
    assert not {"torch", "transformers", "accelerate", "lm_eval", "scipy"} & packages


def test_a_missing_model_is_named(project: Path) -> None:
    shutil.rmtree(project / "base")
    edit_gate_yml(project, baseline={"model": "./base"})
    code, _, err = run_gate("fingerprint")
    assert code == 2
    assert "./base" in err
