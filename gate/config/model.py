"""The settings of `gate.yml` as typed, frozen values. Defaults and limits live here and nowhere else."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Proportion = Annotated[float, Field(ge=0.0, le=1.0)]
OpenProportion = Annotated[float, Field(gt=0.0, lt=1.0)]


class Section(BaseModel):
    """A mapping in gate.yml: unknown keys are errors, values never change after loading.

    Strict: `margin: true` would otherwise be a margin of 1.0, and nothing could ever fail.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EngineSettings(Section):
    """Who answers, and how."""

    kind: Literal["transformers", "openai"] = Field(
        "transformers",
        description="transformers (loads the weights itself), or openai (a server that speaks OpenAI's protocol).",
    )
    base_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="openai: the server's address, e.g. http://localhost:8000/v1.",
    )
    api_key_env: str | None = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="openai: variable that holds the key; null sends none.",
    )
    concurrency: int = Field(16, ge=1, le=1024, description="openai: requests under way at a time.")
    timeout: float = Field(300.0, gt=0, description="openai: seconds that one request may take.")
    replicas: int = Field(
        1, ge=1, le=1024, description="Copies of the model, on Ray workers where more than 1."
    )
    address: str | None = Field(
        None, description="Address of a Ray cluster; default: start one on this machine."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?|balanced)$",
        description="auto (the GPU where there is one), cpu, cuda, cuda:N, or balanced (spread over all GPUs).",
    )
    max_batch_tokens: int | Literal["auto"] = Field(
        "auto",
        description="Upper bound of rows x padded length in one forward pass, and of the tokens that texts in progress "
        "hold.",
    )
    attn_implementation: str | None = Field(None, description="Passed to transformers: sdpa, eager, ...")
    trust_remote_code: bool = Field(False, description="Run Python code that the model repository ships.")

    @model_validator(mode="after")
    def _fits(self) -> EngineSettings:
        if self.kind == "openai" and self.base_url is None:
            raise ValueError("an openai engine needs base_url, e.g. http://localhost:8000/v1")
        if self.kind != "openai" and self.base_url is not None:
            raise ValueError(f"base_url belongs to kind: openai, not {self.kind}")
        if self.kind == "openai" and self.replicas > 1:
            raise ValueError("replicas belong to kind: transformers; a server brings its own")
        return self

    @field_validator("max_batch_tokens")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be a positive number of tokens, or auto")
        return value


class EngineOverride(Section):
    """Engine settings of one model alone; what is not set here comes from the top-level `engine`."""

    kind: Literal["transformers", "openai"] | None = None
    base_url: str | None = Field(None, pattern=r"^https?://")
    api_key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    concurrency: int | None = Field(None, ge=1, le=1024)
    timeout: float | None = Field(None, gt=0)
    replicas: int | None = Field(None, ge=1, le=1024)
    address: str | None = None
    device: str | None = Field(None, pattern=r"^(auto|cpu|cuda(:\d+)?|balanced)$")
    max_batch_tokens: int | Literal["auto"] | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool | None = None

    def over(self, base: EngineSettings) -> EngineSettings:
        """Return `base` with the values that are set here."""
        own = self.model_dump(exclude_none=True)
        below = base.model_dump()
        if own.get("kind", base.kind) != base.kind:
            # a server's address means nothing to another kind of engine, and its replicas neither
            below |= {"base_url": None, "replicas": 1}
        if own.get("base_url", base.base_url) != base.base_url and base.base_url is not None:
            below["api_key_env"] = None  # the key of one server is not shown to another
        return EngineSettings(**{**below, **own})


class ModelSettings(Section):
    """One model: where its weights and tokenizer come from."""

    model: str = Field(min_length=1, description="A folder, or a name on the Hugging Face hub.")
    revision: str | None = Field(None, description="Hub revision: a commit (best), tag or branch.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Number format of the weights; auto takes the checkpoint's own."
    )
    gguf_file: str | None = Field(None, description="File name of a GGUF checkpoint inside the model folder.")
    tokenizer: str | None = Field(
        None, description="Where the tokenizer comes from: a folder, a hub name, or `baseline`."
    )
    allow_pickle: bool = Field(
        False,
        description="Load pickled weights (.bin, .pt), which can run code, where there is no safetensors.",
    )
    engine: EngineOverride | None = Field(None, description="Engine settings for this model alone.")


