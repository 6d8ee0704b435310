"""Reads the inputs: the runner's INPUT_ variables, and flags, which the command line turns into such variables."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gate.errors import ConfigError
from gate.github.inputs import UNSET, Inputs, extra_of, input_fields
from gate.report.escape import log_line

_PREFIX = "INPUT_"
_RUNNER_INPUTS = ("args", "entrypoint")  # set by the runner for every container action
# similarity (0 to 1) above which an unknown name is a misspelt input and not a variable of another program
_MISSPELT = 0.7
_log = logging.getLogger(__name__)


def variable(name: str) -> str:
    """Return the variable in which the runner passes an input to an action."""
    return f"{_PREFIX}{name.upper()}"


def variables_of(name: str) -> tuple[str, str]:
    """Return the variables that set an input: the runner's, and one that a shell can have."""
    return variable(name), variable(name).replace("-", "_")


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
    problems = [*_repeated(environment), *_misspelt(given, fields), *_empty(given, fields)]
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
    return inputs, {name: values[name] for name, field in fields.items() if name in values and extra_of(field, "key")}


def raw_input(environment: Mapping[str, str], name: str) -> str:
    """Return the unvalidated value of one input; empty if it is missing."""
    return _given_inputs(environment).get(name, "")


def _given_inputs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs by name. Both INPUT_MAX-KL (an action) and INPUT_MAX_KL (a shell's variable) are max-kl."""
    return {name: text for name, text in _variables(environment) if text != UNSET}


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = input_fields()
    for variable, text in environment.items():
        name = variable.removeprefix(_PREFIX).lower()
        if variable.startswith(_PREFIX) and name not in _RUNNER_INPUTS:
            dashed = name.replace("_", "-")
            yield dashed if dashed in known else name, text.strip()


def _repeated(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a problem for each input that is set twice, with dashes and with underscores, to different values."""
    values: dict[str, str] = {}
    for name, text in _variables(environment):
        if text != UNSET and values.setdefault(name, text) != text:
            yield f"input {name}: set twice, to different values (with - and with _ in its name)."


def _misspelt(given: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name in [name for name in given if name not in fields]:
        nearest = difflib.get_close_matches(name.replace("_", "-"), fields, n=1, cutoff=_MISSPELT)
        if nearest:
            yield f"input {name}: there is no such input; did you mean {nearest[0]}?"
        else:
            _log.warning("input %s: there is no such input; known: %s.", log_line(name), ", ".join(fields))


def _empty(given: Mapping[str, str], fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name, text in given.items():
        if not text and name in fields and not extra_of(fields[name], "empty"):
            yield (
                f"input {name}: empty; expected a value. Did an expression evaluate to nothing? "
                "Remove the input, or set it to unset, to use the default or the value in gate.yml."
            )


def _expected(message: str) -> str:
    message = message.replace("'", "")  # around the choices of a list
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
    return ["gate", "action", *(part for name, text in given.items() for part in (f"--{name}", text))]
