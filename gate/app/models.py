"""The second stage of a run: a model is located and identified, then loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gate.app.reporter import Reporter
from gate.app.suite import Suite
from gate.config import EngineSettings, LoadedConfig, ModelSettings
from gate.engines import (
    Context,
    Engine,
    ModelIdentity,
    ModelSource,
    close_engine,
    fetch,
    identify,
    locate,
    open_engine,
)
from gate.errors import ModelError
from gate.store import SampleSet


@dataclass(frozen=True)
class LocatedModel:
    """A model that was located and identified, but not loaded."""

    source: ModelSource
    identity: ModelIdentity
    engine: EngineSettings


def locate_model(loaded: LoadedConfig, settings: ModelSettings) -> LocatedModel:
    """Locate and identify a model.

    Raises
    ------
    ModelError, EvaluationError
        There is no such model, its files are damaged, or its server cannot be reached.
    """
    engine = loaded.config.engine_of(settings)
    source = locate(settings, loaded.folder, engine)
    return LocatedModel(source, identify(source, engine, loaded.folder), engine)


def load_model(suite: Suite, model: LocatedModel, reporter: Reporter, baseline: LocatedModel | None = None) -> Engine:
    """Load a model, connect to its server, or start one; `close_engine` stops it.

    `baseline` provides the tokenizer if the model ships none.

    Raises
    ------
    ModelError, EvaluationError
        The model cannot be loaded.
    """
    suite.store.prepare()
    gc.collect()  # free the previous model, which a reference cycle may keep: both together need not fit
    tokenizer_source = None if baseline is None else baseline.source
    source = fetch(model.source, model.engine, suite.loaded.folder, tokenizer_source)
    context = Context(suite.loaded.folder.resolve(), suite.store.root.resolve() / "servers", reporter.message)
    return open_engine(source, model.engine, context)


@contextmanager
def opened(
    suite: Suite,
    model: LocatedModel,
    reporter: Reporter,
    baseline: LocatedModel | None = None,
    engine: Engine | None = None,
) -> Iterator[Engine]:
    """Load a model unless `engine` is it already, and stop its server, if it has one, at the end."""
    engine = engine or load_model(suite, model, reporter, baseline)
    try:
        yield engine
    finally:
        close_engine(engine)


def check_comparable(
    suite: Suite, model: LocatedModel, engine: Engine, baseline: Sequence[SampleSet], reporter: Reporter
) -> None:
    """Refuse a candidate whose tokenizer or end-of-text tokens are not the baseline's.

    Raises
    ------
    ModelError
        They differ.
    """
    record, runtime = baseline[0].manifest.model, engine.runtime
    # a server may not say which tokenizer it uses; the report then notes that
    if not (runtime.tokenizer and record.loaded_tokenizer):
        reporter.message("  the engine does not report its tokenizer, so it is not compared with the baseline's")
    elif runtime.tokenizer != record.loaded_tokenizer:
        raise ModelError(
            f"candidate {model.identity.name}: its tokenizer is not the baseline's. The same text would become other "
            "tokens, and the comparison would no longer measure the weights alone.",
            "Set candidate.tokenizer: baseline, or copy the baseline's tokenizer files into the candidate's folder.",
        )
    ends = list(runtime.end_tokens)
    generates = any(task.generates for task in suite.tasks)
    if generates and ends and record.end_tokens and ends != record.end_tokens:
        raise ModelError(
            f"candidate {model.identity.name}: its generated text ends at the tokens {ends}, the baseline's at "
            f"{record.end_tokens}. One would continue where the other stops.",
            "Copy the baseline's generation_config.json into the candidate's folder.",
        )
