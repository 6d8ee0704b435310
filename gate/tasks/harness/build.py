"""From the settings of a registry task to a `HarnessTask`: prompts as lm-eval builds them, and the fingerprint."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from gate.canonical import canonical_json, digest
from gate.config import SampleSettings, TaskSettings
from gate.errors import TaskError
from gate.tasks.harness.chat import Chat
from gate.tasks.harness.generation import generation
from gate.tasks.harness.metrics import (
    DEFAULT_FILTERS,
    DEFAULT_METRICS,
    Metric,
    choose,
    metrics_of,
    refuse_none,
)
from gate.tasks.harness.registry import load, quiet
from gate.tasks.harness.task import HarnessItem, HarnessTask, layout, process, refuse_unsupported
from gate.tasks.scoring import SCORING_VERSION
from gate.tasks.task import Sampling

_LOG = logging.getLogger(__name__)
_FEWSHOT_SEED = 1234  # lm_eval.simple_evaluate's
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_ELSEWHERE = frozenset(
    # what these decide is in facets of their own, or in documents and prompts; paths differ between machines
    ["task", "task_alias", "tag", "dataset_path", "dataset_name", "dataset_kwargs", "num_fewshot", "metadata"]
)


def build_harness_task(
    settings: TaskSettings, samples: SampleSettings, include_path: Sequence[Path] = ()
) -> HarnessTask:
    """Load a task, or all tasks of a group or tag, by its name in lm-eval's registry.

    Documents, few-shot examples and prompts are lm-eval's for the same settings, and so are the scores.

    Parameters
    ----------
    settings : TaskSettings
    samples : SampleSettings
        For `limit`, and for `repeats`, `temperature` and `seed` where texts are generated.
    include_path : sequence of Path
        Folders with task files of the user's own.

    Raises
    ------
    TaskError
        No such task; its data or its code cannot be had; the metric or filter is not there.
    """
    where = f"task {settings.name}"
    parts = load(settings.name, include_path)
    limit = settings.limit or samples.limit
    items: list[HarnessItem] = []
    for name, task in parts.items():
        refuse_unsupported(task, name)
        _configure(task, name, settings)
        items += _items(task, name, settings, limit, grouped=len(parts) > 1 or name != settings.name)
    chosen = _filter(parts, settings, where)
    metric = _metric(parts, items, chosen, settings, where)
    generates = any(task.OUTPUT_TYPE == "generate_until" for task in parts.values())
    sampling = Sampling.of(samples) if generates else Sampling()
    if generates:
        for item in items:
            _refuse_generation(item, sampling)
    facets = _facets(parts, items, metric, chosen, settings) | sampling.facets
    return HarnessTask(
        settings.name,
        settings,
        tuple(items),
        facets,
        sampling,
        parts=parts,
        score_by=metric,
        filter_name=chosen,
    )


def _configure(task: Any, name: str, settings: TaskSettings) -> None:
    """Set the number and the seed of the few-shot examples, by the rules of `lm_eval.simple_evaluate`."""
    own = task.get_config("num_fewshot")
    if "fewshot" in settings.model_fields_set and settings.fewshot != own:
        if own == 0:
            raise TaskError(
                f"task {name}: it is made without few-shot examples (num_fewshot: 0), and LM Evaluation Harness keeps "
                f"to that; found fewshot: {settings.fewshot}.",
                "Take fewshot out of gate.yml.",
            )
        task.set_config(key="num_fewshot", value=settings.fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    seed = settings.fewshot_seed if "fewshot_seed" in settings.model_fields_set else _FEWSHOT_SEED
    task.set_fewshot_seed(seed=seed)


def _items(
    task: Any, name: str, settings: TaskSettings, limit: int | None, grouped: bool
) -> list[HarnessItem]:
    """Build lm-eval's requests and return an item a document."""
    chat = settings.chat_template
    try:
        with quiet():
            task.build_all_requests(
                limit=limit,
                system_instruction=settings.system,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,  # what lm-eval's command line does unless told otherwise
                chat_template=Chat.of if chat else None,
            )
            documents = list(task.doc_iterator(limit=limit))
    except Exception as error:  # the task's own templates and code
        raise TaskError(
            f"task {name}: LM Evaluation Harness cannot build its prompts: {type(error).__name__}: {error}"
        ) from error
    instances: dict[Any, list[Any]] = {}
    for instance in task.instances:
        instances.setdefault(instance.doc_id, []).append(instance)
    seen: dict[str, int] = {}
    items: list[HarnessItem] = []
    for number, document in documents:
        identity = digest([name, document] if grouped else document)
        copies = seen[identity] = seen.get(identity, 0) + 1
        requests = tuple(sorted(instances[number], key=lambda one: one.idx))
        items.append(_item(task, name, document, requests, identity, copies, grouped))
    doubled = sum(count - 1 for count in seen.values())
    if doubled:
        _LOG.warning(
            "task %s: %d documents stand there more than once; told apart by their order", name, doubled
        )
    return items


