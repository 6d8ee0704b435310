"""The action's inputs, from the runner's INPUT_ variables. action.yml and docs/action.md repeat these declarations."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from gate.errors import ConfigError
from gate.report.escape import log_line

UNSET = "unset"
"""Default in action.yml of an input that keeps gate.yml's value: GitHub does not distinguish empty from missing."""
_PREFIX = "INPUT_"
_RUNNER_INPUTS = ("args", "entrypoint")  # set by the runner for every container action
# similarity (0 to 1) above which an unknown name is a misspelt input and not a variable of another program
_MISSPELT = 0.7
_log = logging.getLogger(__name__)


def _boolean(value: Any) -> Any:
    """Accept the booleans of YAML 1.2, as GitHub's own toolkit does."""
    if isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return value.lower() == "true"
    return value


def _none_as_null(value: Any) -> Any:
    return None if value in ("none", "null") else value


def _tasks(value: Any) -> Any:
    """Parse task names, one per line or separated by commas, or a YAML list of tasks as in gate.yml."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith(("-", "[")):
        return [name.strip() for name in value.replace("\n", ",").split(",") if name.strip()]
    try:
        entries = yaml.safe_load(value)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ValueError(f"not valid YAML: {problem}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, str | dict) for entry in entries):
        raise ValueError("expected a list of task names or of tasks as in gate.yml")
    return entries


Boolean = Annotated[bool, BeforeValidator(_boolean)]
OrNone = BeforeValidator(_none_as_null)


def _overrides(key: str, description: str) -> Any:
    """Declare an input that replaces a key of gate.yml."""
    return Field(None, description=description, json_schema_extra={"key": key})


def _may_be_empty(description: str) -> Any:
    """Declare an optional input for which an empty value means none."""
    return Field(None, description=description, json_schema_extra={"empty": True})


class Inputs(BaseModel):
    """Every input of the action. The field `max_kl` is the input `max-kl`.

    A field with a `key` replaces that key of gate.yml where it is set, and obeys the limits of that key.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        hide_input_in_errors=True,
    )

    config: str | None = Field(
        None,
        description="Path of gate.yml, relative to `working-directory`. Default: `gate.yml`, if it exists.",
    )
    working_directory: str = Field(".", description="Folder that relative paths in inputs start from.")
    name: str = Field("quantgate", description="Name of this gate. Each name has its own pull-request comment.")
    baseline: str | None = _overrides(
        "baseline.model",
        "The model that is served today: a folder, a `.gguf` file, or a model on the Hugging Face Hub.",
    )
    baseline_revision: str | None = _overrides(
        "baseline.revision", "Hub revision of the baseline, preferably a commit."
    )
    candidate: str | None = _overrides(
        "candidate.model",
        "The model to compare with the baseline. If it differs from the one in gate.yml, that entry's `revision` and "
        "`gguf_file` are dropped.",
    )
    candidate_revision: str | None = _overrides(
        "candidate.revision", "Hub revision of the candidate, preferably a commit."
    )
    tasks: Annotated[list[str | dict[str, Any]] | None, BeforeValidator(_tasks)] = _overrides(
        "tasks",
        "Task names, one per line or separated by commas (a name defined in gate.yml selects that task), or a YAML "
        "list of tasks as in gate.yml.",
    )
    limit: Annotated[int | None, OrNone] = _overrides(
        "samples.limit",
        "Evaluate only the first N documents of each task; the value `none` removes the limit.",
    )
    store: str | None = _overrides(
        "samples.store", "Where sample sets are stored: a folder, or a URL such as s3://bucket/prefix."
    )
    device: str | None = _overrides("engine.device", "Device: auto, cpu, cuda, cuda:N or balanced.")
    alpha: float | None = _overrides("decision.alpha", "Level of the decision over all tasks (a proportion).")
    rule: str | None = _overrides("decision.rule", "The test that decides: omnibus, pooled, max, fisher or holm.")
    margin: float | None = _overrides("decision.margin", "Tolerated drop (a proportion; 0.01 is one percentage point).")
    certify: Annotated[float | None, OrNone] = _overrides(
        "decision.certify",
        "PASS also requires proof that the mean drop is below this proportion; the value `none` disables it.",
    )
    on_inconclusive: str | None = _overrides(
        "decision.on_inconclusive", "Whether the job passes or fails on INCONCLUSIVE: pass or fail."
    )
    max_flip_rate: Annotated[float | None, OrNone] = _overrides(
        "distance.max_flip_rate",
        "FAIL if a larger share of items flips (a proportion); the value `none` disables it.",
    )
    max_kl: Annotated[float | None, OrNone] = _overrides(
        "distance.max_kl", "FAIL if the mean KL divergence is larger (in nats); the value `none` disables it."
    )
    report_path: str | None = _overrides("report.markdown", "Path of the Markdown report.")
    result_path: str | None = _overrides("report.json", "Path of the JSON result.")
    force_baseline: Boolean = Field(False, description="Evaluate the baseline even if it is cached.")
    comment: Boolean = Field(True, description="Post or update the pull-request comment.")
    summary: Boolean = Field(True, description="Write the job summary.")
    annotations: Boolean = Field(
        True,
        description="Annotate the run with its verdict, and mark the tasks in gate.yml that are significantly worse.",
    )
    status_context: str | None = _may_be_empty(
        "Name of a commit status to set, for branch protection; empty sets none. Needs `statuses: write`."
    )
    github_token: str | None = _may_be_empty(
        "Token for the comment and the commit status; empty disables both. The comment needs `pull-requests: write`."
    )


