"""Decision settings given as keyword arguments."""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic import ValidationError

from gate.common.smoothing import BASES, DEFAULT_SMOOTHING, Smoothing, check_smoothing
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
    max_truncated: float | None
    max_broken: float | None
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


def smoothing_of(metric: str | None, nats: float | None) -> Smoothing | None:
    """Return how a metric is smoothed; None if it is not.

    Raises
    ------
    ConfigError
        The smoothing is out of range, or given for a metric that is not smoothed.
    """
    if metric not in BASES:
        if nats is not None:
            raise ConfigError("smoothing needs a smoothed metric.", f"Use --metric {' or --metric '.join(BASES)}.")
        return None
    try:
        return Smoothing(metric, check_smoothing(DEFAULT_SMOOTHING if nats is None else nats))
    except ValueError as error:
        raise ConfigError(f"{error}.") from None
