"""Runs of HELM: `per_instance_stats.json` (`helm-run`), or `display_predictions.json` (`helm-summarize`, its website).

The formats are those of `helm.benchmark.runner.Runner.run_one` and `helm.benchmark.presentation.run_display` at commit
63754d05 (0.5.16).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json, digest
from gate.common.jsonlines import json_lines, mapping, optional_text, read_json
from gate.errors import SampleError
from gate.importers.reading import Reading
from gate.importers.scored import Part, Row, Rows, read_scored
from gate.samples.record import ModelSamples

_Key = tuple[str, str, int]  # instance, perturbation ("" if there is none), trial
_EXPECTED = "Expected the per_instance_stats.json or display_predictions.json of a HELM run."
_DEFAULTS = (
    "final_number_exact_match", "math_equiv_chain_of_thought", "math_equiv", "chain_of_thought_correctness",
    "exact_match", "quasi_exact_match",
)  # fmt: skip
_BOOKKEEPING = re.compile(
    r"(num|training|inference|estimated_num|finish_reason)_.*|batch_size|prompt_truncated|predicted_index|max_prob"
    r"|logprob|.*_cost|.*_runtime"
)
_FACETS = ("method", "max_train_instances", "num_train_trials", "num_outputs", "temperature", "max_tokens")


def read_helm(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the runs whose scores are in `files`, found at `path`, as one model's samples.

    The task is the name of the run without its model. `item_id` is the id of the instance, with its perturbation;
    perturbed versions of an instance are one cluster. Trials with other few-shot examples are repeats. Counts of
    tokens, run times and the like are not metrics, unless they are asked for.

    Raises
    ------
    SampleError
        See `gate.importers.read_foreign`.
    """
    return read_scored("HELM", path, [_part(file, reading) for file in files], reading)


def _part(file: Path, reading: Reading) -> Part:
    spec_file = file.with_name("run_spec.json")
    spec = read_json(spec_file) if spec_file.is_file() else {}
    adapter = mapping(spec.get("adapter_spec"))
    name = spec.get("name")
    if not isinstance(name, str) or not name:
        name = file.absolute().parent.name
    model = adapter.get("model_deployment") or adapter.get("model") or _words(name).get("model")
    facets = {key: str(adapter[key]) for key in _FACETS if adapter.get(key) is not None}
    task = _without_model(name)
    # instances of two tasks have the same ids, and clusters of one name would be one; a folder may be named anything
    read = partial(_read, file, facets, reading.metric, f"{task} " if spec else "")
    return Part(task, file, read, None if model is None else str(model), named_after_file=not spec)


def _words(name: str) -> dict[str, str]:
    """Return the arguments in the name of a run, `scenario:key=value,key=value`."""
    pairs = (word.partition("=") for word in name.partition(":")[2].split(","))
    return {key: value for key, mark, value in pairs if mark}


def _without_model(name: str) -> str:
    scenario, _, words = name.partition(":")
    kept = [word for word in words.split(",") if word and word.partition("=")[0] not in ("model", "model_deployment")]
    return f"{scenario}:{','.join(kept)}" if kept else scenario


def _read(file: Path, facets: Mapping[str, str], metric: str | None, prefix: str) -> Rows:
    scores: dict[_Key, dict[str, object]] = {}
    answers = _answers(file.with_name("scenario_state.json")) or _displayed(file)
    for line, entry in json_lines(file):
        where = f"{file}:{line}"
        key = _key(entry, entry.get("instance_id"), where)
        named = scores.setdefault(key, {})
        for name, value in _stats(entry.get("stats"), where):
            if named.setdefault(name, value) != value:
                raise SampleError(f"{where}: has two values of {name}: {named[name]} and {value}.", _EXPECTED)
        if "predicted_text" in entry:
            answers.setdefault(key, {})["output"] = optional_text(entry["predicted_text"])
    perturbed = any(perturbation for _, perturbation, _ in scores)
    rows = []
    for (instance, perturbation, trial), values in scores.items():
        rows.append(
            Row(
                f"{instance} {perturbation}" if perturbation else instance,
                f"instance {instance}",
                {name: value for name, value in values.items() if name == metric or not _BOOKKEEPING.fullmatch(name)},
                repeat=trial,
                cluster=f"{prefix}{instance}" if perturbed else None,
                **answers.get((instance, perturbation, trial), {}),
            )
        )
    return Rows(rows, facets, _DEFAULTS)


