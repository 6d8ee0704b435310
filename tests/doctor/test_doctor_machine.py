"""Memory and disk space against the needs of the models, with real files and a fake control group."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import psutil
import pytest
from huggingface_hub import constants, get_token

from gate.common.caches import cache_folder
from gate.common.memory import available_memory
from gate.config import load_config
from gate.doctor.finding import Finding, size
from gate.doctor.hub import Hub, examine_hub, inspect_hub
from gate.doctor.machine import examine_downloads, examine_memory, examine_store
from gate.doctor.models import Weights, examine_models

GIB = 2**30


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.what: finding.state for finding in findings}


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (2048, "2 KiB"), (1.5 * 2**20, "1.5 MiB"), (3 * 2**40, "3.0 TiB")],
)
def test_sizes_are_readable(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.skipif(not psutil.LINUX, reason="control groups exist on Linux only")
@pytest.mark.parametrize(
    ("limit", "usage"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_lower_limit_of_the_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, usage: str
) -> None:
    process_files, group = tmp_path / "proc", tmp_path / "cgroup"
    process_files.mkdir()
    (process_files / "meminfo").write_text(
        "MemTotal: 33554432 kB\nMemFree: 8388608 kB\nMemAvailable:   16777216 kB\nBuffers: 0 kB\nCached: 0 kB\n"
        "Active: 0 kB\nInactive: 0 kB\nSlab: 0 kB\nShmem: 0 kB\n"
    )
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(process_files))
    assert available_memory(group) == 16 * GIB
    (group / limit).parent.mkdir(parents=True)
    (group / usage).write_text(f"{GIB}\n")
    (group / limit).write_text("max\n")
    assert available_memory(group) == 16 * GIB
    (group / limit).write_text(f"{8 * GIB}\n")
    assert available_memory(group) == 7 * GIB
    (group / usage).write_text(f"{9 * GIB}\n")
    assert available_memory(group) == 0


def test_this_machine_has_memory() -> None:
    assert 0 < available_memory() < 2**50


@pytest.mark.parametrize(
    ("device", "gpu", "state"),
    [
        ("cpu", (), "problem"),
        ("auto", (), "problem"),
        ("auto", ((40 * GIB, 80 * GIB),), "ok"),
        ("cuda:1", ((80 * GIB, 80 * GIB), (10 * GIB, 80 * GIB)), "problem"),
        ("cuda", ((18 * GIB, 80 * GIB),), "warn"),
        ("balanced", ((10 * GIB, 10 * GIB), (15 * GIB, 15 * GIB)), "ok"),
        ("cpu", ((40 * GIB, 80 * GIB),), "problem"),
    ],
)
def test_model_of_16_gib_with_12_gib_of_memory(device: str, gpu: tuple[tuple[int, int], ...], state: str) -> None:
    findings = states(examine_memory([Weights("candidate", device, 16 * GIB)], 12 * GIB, gpu))
    assert findings == {"memory": "ok", "candidate in memory": state}


def test_download_must_fit_on_the_disk(tmp_path: Path) -> None:
    cache = tmp_path / "does" / "not" / "exist"
    free = shutil.disk_usage(tmp_path).free
    finding = examine_downloads([Weights("baseline", "cpu", None, True, free + 2**40)], cache)
    assert finding.state == "problem"
    assert "HF_HOME" in str(finding.remedy)
    assert examine_downloads([Weights("baseline", "cpu", None, True, 1)], cache).state == "ok"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GATE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a/quantgate")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/quantgate")),
        ({"GATE_CACHE": "~/a"}, Path.home() / "a/quantgate"),
        ({}, Path.home() / ".cache/quantgate"),
    ],
)
def test_cache_folder(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Path) -> None:
    for name in ("GATE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == expected


def test_settings_of_the_hub() -> None:
    hub = inspect_hub()
    assert hub == Hub(
        constants.ENDPOINT, constants.HF_HUB_OFFLINE, Path(constants.HF_HUB_CACHE), get_token() is not None
    )


def test_sample_sets_in_the_store_are_counted(tmp_path: Path) -> None:
    store = tmp_path / ".gate"
    assert "contains no baseline" in examine_store(store).text
    for task in ("arc", "faq"):
        (store / "baseline" / "m-123" / task).mkdir(parents=True)
        (store / "baseline" / "m-123" / task / "manifest.json").touch()
    assert "2 baseline set(s) of 1 model(s)" in examine_store(store).text


@pytest.mark.skipif(os.getuid() == 0, reason="root can write everywhere")
def test_unwritable_store_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert examine_store(tmp_path / ".gate").state == "problem"


def write_config(folder: Path, candidate: str) -> Path:
    path = folder / "gate.yml"
    task = "{name: t, file: t.jsonl, prompt: p, choices: [a, b], answer: '0'}"
    path.write_text(f"version: 1\nbaseline: {{model: ./base}}\ncandidate: {candidate}\ntasks: [{task}]\n")
    return path


def test_sizes_of_models_are_those_after_loading(tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    (tmp_path / "base" / "pytorch_model.bin").write_bytes(b"x" * 10**6)  # not loaded
    stored = (tmp_path / "base" / "model.safetensors").stat().st_size
    loaded = load_config(write_config(tmp_path, "{model: ./base, dtype: bfloat16}"))
    findings, weights = examine_models(loaded)
    assert states(findings) == {"baseline": "ok", "candidate": "ok"}
    assert [model.loaded for model in weights] == [stored, stored // 2]
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    assert config.get("dtype") == "float32"


def test_missing_model_is_a_problem_with_the_message_of_a_run(tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    findings, _ = examine_models(load_config(write_config(tmp_path, "{model: ./nowhere}")))
    assert states(findings) == {"baseline": "ok", "candidate": "problem"}
    assert "nowhere does not exist" in findings[1].text


@pytest.mark.parametrize(("needed", "state"), [(True, "warn"), (False, "ok")])
def test_unreachable_hub_matters_if_a_model_comes_from_it(needed: bool, state: str) -> None:
    finding = examine_hub(Hub("http://127.0.0.1:9", False, Path()), needed)
    assert finding.state == state
    assert "is unreachable" in finding.text
    assert examine_hub(Hub("not an address", False, Path()), needed).state == state


def test_offline_mode_is_reported() -> None:
    assert "HF_HUB_OFFLINE" in examine_hub(Hub("http://127.0.0.1:9", True, Path()), True).text
