"""Models on the Hugging Face hub: which commit a name means, and its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gate.config import ModelSettings
from gate.errors import ModelError


def commit(settings: ModelSettings) -> str:
    """Return the commit that a hub model's revision means now; without a network, the one in the local cache.

    Raises
    ------
    ModelError
        No such model or revision, no access, or neither network nor cache.
    """
    if settings.revision is not None and re.fullmatch(r"[0-9a-f]{40}", settings.revision):
        return settings.revision
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    with _explained(settings):
        try:
            found = HfApi().model_info(settings.model, revision=settings.revision).sha
        except (OSError, HTTPError) as error:  # httpx's connection errors are no OSError
            if isinstance(error, HfHubHTTPError):
                raise
            # offline: any file of the cached snapshot tells its commit
            found = Path(
                snapshot_download(
                    settings.model,
                    revision=settings.revision,
                    allow_patterns=["config.json"],
                    local_files_only=True,
                )
            ).name
    return str(found)


def download(settings: ModelSettings, revision: str | None, patterns: Sequence[str]) -> Path:
    """Return the local folder of a hub model's snapshot, downloading what is missing.

    Raises
    ------
    ModelError
        As `commit`.
    """
    from huggingface_hub import snapshot_download

    with _explained(settings):
        return Path(snapshot_download(settings.model, revision=revision, allow_patterns=list(patterns)))


@contextmanager
def _explained(settings: ModelSettings) -> Iterator[None]:
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        GatedRepoError,
        HFValidationError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = f"model {settings.model}" + (f" at revision {settings.revision}" if settings.revision else "")
    try:
        yield
    except GatedRepoError:
        raise ModelError(f"{what} is gated.", "Accept its licence on the hub and set HF_TOKEN.") from None
    except RevisionNotFoundError:
        raise ModelError(f"{what}: the hub has no such revision.") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"{what}: there is neither a local folder nor a hub model of this name.",
            "Check the name; a private model needs HF_TOKEN; write a local folder as ./name.",
        ) from None
    except (OSError, HTTPError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{what} is not on this machine and the hub cannot be reached: {reason}",
            "Give a local folder, or check the network and HF_HUB_OFFLINE.",
        ) from None
