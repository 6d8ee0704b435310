"""The action's inputs: from the runner's INPUT_ variables to one typed value; action.yml and its docs follow it."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from gate.errors import ConfigError
from gate.report.escape import log_line

UNSET = "unset"
"""Default in action.yml of an input that leaves gate.yml's value alone; GitHub cannot tell empty from not given."""
_PREFIX = "INPUT_"
_RUNNERS_OWN = ("args", "entrypoint")  # of every container action; the runner passes them on
# similarity (0 to 1) from which an unknown name is a misspelt input, not another program's variable
_NEAR = 0.7
_log = logging.getLogger(__name__)


def _boolean(text: Any) -> Any:
    """Read a boolean as YAML 1.2 writes it, which is how GitHub's own toolkit reads one."""
    if isinstance(text, str):
        if text.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return text.lower() == "true"
    return text


def _or_null(text: Any) -> Any:
    return None if text in ("none", "null") else text


def _tasks(text: Any) -> Any:
    """Read task names (one a line, or parted by commas) or a YAML list as in gate.yml."""
    if not isinstance(text, str):
        return text
    if not text.lstrip().startswith(("-", "[")):
        return [name.strip() for line in text.splitlines() for name in line.split(",") if name.strip()]
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise ValueError(f"not valid YAML: {problem}") from None
    if not isinstance(data, list) or not all(isinstance(entry, str | dict) for entry in data):
        raise ValueError("expected a list of task names or of tasks as in gate.yml")
    return data


Boolean = Annotated[bool, BeforeValidator(_boolean)]
OrNull = BeforeValidator(_or_null)


def _key(key: str, description: str) -> Any:
    """Declare an input that replaces a key of gate.yml."""
    return Field(None, description=description, json_schema_extra={"key": key})


def _may_be_empty(default: str | None, description: str) -> Any:
    return Field(default, description=description, json_schema_extra={"empty": True})


