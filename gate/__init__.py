"""quantgate: is an optimised LLM worse than the model it replaces, or is the difference noise?"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gate.app.answers import evaluate
    from gate.app.compare import compare, compare_candidates
    from gate.app.noise import noise
    from gate.app.plan import plan
    from gate.app.run import run, run_candidates
    from gate.app.samples import load_samples
    from gate.errors import GateError
    from gate.report import Result
    from gate.report.candidates import CandidatesResult

__all__ = [
    "CandidatesResult",
    "GateError",
    "Result",
    "compare",
    "compare_candidates",
    "evaluate",
    "load_samples",
    "noise",
    "plan",
    "run",
    "run_candidates",
]

_PUBLIC = {
    "CandidatesResult": "gate.report.candidates",
    "GateError": "gate.errors",
    "Result": "gate.report",
    "compare": "gate.app.compare",
    "compare_candidates": "gate.app.compare",
    "evaluate": "gate.app.answers",
    "load_samples": "gate.app.samples",
    "noise": "gate.app.noise",
    "plan": "gate.app.plan",
    "run": "gate.app.run",
    "run_candidates": "gate.app.run",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use: `import gate` and `gate --help` stay fast."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
