"""The command `gate`."""

from gate.cli.main import main

__all__ = ["main"]