class Inputs(BaseModel):
    """Every input of the action. A field `max_kl` is the input `max-kl`.

    Fields with a `key` replace that key of gate.yml where they are set; limits of their values are gate.yml's.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        hide_input_in_errors=True,
    )

    config: str | None = Field(
        None,
        description="The gate.yml, relative to `working-directory`. Default: `gate.yml` where there is one.",
    )
    working_directory: str = Field(".", description="Folder that all paths in inputs start from.")
    name: str = Field(
        "quantgate", description="Name of this gate; a pull request has one comment for each name."
    )
    baseline: str | None = _key(
        "baseline.model", "The model that is served today: a folder, a `.gguf` file, or a name on the hub."
    )
    baseline_revision: str | None = _key("baseline.revision", "Its hub revision; a commit is best.")
    candidate: str | None = _key(
        "candidate.model",
        "The model that shall replace it. Drops the file's `revision` and `gguf_file` of the other one.",
    )
    candidate_revision: str | None = _key("candidate.revision", "Its hub revision.")
    tasks: Annotated[list[str | dict[str, Any]] | None, BeforeValidator(_tasks)] = _key(
        "tasks",
        "Task names, one a line or parted by commas (a name that gate.yml defines means that task), or a YAML list "
        "of tasks as in gate.yml.",
    )
    limit: Annotated[int | None, OrNull] = _key("samples.limit", "Use the first N documents of every task.")
    store: str | None = _key(
        "samples.store", "Where samples are kept: a folder, or an address such as s3://…"
    )
    device: str | None = _key("engine.device", "auto, cpu, cuda, cuda:N or balanced.")
    alpha: float | None = _key("decision.alpha", "False-alarm rate of the whole decision (proportion).")
    rule: str | None = _key("decision.rule", "The test that decides: omnibus, pooled, max, fisher or holm.")
    margin: float | None = _key("decision.margin", "Tolerated drop (proportion, 0.01 is one point).")
    certify: Annotated[float | None, OrNull] = _key(
        "decision.certify", "PASS must prove that the drop is below this (proportion); none switches it off."
    )
    on_inconclusive: str | None = _key(
        "decision.on_inconclusive", "Whether INCONCLUSIVE lets the workflow go on: pass or fail."
    )
    max_flip_rate: Annotated[float | None, OrNull] = _key(
        "distance.max_flip_rate", "FAIL where more answers flip (proportion); none switches it off."
    )
    max_kl: Annotated[float | None, OrNull] = _key(
        "distance.max_kl", "FAIL where the mean KL divergence is larger (nats); none switches it off."
    )
    report_path: str | None = _key("report.markdown", "Where the Markdown report goes.")
    result_path: str | None = _key("report.json", "Where result.json goes.")
    force_baseline: Boolean = Field(False, description="Evaluate the baseline again even where it is cached.")
    comment: Boolean = Field(True, description="Post or update the pull-request comment.")
    summary: Boolean = Field(True, description="Write the job summary.")
    annotations: Boolean = Field(True, description="Annotate gate.yml at tasks that got worse.")
    status_context: str | None = _may_be_empty(
        None, "Name of a commit status for branch protection; empty for none. Needs `statuses: write`."
    )
    github_token: str | None = _may_be_empty(
        None, "Token for comment and status; empty for neither. Needs `pull-requests: write` for the comment."
    )


def input_fields() -> dict[str, FieldInfo]:
    """Return the fields by the names of their inputs, in the order of action.yml."""
    return {field.alias or name: field for name, field in Inputs.model_fields.items()}


def _extra(field: FieldInfo, what: str) -> Any:
    return field.json_schema_extra.get(what) if isinstance(field.json_schema_extra, dict) else None


def read_inputs(environment: Mapping[str, str]) -> tuple[Inputs, dict[str, str]]:
    """Read the action's inputs.

    Parameters
    ----------
    environment : mapping of str to str
        With the runner's `INPUT_<NAME>`: upper case, dashes kept.

    Returns
    -------
    Inputs
    dict
        The texts of the inputs that replace gate.yml's keys, for the report's command line.

    Raises
    ------
    ConfigError
        All problems together, each naming its input: misspelt (with the nearest known name), empty where a value is
        needed, or not of its type. A name that is near to none is only warned of.
    """
    fields = input_fields()
    given = {
        name.removeprefix(_PREFIX).lower(): text.strip()
        for name, text in environment.items()
        if name.startswith(_PREFIX)
    }
    given = {name: text for name, text in given.items() if text != UNSET and name not in _RUNNERS_OWN}
    problems = []
    for name in [name for name in given if name not in fields]:
        near = difflib.get_close_matches(name.replace("_", "-"), fields, n=1, cutoff=_NEAR)
        if near:
            problems.append(f"input {name}: there is no such input; did you mean {near[0]}?")
        else:
            _log.warning("input %s: there is no such input; known: %s.", log_line(name), ", ".join(fields))
    for name in [name for name, text in given.items() if name in fields and not text]:
        if not _extra(fields[name], "empty"):
            problems.append(
                f"input {name}: empty; expected a value. Did an expression give nothing? "
                "Leave the input out (or set it to unset) to take the default or gate.yml's value."
            )
        del given[name]
    try:
        inputs = Inputs.model_validate({name: text for name, text in given.items() if name in fields})
    except ValidationError as error:
        problems += [
            # the value of a secret stays out of the message
            _wrong(
                one["loc"],
                one["msg"],
                "***" if one["loc"][0] == "github-token" else given[str(one["loc"][0])],
            )
            for one in _first_of_each(error)
        ]
    if problems:
        raise ConfigError("\n".join(problems), "docs/action.md and action.yml list all inputs.")
    changed = {name: given[name] for name, field in fields.items() if name in given and _extra(field, "key")}
    return inputs, changed


def _first_of_each(error: ValidationError) -> Iterator[Any]:
    seen: set[object] = set()  # a union gives a problem for each member
    for problem in error.errors(include_url=False):
        if problem["loc"][0] not in seen:
            seen.add(problem["loc"][0])
            yield problem


def _wrong(where: tuple[int | str, ...], message: str, found: str) -> str:
    words = message.removeprefix("Value error, ").removeprefix("Input should be ").split(", unable")[0]
    expected = words if words.startswith(("expected", "not ")) else f"expected {words}"
    return f"input {where[0]}: {expected}; found {found!r}."
