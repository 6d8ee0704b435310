"""A task of LM Evaluation Harness behind our interface: its requests become ours, our answers go to its metrics."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gate.canonical import canonical_json
from gate.errors import EvaluationError, TaskError
from gate.tasks.harness.chat import plain
from gate.tasks.harness.generation import Generation, generation
from gate.tasks.harness.metrics import Metric
from gate.tasks.requests import (
    Answer,
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Render,
    Request,
    RollingAnswer,
    RollingRequest,
    draw_seed,
)
from gate.tasks.task import Item, Scored, Task


@dataclass(frozen=True)
class HarnessItem(Item):
    """An item and lm-eval's view of it.

    Attributes
    ----------
    part : str
        Name of the lm-eval task that it is of: the subtask of a group, else the task itself.
    document : object
        The document as lm-eval hands it to its metrics.
    instances : tuple of lm_eval.api.instance.Instance
        lm-eval's requests for it, in their order.
    """

    part: str = ""
    document: Any = field(default=None, repr=False)
    instances: tuple[Any, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class HarnessTask(Task):
    """See `Task`; a task, or all tasks of a group or tag together.

    Attributes
    ----------
    parts : mapping of str to lm_eval.api.task.Task
    score_by : Metric
        The metric that counts; all parts have it.
    filter_name : str
        The filter that reads the answers; all parts have it.
    """

    parts: Mapping[str, Any] = field(repr=False, compare=False)
    score_by: Metric
    filter_name: str

    @property
    def metric(self) -> str:
        """Name of the score: the metric's, or what a metric of which less is better was turned into."""
        return self.score_by.label

    @property
    def generates(self) -> bool:
        """Whether texts are generated for any item."""
        return any(map(_writes, self.parts.values()))

    @property
    def max_tokens(self) -> int:
        """Longest text that any subtask asks for, in tokens."""
        settings = [
            (name, task.get_config("generation_kwargs")) for name, task in self.parts.items() if _writes(task)
        ]
        return max(
            (generation(one, name, self.sampling.temperature).max_tokens for name, one in settings), default=0
        )

    @property
    def measures_kl(self) -> bool:
        """Whether something after a context is asked for of every item: choices or a text."""
        kinds = [{one.request_type for one in _own(item).instances} for item in self.items]
        return all(kind - {"loglikelihood_rolling"} for kind in kinds)

    def requests(self, item: Item, repeat: int, render: Render) -> tuple[Request, ...]:
        """Return lm-eval's requests: log-likelihoods after one context together, texts as often as the task repeats."""
        item = _own(item)
        where = f"task {item.part}"
        made: list[Request] = []
        for group in layout(item.instances):
            first = item.instances[group[0]]
            arguments = first.args
            if first.request_type == "loglikelihood_rolling":
                made.append(RollingRequest(arguments[0]))
            elif first.request_type == "loglikelihood":
                continuations = tuple(item.instances[number].args[1] for number in group)
                made.append(LoglikelihoodRequest(plain(arguments[0], render, where), continuations))
            else:
                how = generation(arguments[1], where, self.sampling.temperature)
                context = plain(arguments[0], render, where)
                for draw in range(_draws(first, how)):
                    number = repeat * first.repeats + draw
                    drawn = how.temperature > 0
                    seed = (
                        draw_seed(self.sampling.seed, f"{item.item_id}:{first.idx}", number) if drawn else 0
                    )
                    made.append(GenerateRequest(context, how.stop, how.max_tokens, how.temperature, seed))
        return tuple(made)

    def score(self, item: Item, answers: Sequence[Answer]) -> Scored:
        """Give the answers to lm-eval's filter and metric.

        Raises
        ------
        EvaluationError
            The task's own code cannot score them.
        """
        item = _own(item)
        instances = self._answered(item, answers)
        task = self.parts[item.part]
        where = f"task {item.part}: item {item.item_id[:12]} ({item.question.strip()[:60]!r})"
        try:
            values = process(task, item.document, instances, self.filter_name)
        except Exception as error:  # the task's own code
            raise EvaluationError(
                f"{where} cannot be scored: {type(error).__name__}: {error}",
                "This is the code of the task itself.",
            ) from error
        try:
            score = self.score_by.score(values[self.score_by.name])
        except (KeyError, ValueError) as error:
            raise EvaluationError(
                f"{where} has no single value of the metric {self.score_by.name}: {error}.",
                f"Set `metric:` of the task to one of: {', '.join(values)}.",
            ) from None
        if math.isnan(score):
            raise EvaluationError(f"{where}: the metric {self.score_by.name} is not a number.")
        binary = self.score_by.form == "score" and score in (0.0, 1.0)
        values_of = _loglikelihoods(instances, len(item.choices))
        return Scored(
            score,
            bool(score) if binary else None,
            _output(instances, values_of, item.choices, self.score_by.name, self.filter_name),
            values_of,
        )

    def _answered(self, item: HarnessItem, answers: Sequence[Answer]) -> list[Any]:
        """Return copies of the item's instances with their responses, in lm-eval's form."""
        instances = [copy.copy(instance) for instance in item.instances]
        left = iter(answers)
        for group in layout(item.instances):
            first = instances[group[0]]
            answer = next(left)
            if isinstance(answer, LoglikelihoodAnswer):
                greedy: Sequence[bool | None] = answer.greedy or [None] * len(group)
                for number, value, likeliest in zip(group, answer.loglikelihoods, greedy, strict=True):
                    if likeliest is None and self._needs_greedy(item):
                        raise EvaluationError(
                            f"task {item.part}: the metric {self.score_by.name} asks whether a text is the one that "
                            "greedy decoding gives, which this engine cannot tell.",
                            "Choose another metric, or kind: transformers.",
                        )
                    _respond(instances[number], [(value, bool(likeliest))])
            elif isinstance(answer, RollingAnswer):
                _respond(first, [answer.loglikelihood])
            else:
                how = generation(first.args[1], f"task {item.part}", self.sampling.temperature)
                drawn = [answer, *(next(left) for _ in range(_draws(first, how) - 1))]
                _respond(first, [one.text for one in drawn if isinstance(one, GenerateAnswer)])
        return instances

    def _needs_greedy(self, item: HarnessItem) -> bool:
        kind = self.parts[item.part].OUTPUT_TYPE
        return self.score_by.name == "exact_match" or (
            kind == "loglikelihood" and self.score_by.name == "acc"
        )


