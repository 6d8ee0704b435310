"""A registry task: lm-eval builds its requests and computes its metrics, our engines answer."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gate.common.canonical import canonical_json
from gate.common.lm_eval import pick_choice, text_units
from gate.errors import EvaluationError, TaskError
from gate.tasks.chat import Render
from gate.tasks.harness.chat import chat_of, rendered
from gate.tasks.harness.generation import Generation, generation
from gate.tasks.harness.metrics import Metric
from gate.tasks.requests import (
    Answer,
    GenerateAnswer,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Request,
    RollingAnswer,
    RollingRequest,
    draw_seed,
)
from gate.tasks.task import Item, Scored, Task

_NOTHING = "[invalid]"
"""What lm-eval's filters return where they extract nothing."""


@dataclass(frozen=True)
class HarnessItem(Item):
    """An item with lm-eval's objects for it.

    Attributes
    ----------
    task_name : str
        Name of the lm-eval task of the item: the subtask of a group, else the task itself.
    document : object
        The document that lm-eval passes to its metrics.
    instances : tuple of lm_eval.api.instance.Instance
        lm-eval's requests for the document, in order.
    """

    task_name: str = ""
    document: Any = field(default=None, repr=False)
    instances: tuple[Any, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class HarnessTask(Task):
    """A registry task, or all subtasks of a group or tag; see `Task`.

    Attributes
    ----------
    score_by : Metric
        The metric that is read; every subtask has it.
    filter_name : str
        The filter that is applied to answers; every subtask has it.
    """

    subtasks: Mapping[str, Any] = field(repr=False, compare=False)
    score_by: Metric
    filter_name: str

    def requests(self, item: Item, repeat: int, render: Render) -> tuple[Request, ...]:
        """Return lm-eval's requests: log-likelihoods grouped by context, and one text per repeat of the task."""
        item = _own(item)
        where = f"task {item.task_name}"
        requests: list[Request] = []
        for group in group_requests(item.instances):
            first = item.instances[group[0]]
            if first.request_type == "loglikelihood_rolling":
                requests.append(RollingRequest(first.args[0]))
                continue
            context = rendered(first.args[0], render, where)
            if first.request_type == "loglikelihood":
                continuations = tuple(item.instances[index].args[1] for index in group)
                requests.append(LoglikelihoodRequest(context, continuations))
                continue
            settings = generation(first.args[1], where, self.sampling)
            messages = chat_of(first.args[0], where) if self.settings.chat else ()
            for draw in range(_draws(first, settings)):
                number = repeat * first.repeats + draw
                seed = draw_seed(self.sampling.seed, f"{item.item_id}:{first.idx}", number)
                requests.append(
                    self.text_request(context, messages, settings.stop, settings.max_tokens, settings.sampling, seed)
                )
        return tuple(requests)

    def score(self, item: Item, answers: Sequence[Answer]) -> Scored:
        """Score answers with lm-eval's filter and metric.

        Raises
        ------
        EvaluationError
            The task's own code cannot score them.
        """
        item = _own(item)
        instances = self._answered(item, answers)
        task = self.subtasks[item.task_name]
        metric = self.score_by.name
        where = f"task {item.task_name}: item {item.item_id[:12]} ({item.prompt.strip()[:60]!r})"
        try:
            values = process(task, item.document, instances, self.filter_name)
        except Exception as error:  # the task's own code
            raise EvaluationError(
                f"{where} cannot be scored: {type(error).__name__}: {error}",
                "The error is in the code of the task itself.",
            ) from error
        try:
            score = self.score_by.score(values[metric])
        except (KeyError, ValueError) as error:
            raise EvaluationError(
                f"{where} has no single value of the metric {metric}: {error}.",
                f"Set `metric:` of the task to one of: {', '.join(values)}.",
            ) from None
        if math.isnan(score):
            raise EvaluationError(f"{where}: the metric {metric} is not a number.")
        binary = self.score_by.form == "score" and score in (0.0, 1.0)
        loglikelihoods = _loglikelihoods(instances, len(item.choices))
        output = _output(instances, loglikelihoods, item.choices, metric, self.filter_name)
        readable = None if output is None or loglikelihoods else output != _NOTHING
        return Scored(score, bool(score) if binary else None, output, loglikelihoods, readable, **text_units(values))

    def _answered(self, item: HarnessItem, answers: Sequence[Answer]) -> list[Any]:
        """Return copies of the item's instances with the answers as lm-eval's responses."""
        instances = [copy.copy(instance) for instance in item.instances]
        remaining = iter(answers)
        for group in group_requests(item.instances):
            first = instances[group[0]]
            answer = next(remaining)
            if isinstance(answer, LoglikelihoodAnswer):
                greedy: Sequence[bool | None] = answer.greedy or [None] * len(group)
                for index, value, is_greedy in zip(group, answer.loglikelihoods, greedy, strict=True):
                    if is_greedy is None and self._needs_greedy(item):
                        raise EvaluationError(
                            f"task {item.task_name}: the metric {self.score_by.name} depends on what greedy decoding "
                            "gives, which this engine does not report.",
                            "Choose another metric, or set `engine.kind: transformers`.",
                        )
                    _respond(instances[index], [(value, bool(is_greedy))])
            elif isinstance(answer, RollingAnswer):
                _respond(first, [answer.loglikelihood])
            else:
                settings = generation(first.args[1], f"task {item.task_name}", self.sampling)
                drawn = [answer, *(next(remaining) for _ in range(_draws(first, settings) - 1))]
                _respond(first, [text.text for text in drawn if isinstance(text, GenerateAnswer)])
        return instances

    def _needs_greedy(self, item: HarnessItem) -> bool:
        kind = self.subtasks[item.task_name].OUTPUT_TYPE
        metric = self.score_by.name
        return metric == "exact_match" or (kind == "loglikelihood" and metric == "acc")


def _own(item: Item) -> HarnessItem:
    if not isinstance(item, HarnessItem):
        raise TypeError(f"expected an item of lm-eval, found a {type(item).__name__}")
    return item


def group_requests(instances: Sequence[Any]) -> list[list[int]]:
    """Return the indices of instances per request: log-likelihoods after the same context share one."""
    groups: dict[str | int, list[int]] = {}
    for index, instance in enumerate(instances):
        key = instance.args[0] if instance.request_type == "loglikelihood" else index
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def process(task: Any, document: Any, instances: Sequence[Any], filter_name: str) -> dict[str, Any]:
    """Filter responses and return the metrics of one document, as `lm_eval.evaluate` does."""
    for ensemble in task._filters:
        if ensemble.name == filter_name:
            ensemble.apply(list(instances))
    # a copy, because some tasks modify the document; lm-eval creates it anew for each run
    responses = [instance.filtered_resps[filter_name] for instance in instances]
    return dict(task.process_results(copy.deepcopy(document), responses))


def _respond(instance: Any, responses: list[Any]) -> None:
    """Set the responses; a single one is used for all repeats of the instance."""
    repeats = instance.repeats or 1
    instance.resps = responses if len(responses) == repeats else responses * repeats
    instance.filtered_resps = {}


def _draws(instance: Any, settings: Generation) -> int:
    """Return the number of texts to generate; greedy texts are the same in every repeat."""
    return int(instance.repeats or 1) if settings.sampling.temperature > 0 else 1


def _loglikelihoods(instances: Sequence[Any], choices: int) -> tuple[float, ...]:
    """Return the log-likelihoods of the choices, without those that acc_mutual_info adds."""
    values = []
    for instance in instances:
        if instance.request_type == "loglikelihood":
            values.append(float(instance.resps[0][0]))
        elif instance.request_type == "loglikelihood_rolling":
            values.append(float(instance.resps[0]))
    return tuple(values[:choices] if choices and len(values) == 2 * choices else values)


def _output(
    instances: Sequence[Any],
    loglikelihoods: Sequence[float],
    choices: Sequence[str],
    metric: str,
    filter_name: str,
) -> str | None:
    """Return the answer as text: the index of the choice that the metric picks, or the filtered text."""
    first = instances[0]
    if first.request_type == "loglikelihood_rolling":
        return None
    if first.request_type == "loglikelihood":
        count = len(loglikelihoods)
        if count == 1:
            return str(first.resps[0][1])
        unconditioned: list[float] = []
        if metric == "acc_mutual_info" and len(instances) == 2 * count:
            unconditioned = [float(instance.resps[0][0]) for instance in instances[count:]]
        if len(choices) != count:  # the task's own code requests other continuations than its choices
            metric = "acc"
        return str(pick_choice(loglikelihoods, choices, metric, unconditioned))
    text = first.filtered_resps[filter_name]
    while isinstance(text, list | tuple) and len(text) == 1:
        text = text[0]
    return text if isinstance(text, str) else canonical_json(text)


def refuse_unsupported(task: Any, name: str) -> None:
    """Raise TaskError for tasks that run generated code or use images or sound."""
    if getattr(task, "UNSAFE_CODE", False):
        raise TaskError(
            f"task {name}: it runs code that the model wrote, which is not supported.",
            "Evaluate it with lm-eval in a sandbox, and compare the samples with `gate compare`.",
        )
    if getattr(task, "MULTIMODAL", False):
        raise TaskError(
            f"task {name}: it uses images or sound; only text is supported.",
            "Evaluate it with lm-eval and compare the samples with `gate compare`.",
        )
