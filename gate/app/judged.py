"""Scores by a judge: the texts of a candidate and of its baseline are judged once both have answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from gate.app.judge import Answers
from gate.app.reporter import Reporter, SilentReporter
from gate.common.canonical import canonical_json, digest
from gate.config import GateConfig
from gate.config.judge import JudgeScorer
from gate.errors import EvaluationError, SampleError
from gate.evaluation.judge import ask
from gate.evaluation.judge_tables import Tally, compare_texts, grade_texts
from gate.samples import ModelSamples, TaskSamples

FOLDER = "judgements"


def with_judgements(
    answers: Answers,
    config: GateConfig,
    folder: Path,
    reporter: Reporter | None = None,
) -> Answers:
    """Return the answers with the scores of the judges that gate.yml names; unchanged if it names none.

    Every judgement is stored in the folder `judgements` of the store (of `.gate` for a store in a bucket), and asked
    for once: a run that was killed loses only the replies that had not arrived.

    Parameters
    ----------
    folder : Path
        Folder of gate.yml.
    reporter : Reporter, optional
        Receives progress. Default: silent.

    Raises
    ------
    ConfigError, EvaluationError
        See `gate.evaluation.judge.ask`; or the verdicts say nothing, see `Tally.blind`.
    SampleError
        One side has no texts of a task.
    """
    reporter = reporter or SilentReporter()
    sides = answers.baseline, answers.candidate
    for task in config.tasks:
        judge = task.judge
        if judge is None or any(task.name not in side.tasks for side in sides):
            continue
        path = _folder(config, folder) / f"{digest(judge.settings)[:16]}.jsonl"
        before, after = (side.tasks[task.name] for side in sides)
        for side in (before, after):
            if side.table.column("output").null_count:
                raise SampleError(f"task {task.name}: some samples have no text, so that they cannot be judged.")
        score = compare_texts if judge.mode == "pairwise" else grade_texts
        with reporter.progress(f"judge of {task.name}", 2 * len(before.table)) as progress:
            inquiry = partial(ask, judge=judge, path=path, progress=progress, task=task.name)
            tables = score(before.table, after.table, inquiry)
        if tables[2].blind:
            raise EvaluationError(
                f"task {task.name}: the judge {judge.model} cannot distinguish answers: "
                + (
                    f"all {tables[2].swayed:,} preferences changed with the order."
                    if judge.mode == "pairwise"
                    else "it gives all texts one grade."
                ),
                "Its verdicts say nothing about the models. Use a stronger judge.",
            )
        notes = (summary(task.name, judge, tables[2]),)
        sides = (
            _judged(sides[0], before, tables[0], judge, tables[2]),
            replace(_judged(sides[1], after, tables[1], judge, tables[2]), notes=(*sides[1].notes, *notes)),
        )
    return replace(answers, baseline=sides[0], candidate=sides[1])


def summary(task: str, judge: JudgeScorer, tally: Tally) -> str:
    """Say what the judge was asked and what it said."""
    asked = f"{tally.judgements:,} judgements ({tally.judgements - tally.calls:,} from earlier runs)"
    unreadable = f"{tally.unreadable:,} replies without a verdict, which count as no preference"
    if judge.mode == "grade":
        return (
            f"{task}: the judge {judge.model} graded {tally.answers:,} pairs of answers ({tally.equal:,} of equal "
            f"texts): {tally.baseline:,} better for the baseline, {tally.candidate:,} for the candidate. {asked}, "
            f"{unreadable}."
        )
    rest = tally.answers - tally.equal - tally.baseline - tally.candidate
    return (
        f"{task}: of {tally.answers:,} pairs of answers, {tally.equal:,} are equal texts; in both orders, the judge "
        f"{judge.model} prefers the baseline's answer in {tally.baseline:,} and the candidate's in "
        f"{tally.candidate:,}, and has no such preference in {rest:,}, of which {tally.swayed:,} changed with the "
        f"order. {asked}, {unreadable}."
    )


def _folder(config: GateConfig, folder: Path) -> Path:
    store = config.samples.store
    return folder / (".gate" if "://" in store else store) / FOLDER


def _judged(
    side: ModelSamples, samples: TaskSamples, table: pa.Table, judge: JudgeScorer, tally: Tally
) -> ModelSamples:
    """Return one side with the judged table of a task, and with what is known of the judge."""
    facets = {**samples.facets, "judge": f"{judge.model}, sha256 {digest(judge.settings)[:16]}"}
    judged = replace(samples, table=table, facets=facets)
    judges = side.about.get("judges")
    known = dict(judges) if isinstance(judges, Mapping) else {}
    known[samples.task] = {"judge": canonical_json(judge.settings), **asdict(tally)}
    return replace(side, tasks={**side.tasks, samples.task: judged}, about={**side.about, "judges": known})
