"""Options shared by several commands."""

from __future__ import annotations

import math
from pathlib import Path

import click

from gate.common.level import SMALLEST_ALPHA


class Number(click.FloatRange):
    """A float in a range; unlike click.FloatRange it refuses nan."""

    def convert(  # noqa: D102 - click's
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


config = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("gate.yml"),
    show_default=True,
    help="The configuration file.",
)
quiet = click.option("-q", "--quiet", is_flag=True, help="Print no progress messages.")
alpha = click.option(
    "--alpha",
    type=Number(SMALLEST_ALPHA, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="Level of the decision over all tasks.",
)
power = click.option(
    "--power",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Power of the reported detectable drops.",
)
rule = click.option(
    "--rule",
    type=click.Choice(["omnibus", "pooled", "max", "fisher", "holm"]),
    default="omnibus",
    show_default=True,
    help="The rule that decides.",
)


def is_set(context: click.Context, name: str) -> bool:
    """Return whether an option was given, rather than left at its default."""
    return context.get_parameter_source(name) not in (None, click.core.ParameterSource.DEFAULT)
