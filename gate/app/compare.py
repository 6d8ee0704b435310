"""Sample sets of a baseline and of one or several candidates to verdicts, without a model."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from gate.app.file_policy import directions, file_policy
from gate.app.judge import Answers, judge
from gate.app.policy import DecisionKeywords, smoothing_of
from gate.app.samples import load_samples
from gate.app.slices import slices_of_columns, slices_of_config
from gate.common.smoothing import base_metric
from gate.errors import ConfigError
from gate.importers.renamed import with_names_of
from gate.report import Result, build_result
from gate.report.candidates import CandidatesResult, join_results
from gate.samples import ModelSamples, Pairing

if TYPE_CHECKING:
    from gate.config import LoadedConfig

Samples = str | os.PathLike[str] | ModelSamples
_READERS = 2


class CompareOptions(DecisionKeywords, total=False):
    """Keyword arguments of `compare`."""

    config: LoadedConfig | str | os.PathLike[str] | None
    metric: str | None
    smoothing: float | None
    filter_name: str | None
    tasks: Sequence[str]
    lower_is_better: Sequence[str]
    higher_is_better: Sequence[str]
    advisory: Sequence[str]
    slices: Sequence[str]
    allow_partial: bool
    seed: int | None
    max_flip_rate: float | None
    max_kl: float | None


def compare(baseline: Samples, candidate: Samples, **options: Unpack[CompareOptions]) -> Result:
    r"""Compare two sets of samples and judge the candidate; what `gate compare` does.

    Parameters
    ----------
    baseline, candidate : path or ModelSamples
        See `load_samples` for the formats.
    **options
        Any of the following.
    config : path or LoadedConfig, optional
        A gate.yml whose policy is applied: its `decision`, `distance` and `samples.seed`, and the role, the policy and
        the slices of each task. Its tasks are compared, and its models are ignored. Arguments that are given replace
        its keys. `alpha_spending` and `early_stop` do not apply to files.
    metric, filter_name : str, optional
        Metric and filter to compare if the files have several. acc_smooth and acc_norm_smooth are computed from the
        log-likelihoods of the choices.
    smoothing : float, optional
        Noise (nats) over which acc_smooth and acc_norm_smooth average accuracy, above 0 and at most 0.5. Default: 0.2.
    tasks : sequence of str
        Compare only these tasks. Default: all.
    lower_is_better, higher_is_better : sequence of str
        Metrics of which lower or higher values are better. Scores of the former are compared with their sign changed.
        Needed only where neither the name of the metric nor the file tells.
    advisory : sequence of str
        Report these tasks, but do not judge by them.
    slices : sequence of str
        Columns of the baseline's CSV, JSON, JSONL or Parquet file: also report each part of a task with one value, or
        for numbers each quarter. Slices never decide.
    allow_partial : bool, default False
        Compare the items that both sides have, and say what is left out. By default a missing item is an error.
    seed : int, optional
        Seed of the Monte Carlo draws. Default: that of `config`, else 0.
    max_flip_rate : float, optional
        FAIL if a larger proportion of items flips.
    max_kl : float, optional
        FAIL if the mean KL divergence (nats) is larger.
    alpha, rule, margin, certify, power, on_inconclusive, max_truncated, max_broken, draws
        Keys of gate.yml's `decision` section.

    Returns
    -------
    Result

    Raises
    ------
    SampleError
        A file cannot be read, or the two sides do not pair.
    ConfigError
        No such task, no gating task, or a decision setting is unknown or out of range.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import gate
    >>> with TemporaryDirectory() as folder:
    ...     for name, right in ("a", 1), ("b", 0):
    ...         rows = [f"faq,{item},x,x,{right}" for item in range(10)]
    ...         text = "\n".join(["task,item_id,output,target,correct", *rows])
    ...         _ = (Path(folder) / f"{name}.csv").write_text(text)
    ...     result = gate.compare(Path(folder) / "a.csv", Path(folder) / "b.csv")
    >>> result.verdict, round(result.p_value, 6)
    ('FAIL', 0.000977)
    """
    return compare_samples(baseline, {"candidate": candidate}, None, options)["candidate"][0]


def compare_candidates(
    baseline: Samples,
    candidates: Mapping[str, Samples],
    **options: Unpack[CompareOptions],
) -> CandidatesResult:
    r"""Compare the samples of several candidates with those of one baseline; what `gate compare` does with several.

    Parameters
    ----------
    baseline : path or ModelSamples
    candidates : mapping of str to path or ModelSamples
        By name: up to 40 letters and digits, separated by single . _ -
    **options
        The other parameters of `compare`. alpha limits the probability of any false FAIL of the tests among the
        candidates.

    Returns
    -------
    CandidatesResult
        `result["int8"]` is the `Result` of the candidate int8.

    Raises
    ------
    SampleError, ConfigError
        As for `compare`, for any candidate.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import gate
    >>> with TemporaryDirectory() as folder:
    ...     for name, right in ("base", 30), ("int8", 29), ("int4", 18):
    ...         rows = [f"faq,{item},x,x,{int(item < right)}" for item in range(30)]
    ...         text = "\n".join(["task,item_id,output,target,correct", *rows])
    ...         _ = (Path(folder) / f"{name}.csv").write_text(text)
    ...     candidates = {name: Path(folder) / f"{name}.csv" for name in ("int8", "int4")}
    ...     result = gate.compare_candidates(Path(folder) / "base.csv", candidates)
    >>> result.verdict, {name.name: name.result.verdict for name in result.candidates}
    ('FAIL', {'int8': 'PASS', 'int4': 'FAIL'})
    """
    compared = compare_samples(baseline, candidates, None, options)
    return join_results({name: result for name, (result, _) in compared.items()})


def candidate_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each candidate from its path: unique, and safe in file names; a single one is "candidate"."""
    if len(paths) == 1:
        return ["candidate"]
    names: list[str] = []
    for path in paths:
        stem = path.name if path.is_dir() else path.name.split(".")[0]
        words = re.findall(r"[A-Za-z0-9]+", stem if stem.strip(".") else path.resolve().name)
        name = base = "-".join(words)[:34].strip("-") or "candidate"
        number = 2
        while name.lower() in {"baseline", *(other.lower() for other in names)}:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return names


