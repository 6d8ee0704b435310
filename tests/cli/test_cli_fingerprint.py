"""The key of the baseline's cache: the same where the samples are the same, another where they are not; and quick."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.tiny import write_gate_yml, write_tiny_task

from gate.cli.main import main
from gate.store import open_set


@pytest.fixture
def project(
    tmp_path: Path, tiny_model: Path, other_tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    shutil.copytree(tiny_model, tmp_path / "base")
    shutil.copytree(other_tiny_model, tmp_path / "other")
    write_tiny_task(tmp_path / "items.jsonl")
    write_gate_yml(tmp_path, "base", "other")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fingerprint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        main(["fingerprint", *arguments])
    return capsys.readouterr().out


def configure(project: Path, **sections: Any) -> None:
    path = project / "gate.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **sections}))


def test_it_is_one_line_of_hexadecimal_digits_and_stays_the_same(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fingerprint(capsys)
    assert re.fullmatch(r"[0-9a-f]{64}\n", first)
    assert fingerprint(capsys) == first
    assert fingerprint(capsys, "-c", str(project / "gate.yml")) == first
    configure(project, candidate={"model": "base"}, decision={"alpha": 0.01}, samples={"store": "elsewhere"})
    assert fingerprint(capsys) == first


def swap_weights(project: Path) -> None:
    shutil.copy(project / "other" / "model.safetensors", project / "base" / "model.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        swap_weights,
        lambda project: write_tiny_task(project / "items.jsonl", 25),
        lambda project: configure(project, baseline={"model": "base", "dtype": "bfloat16"}),
        lambda project: configure(project, samples={"limit": 5}),
        lambda project: configure(project, distance={"kl_top": 64}),
    ],
    ids=["weights", "items", "dtype", "limit", "kl_top"],
)
def test_whatever_the_baselines_samples_depend_on_changes_it(
    project: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], object]
) -> None:
    first = fingerprint(capsys)
    change(project)
    assert fingerprint(capsys) != first


def test_its_parts_are_those_of_the_stored_baseline(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = json.loads(fingerprint(capsys, "--json"))
    with pytest.raises(SystemExit, match="0"):
        main(["baseline", "--quiet"])
    manifest = open_set(Path(capsys.readouterr().out.strip())).manifest
    assert parts["model"] == manifest.model.fingerprint
    assert parts["tasks"] == {"animals": manifest.task_fingerprint}
    assert parts["schema_version"] == manifest.schema_version
    assert parts["baseline"] == "base"
    assert parts["key"] == fingerprint(capsys).strip()


_LIST_MODULES = """
import sys
from gate.cli.main import main
try:
    main(["fingerprint"])
finally:
    print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def test_no_model_library_is_imported(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"torch", "transformers", "accelerate", "lm_eval", "scipy"} & set(done.stderr.split())


def test_a_missing_model_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(project / "base")
    configure(project, baseline={"model": "./base"})
    with pytest.raises(SystemExit, match="2"):
        main(["fingerprint"])
    assert "./base" in capsys.readouterr().err
