"""result.json: the decision, what was compared, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from gate import __version__
from gate.config import DecisionSettings
from gate.decision import Decision
from gate.errors import SampleError
from gate.report.flips import Flip, worst_flips
from gate.samples import ModelSamples, Pairing

RESULT_VERSION: Literal[1] = 1


class Result(Decision):
    """Everything that a report shows; the schema of result.json, version 1."""

    schema_version: Literal[1] = 1
    baseline: dict[str, JsonValue] = Field(description="What is known of the baseline.")
    candidate: dict[str, JsonValue]
    flips: list[Flip] = Field(description="The worst regressions, worst first.")
    notes: list[str] = Field(description="What the reader should know about the data.")
    provenance: dict[str, JsonValue]

    @property
    def items(self) -> int:
        """Paired items of the gating tasks."""
        return sum(task.n for task in self.tasks if task.role == "gating")


def build_result(
    decision: Decision,
    pairing: Pairing,
    baseline: ModelSamples,
    candidate: ModelSamples,
    settings: DecisionSettings,
    seed: int,
    command: Sequence[str],
    extra: Mapping[str, JsonValue] | None = None,
) -> Result:
    """Put a decision together with what it was made from.

    Parameters
    ----------
    decision, pairing, baseline, candidate, settings, seed
        What was judged, and how.
    command : sequence of str
        Command lines that reproduce it, in order.
    extra : mapping, optional
        Further provenance.
    """
    notes = list(pairing.notes)
    for name, samples in baseline.tasks.items():
        if "items" in samples.facets:
            notes.append(f"task {name}: {samples.facets['items']}.")
    for what in ("device", "loaded_dtype"):
        a, b = baseline.about.get(what), candidate.about.get(what)
        if a is not None and b is not None and a != b:
            notes.append(
                f"{what.removeprefix('loaded_')}: {a} for the baseline, {b} for the candidate; this adds noise."
            )
    return Result(
        **decision.model_dump(),
        baseline=_about(baseline),
        candidate=_about(candidate),
        flips=worst_flips(pairing.tasks),
        notes=notes,
        provenance={
            "quantgate": __version__,
            "decision": settings.model_dump(),
            "seed": seed,
            "reproduce": list(command),
            **(extra or {}),
        },
    )


def _about(samples: ModelSamples) -> dict[str, JsonValue]:
    known: dict[str, JsonValue] = json.loads(
        json.dumps({"label": samples.label, **samples.about}, default=str)
    )
    return known


def to_json(result: Result) -> str:
    """Return result.json's text; p-values are not rounded."""
    data = {"schema_version": result.schema_version, **result.model_dump(mode="json")}
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_result(path: Path) -> Result:
    """Read a result.json again.

    Raises
    ------
    SampleError
        Missing, unreadable, or not a result of this schema version.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SampleError(
            f"{path} does not exist.", "`gate run` and `gate compare --json` write it."
        ) from None
    except (OSError, ValueError) as error:
        raise SampleError(f"{path} is not readable JSON: {error}.") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != RESULT_VERSION:
        raise SampleError(f"{path} has schema version {version}; expected {RESULT_VERSION}.")
    try:
        return Result.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise SampleError(
            f"{path} is not a valid result: {'.'.join(map(str, first['loc']))}: {first['msg']}."
        ) from None