def _writes(task: Any) -> bool:
    return bool(task.OUTPUT_TYPE == "generate_until")


def _own(item: Item) -> HarnessItem:
    if not isinstance(item, HarnessItem):
        raise TypeError(f"expected an item of lm-eval, found a {type(item).__name__}")
    return item


def layout(instances: Sequence[Any]) -> list[list[int]]:
    """Return which instances are asked together: log-likelihoods after one and the same context."""
    groups: list[list[int]] = []
    by_context: dict[str, list[int]] = {}
    for number, instance in enumerate(instances):
        if instance.request_type == "loglikelihood":
            context = instance.args[0]
            if context in by_context:
                by_context[context].append(number)
                continue
            by_context[context] = group = [number]
            groups.append(group)
        else:
            groups.append([number])
    return groups


def process(task: Any, document: Any, instances: Sequence[Any], filter_name: str) -> dict[str, Any]:
    """Filter responses and return the metrics' values of one document, as `lm_eval.evaluate` does."""
    for ensemble in task._filters:
        if ensemble.name == filter_name:
            ensemble.apply(list(instances))
    # some tasks change the document that they are given; lm-eval makes it anew each time
    responses = [instance.filtered_resps[filter_name] for instance in instances]
    return dict(task.process_results(copy.deepcopy(document), responses))


def _respond(instance: Any, responses: list[Any]) -> None:
    """Set the responses; one that was asked once stands for all of an instance's repeats."""
    wanted = instance.repeats or 1
    instance.resps = responses if len(responses) == wanted else responses * wanted
    instance.filtered_resps = {}


def _draws(instance: Any, how: Generation) -> int:
    """Return how many texts an instance needs: greedy ones are the same each time."""
    return int(instance.repeats or 1) if how.temperature > 0 else 1


def _loglikelihoods(instances: Sequence[Any], choices: int) -> tuple[float, ...]:
    values = []
    for instance in instances:
        if instance.request_type == "loglikelihood":
            values.append(float(instance.resps[0][0]))
        elif instance.request_type == "loglikelihood_rolling":
            values.append(float(instance.resps[0]))
    # behind those of the choices stand the ones without a context, for acc_mutual_info
    return tuple(values[:choices] if choices and len(values) == 2 * choices else values)


def _output(
    instances: Sequence[Any], values: Sequence[float], choices: Sequence[str], metric: str, filter_name: str
) -> str | None:
    """Return the answer as text: the index of the choice that the metric takes, what the filter left of a text."""
    first = instances[0]
    if first.request_type == "loglikelihood_rolling":
        return None
    if first.request_type == "loglikelihood":
        if len(values) == 1:
            return str(first.resps[0][1])
        chosen = list(values)
        if metric == "acc_mutual_info" and len(instances) == 2 * len(values):
            without = [float(one.resps[0][0]) for one in instances[len(values) :]]
            chosen = [value - prior for value, prior in zip(values, without, strict=True)]
        elif metric in ("acc_norm", "acc_bytes") and len(choices) == len(values):
            lengths = [len(one.encode()) if metric == "acc_bytes" else len(one) for one in choices]
            chosen = [
                value / length if length else -math.inf for value, length in zip(values, lengths, strict=True)
            ]
        return str(max(range(len(chosen)), key=chosen.__getitem__))
    left = first.filtered_resps[filter_name]
    while isinstance(left, list | tuple) and len(left) == 1:
        left = left[0]
    return left if isinstance(left, str) else canonical_json(left)


def refuse_unsupported(task: Any, name: str) -> None:
    """Raise TaskError for tasks that run generated code or show pictures or sound."""
    if getattr(task, "UNSAFE_CODE", False):
        raise TaskError(
            f"task {name}: it runs code that the model wrote, which is not supported.",
            "Evaluate it in a sandbox with lm-eval and compare the samples with `gate compare`.",
        )
    if getattr(task, "MULTIMODAL", False):
        raise TaskError(f"task {name}: it shows pictures or sound; only text is supported.")
