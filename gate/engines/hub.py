"""Models on the Hugging Face hub. huggingface_hub decides where they are cached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gate.config import ModelSettings
from gate.errors import ModelError, first_line


def commit(settings: ModelSettings) -> str:
    """Return the commit that a model's revision currently names; without a network, the one in the local cache.

    Raises
    ------
    ModelError
        The model or revision does not exist, is not accessible, or is neither reachable nor cached.
    """
    if settings.revision is not None and re.fullmatch(r"[0-9a-f]{40}", settings.revision):
        return settings.revision
    with _as_model_errors(settings):
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

        name, revision = settings.model, settings.revision
        try:
            return str(HfApi().model_info(name, revision=revision).sha)
        except HfHubHTTPError:
            raise
        except (OSError, HTTPError):  # connection errors are not OSErrors
            snapshot = snapshot_download(name, revision=revision, allow_patterns=["config.json"], local_files_only=True)
            return Path(snapshot).name  # the commit


def download(settings: ModelSettings, revision: str | None, patterns: Sequence[str]) -> Path:
    """Return the local folder of a hub model's snapshot, after downloading what is missing.

    Raises
    ------
    ModelError
        As for `commit`.
    """
    with _as_model_errors(settings):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(settings.model, revision=revision, allow_patterns=list(patterns)))


@contextmanager
def _as_model_errors(settings: ModelSettings) -> Iterator[None]:
    """Turn errors of huggingface_hub into ModelErrors."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        GatedRepoError,
        HFValidationError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"model {settings.model}" + (f" at revision {settings.revision}" if settings.revision else "")
    try:
        yield
    except GatedRepoError:
        raise ModelError(f"{name} is gated.", "Accept its licence on the hub and set HF_TOKEN.") from None
    except RevisionNotFoundError:
        raise ModelError(f"{name}: the hub has no such revision.") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"{name}: there is neither a local folder nor a hub model of this name.",
            "Check the name. A private model needs HF_TOKEN. Write a local folder as ./name.",
        ) from None
    except (OSError, HTTPError) as error:
        raise ModelError(
            f"{name} is not on this machine and the hub cannot be reached: {first_line(error)}",
            "Use a local folder, or check the network and HF_HUB_OFFLINE.",
        ) from None
