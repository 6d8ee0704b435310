"""Memory and disk beside what the models need; real files, and a cgroup that a folder stands for."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from gate.config import load_config
from gate.doctor.finding import Finding, size
from gate.doctor.machine import examine_disk, examine_memory, hub_cache, memory_available
from gate.doctor.models import Weights, examine_models
from gate.doctor.software import examine_hub

GIB = 2**30


def states(findings: list[Finding]) -> dict[str, str]:
    return {one.what: one.state for one in findings}


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (2048, "2 KiB"), (1.5 * 2**20, "1.5 MiB"), (3 * 2**40, "3.0 TiB")],
)
def test_sizes_are_for_people(count: float, text: str) -> None:
    assert size(count) == text


def test_the_containers_limit_counts_where_it_is_lower(tmp_path: Path) -> None:
    assert memory_available(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 33554432 kB\nMemAvailable:   16777216 kB\n")
    assert memory_available(tmp_path) == 16 * GIB
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text(f"{GIB}\n")
    (group / "memory.max").write_text("max\n")
    assert memory_available(tmp_path) == 16 * GIB
    (group / "memory.max").write_text(f"{8 * GIB}\n")
    assert memory_available(tmp_path) == 7 * GIB


def test_this_machine_has_memory() -> None:
    free = memory_available()
    assert free is None or 0 < free < 2**50


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
def test_a_model_of_16_gib_beside_12_gib_of_memory(
    device: str, gpu: tuple[tuple[int, int], ...], state: str
) -> None:
    found = states(examine_memory([Weights("candidate", device, 16 * GIB)], 12 * GIB, gpu))
    assert found == {"memory": "ok", "candidate in memory": state}


def test_a_download_must_fit_on_the_disk(tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path / "not" / "there" / "yet")}
    free = shutil.disk_usage(tmp_path).free
    (found,) = examine_disk([Weights("baseline", "cpu", None, True, free + 2**40)], None, environment)
    assert found.state == "problem"
    assert "HF_HOME" in str(found.remedy)
    assert examine_disk([Weights("baseline", "cpu", None, True, 1)], None, environment)[0].state == "ok"


def test_where_the_hub_keeps_models() -> None:
    assert hub_cache({"HF_HUB_CACHE": "/a"}) == Path("/a")
    assert hub_cache({"HF_HOME": "/github/home/.cache/huggingface"}) == Path(
        "/github/home/.cache/huggingface/hub"
    )
    assert hub_cache({"XDG_CACHE_HOME": "/x"}) == Path("/x/huggingface/hub")


def test_the_store_is_counted(tmp_path: Path) -> None:
    store = tmp_path / ".gate"
    assert "holds no baseline" in examine_disk([], store, {})[1].text
    for task in ("arc", "faq"):
        (store / "baseline" / "m-123" / task).mkdir(parents=True)
        (store / "baseline" / "m-123" / task / "manifest.json").touch()
    assert "2 baseline set(s) of 1 model(s)" in examine_disk([], store, {})[1].text


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert examine_disk([], tmp_path / ".gate", {})[1].state == "problem"


def write(folder: Path, candidate: str) -> Path:
    path = folder / "gate.yml"
    task = "{name: t, file: t.jsonl, prompt: p, choices: [a, b], answer: '0'}"
    path.write_text(f"version: 1\nbaseline: {{model: ./base}}\ncandidate: {candidate}\ntasks: [{task}]\n")
    return path


def test_models_are_weighed_as_they_will_be_loaded(tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    (tmp_path / "base" / "pytorch_model.bin").write_bytes(b"x" * 10**6)  # there, but not loaded
    stored = (tmp_path / "base" / "model.safetensors").stat().st_size
    loaded = load_config(write(tmp_path, "{model: ./base, dtype: bfloat16}"))
    findings, weights = examine_models(loaded)
    assert states(findings) == {"baseline": "ok", "candidate": "ok"}
    assert [one.loaded for one in weights] == [stored, stored // 2]
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    assert config.get("dtype") == "float32"


def test_a_model_that_is_not_there_is_a_problem_with_the_runs_own_words(
    tmp_path: Path, tiny_model: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    findings, _ = examine_models(load_config(write(tmp_path, "{model: ./nowhere}")))
    assert states(findings) == {"baseline": "ok", "candidate": "problem"}
    assert "nowhere does not exist" in findings[1].text


@pytest.mark.parametrize(("needed", "state"), [(True, "warn"), (False, "ok")])
def test_a_hub_out_of_reach_matters_where_a_model_comes_from_it(needed: bool, state: str) -> None:
    found = examine_hub({"HF_ENDPOINT": "http://127.0.0.1:9"}, needed)
    assert found.state == state
    assert "cannot be reached" in found.text
    assert examine_hub({"HF_ENDPOINT": "not an address"}, needed).state == state


def test_offline_is_told() -> None:
    assert "HF_HUB_OFFLINE" in examine_hub({"HF_HUB_OFFLINE": "1"}, True).text