_REGISTRY_KEYS = frozenset(
    [
        "name",
        "metric",
        "filter",
        "fewshot",
        "fewshot_seed",
        "chat_template",
        "system",
        "role",
        "limit",
        "items",
    ]
)


class TaskSettings(Section):
    """One task: a name in the registry of LM Evaluation Harness, or questions from a file and how they are scored."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$",
        description="Unique name of the task; without `file` its name in the registry of LM Evaluation Harness.",
    )
    file: str | None = Field(None, description="JSONL, CSV or Parquet file with a document a row.")
    kind: Literal["multiple_choice", "generate_until"] = "multiple_choice"
    prompt: str | None = Field(
        None, description="Jinja2 template of the question over the document's fields."
    )
    choices: str | list[str] | None = Field(
        None, description="Jinja2 expression that gives the list of choices, or a list of templates."
    )
    answer: str | None = Field(
        None,
        description="Jinja2 expression: index or text of the right choice; accepted answer(s) of a generation.",
    )
    metric: str | None = Field(
        None,
        min_length=1,
        description="acc or acc_norm (multiple_choice, default acc), exact_match (generate_until); of a registry task "
        "any of its metrics that has one score a document.",
    )
    filter: str | None = Field(
        None,
        min_length=1,
        description="Registry task: which of its filters reads the answer, e.g. strict-match.",
    )
    description: str = Field("", description="Text before the few-shot examples.")
    fewshot: int = Field(
        0,
        ge=0,
        le=100,
        description="Number of solved examples before each question; of a registry task by default its own.",
    )
    fewshot_file: str | None = Field(None, description="File of the examples; default: the task's own file.")
    fewshot_seed: int = Field(
        0, description="Seed of the choice of examples; of a registry task by default lm-eval's 1234."
    )
    fewshot_delimiter: str = "\n\n"
    target_delimiter: str = " "
    chat_template: bool = Field(False, description="Wrap the prompt in the tokenizer's chat template.")
    system: str | None = Field(None, description="System message; needs chat_template.")
    stop: list[str] = Field(default_factory=list, description="Generation stops at the first of these.")
    max_tokens: int = Field(64, ge=1, le=32768, description="Longest generation, in tokens.")
    extract: str | None = Field(
        None,
        description="Regular expression on the generated text; its first group (or match) is the answer.",
    )
    normalise: list[Literal["strip", "lower", "punctuation", "articles", "whitespace", "number"]] = Field(
        default_factory=lambda: ["strip"],  # type: ignore[arg-type]
        description="Steps applied to generated and accepted answers before they are compared.",
    )
    cluster: str | None = Field(None, description="Field whose equal values mark items that belong together.")
    role: Literal["gating", "advisory"] = "gating"
    items: str | None = Field(None, description="File of `gate curate`: use only the items that it keeps.")
    limit: int | None = Field(
        None,
        ge=1,
        description="Use the first N documents (of each subtask of a group); overrides samples.limit.",
    )

    @model_validator(mode="after")
    def _complete(self) -> TaskSettings:
        if self.system is not None and not self.chat_template:
            raise ValueError("system needs chat_template: true")
        if self.file is None:
            foreign = [
                key for key in type(self).model_fields if key in self.model_fields_set - _REGISTRY_KEYS
            ]
            if foreign:
                raise ValueError(
                    f"task {self.name!r} names no file, so it is one of LM Evaluation Harness's, which bring their own "
                    f"{', '.join(foreign)}: give file, or remove {'it' if len(foreign) == 1 else 'them'}"
                )
            return self
        if self.filter is not None:
            raise ValueError("filter belongs to tasks of LM Evaluation Harness; use extract and normalise")
        wanted = ["prompt", "answer"] + (["choices"] if self.kind == "multiple_choice" else [])
        missing = [key for key in wanted if getattr(self, key) is None]
        if missing:
            raise ValueError(f"a {self.kind} task needs {' and '.join(missing)}")
        metrics = ("acc", "acc_norm") if self.kind == "multiple_choice" else ("exact_match",)
        if self.metric is not None and self.metric not in metrics:
            raise ValueError(
                f"metric {self.metric} does not fit a {self.kind} task; use {' or '.join(metrics)}"
            )
        if self.kind == "multiple_choice" and (self.stop or self.extract is not None):
            raise ValueError("stop and extract belong to generate_until tasks")
        if any(not stop for stop in self.stop):
            raise ValueError("an empty stop string would stop every generation at once")
        if self.extract is not None:
            try:
                re.compile(self.extract)
            except re.error as error:
                raise ValueError(f"extract is not a regular expression: {error}") from None
        return self

    @property
    def is_registry_task(self) -> bool:
        """Whether the task comes from LM Evaluation Harness, by its name."""
        return self.file is None

    @property
    def resolved_metric(self) -> str:
        """The metric in force: the one that is set, else the kind's default."""
        return self.metric or ("acc" if self.kind == "multiple_choice" else "exact_match")


