"""An entry of the `tasks` section."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from gate.common.smoothing import BASES, DEFAULT_SMOOTHING, MOST_SMOOTHING, Smoothing, base_metric, check_smoothing
from gate.config.generation import ChatSettings
from gate.config.judge import JudgeScorer
from gate.config.scorers import WITHOUT_ANSWER, PlainScorer, PythonScorer, Scorer, metric_of
from gate.config.task_policy import TaskPolicy
from gate.config.texts import LIKELIHOOD_METRIC, TextSettings

# the keys of a task from the registry of LM Evaluation Harness; the task defines the rest itself
_REGISTRY_KEYS = {
    "name", "metric", "filter", "fewshot", "fewshot_seed", "chat_template", "system", "role", "limit", "items",
    "smoothing", "slices",
    "chat", "chat_template_kwargs", "reasoning", "sampling",
    *TaskPolicy.model_fields,
}  # fmt: skip


TASK_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$"
"""Name of a task that is evaluated; it becomes part of the name of a folder."""

NAME_RULE = "expected letters and digits, after the first also . _ and -, at most 100 in all"


class TaskSettings(TaskPolicy, ChatSettings, TextSettings):
    """One task: a name in the registry of LM Evaluation Harness, or items from a file and how to score them."""

    name: str = Field(
        pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,200}$",
        description="Unique name of the task. Without `file`: its name in the registry of LM Evaluation Harness, or "
        "for `gate compare` as in the files, e.g. `gsm8k|5`.",
    )
    file: str | None = Field(
        None, description="JSONL, CSV or Parquet file with one document per row; for text also a plain text file."
    )
    kind: Literal["multiple_choice", "generate_until", "text"] = Field(
        "multiple_choice",
        description="multiple_choice compares log-likelihoods; generate_until generates text; text "
        "measures the likelihood of text.",
    )
    prompt: str | None = Field(
        None,
        description="Jinja2 template of the prompt, with the fields of the document. text: of the text; null takes the "
        "field `text`.",
    )
    choices: str | list[str] | None = Field(
        None, description="Jinja2 expression for the list of choices, or a list of templates."
    )
    answer: str | None = Field(
        None,
        description="Jinja2 expression for the target: index or text of the right choice, or the accepted answer(s).",
    )
    metric: str | None = Field(
        None,
        min_length=1,
        description="multiple_choice: acc (default), acc_norm, or smoothed: acc_smooth, acc_norm_smooth. "
        "generate_until: set scorer instead. Registry task: any of its metrics with one score per document.",
    )
    smoothing: float | None = Field(
        None,
        description="acc_smooth, acc_norm_smooth: standard deviation of the noise over which accuracy is averaged, "
        f"above 0 and at most {MOST_SMOOTHING:g} nats; null takes {DEFAULT_SMOOTHING:g}. Fix it before you look at "
        "results.",
    )
    filter: str | None = Field(
        None,
        min_length=1,
        description="Registry task: the filter that extracts the answer, e.g. strict-match.",
    )
    description: str = Field("", description="Text before the few-shot examples.")
    fewshot: int = Field(
        0,
        ge=0,
        le=100,
        description="Number of few-shot examples in the prompt; a registry task has its own default.",
    )
    fewshot_file: str | None = Field(None, description="File of the few-shot examples; null takes `file`.")
    fewshot_seed: int = Field(
        0,
        description="Seed for choosing the few-shot examples; the default of a registry task is lm-eval's 1234.",
    )
    fewshot_delimiter: str = Field("\n\n", description="Text between few-shot examples.")
    target_delimiter: str = Field(" ", description="Text between a prompt and its target.")
    chat_template: bool = Field(False, description="Apply the tokenizer's chat template to the prompt.")
    system: str | None = Field(None, description="System message; needs chat_template: true or chat: true.")
    stop: list[str] = Field(
        default_factory=list, description="generate_until: generation ends at the first of these strings."
    )
    max_tokens: int = Field(64, ge=1, le=32768, description="generate_until: longest generated text, in tokens.")
    extract: str | None = Field(
        None,
        description="generate_until: regular expression that extracts the answer from the generated text (its first "
        "group, or the whole match).",
    )
    scorer: Scorer = Field(
        PlainScorer(kind="exact_match"),
        description="generate_until: how the extracted text is scored. A name (exact_match, contains, regex, numeric, "
        "f1, rouge_l), or a mapping with its settings. 1 is best and 0 is worst, except for python, whose range is "
        "`scale`.",
    )
    normalise: list[Literal["strip", "lower", "punctuation", "articles", "whitespace", "number"]] = Field(
        default_factory=lambda: ["strip"],  # type: ignore[arg-type]
        description="generate_until: how to normalise generated and accepted answers before they are compared, by "
        "exact_match, contains and f1 (default of f1: lower, punctuation, articles, whitespace).",
    )
    cluster: str | None = Field(
        None,
        description="Field of the document; items with equal values form a cluster and are not independent. Equal "
        "values in several gating tasks form one cluster: where they are unrelated (row numbers), begin them with the "
        "task's name.",
    )
    slices: list[str] = Field(
        default_factory=list,
        description="Fields of the documents: report the drop of each part of the task with one value, or for numbers "
        "of each quarter. Advisory. Without `file`, only for `gate compare`: columns of the baseline's file.",
    )
    role: Literal["gating", "advisory"] = Field(
        "gating", description="gating tasks decide the verdict; advisory tasks are only reported."
    )
    items: str | None = Field(None, description="File written by `gate curate`: use only the items it keeps.")
    limit: int | None = Field(
        None,
        ge=1,
        description="Use only the first N documents (per subtask of a group); overrides samples.limit.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> TaskSettings:
        if self.system is not None and not self.is_chat:
            raise ValueError("system needs chat_template: true or chat: true")
        self.check_text(self.kind)
        self.check_chat(self.chat_template, self.is_registry_task or self.kind == "generate_until")
        if self.smoothing is not None:
            if self.metric not in BASES:
                raise ValueError(f"smoothing needs metric: {' or '.join(BASES)}")
            check_smoothing(self.smoothing)
        if self.file is None:
            self._check_registry_task()
        else:
            self._check_file_task()
        return self

    def _check_registry_task(self) -> None:
        keys = [key for key in type(self).model_fields if key in self.model_fields_set - _REGISTRY_KEYS]
        if keys:
            raise ValueError(
                f"task {self.name!r} has no file, so it is a task of LM Evaluation Harness, which defines "
                f"{', '.join(keys)} itself: set file, or remove {'it' if len(keys) == 1 else 'them'}"
            )

    def _check_file_task(self) -> None:
        if not self.may_be_evaluated:
            raise ValueError(f"name: {NAME_RULE}; found {self.name!r}")
        if self.kind == "text":
            if self.metric not in (None, LIKELIHOOD_METRIC):
                raise ValueError(f"metric {self.metric} does not fit a text task; use {LIKELIHOOD_METRIC}")
            return
        multiple_choice = self.kind == "multiple_choice"
        if self.filter is not None:
            raise ValueError("filter belongs to tasks of LM Evaluation Harness; use extract and normalise")
        needs_answer = multiple_choice or self.fewshot > 0 or self.scorer.kind not in WITHOUT_ANSWER
        required = ["prompt"] * (self.turns is None) + ["answer"] * needs_answer + ["choices"] * multiple_choice
        missing = [key for key in required if getattr(self, key) is None]
        if missing:
            raise ValueError(f"a {self.kind} task needs {' and '.join(missing)}")
        metrics = ("acc", "acc_norm", *BASES) if multiple_choice else (metric_of(self.scorer),)
        if self.metric is not None and self.metric not in metrics:
            raise ValueError(f"metric {self.metric} does not fit a {self.kind} task; use {' or '.join(metrics)}")
        if multiple_choice and (self.stop or self.extract is not None or "scorer" in self.model_fields_set):
            raise ValueError("stop, extract and scorer belong to generate_until tasks")
        self._check_direction()
        if any(not stop for stop in self.stop):
            raise ValueError("an empty stop string would end every generated text immediately")
        if self.extract is not None:
            try:
                re.compile(self.extract)
            except re.error as error:
                raise ValueError(f"extract is not a valid regular expression: {error}") from None

    @property
    def may_be_evaluated(self) -> bool:
        """Whether the name can be part of a folder's name; `gate compare` takes tasks under any name."""
        return re.fullmatch(TASK_NAME, self.name) is not None

    def _check_direction(self) -> None:
        if isinstance(self.scorer, PythonScorer):
            if self.lower_is_better is None and self.scorer.direction_is_doubtful:
                raise ValueError(
                    f"scorer {self.scorer.function}: the name is that of an error; set lower_is_better to true or false"
                )
            if self.lower_is_better and self.scale is None:
                raise ValueError("lower_is_better: true needs scale: [lowest, highest]")
        elif self.lower_is_better:
            raise ValueError(f"lower_is_better: true does not fit {self.resolved_metric}; higher values are better")

    @property
    def is_chat(self) -> bool:
        """Whether the prompt is a chat: a template renders it here, or a server does."""
        return self.chat_template or self.chat

    @property
    def is_registry_task(self) -> bool:
        """Whether the task comes from the registry of LM Evaluation Harness."""
        return self.file is None

    @property
    def judge(self) -> JudgeScorer | None:
        """The judge of the generated texts, if the scorer is one."""
        return self.scorer if self.kind == "generate_until" and isinstance(self.scorer, JudgeScorer) else None

    @property
    def reads_documents(self) -> bool:
        """Whether the scorer reads the documents themselves."""
        return self.kind == "generate_until" and isinstance(self.scorer, PythonScorer)

    @property
    def resolved_metric(self) -> str:
        """The metric that models are evaluated with: the one that is set, or behind it, or the default of the kind."""
        if self.kind == "text":
            return LIKELIHOOD_METRIC
        if self.kind == "multiple_choice" or self.is_registry_task:
            return base_metric(self.metric) or "acc"
        sign = "-" if isinstance(self.scorer, PythonScorer) and self.lower_is_better else ""
        return sign + metric_of(self.scorer)

    @property
    def smoothed(self) -> Smoothing | None:
        """How scores are smoothed before models are compared; None if they are not."""
        if self.metric not in BASES:
            return None
        return Smoothing(self.metric, DEFAULT_SMOOTHING if self.smoothing is None else self.smoothing)
