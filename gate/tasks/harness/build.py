"""Builds a `HarnessTask` from the settings of a registry task: prompts as lm-eval builds them, and the fingerprint."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json, digest
from gate.common.indices import parse_index
from gate.common.lm_eval import DEFAULT_FILTERS, DEFAULT_METRICS, without_addresses
from gate.common.smoothing import base_metric
from gate.config import SampleSettings, TaskSettings
from gate.errors import TaskError
from gate.tasks.chat import CHAT_DATE
from gate.tasks.harness.chat import Chat, refuse_chat_of_choices
from gate.tasks.harness.generation import generation
from gate.tasks.harness.metrics import Metric, choose, metrics_of
from gate.tasks.harness.registry import load, own_code, quiet
from gate.tasks.harness.task import HarnessItem, HarnessTask, group_requests, process, refuse_unsupported
from gate.tasks.sampling import Sampling, answer_facets, chat_facet
from gate.tasks.scoring import SCORING_VERSION

_LOG = logging.getLogger(__name__)
_FEWSHOT_SEED = 1234  # of lm_eval.simple_evaluate
_OTHER_FACETS = frozenset(
    # settings covered by other facets, by documents or by prompts; paths differ between machines
    ["task", "task_alias", "tag", "dataset_path", "dataset_name", "dataset_kwargs", "num_fewshot", "metadata"]
)


def build_harness_task(
    settings: TaskSettings, samples: SampleSettings, include_path: Sequence[Path] = ()
) -> HarnessTask:
    """Load a task, or all subtasks of a group or tag, by its name in lm-eval's registry.

    Documents, few-shot examples, prompts and scores equal lm-eval's for the same settings.

    Parameters
    ----------
    samples : SampleSettings
        For `limit`, and for `repeats`, `temperature` and `seed` if texts are generated.
    include_path : sequence of Path
        Folders with task files of the user.

    Raises
    ------
    TaskError
        The task does not exist, its data or code is unavailable, or it lacks the metric or filter.
    """
    subtasks = load(settings.name, include_path)
    limit = settings.limit or samples.limit
    grouped = len(subtasks) > 1 or list(subtasks) != [settings.name]
    items: list[HarnessItem] = []
    for name, task in subtasks.items():
        refuse_unsupported(task, name)
        _configure(task, name, settings)
        items += _items(task, name, settings, limit, grouped)
    filter_name = _filter(subtasks, settings)
    metric = _metric(subtasks, items, filter_name, settings)
    generates = any(task.OUTPUT_TYPE == "generate_until" for task in subtasks.values())
    sampling = Sampling.of(samples, settings) if generates else Sampling()
    refuse_chat_of_choices(settings, subtasks)
    lengths = [
        generation(instance.args[1], f"task {item.task_name}", sampling).max_tokens
        for item in items
        for instance in item.instances
        if instance.request_type == "generate_until"
    ]
    facets = _facets(subtasks, items, metric, filter_name, settings) | sampling.facets
    code = own_code([settings.name, *subtasks], include_path)
    if code is not None:
        facets["code"] = f"files below include_path, sha256 {code}"
    return HarnessTask(
        settings.name,
        settings,
        tuple(items),
        facets,
        sampling,
        metric=metric.label,
        generates=generates,
        max_tokens=max(lengths, default=0),
        subtasks=subtasks,
        score_by=metric,
        filter_name=filter_name,
    )


def _configure(task: Any, name: str, settings: TaskSettings) -> None:
    """Set the number and the seed of few-shot examples by the rules of `lm_eval.simple_evaluate`."""
    own = task.get_config("num_fewshot")
    if "fewshot" in settings.model_fields_set and settings.fewshot != own:
        if own == 0:
            raise TaskError(
                f"task {name}: it fixes num_fewshot: 0, which LM Evaluation Harness does not override; found fewshot: "
                f"{settings.fewshot}.",
                "Remove fewshot from gate.yml.",
            )
        task.set_config(key="num_fewshot", value=settings.fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=_fewshot_seed(settings))


def _fewshot_seed(settings: TaskSettings) -> int:
    return settings.fewshot_seed if "fewshot_seed" in settings.model_fields_set else _FEWSHOT_SEED


def _items(task: Any, name: str, settings: TaskSettings, limit: int | None, grouped: bool) -> list[HarnessItem]:
    """Build lm-eval's requests, and return one item per document."""
    chat = settings.is_chat
    try:
        with quiet():
            task.build_all_requests(
                limit=limit,
                system_instruction=settings.system,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,  # default of lm-eval's command line
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
    copies: dict[str, int] = {}
    items: list[HarnessItem] = []
    for doc_id, document in documents:
        item_id = digest([name, document] if grouped else document)
        copies[item_id] = number = copies.get(item_id, 0) + 1
        if number > 1:
            item_id = f"{item_id}#{number}"
        requests = tuple(sorted(instances[doc_id], key=lambda instance: instance.idx))
        items.append(_item(task, name, document, requests, item_id, grouped))
    duplicates = len(items) - len(copies)
    if duplicates:
        _LOG.warning("task %s: %d documents are duplicated; numbered by position", name, duplicates)
    return items


def _item(task: Any, name: str, document: Any, requests: tuple[Any, ...], item_id: str, grouped: bool) -> HarnessItem:
    context = requests[0].args[0]
    prompt, choices, target = _shown(task, document, requests)
    indexed = task.OUTPUT_TYPE == "multiple_choice"
    return HarnessItem(
        item_id=item_id,
        prompt=prompt,
        context="" if isinstance(context, Chat) else context,
        messages=context.messages if isinstance(context, Chat) else (),
        choices=choices,
        target_index=parse_index(target, len(choices)) if indexed else None,
        targets=(target,),
        cluster=None,
        subtask=name if grouped else None,
        task_name=name,
        document=document,
        instances=requests,
    )


def _shown(task: Any, document: Any, requests: Sequence[Any]) -> tuple[str, tuple[str, ...], str]:
    """Return prompt, choices and target as a report shows them."""
    text, target = task.doc_to_text(document), task.doc_to_target(document)
    choices: tuple[str, ...] = ()
    if task.OUTPUT_TYPE == "multiple_choice" and task.get_config("doc_to_choice") is not None:
        choices = tuple(map(str, task.doc_to_choice(document)))
        if isinstance(text, int):  # choices differ in their contexts, and share the continuation (WinoGrande)
            text, target = target, text
    elif len(requests) > 1 and all(request.request_type == "loglikelihood" for request in requests):
        choices = tuple(str(request.args[1]) for request in requests)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return str(target), (), ""
    if target in choices:
        target = choices.index(target)
    return str(text), choices, target if isinstance(target, str) else canonical_json(target)


def _filter(subtasks: Mapping[str, Any], settings: TaskSettings) -> str:
    """Return the filter to read; every subtask must have it."""
    where = f"task {settings.name}"
    filters = [[ensemble.name for ensemble in task._filters] for task in subtasks.values()]
    common = [name for name in dict.fromkeys(filters[0]) if all(name in names for names in filters)]
    if not common:
        raise TaskError(f"{where}: its subtasks have no filter in common.", "List the subtasks one by one.")
    return choose(settings.filter, common, DEFAULT_FILTERS, "filter", where)


def _metric(
    subtasks: Mapping[str, Any], items: Sequence[HarnessItem], filter_name: str, settings: TaskSettings
) -> Metric:
    """Return the metric to read; every subtask must have it."""
    where = f"task {settings.name}"
    first = {item.task_name: item for item in reversed(items)}
    usable = [
        metrics_of(task, _trial_values(task, first[name], filter_name), f"task {name}")
        for name, task in subtasks.items()
    ]
    common = {
        name: metric for name, metric in usable[0].items() if all(metrics.get(name) == metric for metrics in usable)
    }
    if not common:
        raise TaskError(
            f"{where}: its subtasks have no metric in common.",
            f"List them one by one: {', '.join(subtasks)}.",
        )
    chosen = common[choose(base_metric(settings.metric), list(common), DEFAULT_METRICS, "metric", where)]
    if settings.lower_is_better is None or chosen.form == "loglikelihood":
        return chosen
    return replace(chosen, form="negated" if settings.lower_is_better else "score")


def _trial_values(task: Any, item: HarnessItem, filter_name: str) -> dict[str, Any] | None:
    """Return the metrics of a made-up answer, to see which give one number; None if it cannot be scored."""
    answers = {"loglikelihood": (-1.0, False), "loglikelihood_rolling": -1.0, "generate_until": "0"}
    instances = [copy(instance) for instance in item.instances]
    for instance in instances:
        instance.resps = [answers[instance.request_type]] * (instance.repeats or 1)
        instance.filtered_resps = {}
    try:
        with quiet():
            return process(task, item.document, instances, filter_name)
    except Exception as error:  # the task's own code, which may need a real answer
        _LOG.debug("task %s: a made-up answer cannot be scored: %s", item.task_name, error)
        return None


def _facets(
    subtasks: Mapping[str, Any],
    items: Sequence[HarnessItem],
    metric: Metric,
    filter_name: str,
    settings: TaskSettings,
) -> dict[str, str]:
    import lm_eval

    kinds = sorted({str(task.OUTPUT_TYPE) for task in subtasks.values()})
    configs = {name: _config(task) for name, task in subtasks.items()}
    shots = {name: int(task.get_config("num_fewshot") or 0) for name, task in subtasks.items()}
    versions = {name: str(task.VERSION) for name, task in subtasks.items()}
    ids = [item.item_id for item in items]
    facets = {
        "kind": f"lm-eval {' and '.join(kinds)}",
        "lm_eval": str(lm_eval.__version__),
        "scoring_version": str(SCORING_VERSION),
        "metric": metric.label,
        "filter": filter_name,
        "documents": f"{len(ids)} items, sha256 {digest(ids)[:16]}",
        "prompts": _prompts(items),
        "num_fewshot": _shared(shots),
        "fewshot_seed": str(_fewshot_seed(settings)) if any(shots.values()) else "none drawn",
        "task_version": _shared(versions),
        "config": f"sha256 {digest(configs)[:16]}",
        "chat_template": chat_facet(settings),
    }
    if settings.is_chat:
        facets["chat_date"] = CHAT_DATE.isoformat()
    if "generate_until" in kinds:
        facets["generation"] = _shared(
            {name: canonical_json(task.get_config("generation_kwargs")) for name, task in subtasks.items()}
        )
        facets |= answer_facets(settings)
    return facets


def _shared(values: Mapping[str, Any]) -> str:
    """Return the value that all subtasks share, or a digest of their values."""
    distinct = set(values.values())
    if len(distinct) == 1:
        return str(distinct.pop())
    return f"{len(distinct)} kinds, sha256 {digest(dict(values))[:16]}"


def _config(task: Any) -> str:
    """Return a task's configuration without paths, memory addresses and settings covered by other facets."""
    config = {key: value for key, value in task.dump_config().items() if key not in _OTHER_FACETS}
    return without_addresses(canonical_json(config))


def _prompts(items: Sequence[HarnessItem]) -> str:
    """Return a digest of every prompt and continuation."""
    total = hashlib.sha256()
    for item in items:
        for group in group_requests(item.instances):
            # a long few-shot context is hashed once for all its continuations
            arguments = [item.instances[index].args for index in group]
            rest = canonical_json([values[1:] for values in arguments])
            total.update(f"{arguments[0][0]}\x00{rest}\x00".encode("utf-8", "surrogatepass"))
    return f"sha256 {total.hexdigest()[:16]}"
