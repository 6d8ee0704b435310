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
from gate.engines.hf.scoring.forward import Forward
from gate.engines.hf.scoring.prefix_cache import PrefixCache
from gate.engines.hf.scoring.trees import Tree, build_tree, unpacked
from gate.engines.tokens.rows import Row, Target
from gate.errors import first_line

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
        See `Forward`.
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


def choose_method(loaded: LoadedModel) -> Method:
    """Return the fastest method whose logits are those of plain rows; log a warning if that is plain rows."""
    rows = _probe_rows(loaded)
    gathered, plain, noise = _probe_head(loaded, rows)
    capabilities = loaded.capabilities
    window = capabilities.window
    if capabilities.obstacle:
        reason = capabilities.obstacle
    elif capabilities.remote_code:
        reason = "its code comes from the model repository, so its attention is unknown"
    elif window is not None and window < _MIN_WINDOW:
        reason = f"it has a sliding window of {window} tokens"
    else:
        reason = _probe_packing(Forward(loaded, gathered), rows, plain, noise)
    if reason:
        _LOG.warning("the model scores one choice per row, without shared contexts: %s", reason)
        return Method(packed=False, gathered=gathered, reason=reason)
    if window is not None:
        _LOG.info("rows longer than %d tokens are scored without shared contexts", window)
    return Method(packed=True, gathered=gathered, window=window)


def _probe_head(loaded: LoadedModel, rows: Sequence[Row]) -> tuple[bool, torch.Tensor, torch.Tensor]:
    """Probe whether the LM head may see the needed positions only.

    Also returns the logits of plain rows, and how far a batch of another shape changes them (nats).
    """
    trees = unpacked(rows).trees
    expected = _logits(Forward(loaded, gathered=False), trees)
    first_two = expected[: sum(len(target.ids) for tree in trees[:2] for target in tree.targets)]
    if loaded.model.get_output_embeddings() is not None:
        try:
            gathered = _logits(Forward(loaded, gathered=True), trees[:2])
        except (RuntimeError, ValueError, TypeError, IndexError):
            pass
        else:
            distances = logit_distances(gathered, first_two)
            effect = logit_distances(expected, expected.roll(1, 0)).mean()  # of logits at the wrong position
            close = distances.max() <= tolerance(loaded.model.dtype) and distances.mean() <= _EFFECT * effect
            if _broken(expected) or bool(close):
                return True, expected, distances
    return False, expected, logit_distances(_logits(Forward(loaded, gathered=False), trees[:2]), first_two)


def _probe_packing(run: Forward, rows: Sequence[Row], plain: torch.Tensor, noise: torch.Tensor) -> str:
    """Compare the logits of packed rows, with and without a prefix, with plain ones; return what is wrong or ""."""
    rows = sorted(rows, key=lambda row: row.tokens)
    tree, small = build_tree(rows, 0), build_tree(rows[:2], 0)  # of two sizes, so that there is padding
    size, count = len(tree.tokens), len(plain)
    flat = Tree(tree.tokens, list(range(size)), [size] * size, tree.targets)  # as if the mask were ignored
    prefix = rows[0].tokens[: _CONTEXT - 3]
    try:
        logits = _logits(run, [tree, small, flat])
        packed, unmasked = logits[:count], logits[-count:]
        cache = PrefixCache().get(prefix, run.prefill)
        trees = [build_tree(rows, len(prefix)), build_tree(rows[:2], len(prefix))]
        first = _logits(run, trees, cache)[:count]
        second = _logits(run, trees[:1], cache)  # shows whether the first batch changed the cache
    except Exception as error:  # models fail in many ways; this one is scored in plain rows
        return f"a packed row fails: {type(error).__name__}: {first_line(error)[:120]}"
    if _broken(plain):
        return ""
    largest = max(tolerance(run.loaded.model.dtype), _NOISE * float(noise.max()))
    effect = float(logit_distances(unmasked, plain).mean())
    mean = max(_EFFECT * effect, float(noise.mean()))
    for name, logits in (("packed", packed), ("prefixed", first), ("prefixed", second)):
        distances = logit_distances(logits, plain)
        worst = float(distances.max())
        if not (worst <= largest and float(distances.mean()) <= mean):
            return f"{name} rows differ from plain rows by up to {worst:.2g} nats per token in a probe"
    return ""


def _broken(logits: torch.Tensor) -> bool:
    """Tell whether the weights give NaN; then there is nothing to compare, and the scores will be NaN too."""
    return bool(logits.isnan().any())


def _logits(run: Forward, trees: Sequence[Tree], prefix: Cache | None = None) -> torch.Tensor:
    """Return the logits that predict the tokens of all targets, in the order of trees and continuations."""
    needed = [
        (row, at)
        for row, tree in enumerate(trees)
        for target in sorted(tree.targets, key=lambda target: target.indices)
        for at in target.at
    ]
    return run.logits(trees, needed, prefix)


def _probe_rows(loaded: LoadedModel) -> list[Row]:
    """Return three rows with a common context, each with one target; two of them share two more tokens."""
    ids = probe_tokens(loaded.tokenizer)
    context = ids[:_CONTEXT]
    rows = []
    for number, rest in enumerate((ids[8:13], ids[8:10] + ids[20:24], ids[30:37])):
        tokens = (*context, *rest[:-1])
        rows.append(Row(tokens, (Target((0, number), len(tokens), tuple(rest)),)))
    return rows
