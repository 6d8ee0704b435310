"""Decision settings given as keyword arguments."""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic import ValidationError

from gate.config import DecisionSettings
from gate.errors import ConfigError
from gate.stats import Rule


class DecisionKeywords(TypedDict, total=False):
    """Keys of gate.yml's `decision` section that need no history of runs; `DecisionSettings` has the defaults."""

    alpha: float
    rule: Rule
    margin: float
    certify: float | None
    power: float
    on_inconclusive: Literal["pass", "fail"]
    draws: int


def decision_settings(keywords: DecisionKeywords) -> DecisionSettings:
    """Return the settings.

    Raises
    ------
    ConfigError
        A setting is unknown, or its value is out of range.
    """
    try:
        return DecisionSettings.model_validate(keywords)
    except ValidationError as error:
        problems = "\n".join(
            f"decision setting {'.'.join(map(str, entry['loc']))}: {entry['msg']}; found {entry['input']!r}."
            for entry in error.errors()
        )
        raise ConfigError(problems, f"Settings: {', '.join(DecisionKeywords.__annotations__)}.") from None
