"""The `scorer` of a task: how a generated text becomes a score."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from gate.common.directions import known_direction, looks_like_an_error
from gate.config.judge import JudgeScorer
from gate.config.section import Section

_Tolerance = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class PlainScorer(Section):
    """A scorer without settings."""

    kind: Literal["exact_match", "regex", "f1", "rouge_l"] = Field(
        description="exact_match: the text equals an accepted answer. regex: an accepted answer is a regular "
        "expression that is found in the text. f1: F1 score of the words, as in SQuAD. rouge_l: F-measure of ROUGE-L."
    )


class ContainsScorer(Section):
    """1 if the text contains an accepted answer."""

    kind: Literal["contains"]
    words: bool = Field(False, description="Match whole words only: `4` is then not found in `14`.")


class NumericScorer(Section):
    """1 if the last number of the text is close enough to an accepted answer."""

    kind: Literal["numeric"]
    tolerance: _Tolerance = Field(0.0, description="Largest accepted difference from the answer.")
    relative: _Tolerance = Field(
        0.0,
        description="Largest accepted difference as a proportion of the answer; the larger of the two tolerances "
        "counts.",
    )


class JsonSchemaScorer(Section):
    """1 if the text is JSON that a JSON Schema accepts."""

    kind: Literal["json_schema"]
    json_schema: str | dict[str, Any] = Field(
        alias="schema", description="The schema, or the name of a JSON or YAML file that holds it."
    )


class PythonScorer(Section):
    """The number or truth value that a Python function of yours returns."""

    kind: Literal["python"]
    function: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="MODULE:FUNCTION. The module is a file in a folder of include_path. The function is called with "
        "the extracted text and the document (a dict), and returns a truth value or a number.",
    )

    @property
    def metric(self) -> str:
        """The name of the function."""
        return self.function.rpartition(":")[2]

    @property
    def direction_is_doubtful(self) -> bool:
        """Whether the name of the function is that of something that should be small."""
        return known_direction(self.metric) == "lower" or (
            known_direction(self.metric) is None and looks_like_an_error(self.metric)
        )


AnyScorer = PlainScorer | ContainsScorer | NumericScorer | JsonSchemaScorer | PythonScorer | JudgeScorer


def _as_mapping(value: Any) -> Any:
    """Expand `scorer: contains` to `scorer: {kind: contains}`."""
    return {"kind": value} if isinstance(value, str) else value


class _NameOrMapping:
    """Adds the names of scorers that need no settings to the JSON Schema."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        names = ["exact_match", "contains", "regex", "numeric", "f1", "rouge_l"]
        return {"anyOf": [{"enum": names}, handler(core)]}


Scorer = Annotated[AnyScorer, Field(discriminator="kind"), BeforeValidator(_as_mapping), _NameOrMapping()]
WITHOUT_ANSWER = ("json_schema", "python", "judge")
"""Scorers that do not need `answer`."""


def metric_of(scorer: AnyScorer) -> str:
    """Return the name of a scorer's metric."""
    return scorer.metric if isinstance(scorer, PythonScorer | JudgeScorer) else scorer.kind