def _key(entry: Mapping[str, Any], instance: object, where: str) -> _Key:
    trial, perturbation = entry.get("train_trial_index", 0), entry.get("perturbation")
    if not isinstance(instance, str) or type(trial) is not int or not 0 <= trial < 2**31:
        raise SampleError(
            f"{where}: expected instance_id as text and a whole number as train_trial_index, found "
            f"{str(instance)[:40]!r} and {str(trial)[:40]!r}.",
            _EXPECTED,
        )
    return instance, _perturbation(perturbation), trial


def _perturbation(description: object) -> str:
    if not description:
        return ""
    named = mapping(description)
    rest = {key: value for key, value in named.items() if key not in ("name", "robustness", "fairness", "computed_on")}
    return f"{named.get('name')}{canonical_json(rest) if rest else ''}" if named else canonical_json(description)


def _stats(stats: object, where: str) -> Iterator[tuple[str, object]]:
    """Yield the name of each metric and its mean over the requests of the instance; None if it has no value."""
    if isinstance(stats, Mapping):  # display_predictions.json
        yield from stats.items()
        return
    for stat in stats if isinstance(stats, list) else []:
        name = mapping(mapping(stat).get("name")).get("name")
        if not isinstance(name, str):
            raise SampleError(f"{where}: a stat has no name.", _EXPECTED)
        yield name, mapping(stat).get("mean")


def _displayed(file: Path) -> dict[_Key, dict[str, str | None]]:
    """Return target and prompt of each instance from `instances.json` and `display_requests.json`, if there are any."""
    instances, requests = file.with_name("instances.json"), file.with_name("display_requests.json")
    known: dict[tuple[str, str], Mapping[str, Any]] = {}
    for line, instance in json_lines(instances) if instances.is_file() else ():
        known[_key(instance, instance.get("id"), f"{instances}:{line}")[:2]] = instance
    answers: dict[_Key, dict[str, str | None]] = {}
    for line, entry in json_lines(requests) if requests.is_file() else ():
        key = _key(entry, entry.get("instance_id"), f"{requests}:{line}")
        answers[key] = _question(known.get(key[:2], {}), mapping(entry.get("request")).get("prompt"))
    return answers


def _answers(file: Path) -> dict[_Key, dict[str, str | None]]:
    """Return output, target and prompt of each instance from the scenario's state; empty if it is missing."""
    if not file.is_file():
        return {}
    states = read_json(file).get("request_states")
    answers: dict[_Key, dict[str, str | None]] = {}
    for number, state in enumerate(states if isinstance(states, list) else [], start=1):
        content = mapping(state)
        instance = mapping(content.get("instance"))
        if content.get("reference_index") is not None:  # one request per choice: no single prompt or answer
            continue
        where = f"{file}, request {number}"
        key = _key({**content, "perturbation": instance.get("perturbation")}, instance.get("id"), where)
        completions = mapping(content.get("result")).get("completions")
        first = completions[0] if isinstance(completions, list) and completions else {}
        answers[key] = {
            "output": optional_text(mapping(first).get("text")),
            **_question(instance, mapping(content.get("request")).get("prompt")),
        }
    return answers


def _question(instance: Mapping[str, Any], prompt: object) -> dict[str, str | None]:
    """Return target and prompt of an instance."""
    references = instance.get("references")
    correct = [
        mapping(mapping(reference).get("output")).get("text")
        for reference in (references if isinstance(references, list) else [])
        if _is_correct(reference)
    ]
    return {
        "target": optional_text(correct[0] if len(correct) == 1 else correct or None),
        "prompt": optional_text(mapping(instance.get("input")).get("text")),
        "prompt_hash": None if prompt is None else digest(prompt),
    }


def _is_correct(reference: object) -> bool:
    tags = mapping(reference).get("tags")
    return isinstance(tags, list) and "correct" in tags
