"""result.json: the decision, what was compared, and how to reproduce it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, Field, JsonValue, ValidationError

from gate import __version__
from gate.config import DecisionSettings, TaskPolicy
from gate.decision import Decision
from gate.decision.finding import Finding
from gate.decision.noise import Control
from gate.decision.noise_wording import confounded
from gate.decision.validity import same_source
from gate.errors import SampleError
from gate.report.flips import Flip, worst_flips
from gate.samples import ModelSamples, Pairing
from gate.samples.stack import describe, known_stack, stack_differences

if TYPE_CHECKING:
    import pandas as pd

Section = TypeVar("Section", bound=BaseModel)

_DIGITS = 20  # of the largest seed, with its sign
_WRITE_AGAIN = "Write it again with `gate run` or `gate compare --json`."


class Result(Decision):
    """Everything that a report shows: the schema of result.json, version 1."""

    schema_version: Literal[1] = 1
    baseline: dict[str, JsonValue] = Field(description="Facts about the baseline.")
    candidate: dict[str, JsonValue]
    flips: list[Flip] = Field(
        description="The worst regressions, worst first; without log-likelihoods, from the tasks in round-robin order."
    )
    notes: list[str] = Field(description="Remarks on the data.")
    control: Control | None = Field(
        None, description="The A/A control: how much the baseline's own answers change. Null where none was needed."
    )
    provenance: dict[str, JsonValue]

    @property
    def regressions(self) -> int:
        """Number of items on which the candidate scores lower, over all tasks."""
        return sum(task.regressions for task in self.tasks)

    @property
    def flips_ranked(self) -> bool:
        """Whether the flips are ranked: the log-likelihoods of at least one are known."""
        return any(flip.shift is not None for flip in self.flips)

    @property
    def commands(self) -> list[str]:
        """Command lines that reproduce the result."""
        lines = self.provenance.get("reproduce")
        return [str(line) for line in lines] if isinstance(lines, list) else []

    @property
    def seconds(self) -> float | None:
        """Duration of the run; None if unknown."""
        seconds = self.provenance.get("seconds")
        return seconds if isinstance(seconds, int | float) else None

    def to_pandas(self) -> pd.DataFrame:
        """Return the tasks as a data frame.

        Returns
        -------
        pandas.DataFrame
            One row per task, indexed by task name, with the fields of `TaskResult` but its subtasks and limits. The
            intervals are two columns each: `drop_ci90_low` and `drop_ci90_high`, `flip_rate_ci95_low` and
            `flip_rate_ci95_high`. Where a task sets `certify` or `min_recovery`, there are columns such as
            `certification_certified` and `recovery_ratio`. Drops and rates are proportions.
        """
        import pandas as pd

        rows = [
            dict(_columns(task.model_dump(exclude={"subtasks", "limits"}), optional=("certification", "recovery")))
            for task in self.tasks
        ]
        return pd.DataFrame(rows).set_index("task")


def _columns(fields: Mapping[str, Any], optional: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a row: intervals and sections become several; an optional section that is None, none."""
    for name, value in fields.items():
        if isinstance(value, tuple):
            yield from zip((f"{name}_low", f"{name}_high"), value, strict=True)
        elif isinstance(value, dict):
            yield from _columns({f"{name}_{key}": inner for key, inner in value.items()})
        elif value is not None or name not in optional:
            yield name, value


