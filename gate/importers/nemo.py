"""Samples of NVIDIA NeMo Evaluator (`nel eval run`): `results.jsonl` beside its `eval-*.json` bundle.

The format is the one that its documentation gives for `nel compare` ("Evaluation Result Format"): `problem_idx`,
`reward`, and optionally `repeat`, `expected_answer`, `model_response`, `extracted_answer`, `scoring_details`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.canonical import canonical_json
from gate.errors import SampleError
from gate.importers.build import number, refuse_unscored, source_files, task_samples
from gate.importers.choose import Choice, choose, explain, shorten
from gate.importers.detect import nemo_bundles, subfolders
from gate.importers.jsonlines import clean_text, json_lines, read_json
from gate.samples.record import ModelSamples, TaskSamples

_REWARD = "reward"
_FAILED = ("infra_error", "system")  # graded 0 by the tool, though the model was never asked
_GENERATION = ("temperature", "max_tokens", "top_p")


@dataclass(frozen=True)
class _Run:
    """One benchmark: its results file and its bundle (empty where there is none)."""

    results: Path
    task: str
    bundle: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the evaluation; empty where the bundle has none."""
        config = self.bundle.get("config")
        return config if isinstance(config, Mapping) else {}


def read_nemo(path: Path, *, metric: str | None = None) -> ModelSamples:
    """Read `results.jsonl`, its bundle, or the folder of one or several benchmarks, as one model's samples.

    Raises
    ------
    SampleError
        See `read_foreign`.
    """
    runs, notes = _find(path)
    tasks: dict[str, TaskSamples] = {}
    choices: dict[str, Choice] = {}
    for run in runs:
        rows = list(json_lines(run.results))
        names = {_REWARD, *(name for _, row in rows for name in _extra(row))}
        choices[run.task] = choose(metric, names, [_REWARD], what="metric", where=f"task {run.task}")
        tasks[run.task] = _samples(run, rows, choices[run.task].name, notes)
    notes = [*explain("metric", metric, choices), *notes]
    config = runs[0].config
    about: dict[str, object] = {"format": "NeMo Evaluator"}
    about |= {
        key: runs[0].bundle[key] for key in ("sdk_version", "timestamp", "run_id") if key in runs[0].bundle
    }
    about |= {key: config[key] for key in ("model",) if key in config}
    about["files"] = source_files([run.results for run in runs])
    label = path.name if path.is_dir() else path.parent.name or path.stem
    return ModelSamples(label, tasks, about, tuple(notes))


def _find(path: Path) -> tuple[list[_Run], list[str]]:
    if path.is_file() and path.suffix.lower() == ".json":
        return [_run(path.parent / "results.jsonl", path)], []
    if path.is_file():
        return _beside(path)
    places = [place for place in [path, *subfolders(path)] if nemo_bundles(place)]
    if not places:
        return _beside(path / "results.jsonl")
    runs: dict[str, _Run] = {}
    notes: list[str] = []
    for place in places:
        found, more = _beside(place / "results.jsonl")
        notes += more
        if found[0].task in runs:
            raise SampleError(
                f"{path}: the benchmark {found[0].task} is there twice: {runs[found[0].task].results} and "
                f"{found[0].results}.",
                "Give the folder of one run.",
            )
        runs[found[0].task] = found[0]
    models = sorted({str(run.config.get("model")) for run in runs.values()})
    if len(models) > 1:
        raise SampleError(
            f"{path} holds runs of {len(models)} models: {shorten(models)}.", "Give one folder a model."
        )
    return list(runs.values()), notes


def _beside(results: Path) -> tuple[list[_Run], list[str]]:
    if not results.is_file():
        raise SampleError(f"{results} does not exist.", "Give a results.jsonl, or the folder with it.")
    bundles = nemo_bundles(results.parent) if results.name == "results.jsonl" else []
    if not bundles:
        note = f"No eval-*.json beside {results.name}: the task is called {results.stem!r}."
        return [_Run(results, results.stem, {})], [note]
    runs = [_run(results, bundle) for bundle in bundles]
    names = sorted({run.task for run in runs})
    if len(names) > 1:
        raise SampleError(
            f"{results.parent} holds one results.jsonl and bundles of {len(names)} benchmarks: {shorten(names)}.",
            "Keep one folder a benchmark, as `nel eval run` does for several.",
        )
    return runs[-1:], []


def _run(results: Path, bundle: Path) -> _Run:
    content = read_json(bundle)
    benchmark = content.get("benchmark")
    name = benchmark.get("name") if isinstance(benchmark, Mapping) else None
    if not isinstance(name, str) or not name:
        raise SampleError(f"{bundle} has no benchmark.name.", "Expected a bundle that `nel eval run` wrote.")
    return _Run(results, name, content)


def _samples(run: _Run, rows: list[tuple[int, dict[str, Any]]], metric: str, notes: list[str]) -> TaskSamples:
    columns: dict[str, list[Any]] = {name: [] for name in ("item_id", "repeat", "score", "output", "target")}
    unscored, failed, graceful = [], [], 0
    for line, row in rows:
        where = f"{run.results}:{line}"
        item, repeat = row.get("problem_idx"), row.get("repeat", 0)
        sound = isinstance(item, int | str) and isinstance(repeat, int)
        if not sound or isinstance(item, bool) or isinstance(repeat, bool) or not 0 <= repeat < 2**31:
            raise SampleError(
                f"{where}: expected problem_idx and a whole number as repeat, found {item!r} and {repeat!r}.",
                "Expected a results.jsonl that `nel eval run` wrote.",
            )
        try:
            score = number(row.get(_REWARD) if metric == _REWARD else _extra(row).get(metric))
        except ValueError as error:
            raise SampleError(
                f"{where}: {metric} is {error}, not a score.", "Evaluate this problem again."
            ) from None
        details = row.get("scoring_details")
        category = details.get("error_category") if isinstance(details, Mapping) else None
        graceful += category == "graceful"
        if score is None:
            unscored.append(str(item))
        if category in _FAILED:
            failed.append(str(item))
        answer = row.get("extracted_answer")
        answer = row.get("model_response") if answer is None else answer
        for name, value in zip(
            columns, (str(item), repeat, score, _text(answer), _text(row.get("expected_answer"))), strict=True
        ):
            columns[name].append(value)
    where = f"task {run.task} ({run.results})"
    refuse_unscored(len(unscored), len(rows), unscored, where)
    refuse_unscored(
        len(failed), len(rows), failed, where, "were graded 0 because the evaluation itself failed"
    )
    if graceful:
        notes.append(
            f"{run.task}: {graceful} samples got 0 because solving ended in an error of the model's side."
        )
    return task_samples(run.task, metric, columns, _facets(run.config))


def _facets(config: Mapping[str, Any]) -> dict[str, str]:
    if not config:
        return {}
    facets = {
        "generation": canonical_json({key: config[key] for key in _GENERATION if config.get(key) is not None})
    }
    return {**facets, "system_prompt": str(config.get("system_prompt") or "")}


def _extra(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rewards of additional scorers by name."""
    rewards = row.get("scorer_rewards")
    return rewards if isinstance(rewards, Mapping) else {}


def _text(value: object) -> str | None:
    if value is None:
        return None
    return clean_text(value if isinstance(value, str) else canonical_json(value))