def _item(
    task: Any, name: str, document: Any, requests: tuple[Any, ...], identity: str, copies: int, grouped: bool
) -> HarnessItem:
    context = requests[0].args[0]
    question, choices, target = _shown(task, document, requests)
    return HarnessItem(
        item_id=identity if copies == 1 else f"{identity}#{copies}",
        question=question,
        context="" if isinstance(context, Chat) else context,
        messages=context.messages if isinstance(context, Chat) else (),
        choices=choices,
        gold=int(target)
        if task.OUTPUT_TYPE == "multiple_choice" and choices and target.isdecimal()
        else None,
        answers=(target,),
        cluster=None,
        subtask=name if grouped else None,
        part=name,
        document=document,
        instances=requests,
    )


def _shown(task: Any, document: Any, requests: Sequence[Any]) -> tuple[str, tuple[str, ...], str]:
    """Return question, choices and target as a report shows them."""
    text, target = task.doc_to_text(document), task.doc_to_target(document)
    choices: tuple[str, ...] = ()
    if task.OUTPUT_TYPE == "multiple_choice" and task.get_config("doc_to_choice") is not None:
        choices = tuple(map(str, task.doc_to_choice(document)))
        if isinstance(text, int):  # the choice stands in the context, and what follows is the same for all
            text, target = target, text
    elif len(requests) > 1 and all(one.request_type == "loglikelihood" for one in requests):
        choices = tuple(str(one.args[1]) for one in requests)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return str(target), (), ""
    if target in choices:
        target = choices.index(target)
    return str(text), choices, target if isinstance(target, str) else canonical_json(target)


def _filter(parts: Mapping[str, Any], settings: TaskSettings, where: str) -> str:
    common: dict[str, None] | None = None
    for task in parts.values():
        names = dict.fromkeys(ensemble.name for ensemble in task._filters)
        common = names if common is None else {name: None for name in common if name in names}
    if not common:
        raise TaskError(f"{where}: its subtasks have no filter in common.", "List the subtasks one by one.")
    return choose(settings.filter, list(common), DEFAULT_FILTERS, "filter", where)


def _metric(
    parts: Mapping[str, Any], items: Sequence[HarnessItem], chosen: str, settings: TaskSettings, where: str
) -> Metric:
    common: dict[str, Metric] | None = None
    other: list[str] = []
    first: dict[str, HarnessItem] = {}
    for item in items:
        first.setdefault(item.part, item)
    for name, task in parts.items():
        usable, rest = metrics_of(task, _tried(task, first[name], chosen))
        refuse_none(usable, rest, f"task {name}")
        other += [one for one in rest if one not in other]
        common = usable if common is None else {k: v for k, v in common.items() if usable.get(k) == v}
    if not common:
        raise TaskError(
            f"{where}: its subtasks have no metric in common.", f"List them one by one: {', '.join(parts)}."
        )
    return common[choose(settings.metric, list(common), DEFAULT_METRICS, "metric", where)]


