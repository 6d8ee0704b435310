"""Python, torch and the packages that read checkpoints."""

from __future__ import annotations

import platform
import sys

from gate import __version__
from gate.doctor.finding import Finding, State
from gate.doctor.gpu import Torch
from gate.engines.extra import LOCAL_ENGINE, require_packages
from gate.errors import ModelError
from gate.packages import installed_version

_FORMATS = ("torchao", "bitsandbytes", "compressed-tensors", "gptqmodel", "gguf")


def examine_software(torch: Torch | None, loads_models: bool | None) -> list[Finding]:
    """List the installed versions.

    Parameters
    ----------
    torch : Torch or None
        None if torch is not installed.
    loads_models : bool or None
        Whether a model of gate.yml is loaded on this machine; None without a gate.yml.
    """
    system = f"{platform.system()} {platform.machine()}"
    findings = [
        Finding("quantgate", "ok", __version__),
        Finding("Python", "ok", f"{platform.python_version()} on {system}, {sys.executable}"),
    ]
    if torch is not None:
        build = "a CPU build" if torch.cuda is None else f"built for CUDA {torch.cuda}"
        findings.append(Finding("torch", "ok", f"{torch.version}, {build}"))
    try:
        require_packages(*LOCAL_ENGINE)
    except ModelError as error:
        states: dict[bool | None, State] = {True: "problem", None: "warn", False: "ok"}
        findings.append(Finding("packages", states[loads_models], error.message, error.hint))
    names = ("transformers", *_FORMATS)
    installed = [f"{name} {version}" for name in names if (version := installed_version(name))]
    text = f"{', '.join(installed) or 'none'} (packages that read checkpoints)"
    findings.append(Finding("formats", "ok", text))
    return findings
