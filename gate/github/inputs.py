"""The inputs of `gate action`, declared once: every action, workflow and page of the documentation repeats them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

UNSET = "unset"
"""Default in action.yml of an input that keeps gate.yml's value: GitHub does not distinguish empty from missing."""


def _boolean(value: Any) -> Any:
    """Accept the booleans of YAML 1.2, as GitHub's own toolkit does."""
    if isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return value.lower() == "true"
    return value


def _comment(value: Any) -> Any:
    """Accept the booleans of earlier versions: true means always, false means never."""
    if value in (True, "true", "True"):
        return "always"
    return "never" if value in (False, "false", "False") else value


def _none_as_null(value: Any) -> Any:
    return None if value in ("none", "null") else value


def _tasks(value: Any) -> Any:
    """Parse task names, one per line or separated by commas, or a YAML list of tasks as in gate.yml."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith(("-", "[")):
        return [name.strip() for name in value.replace("\n", ",").split(",") if name.strip()]
    try:
        entries = yaml.safe_load(value)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ValueError(f"not valid YAML: {problem}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, str | dict) for entry in entries):
        raise ValueError("expected a list of task names or of tasks as in gate.yml")
    return entries


Boolean = Annotated[bool, BeforeValidator(_boolean)]
OrNone = BeforeValidator(_none_as_null)


def _overrides(key: str, description: str) -> Any:
    """Declare an input that replaces a key of gate.yml."""
    return Field(None, description=description, json_schema_extra={"key": key})


def _may_be_empty(description: str) -> Any:
    """Declare an optional input for which an empty value means none."""
    return Field(None, description=description, json_schema_extra={"empty": True})


CommentMode = Literal["always", "on-change", "on-failure", "never"]


class Inputs(BaseModel):
    """Every input of the action. The field `max_kl` is the input `max-kl`.

    A field with a `key` replaces that key of gate.yml where it is set, and obeys the limits of that key.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        hide_input_in_errors=True,
    )

    config: str | None = Field(
        None,
        description="Path of gate.yml, relative to `working-directory`. Default: `gate.yml`, if it exists.",
    )
    working_directory: str = Field(".", description="Folder that relative paths in inputs start from.")
    name: str = Field("quantgate", description="Name of this gate. Each name has its own pull-request comment.")
    baseline: str | None = _overrides(
        "baseline.model",
        "The model that is served today: a folder, a `.gguf` file, or a model on the Hugging Face Hub.",
    )
    baseline_revision: str | None = _overrides(
        "baseline.revision", "Hub revision of the baseline, preferably a commit."
    )
    candidate: str | None = _overrides(
        "candidate.model",
        "The model to compare with the baseline. If it differs from the one in gate.yml, that entry's `revision` and "
        "`gguf_file` are dropped.",
    )
    candidate_revision: str | None = _overrides(
        "candidate.revision", "Hub revision of the candidate, preferably a commit."
    )
    tasks: Annotated[list[str | dict[str, Any]] | None, BeforeValidator(_tasks)] = _overrides(
        "tasks",
        "Task names, one per line or separated by commas (a name defined in gate.yml selects that task), or a YAML "
        "list of tasks as in gate.yml.",
    )
    limit: Annotated[int | None, OrNone] = _overrides(
        "samples.limit",
        "Evaluate only the first N documents of each task; the value `none` removes the limit.",
    )
    store: str | None = _overrides(
        "samples.store", "Where sample sets are stored: a folder, or a URL such as s3://bucket/prefix."
    )
    device: str | None = _overrides("engine.device", "Device: auto, cpu, cuda, cuda:N or balanced.")
    alpha: float | None = _overrides("decision.alpha", "Level of the decision over all tasks (a proportion).")
    rule: str | None = _overrides("decision.rule", "The test that decides: omnibus, pooled, max, fisher or holm.")
    margin: float | None = _overrides("decision.margin", "Tolerated drop (a proportion; 0.01 is one percentage point).")
    certify: Annotated[float | None, OrNone] = _overrides(
        "decision.certify",
        "PASS also requires proof that the mean drop is below this proportion; the value `none` disables it.",
    )
    on_inconclusive: str | None = _overrides(
        "decision.on_inconclusive", "Whether the job passes or fails on INCONCLUSIVE: pass or fail."
    )
    max_flip_rate: Annotated[float | None, OrNone] = _overrides(
        "distance.max_flip_rate",
        "FAIL if a larger share of items flips (a proportion); the value `none` disables it.",
    )
    max_kl: Annotated[float | None, OrNone] = _overrides(
        "distance.max_kl", "FAIL if the mean KL divergence is larger (in nats); the value `none` disables it."
    )
    report_path: str | None = _overrides("report.markdown", "Path of the Markdown report.")
    result_path: str | None = _overrides("report.json", "Path of the JSON result.")
    force_baseline: Boolean = Field(False, description="Evaluate the baseline even if it is cached.")
    comment: Annotated[CommentMode, BeforeValidator(_comment)] = Field(
        "always",
        description="When to post the pull-request comment: always; on-change (the verdict or the tasks that fail "
        "differ from the last result on the base branch, or that result is unknown); on-failure; never. Except with "
        "never, an existing comment is updated.",
    )
    comment_template: str | None = Field(
        None, description="Jinja2 template of the comment, relative to `working-directory`. Default: the report."
    )
    base_result: str | None = Field(
        None,
        description="Result file (JSON) of the last run on the base branch, for the change that the comment shows, "
        "relative to `working-directory`. The file may be missing.",
    )
    report_only: Boolean = Field(
        False,
        description="The job passes whatever the verdict is (exit code 0). Errors (exit codes 2 and 4) still fail.",
    )
    summary: Boolean = Field(True, description="Write the job summary.")
    annotations: Boolean = Field(
        True,
        description="Annotate the run with its verdict, and mark the tasks in gate.yml that are significantly worse.",
    )
    status: Literal["check", "status", "none"] | None = Field(
        None,
        description="What to set on the commit, for branch protection: check (a check run; needs `checks: write`), "
        "status (a commit status; needs `statuses: write`) or none. Default: status if `status-context` is set, "
        "else none.",
    )
    status_context: str | None = _may_be_empty("Name of the check run or commit status. Empty: the name of the gate.")
    github_token: str | None = _may_be_empty(
        "Token for the comment and for the check run or commit status; empty disables them. The comment needs "
        "`pull-requests: write`."
    )

    @property
    def commit_mark(self) -> Literal["check", "status", "none"]:
        """What is set on the commit."""
        return self.status or ("none" if self.status_context is None else "status")

    @property
    def mark_name(self) -> str:
        """Name of the check run or of the commit status."""
        return self.status_context or self.name


def input_fields() -> dict[str, FieldInfo]:
    """Return the fields by input name, in the order of action.yml."""
    return {field.alias or name: field for name, field in Inputs.model_fields.items()}


def extra_of(field: FieldInfo, name: str) -> Any:
    """Return a mark of a field: `key` (of gate.yml) or `empty` (may be empty); None if it has none."""
    return field.json_schema_extra.get(name) if isinstance(field.json_schema_extra, dict) else None