class SampleSettings(Section):
    """Where per-sample outputs are kept, and how many are taken."""

    store: str = Field(
        ".gate",
        min_length=1,
        description="The sample store: a folder, or s3://, gs://, hf:// through fsspec.",
    )
    limit: int | None = Field(None, ge=1, description="Use the first N documents of every task.")
    repeats: int = Field(1, ge=1, le=100, description="Answers per item of generate_until tasks.")
    temperature: float = Field(
        0.0, ge=0, le=10, description="Sampling temperature of generate_until tasks; 0 is greedy."
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")

    @model_validator(mode="after")
    def _sampled(self) -> SampleSettings:
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError("repeats need a temperature above 0: greedy answers are the same each time")
        return self


class AlphaSpending(Section):
    """How a gate that runs again and again keeps its false alarms rare; the history is kept in the store."""

    kind: Literal["yearly", "lord"] = Field(
        description="yearly: a fixed level, so many false alarms in expectation; lord: LORD++ over the history, "
        "false discovery rate at most decision.alpha."
    )
    alarms: float = Field(
        1.0, gt=0, description="yearly: false alarms accepted in expectation over `runs` runs."
    )
    runs: int = Field(365, ge=1, description="yearly: number of runs in the period, e.g. nights in a year.")


class EarlyStop(Section):
    """Stop a candidate that is clearly worse before every item is answered."""

    alpha: OpenProportion = Field(
        0.01, description="Part of decision.alpha that early stopping may spend; the final test has the rest."
    )
    every: int = Field(
        256, ge=16, le=4096, description="Look after so many more items of the gating tasks together."
    )


class DecisionSettings(Section):
    """When the gate says FAIL."""

    alpha: OpenProportion = Field(0.05, description="False-alarm rate of the whole decision (proportion).")
    rule: Literal["omnibus", "pooled", "max", "fisher", "holm"] = "omnibus"
    margin: Proportion = Field(0.0, description="Tolerated drop (proportion, 0.01 is one point).")
    certify: OpenProportion | None = Field(
        None, description="PASS must prove that the drop is below this (proportion): non-inferiority."
    )
    power: OpenProportion = Field(0.8, description="Power at which detectable drops are stated (proportion).")
    on_inconclusive: Literal["pass", "fail"] = Field(
        "pass", description="Whether INCONCLUSIVE lets the workflow go on (exit 0) or blocks it (exit 3)."
    )
    alpha_spending: AlphaSpending | None = Field(
        None, description="For nightly runs: spend alpha over the history instead of anew each time."
    )
    early_stop: EarlyStop | None = Field(
        None,
        description="Look at the flips while the candidate is evaluated, and FAIL as soon as they prove it.",
    )
    draws: int = Field(
        1_000_000, ge=1_000, le=100_000_000, description="Monte-Carlo draws of the omnibus test."
    )

    @model_validator(mode="after")
    def _split(self) -> DecisionSettings:
        if self.early_stop is not None:
            if self.early_stop.alpha >= self.alpha:
                raise ValueError(
                    f"early_stop.alpha must be below alpha ({self.alpha:g}), of which it is a part"
                )
            if self.margin > 0:
                raise ValueError("early_stop tests for any drop and cannot be used with a margin")
            if self.alpha_spending is not None:
                raise ValueError("early_stop and alpha_spending cannot be used together")
        return self


class DistanceSettings(Section):
    """How much behaviour moved, whichever way: diagnostics that gate only where a budget is set."""

    max_flip_rate: Proportion | None = Field(None, description="FAIL where more answers flip (proportion).")
    kl: bool = Field(
        True, description="Measure KL divergence of the answer's first token, of a choice or a text."
    )
    kl_top: Annotated[int, Field(ge=1, le=10_000)] | Literal["whole"] = Field(
        128, description="Tokens of the baseline's distribution that are kept for it; whole keeps all."
    )
    max_kl: float | None = Field(
        None, ge=0, description="FAIL where the mean KL divergence over the gating tasks is larger (nats)."
    )

    @model_validator(mode="after")
    def _measured(self) -> DistanceSettings:
        if self.max_kl is not None and not self.kl:
            raise ValueError("max_kl needs kl: true")
        return self


class ReportSettings(Section):
    """Files that `gate run` writes; null switches one off."""

    markdown: str | None = "gate-report.md"
    json_path: str | None = Field("gate-result.json", alias="json")
    html: str | None = Field("gate-report.html", description="Self-contained HTML report.")
    junit: str | None = Field(None, description="JUnit XML, a test case per task.")
    attestation: str | None = Field(None, description="in-toto Statement of the verdict, unsigned.")

    @property
    def files(self) -> dict[Literal["markdown", "html", "json", "junit", "attestation"], str]:
        """The files that are wanted, by form."""
        names = {"markdown": self.markdown, "html": self.html, "json": self.json_path}
        names |= {"junit": self.junit, "attestation": self.attestation}
        return {form: name for form, name in names.items() if name is not None}  # type: ignore[misc]


def _names_to_tasks(value: Any) -> Any:
    """`- arc_challenge` is short for `- {name: arc_challenge}`."""
    if isinstance(value, list):
        return [{"name": entry} if isinstance(entry, str) else entry for entry in value]
    return value


class GateConfig(Section):
    """The whole of gate.yml."""

    version: Literal[1]
    baseline: ModelSettings
    candidate: ModelSettings
    engine: EngineSettings = EngineSettings()
    include_path: list[str] = Field(
        default_factory=list,
        description="Folders with LM Evaluation Harness task files (YAML) of your own, relative to this file. Python "
        "functions that they name are run.",
    )
    tasks: Annotated[list[TaskSettings], BeforeValidator(_names_to_tasks)] = Field(min_length=1)
    samples: SampleSettings = SampleSettings()
    decision: DecisionSettings = DecisionSettings()
    distance: DistanceSettings = DistanceSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _consistent(self) -> GateConfig:
        names = [task.name for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"task names must be unique; used twice: {', '.join(twice)}")
        if not any(task.role == "gating" for task in self.tasks):
            raise ValueError("all tasks are advisory, so nothing could ever fail; make at least one gating")
        clustered = [t.name for t in self.tasks if t.role == "gating" and t.cluster is not None]
        if self.decision.early_stop is not None and clustered:
            raise ValueError(
                "early_stop counts items one by one and cannot be used with clusters; make advisory: "
                f"{', '.join(clustered)}"
            )
        if self.baseline.tokenizer == "baseline":
            raise ValueError("baseline.tokenizer cannot be `baseline`")
        return self

    def engine_of(self, model: ModelSettings) -> EngineSettings:
        """Return the engine settings in force for `model`."""
        return self.engine if model.engine is None else model.engine.over(self.engine)