def _tried(task: Any, item: HarnessItem, chosen: str) -> dict[str, Any] | None:
    """Score a made-up answer to a document, to see what the metrics give; None where that cannot be done."""
    made_up = {"loglikelihood": (-1.0, False), "loglikelihood_rolling": -1.0, "generate_until": "0"}
    instances = [copy(instance) for instance in item.instances]
    for instance in instances:
        instance.resps, instance.filtered_resps = (
            [made_up[instance.request_type]] * (instance.repeats or 1),
            {},
        )
    try:
        with quiet():
            return process(task, item.document, instances, chosen)
    except Exception as error:  # the task's own code; it may well want a real answer
        _LOG.debug("task %s: a made-up answer cannot be scored: %s", item.part, error)
        return None


def _refuse_generation(item: HarnessItem, sampling: Sampling) -> None:
    for instance in item.instances:
        if instance.request_type == "generate_until":
            generation(instance.args[1], f"task {item.part}", sampling.temperature)


def _facets(
    parts: Mapping[str, Any],
    items: Sequence[HarnessItem],
    metric: Metric,
    chosen: str,
    settings: TaskSettings,
) -> dict[str, str]:
    import lm_eval

    configs = {name: _config(task) for name, task in parts.items()}
    shots = {name: int(task.get_config("num_fewshot") or 0) for name, task in parts.items()}
    versions = {name: str(task.VERSION) for name, task in parts.items()}
    seed = settings.fewshot_seed if "fewshot_seed" in settings.model_fields_set else _FEWSHOT_SEED
    ids = [item.item_id for item in items]
    facets = {
        "kind": f"lm-eval {' and '.join(sorted({str(task.OUTPUT_TYPE) for task in parts.values()}))}",
        "lm_eval": str(lm_eval.__version__),
        "scoring_version": str(SCORING_VERSION),
        "metric": metric.label,
        "filter": chosen,
        "documents": f"{len(ids)} items, sha256 {digest(ids)[:16]}",
        "prompts": _prompts(items),
        "num_fewshot": _one_or_all(shots),
        "fewshot_seed": str(seed) if any(shots.values()) else "none drawn",
        "task_version": _one_or_all(versions),
        "config": f"sha256 {digest(configs)[:16]}",
        "chat_template": canonical_json([settings.chat_template, settings.system]),
    }
    generations = {name: canonical_json(task.get_config("generation_kwargs")) for name, task in parts.items()}
    if any(task.OUTPUT_TYPE == "generate_until" for task in parts.values()):
        facets["generation"] = _one_or_all(generations)
    return facets


def _one_or_all(values: Mapping[str, Any]) -> str:
    """Return the value that all subtasks share, else a digest of each one's."""
    shared = set(values.values())
    return (
        str(shared.pop()) if len(shared) == 1 else f"{len(shared)} kinds, sha256 {digest(dict(values))[:16]}"
    )


def _config(task: Any) -> str:
    """Return a task's configuration without what is a path, an address in memory, or a facet of its own."""
    dumped = task.dump_config()
    return _ADDRESS.sub("", canonical_json({k: v for k, v in dumped.items() if k not in _ELSEWHERE}))


def _prompts(items: Sequence[HarnessItem]) -> str:
    """Return a digest of every prompt and continuation."""
    total = hashlib.sha256()
    for item in items:
        for group in layout(item.instances):
            # one context serves all its continuations; few-shot contexts are long
            arguments = [item.instances[number].args for number in group]
            rest = canonical_json([one[1:] for one in arguments])
            total.update(f"{arguments[0][0]}\x00{rest}\x00".encode("utf-8", "surrogatepass"))
    return f"sha256 {total.hexdigest()[:16]}"
