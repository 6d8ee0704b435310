"""The base of all sections of gate.yml."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gate.common.level import SMALLEST_ALPHA

Proportion = Annotated[float, Field(ge=0.0, le=1.0)]
OpenProportion = Annotated[float, Field(gt=0.0, lt=1.0)]
Margin = Annotated[float, Field(ge=0.0, lt=1.0)]
Level = Annotated[float, Field(ge=SMALLEST_ALPHA, lt=1.0)]
CandidateName = Annotated[str, Field(max_length=40, pattern=r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$")]
"""A name that is safe in file names and in every report."""


class Section(BaseModel):
    """A mapping in gate.yml. Unknown keys are errors, and values are frozen.

    Types are strict: otherwise `margin: true` would be a margin of 1.0, and nothing could ever fail.
    """

    # defer_build: a command builds only the validators that it uses
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)
