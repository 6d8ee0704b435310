"""The base of all sections of result.json."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ResultSection(BaseModel):
    """Base of every section of result.json: frozen, unknown keys refused."""

    # defer_build: a command builds only the validators that it uses
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)
