"""`gate.run` and `gate.run_candidates`: baseline, candidates, verdict, history and report files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from gate.app.evaluate import Evaluated
from gate.app.judge import Answers, Judged
from gate.app.marker import remove_markers
from gate.app.models import LocatedModel, locate_model
from gate.app.past_runs import read_past
from gate.app.report_files import Reports
from gate.app.reporter import Reporter, SilentReporter
from gate.app.session import Reference, Session, answer_baseline, answer_candidate, judge_session, open_session
from gate.app.suite import as_loaded
from gate.common.files import write_text
from gate.config import LoadedConfig, ModelSettings
from gate.errors import ConfigError, GateError
from gate.report import Result
from gate.report.candidates import AnyResult, CandidatesResult, join_results
from gate.report.files import report_files
from gate.report.redact import redact
from gate.store.history import Record, RecordedEvidence


def run(
    config: LoadedConfig | str | os.PathLike[str] = "gate.yml",
    *,
    force_baseline: bool = False,
    command: Sequence[str] | None = None,
    reporter: Reporter | None = None,
) -> Result:
    """Judge the candidate of a gate.yml against its baseline; what `gate run` does.

    The baseline's samples come from the store, or are evaluated and stored. The report files that gate.yml names are
    written, and the run is appended to the store's history.

    Parameters
    ----------
    config : path or LoadedConfig, default "gate.yml"
        With one `candidate`; `gate.run_candidates` judges several.
    force_baseline : bool, default False
        Evaluate the baseline even if it is cached.
    command : sequence of str, optional
        Command line that reproduces the run, for the report.
    reporter : Reporter, optional
        Receives messages, progress and the result. Default: silent.

    Returns
    -------
    Result
        Secrets of the environment are replaced by `***`.

    Raises
    ------
    GateError
        No verdict is possible: a configuration, task, model or sample set is wrong (exit code 2), or the evaluation
        cannot be completed (exit code 4).

    Examples
    --------
    >>> import gate
    >>> result = gate.run("gate.yml")  # doctest: +SKIP
    >>> result.verdict, result.exit_code  # doctest: +SKIP
    ('PASS', 0)
    """
    loaded = as_loaded(config)
    if loaded.config.candidate is None:
        raise ConfigError(f"{loaded.path} has several candidates.", "Call gate.run_candidates.")
    session = open_session(loaded, command, reporter or SilentReporter())
    # located before the baseline is evaluated: a misspelt candidate must not cost GPU time
    candidate = locate_model(loaded, loaded.config.candidate)
    answers, evaluated = answer_candidate(session, candidate, answer_baseline(session, force_baseline))
    with session.history.lock():
        past = read_past(session.history, session.series, [evaluated], session.spends)
        judged, results = judge_session(session, {"candidate": answers}, past.earlier)
        result = results["candidate"]
        shown = redact(result, session.secrets)
        reports = Reports(shown)
        with reports.attempt("standard output"):
            session.reporter.result(shown)
        past.append(session.history, [_record(session, result, past.run)])
        _write(session, reports, result, judged)
    reports.check()
    remove_markers([evaluated.marker])
    return shown


def run_candidates(
    config: LoadedConfig | str | os.PathLike[str] = "gate.yml",
    *,
    force_baseline: bool = False,
    command: Sequence[str] | None = None,
    reporter: Reporter | None = None,
) -> CandidatesResult:
    """Judge the candidates of a gate.yml against one evaluation of its baseline; what `gate run` does with several.

    Parameters are those of `run`. decision.alpha limits the probability of any false FAIL of the tests among the
    candidates. A candidate that cannot be evaluated does not stop the others: their verdicts and reports are complete,
    the result names it with its error, and the exit code is 4. The same call then evaluates only the missing ones.

    Returns
    -------
    CandidatesResult
        `result["int8"]` is the `Result` of the candidate int8. Secrets of the environment are replaced by `***`.

    Raises
    ------
    GateError
        No verdict on any candidate is possible.

    Examples
    --------
    >>> import gate
    >>> result = gate.run_candidates("gate.yml")  # doctest: +SKIP
    >>> result.verdict, result["int8"].verdict  # doctest: +SKIP
    ('FAIL', 'PASS')
    """
    loaded = as_loaded(config)
    session = open_session(loaded, command, reporter or SilentReporter())
    models, errors = _locate(session, loaded.config.compared)
    answers, evaluated = _answer(session, models, answer_baseline(session, force_baseline), errors)
    with session.history.lock():
        past = read_past(session.history, session.series, evaluated, session.spends)
        judged, results = judge_session(session, answers, past.earlier)
        result = join_results(results, errors, [session.command], session.seconds)
        shown = redact(result, session.secrets)
        reports = Reports(shown)
        with reports.attempt("standard output"):
            session.reporter.candidates(shown)
        past.append(session.history, [_record(session, one, past.run, name) for name, one in results.items()])
        _write(session, reports, result, judged)
    reports.check()
    if not errors:
        remove_markers([one.marker for one in evaluated])
    return shown


def run_any(
    config: LoadedConfig | str | os.PathLike[str] = "gate.yml",
    *,
    force_baseline: bool = False,
    command: Sequence[str] | None = None,
    reporter: Reporter | None = None,
) -> AnyResult:
    """Judge the candidate or the candidates of a gate.yml; parameters and errors as for `run`."""
    loaded = as_loaded(config)
    if loaded.config.candidates:
        return run_candidates(loaded, force_baseline=force_baseline, command=command, reporter=reporter)
    return run(loaded, force_baseline=force_baseline, command=command, reporter=reporter)


def _locate(
    session: Session, candidates: Mapping[str, ModelSettings]
) -> tuple[dict[str, LocatedModel], dict[str, GateError]]:
    """Locate all candidates before the first is evaluated, and say at once which ones are missing."""
    models: dict[str, LocatedModel] = {}
    errors: dict[str, GateError] = {}
    for name, settings in candidates.items():
        try:
            models[name] = locate_model(session.suite.loaded, settings)
        except GateError as error:
            _note(session, errors, name, error)
    if not models:
        raise next(iter(errors.values()))
    return models, errors


def _answer(
    session: Session, models: Mapping[str, LocatedModel], reference: Reference, errors: dict[str, GateError]
) -> tuple[dict[str, Answers], list[Evaluated]]:
    """Evaluate the candidates; add the errors of those that cannot be evaluated to `errors`."""
    answers: dict[str, Answers] = {}
    evaluated: list[Evaluated] = []
    for name, model in models.items():
        try:
            answers[name], one = answer_candidate(session, model, reference, name)
        except GateError as error:
            _note(session, errors, name, error)
        else:
            evaluated.append(one)
    if not answers:
        raise next(iter(errors.values()))
    return answers, evaluated


def _note(session: Session, errors: dict[str, GateError], name: str, error: GateError) -> None:
    session.reporter.message(f"candidate {name} cannot be evaluated: {error}")
    errors[name] = error


def _write(session: Session, reports: Reports, result: AnyResult, judged: Mapping[str, Judged]) -> None:
    """Write the report files that gate.yml names."""
    loaded = session.suite.loaded

    def write(path: str, text: str) -> None:
        write_text(loaded.folder / path, text)
        session.reporter.message(f"wrote {loaded.folder / path}")

    pairings = {name: one.pairing for name, one in judged.items()}
    reports.write(report_files(loaded.config.report.files, result, pairings, session.secrets), write)


def _record(session: Session, result: Result, run_id: str, name: str | None = None) -> Record:
    return Record(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        series=session.series,
        verdict=result.verdict,
        p_value=result.p_value,
        alpha=_level(result),
        drop=result.drop,
        flip_rate=result.flip_rate,
        baseline=str(result.baseline["fingerprint"]),
        candidate=str(result.candidate["fingerprint"]),
        name=name,
        run=run_id,
        evidence=_evidence(result),
    )


def _level(result: Result) -> float:
    """Return the level of the whole run: that of its final test, and what early stopping may spend before it."""
    if result.early_stop is None:
        return result.alpha
    candidates = 1 if result.adjustment is None else result.adjustment.candidates
    return result.alpha + candidates * result.early_stop.alpha


def _evidence(result: Result) -> RecordedEvidence | None:
    evidence = None if result.spending is None else result.spending.evidence
    if evidence is None:
        return None
    return RecordedEvidence(log_e_value=evidence.log_e_value, planned_runs=evidence.runs, items=evidence.items)
