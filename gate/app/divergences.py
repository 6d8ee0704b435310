"""What KL divergence needs of a run, found out before answers cost time: stored tokens, tokenizers, engines."""

from __future__ import annotations

from collections.abc import Collection

from gate.app.suite import Suite
from gate.config import GateConfig
from gate.errors import ConfigError
from gate.evaluation.recording import UNMEASURED_HINT, Recording
from gate.samples.behaviour import is_likelihood
from gate.store import SampleSet


def limited_tasks(config: GateConfig) -> frozenset[str]:
    """Return the names of the tasks whose KL divergence a limit needs."""
    together = config.distance.max_kl is not None
    return frozenset(
        task.name for task in config.tasks if task.max_kl is not None or (together and task.role == "gating")
    )


def require_measurable(suite: Suite) -> None:
    """Raise ConfigError if a limit needs the divergence along a given text, and a model is behind a server.

    Servers return no distributions along texts.
    """
    config = suite.loaded.config
    behind = [name for name, model in config.models.items() if config.engine_of(model).kind != "transformers"]
    texts = [task.name for task in suite.tasks if is_likelihood(task.metric)]
    refuse_unmeasured(limited_tasks(config).intersection(texts) if behind else (), f"{', '.join(behind)} on a server")


def refuse_unmeasured(tasks: Collection[str], cause: str) -> None:
    """Raise ConfigError if there are tasks; `cause` is why KL divergence is not measured on them."""
    if tasks:
        raise ConfigError(
            f"max_kl is set, but KL divergence cannot be measured on {', '.join(sorted(tasks))}: {cause}.",
            UNMEASURED_HINT,
        )


def too_few_tokens(suite: Suite, cached: SampleSet) -> bool:
    """Return whether KL divergence needs more tokens, positions or texts than the cached set stores.

    Sets of older versions, without drawn tokens, are kept: they give lower bounds at the first token.
    """
    wanted, stored = Recording.of(suite.loaded.config), cached.manifest
    if wanted.top and stored.texts is not None and stored.texts < min(wanted.texts, stored.items):
        return True
    if stored.top_tokens == "whole" or not wanted.top:
        return False
    if wanted.top == "whole" or stored.top_tokens < wanted.top:
        return True
    return stored.drawn_tokens > 0 and (stored.drawn_tokens < wanted.drawn or stored.positions < wanted.positions)


def only_bounds(suite: Suite, cached: SampleSet) -> bool:
    """Return whether a cached set has distributions, but no drawn tokens although they are asked for."""
    wanted, stored = Recording.of(suite.loaded.config), cached.manifest
    return bool(wanted.drawn and stored.top_tokens) and stored.top_tokens != "whole" and not stored.drawn_tokens
