"""The A/A control: the baseline answers again on the candidate's stack, so that the decision compares models only.

B is the cached baseline, C the candidate. A is the baseline's weights with the candidate's engine, device, compute
dtype and batch settings. Where the stack of B is that of C, B itself is A, and A' is a second run in other batches.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gate.app.control_model import NotPossibleError, control_model
from gate.app.evaluate import Evaluated, baseline_sets, candidate_sets
from gate.app.models import LocatedModel, load_model
from gate.app.reporter import Reporter
from gate.app.suite import Suite
from gate.common.canonical import digest
from gate.decision.noise import Control, excess, noise_floor
from gate.engines import Engine, close_engine
from gate.errors import ConfigError, StartError, first_line
from gate.evaluation.plan import items_per_data_file
from gate.samples import Pairing, pair
from gate.samples.stack import Differences, describe, known_stack, stack_differences
from gate.store import SampleSet, as_samples
from gate.tasks import Item, Task


@dataclass(frozen=True)
class ControlRun:
    """What a candidate is compared with, and two runs of the baseline.

    Attributes
    ----------
    reference : list of SampleSet
        The baseline's sets that the decision uses, one per task: A, or B.
    control : Control or None
        What differs between the stacks; None where there is nothing to report.
    first, second : list of SampleSet
        The two runs of the baseline that show the noise: B and A, or A and A'. Empty without a control.
    """

    reference: list[SampleSet]
    control: Control | None = None
    first: Sequence[SampleSet] = ()
    second: Sequence[SampleSet] = ()

    def measured(self, suite: Suite, judged: Pairing | None = None) -> Control | None:
        """Return the control with its noise floor and, if a candidate was judged, its excess flips."""
        if self.control is None or not self.first:
            return self.control
        config = suite.loaded.config
        roles = {task.name: task.role for task in config.tasks}
        names = [task.name for task in suite.tasks if task.settings.judge is None]  # a judge compares with a candidate
        if not any(roles[name] == "gating" for name in names):
            return self.control
        noise = pair(as_samples(self.first), as_samples(self.second), names).tasks
        floor, tasks = noise_floor(noise, config.decision, roles, config.samples.seed)
        moved = None
        if judged is not None:
            gating = [one for one in judged.tasks if one.task in names and roles[one.task] == "gating"]
            moved = excess(gating, noise, "baseline" if self.control.kind == "stack" else "candidate")
        return self.control.model_copy(update={"floor": floor, "excess": moved, "tasks": tasks})


@dataclass(frozen=True)
class Again:
    """How the baseline answers again: even if the answers are cached (`force`), after `release` has freed memory."""

    force: bool = False
    release: Callable[[], None] = lambda: None


def controlled_sets(
    suite: Suite,
    candidate: LocatedModel,
    reporter: Reporter,
    baseline: LocatedModel,
    cached: list[SampleSet],
    *,
    force: bool = False,
    name: str | None = None,
) -> tuple[Evaluated, ControlRun]:
    """Evaluate the control that `decision.control` asks for, then the candidate against it.

    The candidate is loaded first: its stack is known only then, and a candidate that cannot be loaded should not cost a
    run of the baseline.

    Parameters
    ----------
    cached : list of SampleSet
        The baseline's sets, one per task (B).
    force : bool
        Evaluate the control even if it is cached.
    name : str, optional
        Name of the candidate among several.

    Raises
    ------
    ModelError, EvaluationError
        A model cannot be loaded or evaluated.
    ConfigError
        `control: always`, and the baseline cannot be evaluated on the candidate's stack.
    """
    run = ControlRun(cached)
    loaded: list[Engine] = []
    control = suite.loaded.config.decision.control
    if control != "never":
        loaded = [load_model(suite, candidate, reporter, baseline)]
        try:
            stack = loaded[0].runtime.stack
            differences = differences_of(cached, stack)
            if differences or control == "always":
                # the candidate leaves memory if the control is not cached: both models need not fit
                again = Again(force, lambda: _release(loaded))
                run = run_control(suite, baseline, candidate, cached, stack, differences, reporter, again)
        except BaseException:
            _release(loaded)
            raise
    evaluated = candidate_sets(
        suite,
        candidate,
        reporter,
        baseline=baseline,
        reference=run.reference,
        early_stop=True,
        name=name,
        engine=loaded[0] if loaded else None,
    )
    return evaluated, run


def _release(loaded: list[Engine]) -> None:
    for engine in loaded:
        close_engine(engine)
    loaded.clear()


def differences_of(cached: Sequence[SampleSet], stack: dict[str, str]) -> Differences:
    """Return what differs between the stacks of stored sets and another stack."""
    differences: Differences = {}
    for sample_set in cached:
        differences |= stack_differences(known_stack(sample_set.manifest.model.model_dump()), stack)
    return differences


def run_control(
    suite: Suite,
    baseline: LocatedModel,
    candidate: LocatedModel,
    cached: list[SampleSet],
    stack: dict[str, str],
    differences: Differences,
    reporter: Reporter,
    again: Again,
) -> ControlRun:
    """Evaluate the baseline again, unless the store has this control.

    Parameters
    ----------
    stack : dict
        The candidate's stack.
    differences : dict
        What differs between the stack of `cached` and `stack`.
    """
    always = suite.loaded.config.decision.control == "always"
    try:
        model, differences = control_model(suite, baseline, candidate, stack, differences)
    except NotPossibleError as error:
        if always:
            raise ConfigError(
                f"decision.control is always, but the baseline cannot be evaluated on the candidate's stack: {error}.",
                "Set decision.control: auto, which then compares with the cached baseline and says so.",
            ) from None
        reporter.message(f"  no control: {error}; the candidate is compared with the cached baseline")
        return ControlRun(cached, Control(kind="none", differences=differences, note=str(error)))
    if differences:
        try:
            return run_on_stack(suite, model, cached, stack, differences, reporter, again, tokenizers=baseline)
        except StartError as error:
            if always:
                raise
            reporter.message(f"  no control: {error}\n  The candidate is compared with the cached baseline.")
            return ControlRun(cached, Control(kind="none", differences=differences, note=first_line(error)))
    if not always:  # the same weights under other settings, which are then what the run tests
        return ControlRun(cached)
    return second_run(suite, baseline, cached, stack, reporter, again)


def run_on_stack(
    suite: Suite,
    model: LocatedModel,
    cached: list[SampleSet],
    stack: dict[str, str],
    differences: Differences,
    reporter: Reporter,
    again: Again,
    *,
    tokenizers: LocatedModel,
) -> ControlRun:
    """Evaluate the baseline on another stack than that of its cached answers (A)."""
    reporter.message(f"  the stacks differ ({describe(differences)}): the baseline answers again on this one")
    control = _marked(model, ["stack", stack])
    sets = baseline_sets(
        suite, control, reporter, again.force, title="control", tokenizers=tokenizers, release=again.release
    )
    return ControlRun(sets, Control(kind="stack", differences=differences), cached, sets)


def second_run(
    suite: Suite,
    model: LocatedModel,
    first: list[SampleSet],
    stack: dict[str, str],
    reporter: Reporter,
    again: Again,
) -> ControlRun:
    """Evaluate the baseline a second time on the same stack, in other batches (A')."""
    tokens = model.engine.max_batch_tokens
    if isinstance(tokens, int):
        model = replace(model, engine=model.engine.model_copy(update={"max_batch_tokens": max(1, tokens // 2)}))
    known = suite.loaded.config.distance.kl and first[0].manifest.model.loaded_tokenizer
    second = baseline_sets(
        suite,
        _marked(model, ["second run", stack]),
        reporter,
        again.force,
        title="second run of",
        reference=first if known else (),
        groups=other_batches,
        release=again.release,
    )
    return ControlRun(first, Control(kind="repeat", differences={}), first, second)


def other_batches(task: Task) -> list[list[Item]]:
    """Return the items in a random order, in data files of half the size: batches never span data files."""
    items = list(task.items)
    random.Random(task.fingerprint).shuffle(items)  # noqa: S311 - not for security
    size = max(1, -(-min(len(items), items_per_data_file(task)) // 2))
    return [items[start : start + size] for start in range(0, len(items), size)]


def _marked(model: LocatedModel, control: list[object]) -> LocatedModel:
    """Return the model with an identity of its own, so that the store separates the control from other runs."""
    return replace(model, identity=replace(model.identity, control=digest(control)[:16]))
