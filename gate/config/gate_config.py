"""All settings of gate.yml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from gate.config.accept import AcceptSettings
from gate.config.decision import DecisionSettings, DistanceSettings, EarlyStop
from gate.config.engine import EngineSettings
from gate.config.models import CandidateSettings, ModelSettings
from gate.config.report import ReportSettings
from gate.config.samples import SampleSettings
from gate.config.section import Section
from gate.config.tasks import TaskSettings

MOST_CANDIDATES = 10
"""Largest number of candidates of one run."""


def _expand_names(value: Any) -> Any:
    """Expand `- arc_challenge` to `- {name: arc_challenge}`."""
    if isinstance(value, list):
        return [{"name": entry} if isinstance(entry, str) else entry for entry in value]
    return value


class GateConfig(Section):
    """All settings of gate.yml."""

    version: Literal[1] = Field(description="Version of the file format.")
    baseline: ModelSettings = Field(description="The model in use.")
    candidate: ModelSettings | None = Field(
        None, description="The optimised model that is compared with the baseline; or several, as `candidates`."
    )
    candidates: list[CandidateSettings] = Field(
        default_factory=list,
        max_length=MOST_CANDIDATES,
        description="Several candidates, judged in one run against one evaluation of the baseline: decision.alpha "
        "limits the probability of any false FAIL among them. Instead of `candidate`.",
    )
    engine: EngineSettings = Field(EngineSettings(), description="The engine of both models.")
    include_path: list[str] = Field(
        default_factory=list,
        description="Folders with your own task files (YAML) for LM Evaluation Harness and modules of python scorers, "
        "relative to this file. Python code in them is run.",
    )
    tasks: Annotated[list[TaskSettings], BeforeValidator(_expand_names)] = Field(
        min_length=1, description="The tasks: settings, or names in the registry of LM Evaluation Harness."
    )
    samples: SampleSettings = Field(SampleSettings(), description="The samples and their store.")
    decision: DecisionSettings = Field(DecisionSettings(), description="When the verdict is FAIL.")
    distance: DistanceSettings = Field(
        DistanceSettings(), description="Measures of the difference in behaviour, and limits on them."
    )
    accept: list[AcceptSettings] = Field(
        default_factory=list,
        max_length=100,
        description="Known regressions that do not fail a run until a date. They can excuse a FAIL, never cause one.",
    )
    report: ReportSettings = Field(ReportSettings(), description="Report files.")

    @model_validator(mode="after")
    def _consistent(self) -> GateConfig:
        names = [task.name for task in self.tasks]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ValueError(f"task names must be unique; used more than once: {', '.join(duplicates)}")
        if not any(task.role == "gating" for task in self.tasks):
            raise ValueError("all tasks are advisory, so the verdict could never be FAIL; make at least one gating")
        clustered = [task.name for task in self.tasks if task.role == "gating" and task.cluster is not None]
        if self.decision.early_stop is not None and clustered:
            raise ValueError(
                "early_stop treats items as independent and cannot be used with clusters; make these tasks advisory: "
                f"{', '.join(clustered)}"
            )
        tolerant = [task.name for task in self.tasks if task.role == "gating" and task.margin]
        if self.decision.early_stop is not None and tolerant:
            raise ValueError(
                "early_stop tests for any drop and cannot be used with a margin; remove one of them from: "
                f"{', '.join(tolerant)}"
            )
        graded = [task.name for task in self.tasks if task.role == "gating" and task.smoothed is not None]
        if self.decision.early_stop is not None and graded:
            raise ValueError(f"early_stop needs binary scores and cannot be used with: {', '.join(graded)} (smoothed)")
        judged = [task.name for task in self.tasks if task.role == "gating" and task.judge is not None]
        if self.decision.early_stop is not None and judged:
            raise ValueError(f"early_stop needs scores at once and cannot be used with a judge: {', '.join(judged)}")
        unmeasured = [task.name for task in self.tasks if task.max_kl is not None]
        if unmeasured and not self.distance.kl:
            raise ValueError(f"max_kl needs distance.kl: true; it is set for: {', '.join(unmeasured)}")
        if self.baseline.tokenizer == "baseline":
            raise ValueError("baseline.tokenizer cannot be `baseline`")
        self._check_candidates()
        self._check_accepted(names)
        for name, model in self.models.items():
            try:
                self.engine_of(model)
            except ValidationError as error:
                message = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"{name}.engine, merged with the top-level engine: {message}") from None
        return self

    def _check_accepted(self, tasks: list[str]) -> None:
        unknown = sorted({entry.task for entry in self.accept} - set(tasks))
        if unknown:
            raise ValueError(f"accept names tasks that are not in `tasks`: {', '.join(unknown)}")
        spending = self.decision.alpha_spending
        if self.accept and spending is not None and spending.kind == "evalue":
            raise ValueError("accept cannot be used with alpha_spending evalue, whose evidence is that of all items")
        if self.accept and self.decision.early_stop is not None:
            raise ValueError("accept cannot be used with early_stop, which tests all items")

    def _check_candidates(self) -> None:
        if (self.candidate is None) == (not self.candidates):
            found = "both" if self.candidates else "neither"
            raise ValueError(f"name one candidate (`candidate`) or several (`candidates`); found {found}")
        names = [candidate.name for candidate in self.candidates]
        # names of files: they must differ where upper and lower case are the same
        duplicates = sorted({name for name in names if [other.lower() for other in names].count(name.lower()) > 1})
        if duplicates:
            raise ValueError(f"names of candidates must be unique; used more than once: {', '.join(duplicates)}")
        spending = self.decision.alpha_spending
        if len(self.candidates) > 1 and spending is not None and spending.kind == "evalue":
            raise ValueError("alpha_spending evalue judges one candidate: give each candidate its own gate.yml")
        if "baseline" in names:
            raise ValueError("a candidate cannot have the name `baseline`")

    @property
    def compared(self) -> dict[str, ModelSettings]:
        """The candidates by name; a single `candidate` has the name "candidate"."""
        if self.candidate is not None:
            return {"candidate": self.candidate}
        return {candidate.name: candidate for candidate in self.candidates}

    @property
    def models(self) -> dict[str, ModelSettings]:
        """The baseline and all candidates, by name."""
        return {"baseline": self.baseline, **self.compared}

    @property
    def early_stop(self) -> EarlyStop | None:
        """How one candidate is stopped early; several share the level."""
        policy = self.decision.early_stop
        return policy and policy.model_copy(update={"alpha": policy.alpha / len(self.compared)})

    def engine_of(self, model: ModelSettings) -> EngineSettings:
        """Return the engine settings of a model: the top-level ones with the model's own."""
        return self.engine if model.engine is None else model.engine.over(self.engine)