def build_result(
    decision: Decision,
    pairing: Pairing,
    baseline: ModelSamples,
    candidate: ModelSamples,
    settings: DecisionSettings,
    seed: int,
    commands: Sequence[str],
    seconds: float | None = None,
    policies: Mapping[str, TaskPolicy] | None = None,
    control: Control | None = None,
) -> Result:
    """Combine a decision with its provenance.

    Parameters
    ----------
    pairing : Pairing
        The samples that were judged.
    settings : DecisionSettings
        The policy.
    commands : sequence of str
        Command lines that reproduce the decision, in order.
    seconds : float, optional
        Duration of the run.
    policies : mapping of str to TaskPolicy, optional
        What is required of single tasks.
    control : Control, optional
        The A/A control of the run.
    """
    notes = list(pairing.notes)
    for name, samples in baseline.tasks.items():
        if "items" in samples.facets:
            notes.append(f"task {name}: {samples.facets['items']}.")
    differences = stack_differences(known_stack(baseline.about), known_stack(candidate.about))
    if differences and control is None:
        same = "weights" in baseline.about and baseline.about["weights"] == candidate.about.get("weights")
        meaning = (
            "the candidate has the baseline's weights, so this is what the comparison tests"
            if same
            else "the comparison does not separate the model from the stack"
        )
        notes.append(f"The stacks differ ({describe(differences)}): {meaning}.")
    required = {name: keys for name, policy in (policies or {}).items() if (keys := _policy(policy))}
    return Result(
        **{**dict(decision), "validity": [*decision.validity, *_doubts(baseline, candidate, pairing, control)]},
        baseline=_about(baseline),
        candidate=_about(candidate),
        flips=worst_flips(pairing.tasks),
        notes=notes,
        control=control,
        provenance={
            "quantgate": __version__,
            "decision": settings.model_dump(),
            "seed": seed,
            "reproduce": list(commands),
            **({} if seconds is None else {"seconds": seconds}),
            **({"tasks": required} if required else {}),
        },
    )


def _doubts(
    baseline: ModelSamples, candidate: ModelSamples, pairing: Pairing, control: Control | None
) -> Iterator[Finding]:
    yield from same_source(baseline.about, candidate.about, pairing.tasks)
    if control is not None and control.kind == "none":
        yield Finding(kind="stack", message=confounded(control))


def _policy(policy: TaskPolicy) -> dict[str, JsonValue]:
    """Return what a task requires, without the keys that are not set."""
    keys = {key: getattr(policy, key) for key in TaskPolicy.model_fields}
    return {key: value for key, value in keys.items() if value is not None}


def _about(samples: ModelSamples) -> dict[str, JsonValue]:
    """Return the facts about one side as JSON values."""
    text = json.dumps({"label": samples.label, **samples.about}, default=str)
    facts: dict[str, JsonValue] = json.loads(text)
    return facts


def to_json(result: Result) -> str:
    """Return the text of result.json; p-values are not rounded."""
    data = {"schema_version": result.schema_version, **result.model_dump(mode="json", by_alias=True)}
    return json_text(data)


def json_text(data: Mapping[str, object]) -> str:
    """Return data as JSON that may be printed to a job's log: it contains no `##[`, which starts a command there."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    return text.replace("##[", "\\u0023#[") + "\n"  # within strings, because JSON itself has no #


def read_result(path: Path) -> Result:
    """Read a result.json.

    Raises
    ------
    SampleError
        The file is missing, unreadable, or not a result of this schema version.
    """
    data = read_data(path)
    if data.get("kind") == "candidates":
        raise SampleError(f"{path} has several candidates; expected the result of one.")
    return validated(Result, data, path)


def read_data(path: Path) -> dict[str, object]:
    """Return the data of a result.json of this schema version, not validated; errors as for `read_result`."""
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except FileNotFoundError:
        raise SampleError(f"{path} does not exist.", "`gate run` and `gate compare --json` write it.") from None
    except OSError as error:
        raise SampleError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from None
    except (ValueError, RecursionError) as error:
        raise SampleError(f"{path} is not JSON: {error}.", _WRITE_AGAIN) from None
    if not isinstance(data, dict) or "schema_version" not in data:
        raise SampleError(f"{path} is not a quantgate result: it has no schema_version.", _WRITE_AGAIN)
    if (version := data["schema_version"]) != 1:
        raise SampleError(f"{path} has schema version {version}; expected 1.", _WRITE_AGAIN)
    return data


def _finite(number: str) -> float:
    """Return a number of a result.json, which holds neither NaN nor infinity."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"the number {number[:40]} is not finite")
    return value


def _whole(number: str) -> int:
    if len(number) > _DIGITS:
        raise ValueError(f"the number {number[:40]} has {len(number)} digits")
    return int(number)


def validated(model: type[Section], data: Mapping[str, object], path: Path) -> Section:
    """Return the data of a file as a model; a SampleError if they do not fit."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise SampleError(
            f"{path} is not a valid result: {'.'.join(map(str, first['loc']))}: {first['msg']}.",
            _WRITE_AGAIN,
        ) from None
