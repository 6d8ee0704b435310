"""Optional packages, which the extra `transformers` installs."""

from __future__ import annotations

from importlib.util import find_spec

from gate.errors import ModelError

LOCAL_ENGINE = ("torch", "transformers", "accelerate", "safetensors")
"""What the transformers engine imports."""


def require_packages(*packages: str) -> None:
    """Check that packages of the extra `transformers` are installed.

    Raises
    ------
    ModelError
        One is missing; the error has the command that installs it.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ModelError(
            f"reading and evaluating models on this machine needs packages that are not installed: "
            f"{', '.join(missing)}.",
            "pip install 'quantgate[transformers]'",
        )
