"""Samples of NVIDIA NeMo Evaluator (`nel eval run`): `results.jsonl` beside its `eval-*.json` bundle.

The format is documented for `nel compare` ("Evaluation Result Format"): `problem_idx`, `reward`, and optionally
`repeat`, `expected_answer`, `model_response`, `extracted_answer`, `scoring_details`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json
from gate.common.jsonlines import json_lines, mapping, optional_text, read_json
from gate.errors import SampleError
from gate.importers.build import parse_score, refuse_unscored, task_samples
from gate.importers.choose import Selection
from gate.importers.detect import nemo_bundles
from gate.importers.files import label_of, no_rows, refuse_models, shorten, source_files
from gate.importers.orient import Directions
from gate.importers.reading import Reading
from gate.samples.record import ModelSamples, TaskSamples

_REWARD = "reward"
_FAILED = ("infra_error", "system")  # graded 0 by the tool although the model did not answer
_GENERATION = ("temperature", "max_tokens", "top_p")


@dataclass(frozen=True)
class _Run:
    """One benchmark: its results file and its bundle (empty if it is missing)."""

    results: Path
    task: str
    bundle: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the evaluation; empty if the bundle has none."""
        return mapping(self.bundle.get("config"))


def read_nemo(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the results or bundles `files`, which were found at `path`, one per benchmark, as one model's samples.

    Raises
    ------
    SampleError
        See `read_foreign`.
    """
    runs, notes = _find(path, files)
    metrics = Selection("metric", reading.metric, [_REWARD])
    directions = Directions(reading)
    tasks: dict[str, TaskSamples] = {}
    wanted = [run for run in runs if reading.wants(run.task) or (path.is_file() and not run.bundle)]
    for run in wanted:
        rows = list(json_lines(run.results))
        if not rows:
            raise no_rows(run.results)
        names = {_REWARD, *(name for _, row in rows for name in mapping(row.get("scorer_rewards")))}
        tasks[run.task] = _samples(run, rows, metrics.choose(run.task, names), directions, notes)
    bundle, config = runs[0].bundle, runs[0].config
    about: dict[str, object] = {"format": "NeMo Evaluator"}
    about |= {key: bundle[key] for key in ("sdk_version", "timestamp", "run_id") if key in bundle}
    if "model" in config:
        about["model"] = config["model"]
    about["files"] = source_files([run.results for run in wanted])
    label = label_of(path.parent if path.is_file() else path)
    notes = [*metrics.notes(), *directions.notes(), *notes] if tasks else notes
    unread = sorted(run.task for run in runs if run not in wanted)
    left_out = [f"{run.results}: not a task that was asked for." for run in runs if run not in wanted]
    return ModelSamples(label, tasks, about, tuple(notes), tuple(unread), tuple(left_out))


def _find(path: Path, files: Sequence[Path]) -> tuple[list[_Run], list[str]]:
    if path.is_file() and path.suffix.lower() == ".json":
        return [_run(path.parent / "results.jsonl", path)], []
    if path.is_file():
        run, notes = _beside(path)
        return [run], notes
    runs: dict[str, _Run] = {}
    notes = []
    for file in files:
        run, more = _beside(file)
        notes += more
        if run.task in runs:
            raise SampleError(
                f"{path} holds the benchmark {run.task} twice: {runs[run.task].results} and {run.results}.",
                "Pass the folder of one run.",
            )
        runs[run.task] = run
    refuse_models(path, (run.config.get("model") for run in runs.values()))
    return list(runs.values()), notes


def _beside(results: Path) -> tuple[_Run, list[str]]:
    """Return the run of a results file with the bundle beside it, and a note if there is no bundle."""
    if not results.is_file():
        raise SampleError(f"{results} does not exist.", "Pass a results.jsonl, or the folder that holds it.")
    bundles = nemo_bundles(results.parent) if results.name == "results.jsonl" else []
    if not bundles:
        note = f"No eval-*.json beside {results.name}: the task is named {results.stem!r}."
        return _Run(results, results.stem, {}), [note]
    runs = [_run(results, bundle) for bundle in bundles]
    names = sorted({run.task for run in runs})
    if len(names) > 1:
        raise SampleError(
            f"{results.parent} holds one results.jsonl and bundles of {len(names)} benchmarks: {shorten(names)}.",
            "Use one folder per benchmark, as `nel eval run` does.",
        )
    return runs[-1], []


def _run(results: Path, bundle: Path) -> _Run:
    content = read_json(bundle)
    name = mapping(content.get("benchmark")).get("name")
    if not isinstance(name, str) or not name:
        raise SampleError(f"{bundle} has no benchmark.name.", "Expected a bundle that `nel eval run` wrote.")
    return _Run(results, name, content)


def _samples(
    run: _Run, rows: Sequence[tuple[int, Mapping[str, Any]]], metric: str, directions: Directions, notes: list[str]
) -> TaskSamples:
    columns: dict[str, list[Any]] = {name: [] for name in ("item_id", "repeat", "score", "output", "target")}
    unscored, failed, graceful = [], [], 0
    for line, row in rows:
        where = f"{run.results}:{line}"
        item_id, repeat = _identity(row, where)
        value = row.get(_REWARD) if metric == _REWARD else mapping(row.get("scorer_rewards")).get(metric)
        score = parse_score(value, metric, where)
        category = mapping(row.get("scoring_details")).get("error_category")
        graceful += category == "graceful"
        if score is None:
            unscored.append(item_id)
        if category in _FAILED:
            failed.append(item_id)
        answer = row.get("extracted_answer")
        if answer is None:
            answer = row.get("model_response")
        values = (item_id, repeat, score, optional_text(answer), optional_text(row.get("expected_answer")))
        for name, cell in zip(columns, values, strict=True):
            columns[name].append(cell)
    where = f"task {run.task} ({run.results})"
    refuse_unscored(unscored, len(rows), where)
    refuse_unscored(failed, len(rows), where, "were graded 0 because the evaluation itself failed")
    if graceful:
        notes.append(f"{run.task}: {graceful} samples got 0 because the model's answer caused an error.")
    label, scores = directions.orient(run.task, metric, columns["score"], where)
    named_after_file = not run.bundle
    return task_samples(
        run.task, label, {**columns, "score": scores}, _facets(run.config), [run.results], named_after_file
    )


def _identity(row: Mapping[str, Any], where: str) -> tuple[str, int]:
    """Return the item and the repeat of a row."""
    item, repeat = row.get("problem_idx"), row.get("repeat", 0)
    # a bool is an instance of int, too
    if type(item) not in (int, str) or type(repeat) is not int or not 0 <= repeat < 2**31:
        raise SampleError(
            f"{where}: expected problem_idx and a whole number as repeat, found {item!r} and {repeat!r}.",
            "Expected a results.jsonl that `nel eval run` wrote.",
        )
    return str(item), repeat


def _facets(config: Mapping[str, Any]) -> dict[str, str]:
    if not config:
        return {}
    settings = {key: config[key] for key in _GENERATION if config.get(key) is not None}
    return {"generation": canonical_json(settings), "system_prompt": str(config.get("system_prompt") or "")}
