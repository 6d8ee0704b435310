"""Compares the engine's fast scoring with plain scoring on the user's own model. The only check that loads a model."""

from __future__ import annotations

from gate.config import LoadedConfig, ModelSettings
from gate.doctor.finding import Finding
from gate.errors import GateError

_NOTICEABLE = 1e-3  # nats; float32 stays far below, lower precision and dynamic quantisers do not


def examine_scoring(loaded: LoadedConfig, settings: ModelSettings) -> Finding:
    """Load a candidate and compare its scores with those of scoring one choice at a time.

    A different choice is a warning, not a problem: in lower precision near ties depend on the batch, and both models
    are scored in the same way.
    """
    engine = loaded.config.engine_of(settings)
    if engine.kind != "transformers":
        return Finding("scoring", "ok", f"{settings.model} is scored by its server; there is nothing to check.")
    if settings.tokenizer == "baseline":
        settings = settings.model_copy(update={"tokenizer": loaded.config.baseline.model})
    from gate.engines import fetch, locate
    from gate.engines.hf.engine import TransformersEngine
    from gate.engines.hf.scoring.check import self_check

    try:
        source = fetch(locate(settings, loaded.folder, engine), engine, loaded.folder, None)
        report = self_check(TransformersEngine(source, engine).scorer)
    except GateError as error:
        return Finding("scoring", "problem", error.message, error.hint)
    text = (
        f"{settings.model} ({report.method}): {report.continuations} scores differ by at most "
        f"{report.max_difference:.2g} nats from scoring one choice at a time; "
        f"the same choice wins in {report.same_choice:.0%}."
    )
    if report.same_choice == 1.0 and (report.max_difference < _NOTICEABLE or report.same_top == 1.0):
        return Finding("scoring", "ok", text)
    return Finding(
        "scoring",
        "warn",
        text,
        "Small differences are normal in float16, bfloat16 and 8 bit. In float32, please report the model.",
    )
