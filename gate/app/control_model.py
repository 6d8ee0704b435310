"""The baseline's weights under the settings of a candidate: the model of the A/A control."""

from __future__ import annotations

from dataclasses import replace

from gate.app.models import LocatedModel
from gate.app.suite import Suite
from gate.config import EngineSettings, ModelSettings
from gate.engines import engine_name, identify, locate
from gate.engines.served.command import control_args
from gate.engines.stack import COMPUTE_DTYPES
from gate.errors import ModelError
from gate.samples.stack import Differences

_MACHINE = ("device", "hardware", "instructions", "features", "threads", "cuda")
_SOFTWARE = ("torch", "transformers", "scoring")


class NotPossibleError(Exception):
    """The baseline cannot be evaluated on the candidate's stack; the text says why."""


def control_model(
    suite: Suite, baseline: LocatedModel, candidate: LocatedModel, stack: dict[str, str], differences: Differences
) -> tuple[LocatedModel, Differences]:
    """Return the baseline's weights under the candidate's settings, and the differences that they remove.

    A candidate with the baseline's own weights differs in its settings alone: they are what the run tests. The baseline
    then keeps its settings, and only what the environment changed counts as a difference.
    """
    if not differences:
        return baseline, differences
    settings = candidate.source.settings
    model = with_settings_of(suite, baseline, settings, candidate.engine, stack.get("dtype", settings.dtype))
    if model.identity.weights != candidate.identity.weights:
        return model, differences
    kept = _environment(baseline.engine, candidate.engine)
    return baseline, {name: values for name, values in differences.items() if name in kept}


def with_settings_of(
    suite: Suite, baseline: LocatedModel, candidate: ModelSettings, engine: EngineSettings, dtype: str
) -> LocatedModel:
    """Return the baseline's weights with the engine settings and the compute dtype of a candidate.

    Raises
    ------
    NotPossibleError
        The candidate's server does not have the baseline, or only the baseline's server has it.
    EvaluationError
        The server is unreachable.
    """
    settings = baseline.source.settings
    if engine.kind == "openai":
        # the server's copy has neither a revision that could be checked nor another tokenizer than the candidate
        wanted = settings.model_copy(update={"revision": None, "tokenizer": candidate.tokenizer})
        return _served(suite, wanted, engine)
    if baseline.engine.kind == "openai":
        raise NotPossibleError(f"only a server has the weights of the baseline {settings.model}")
    if engine.kind == "served" and engine.preset not in ("vllm", "sglang"):
        formats = ["GGUF" if each.gguf_file else "safetensors" for each in (settings, candidate)]
        if formats[0] != formats[1]:
            program = engine.preset or (engine.command or ["the command"])[0]
            raise NotPossibleError(f"{program} serves {formats[1]}, but the baseline {settings.model} is {formats[0]}")
    if engine.kind == "served":
        own = baseline.engine.args if baseline.engine.kind == "served" else []
        engine = engine.model_copy(update={"args": control_args(engine.args, own)})
    # the baseline's code runs only if the user trusts the baseline
    engine = engine.model_copy(update={"trust_remote_code": baseline.engine.trust_remote_code})
    if dtype in COMPUTE_DTYPES:
        settings = settings.model_copy(update={"dtype": dtype})
    identity = replace(baseline.identity, dtype=settings.dtype, engine=engine_name(engine, suite.loaded.folder))
    return LocatedModel(replace(baseline.source, settings=settings), identity, engine)


def _served(suite: Suite, settings: ModelSettings, engine: EngineSettings) -> LocatedModel:
    from gate.engines.openai.identity import is_listed

    if not is_listed(settings, engine):
        raise NotPossibleError(f"the candidate's server does not list the baseline {settings.model}")
    try:
        source = locate(settings, suite.loaded.folder, engine)
        return LocatedModel(source, identify(source, engine, suite.loaded.folder), engine)
    except ModelError as error:
        raise NotPossibleError(error.message.rstrip(".")) from None


def _environment(baseline: EngineSettings, candidate: EngineSettings) -> set[str]:
    """Return the facts of a stack that the settings of the two engines do not choose."""
    names = set(_SOFTWARE)
    if baseline.device == candidate.device:
        names |= set(_MACHINE)
    if _program(baseline) == _program(candidate):
        names.add("server")
    return names


def _program(engine: EngineSettings) -> tuple[object, ...]:
    """Return the keys that choose a server."""
    return engine.kind, engine.base_url, engine.preset, engine.command, engine.python
