"""The Hugging Face Hub: whether models can be downloaded, and where they are cached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gate.doctor.finding import Finding


@dataclass(frozen=True)
class Hub:
    """Settings of huggingface_hub; `cache` is the folder of downloaded models."""

    endpoint: str
    offline: bool
    cache: Path
    has_token: bool = False


def inspect_hub() -> Hub:
    """Return the settings of huggingface_hub."""
    from huggingface_hub import constants, get_token

    return Hub(
        constants.ENDPOINT,
        constants.HF_HUB_OFFLINE,
        Path(constants.HF_HUB_CACHE),
        has_token=get_token() is not None,
    )


def examine_hub(hub: Hub, needed: bool) -> Finding:
    """Check whether the hub is reachable; if it is not, that matters only if a model is `needed` from there."""
    import httpx

    if hub.offline:
        return Finding("hub", "ok", "HF_HUB_OFFLINE is set: models come from the local cache only.")
    try:
        httpx.head(f"{hub.endpoint.rstrip('/')}/api/models/gpt2", timeout=5, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"{hub.endpoint} is unreachable ({type(error).__name__})"
        if not needed:
            return Finding("hub", "ok", f"{text}; no model comes from there.")
        return Finding(
            "hub",
            "warn",
            f"{text}: models come from the local cache only.",
            "Check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT.",
        )
    token = "with a token" if hub.has_token else "without a token (HF_TOKEN): public models only"
    return Finding("hub", "ok", f"{hub.endpoint} is reachable, {token}.")