def compare_samples(
    baseline: Samples,
    candidates: Mapping[str, Samples],
    command: str | None,
    options: CompareOptions,
    on_read: Callable[[str, ModelSamples], None] | None = None,
) -> dict[str, tuple[Result, Pairing]]:
    """Return the result of each candidate and the paired samples behind it.

    `command` reproduces the results. `on_read` gets the samples of "baseline" and of each candidate, before they are
    paired.
    """
    metric, filter_name = options.pop("metric", None), options.pop("filter_name", None)
    smoothing = smoothing_of(metric, options.pop("smoothing", None))
    lower, higher = set(options.pop("lower_is_better", ())), set(options.pop("higher_is_better", ()))
    tasks, advisory = options.pop("tasks", ()), options.pop("advisory", ())
    slices = options.pop("slices", ())
    allow_partial, seed = options.pop("allow_partial", False), options.pop("seed", None)
    distance = {"max_flip_rate": options.pop("max_flip_rate", None), "max_kl": options.pop("max_kl", None)}
    config = options.pop("config", None)
    loaded = None
    if config is not None:
        from gate.app.suite import as_loaded  # loads the sections of models and tasks

        loaded = as_loaded(config)
    if not candidates:
        raise ConfigError("there is no candidate to compare with the baseline.")

    declared = [] if loaded is None else [task.name for task in loaded.config.tasks]
    own_lower, own_higher = directions(loaded)
    lower |= own_lower
    higher |= own_higher

    def read(side: Samples) -> ModelSamples:
        if isinstance(side, ModelSamples):
            return side
        return load_samples(
            side,
            metric=base_metric(metric),
            filter_name=filter_name,
            tasks=tasks or declared,
            lower_is_better=lower,
            higher_is_better=higher,
            allow_partial=allow_partial,
        )

    tell = on_read or (lambda _side, _samples: None)
    # Arrow decodes one side while the other is being arranged
    with ThreadPoolExecutor(_READERS) as pool:
        sides_read = pool.map(read, (baseline, *candidates.values()))
        reference = next(sides_read)
        tell("baseline", reference)
        answers = {}
        for name, candidate in zip(candidates, sides_read, strict=True):
            answers[name] = Answers(reference, with_names_of(reference, candidate))
            tell(name, answers[name].candidate)
    if loaded is not None and any(task.judge is not None for task in loaded.config.tasks):
        from gate.app.judged import with_judgements  # loads the client of model servers

        answers = {name: with_judgements(one, loaded.config, loaded.folder) for name, one in answers.items()}
    sides = [reference, *(one.candidate for one in answers.values())]
    available = dict.fromkeys(name for side in sides for name in (*side.tasks, *side.unread))
    files = file_policy(
        loaded,
        options,
        distance,
        tasks=tasks,
        advisory=advisory,
        seed=seed,
        available=list(available),
        allow_partial=allow_partial,
    )
    policy, notes = files.policy, list(files.notes)
    if slices:
        policy = replace(policy, slices=slices_of_columns(baseline, slices))
    elif loaded is not None:
        sliced, more = slices_of_config(loaded, baseline, reference, files.names)
        policy, notes = replace(policy, slices=sliced), [*notes, *more]
    if smoothing is not None:
        policy = replace(policy, smoothing=dict.fromkeys(available, smoothing))
    judged = judge(answers, policy, files.names, allow_partial=allow_partial)
    commands = [] if command is None else [command]
    results = {}
    for name, one in judged.items():
        pairing = replace(one.pairing, notes=(*notes, *one.pairing.notes))
        result = build_result(
            one.decision,
            pairing,
            reference,
            one.answers.candidate,
            policy.decision,
            policy.seed,
            commands,
            policies=policy.tasks,
        )
        results[name] = result, pairing
    return results
