"""Python, packages, and whether the hub can be reached."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from gate import __version__
from gate.doctor.finding import Finding
from gate.doctor.gpu import Torch

_FORMATS = ("torchao", "bitsandbytes", "compressed-tensors", "gptqmodel", "gguf")


def examine_software(torch: Torch | None) -> list[Finding]:
    """Say which versions are here."""
    findings = [
        Finding("quantgate", "ok", __version__),
        Finding(
            "Python",
            "ok",
            f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}",
        ),
    ]
    if torch is None:
        findings.append(
            Finding("torch", "problem", "not installed: no model can be evaluated.", "pip install torch")
        )
    else:
        build = "a CPU build" if torch.cuda is None else f"built for CUDA {torch.cuda}"
        findings.append(Finding("torch", "ok", f"{torch.version}, {build}"))
    have = [f"{name} {found}" for name in ("transformers", *_FORMATS) if (found := _version(name))]
    findings.append(
        Finding("formats", "ok", f"{', '.join(have) or 'none'}: what quantised checkpoints can be read with.")
    )
    return findings


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def examine_hub(environment: Mapping[str, str], needed: bool) -> Finding:
    """Say whether models can come from the hub; where none of them does, that is no matter."""
    import httpx

    endpoint = environment.get("HF_ENDPOINT") or "https://huggingface.co"
    if environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        text = "HF_HUB_OFFLINE is set: models come from this machine's cache alone."
        return Finding("hub", "ok", text)
    try:
        httpx.head(f"{endpoint.rstrip('/')}/api/models/gpt2", timeout=5, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(
            "hub",
            "warn" if needed else "ok",
            f"{endpoint} cannot be reached ({type(error).__name__})"
            + (
                ": models come from this machine's cache alone." if needed else "; no model comes from there."
            ),
            "Check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT." if needed else None,
        )
    token = (
        "with a token" if environment.get("HF_TOKEN") else "without a token (HF_TOKEN): public models only"
    )
    return Finding("hub", "ok", f"{endpoint} can be reached, {token}.")
