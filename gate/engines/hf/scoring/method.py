"""Choose how to score with a model: what its configuration rules out, and a probe for the rest."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache

from gate.engines.hf import SCORING
from gate.engines.hf.model.capabilities import logit_distances, probe_tokens, tolerance
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.scoring.forward import Forward, Position
from gate.engines.hf.scoring.prefix_cache import PrefixCache
from gate.engines.hf.scoring.trees import Tree, build_tree, unpacked
from gate.engines.tokens.rows import Row, Target

_LOG = logging.getLogger(__name__)

_NOISE = 4.0  # packing may change logits by this many times as much as another batch shape does
_EFFECT = 0.1  # and on average by this part of the change that ignoring the mask makes
_MIN_WINDOW = 64  # tokens; a smaller window leaves nothing to pack
_CONTEXT = 8  # tokens that the probe's sequences share


@dataclass(frozen=True)
class Method:
    """How log-likelihoods are computed.

    Attributes
    ----------
    packed : bool
        Whether choices are branches of packed rows and shared prefixes are computed once; otherwise each choice is a
        row of its own.
    gathered : bool
        Whether only the needed positions go through the LM head.
    window : int or None
        Rows with more tokens are not packed: an attention window would cut through the packed row.
    reason : str
        Why rows are not packed; empty if they are.
    """

    packed: bool
    gathered: bool
    window: int | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """The name in sample sets; equal for all models that are scored the same way."""
        return SCORING if self.packed else f"{SCORING} (plain rows)"


@dataclass(frozen=True)
class _Probe:
    """Token sequences, the logits that plain rows give, and how far a batch of another shape changes these."""

    sequences: list[list[int]]
    plain: torch.Tensor
    noise: torch.Tensor


def choose_method(loaded: LoadedModel) -> Method:
    """Return the fastest method whose logits are those of plain rows; log a warning if that is plain rows."""
    capabilities = loaded.capabilities
    gathered, probe = _probe_head(loaded)
    reason = capabilities.obstacle
    if not reason and capabilities.remote_code:
        reason = "its code comes from the model repository, so its attention is unknown"
    if not reason and capabilities.window is not None and capabilities.window < _MIN_WINDOW:
        reason = f"it has a sliding window of {capabilities.window} tokens"
    if not reason:
        reason = _probe_packing(loaded, gathered, probe)
    if reason:
        _LOG.warning("the model scores one choice per row, without shared contexts: %s", reason)
        return Method(packed=False, gathered=gathered, reason=reason)
    if capabilities.window is not None:
        _LOG.info("rows longer than %d tokens are scored without shared contexts", capabilities.window)
    return Method(packed=True, gathered=gathered, window=capabilities.window)


def _probe_head(loaded: LoadedModel) -> tuple[bool, _Probe]:
    """Score three short sequences; tell whether the LM head may see the needed positions only."""
    sequences = _sequences(loaded)
    trees = unpacked([_row(ids) for ids in sequences]).trees
    plain = Forward(loaded, gathered=False)
    expected = _logits(plain, trees)
    first_two = slice(0, sum(len(target.ids) for tree in trees[:2] for target in tree.targets))
    if loaded.model.get_output_embeddings() is not None:
        try:
            gathered = _logits(Forward(loaded, gathered=True), trees[:2])
        except (RuntimeError, ValueError, TypeError, IndexError):
            pass
        else:
            distances = logit_distances(gathered, expected[first_two])
            effect = logit_distances(expected, expected.roll(1, 0)).mean()  # of logits at the wrong position
            close = distances.max() <= tolerance(loaded.model.dtype) and distances.mean() <= _EFFECT * effect
            if _broken(expected) or bool(close):
                return True, _Probe(sequences, expected, distances)
    noise = logit_distances(_logits(plain, trees[:2]), expected[first_two])
    return False, _Probe(sequences, expected, noise)


def _probe_packing(loaded: LoadedModel, gathered: bool, probe: _Probe) -> str:
    """Compare the logits of packed rows, with and without a prefix, with plain ones; return what is wrong or ""."""
    run = Forward(loaded, gathered)
    rows = sorted((_row(ids) for ids in probe.sequences), key=lambda row: row.tokens)
    tree, small = build_tree(rows, 0), build_tree(rows[:2], 0)  # of two sizes, so that there is padding
    size, count = len(tree.tokens), len(probe.plain)
    flat = Tree(tree.tokens, list(range(size)), [size] * size, tree.targets)  # as if the mask were ignored
    prefix = rows[0].tokens[: _CONTEXT - 3]
    try:
        logits = _logits(run, [tree, small, flat])
        packed, unmasked = logits[:count], logits[-count:]
        cache = PrefixCache().get(prefix, lambda empty: run.prefill(prefix, empty))
        trees = [build_tree(rows, len(prefix)), build_tree(rows[:2], len(prefix))]
        first = _logits(run, trees, cache)[:count]
        second = _logits(run, trees[:1], cache)  # shows whether the first batch changed the cache
    except Exception as error:  # models fail in many ways; this one is scored in plain rows
        message = str(error).strip().splitlines() or [""]
        return f"a packed row fails: {type(error).__name__}: {message[0][:120]}"
    if _broken(probe.plain):
        return ""
    largest = max(tolerance(loaded.model.dtype), _NOISE * float(probe.noise.max()))
    effect = float(logit_distances(unmasked, probe.plain).mean())
    mean = max(_EFFECT * effect, float(probe.noise.mean()))
    for name, logits in (("packed", packed), ("prefixed", first), ("prefixed", second)):
        distances = logit_distances(logits, probe.plain)
        worst = float(distances.max())
        if not (worst <= largest and float(distances.mean()) <= mean):
            return f"{name} rows differ from plain rows by up to {worst:.2g} nats per token in a probe"
    return ""


def _broken(logits: torch.Tensor) -> bool:
    """Tell whether the weights give NaN; then there is nothing to compare, and the scores will be NaN too."""
    return bool(logits.isnan().any())


def _logits(run: Forward, trees: Sequence[Tree], prefix: Cache | None = None) -> torch.Tensor:
    """Return the logits that predict the tokens of all targets, in the order of trees and continuations."""
    needed: list[tuple[int, int, Position]] = []
    for row, tree in enumerate(trees):
        for target in tree.targets:
            needed += [(row, target.place[1], (row, at)) for at in target.at]
    needed.sort(key=lambda entry: entry[:2])
    return run.logits(trees, [position for *_, position in needed], prefix)


def _sequences(loaded: LoadedModel) -> list[list[int]]:
    """Return three token sequences with a common context; two of them share two more tokens."""
    ids = probe_tokens(loaded.tokenizer)
    context = ids[:_CONTEXT]
    return [context + ids[8:13], context + ids[8:10] + ids[20:24], context + ids[30:37]]


def _row(ids: Sequence[int]) -> Row:
    # lengths differ, so they number the continuations
    return Row(tuple(ids[:-1]), (Target((0, len(ids)), len(ids) - 1, tuple(ids[_CONTEXT:])),))
