"""GPUs: what is visible, what it means, and that a requested but missing GPU is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.config import parse_config
from gate.doctor.gpu import Driver, Torch, examine_gpu, inspect_driver, inspect_torch
from gate.doctor.machine import examine_memory
from gate.doctor.models import Weights
from gate.engines import require_devices
from gate.errors import EvaluationError

NOTHING = Driver((), (), None, None)
H200 = Driver(("nvidia0",), ("NVIDIA H200 (143771 MiB, compute capability 9.0)",), "580.95.05", "all")
CPU_BUILD = Torch("2.13.0+cpu", None, 0, None)
CUDA_BUILD = Torch("2.13.0", "13.0", 0, "The NVIDIA driver on your system is too old (found version 11040).")
WORKING = Torch("2.13.0", "13.0", 1, None, ((140 * 2**30, 141 * 2**30),))


def smi(folder: Path, text: str, code: int = 0) -> dict[str, str]:
    """Write a fake nvidia-smi that prints a text; return the environment that finds it."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {code}\n")
    program.chmod(0o755)
    return {"PATH": str(folder)}


def test_machine_without_a_gpu(tmp_path: Path) -> None:
    assert inspect_driver({}, tmp_path) == NOTHING


def test_device_files_driver_and_nvidia_smi_are_read(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\nGCC version: gcc 12\n"
    )
    driver = inspect_driver({"NVIDIA_VISIBLE_DEVICES": "all"}, tmp_path)
    assert driver == Driver(("nvidia0", "nvidia1"), (), "550.54.15", "all")
    environment = smi(tmp_path / "bin", "NVIDIA H200, 143771 MiB, 580.95.05, 9.0\\n")
    driver = inspect_driver(environment, tmp_path)
    assert driver.gpus == ("NVIDIA H200 (143771 MiB, compute capability 9.0)",)
    assert driver.version == "580.95.05"


@pytest.mark.parametrize(("text", "code"), [("No devices were found\\n", 0), ("NVIDIA-SMI has failed\\n", 9), ("", 0)])
def test_failing_nvidia_smi_lists_no_gpu(tmp_path: Path, text: str, code: int) -> None:
    assert not inspect_driver(smi(tmp_path / "bin", text, code), tmp_path).has_gpu


@pytest.mark.parametrize("value", ["", "void", "none"])
def test_container_that_requests_no_gpu(tmp_path: Path, value: str) -> None:
    assert inspect_driver({"NVIDIA_VISIBLE_DEVICES": value}, tmp_path).requested is None


@pytest.mark.parametrize(
    ("driver", "torch", "wanted", "state", "text", "remedy"),
    [
        (H200, WORKING, ["cuda"], "ok", "NVIDIA H200", None),
        (H200, WORKING, ["cuda:1"], "problem", "sees 1 GPU", "Numbers start at 0"),
        (NOTHING, CPU_BUILD, ["auto"], "ok", "the CPU is used", None),
        (NOTHING, CPU_BUILD, ["cuda"], "problem", "no GPU is visible", "default-runtime"),
        (NOTHING, CPU_BUILD, ["cpu"], "ok", "the CPU is used", None),
        (
            Driver((), (), None, "all"),
            CUDA_BUILD,
            ["auto"],
            "warn",
            "NVIDIA_VISIBLE_DEVICES is all",
            "--gpus all",
        ),
        (
            Driver((), (), None, "all"),
            CUDA_BUILD,
            ["auto", "cuda:0"],
            "problem",
            "runtime provides none",
            "daemon.json",
        ),
        (H200, CPU_BUILD, ["auto"], "warn", "a build without CUDA", "Install torch from PyPI"),
        (H200, CPU_BUILD, ["balanced"], "problem", "balanced is unavailable", "Install torch"),
        (H200, CUDA_BUILD, ["cuda"], "problem", "driver on your system is too old", "Update the driver"),
    ],
)
def test_finding_and_remedy_of_each_case(
    driver: Driver, torch: Torch, wanted: list[str], state: str, text: str, remedy: str | None
) -> None:
    finding = examine_gpu(driver, torch, wanted)
    assert finding.state == state
    assert text in finding.text
    assert (finding.remedy is None) == (remedy is None)
    if remedy is not None:
        assert remedy in str(finding.remedy)


def test_build_of_torch() -> None:
    import torch

    inspected = inspect_torch()
    assert inspected is not None
    assert (inspected.version, inspected.cuda) == (torch.__version__, torch.version.cuda)
    assert inspected.count == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


def config(device: str) -> str:
    task = "{name: t, file: t.jsonl, prompt: p, choices: [a, b], answer: '0'}"
    return (
        "version: 1\nbaseline: {model: a}\n"
        f"candidate: {{model: b, engine: {{device: {device}}}}}\nengine: {{device: auto}}\ntasks: [{task}]\n"
    )


def test_requested_gpu_must_be_visible() -> None:
    import torch

    require_devices(parse_config(config("cpu"), Path("gate.yml")).config)
    if torch.cuda.is_available():
        pytest.skip("a GPU is visible")
    with pytest.raises(EvaluationError, match="no GPU is visible") as caught:
        require_devices(parse_config(config("cuda:0"), Path("gate.yml")).config)
    assert "default-runtime" in str(caught.value.hint)
    assert "--gpus all" in str(caught.value.hint)


def test_served_model_needs_no_gpu() -> None:
    text = config("cuda").replace("{device: auto}", "{kind: openai, base_url: 'http://localhost:1/v1'}")
    require_devices(parse_config(text, Path("gate.yml")).config)


def test_unusable_gpu_is_a_finding_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU held by another process in exclusive mode is listed, but asking for its memory fails."""
    import torch

    def memory(index: int) -> tuple[int, int]:
        if index == 1:
            raise RuntimeError("CUDA error: all CUDA-capable devices are busy.\nMore lines")
        return (7 * 2**30, 8 * 2**30)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    inspected = inspect_torch()
    assert inspected is not None
    assert inspected.memory == ((7 * 2**30, 8 * 2**30), (0, 0))
    for wanted, state in (["cuda:1"], "problem"), (["auto"], "warn"):
        finding = examine_gpu(H200, inspected, wanted)
        assert finding.state == state
        assert "GPU 1: CUDA error: all CUDA-capable devices are busy." in finding.text
    weights = [Weights("candidate", "cuda:1", 2**30)]
    assert [finding.what for finding in examine_memory(weights, 2**34, inspected.memory)] == ["memory"]