def input_fields() -> dict[str, FieldInfo]:
    """Return the fields by input name, in the order of action.yml."""
    return {field.alias or name: field for name, field in Inputs.model_fields.items()}


def _extra(field: FieldInfo, name: str) -> Any:
    return field.json_schema_extra.get(name) if isinstance(field.json_schema_extra, dict) else None


def read_inputs(environment: Mapping[str, str]) -> tuple[Inputs, dict[str, str]]:
    """Read the action's inputs.

    Returns
    -------
    Inputs
    dict
        The unparsed values of the inputs that replace keys of gate.yml, by input name.

    Raises
    ------
    ConfigError
        All problems together, each naming its input: misspelt (with the nearest known name), empty where a value is
        needed, or of the wrong type. An unknown name that resembles no input is only a warning.
    """
    fields = input_fields()
    given = _given_inputs(environment)
    problems = [*_misspelt(given, fields), *_empty(given, fields)]
    values = {name: text for name, text in given.items() if name in fields and text}
    try:
        inputs = Inputs.model_validate(values)
    except ValidationError as error:
        first: dict[str, Any] = {}  # a union type reports one problem per member
        for problem in error.errors(include_url=False):
            first.setdefault(str(problem["loc"][0]), problem)
        for name, problem in first.items():
            found = "***" if name == "github-token" else values[name]  # never show the secret
            problems.append(f"input {name}: {_expected(problem['msg'])}; found {found!r}.")
    if problems:
        raise ConfigError("\n".join(problems), "docs/action.md and action.yml list all inputs.")
    return inputs, {name: values[name] for name, field in fields.items() if name in values and _extra(field, "key")}


def raw_input(environment: Mapping[str, str], name: str) -> str:
    """Return the unvalidated value of one input; empty if it is missing."""
    return environment.get(f"{_PREFIX}{name.upper()}", "").strip()


def _given_inputs(environment: Mapping[str, str]) -> dict[str, str]:
    given = {
        name.removeprefix(_PREFIX).lower(): text.strip()
        for name, text in environment.items()
        if name.startswith(_PREFIX)
    }
    return {name: text for name, text in given.items() if text != UNSET and name not in _RUNNER_INPUTS}


def _misspelt(given: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name in [name for name in given if name not in fields]:
        nearest = difflib.get_close_matches(name.replace("_", "-"), fields, n=1, cutoff=_MISSPELT)
        if nearest:
            yield f"input {name}: there is no such input; did you mean {nearest[0]}?"
        else:
            _log.warning("input %s: there is no such input; known: %s.", log_line(name), ", ".join(fields))


def _empty(given: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name, text in given.items():
        if not text and name in fields and not _extra(fields[name], "empty"):
            yield (
                f"input {name}: empty; expected a value. Did an expression evaluate to nothing? "
                "Remove the input, or set it to unset, to use the default or the value in gate.yml."
            )


def _expected(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input should be ").split(", unable")[0]
    return text if text.startswith(("expected", "not ")) else f"expected {text}"


def working_folder(inputs: Inputs) -> Path:
    """Return the folder that paths in inputs start from; a missing folder is a ConfigError."""
    folder = Path(inputs.working_directory)
    if not folder.is_dir():
        raise ConfigError(
            f"input working-directory: there is no folder {folder}.",
            "The path starts from the workspace. Does a checkout step run before this one?",
        )
    return folder


def reproduce_command(inputs: Inputs, overrides: Mapping[str, str]) -> list[str]:
    """Return the command line that reproduces the result on any machine."""
    if not overrides:
        return ["gate", "run", "--config", inputs.config or "gate.yml"]
    given = {**overrides, **({"config": inputs.config} if inputs.config else {})}
    return ["env", *(f"INPUT_{name.upper()}={text}" for name, text in given.items()), "gate", "action"]
