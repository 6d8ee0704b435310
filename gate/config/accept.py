"""The `accept` section: known regressions that do not fail a run until a date."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from gate.config.section import OpenProportion, Section


def _date(value: Any) -> Any:
    """Accept a date in quotes, too."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("expected a date such as 2026-12-31") from None
    return value


class AcceptSettings(Section):
    """A known regression: items of a task, or a drop of a task up to a value."""

    task: str = Field(description="Name of the task.")
    items: list[str] = Field(
        default_factory=list,
        max_length=1_000,
        description="Ids of the items. At most a tenth of the items of a task can be accepted.",
    )
    drop: OpenProportion | None = Field(
        None, description="Accepted drop of the task (proportion), instead of `items`; tested like a margin."
    )
    reason: str = Field(min_length=1, max_length=500, description="Why it is accepted; reports show it.")
    expires: Annotated[date, BeforeValidator(_date)] = Field(
        description="The last day on which it counts (UTC), e.g. 2026-12-31."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> AcceptSettings:
        if bool(self.items) == (self.drop is not None):
            raise ValueError(f"accept needs either items or drop; found {'both' if self.items else 'neither'}")
        return self
