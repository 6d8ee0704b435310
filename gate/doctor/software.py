"""Python, torch and the packages that read checkpoints."""

from __future__ import annotations

import platform
import sys

from gate import __version__
from gate.common.packages import installed_version
from gate.doctor.finding import Finding, State
from gate.doctor.gpu import Torch
from gate.engines.extra import LOCAL_ENGINE, require_packages
from gate.errors import ModelError

_FORMATS = ("torchao", "bitsandbytes", "compressed-tensors", "gptqmodel", "gguf")


def missing_packages() -> ModelError | None:
    """Return the error that names the missing packages of the transformers engine; None if all are installed."""
    try:
        require_packages(*LOCAL_ENGINE)
    except ModelError as error:
        return error
    return None


def examine_software(torch: Torch | None, missing: ModelError | None, loads_models: bool | None) -> list[Finding]:
    """List the installed versions; `loads_models`: whether gate.yml needs the `missing` packages, None without one."""
    system = f"{platform.system()} {platform.machine()}"
    findings = [
        Finding("quantgate", "ok", __version__),
        Finding("Python", "ok", f"{platform.python_version()} on {system}, {sys.executable}"),
    ]
    if torch is not None:
        build = "a CPU build" if torch.cuda is None else f"built for CUDA {torch.cuda}"
        findings.append(Finding("torch", "ok", f"{torch.version}, {build}"))
    if missing is not None:
        states: dict[bool | None, State] = {True: "problem", None: "warn", False: "ok"}
        findings.append(Finding("packages", states[loads_models], missing.message, missing.hint))
    names = ("transformers", *_FORMATS)
    installed = [f"{name} {version}" for name in names if (version := installed_version(name))]
    text = f"{', '.join(installed) or 'none'} (packages that read checkpoints)"
    findings.append(Finding("formats", "ok", text))
    return findings
