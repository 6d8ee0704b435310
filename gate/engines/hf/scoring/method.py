"""Which ways of scoring hold for the model that was loaded: what its configuration says, and what a probe finds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gate.engines.hf import SCORING
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.scoring.forward import Forward, Place
from gate.engines.hf.scoring.prefix_cache import Prefixes
from gate.engines.hf.scoring.trees import Tree, chains, grow
from gate.engines.tokens.requests import Row, Target

_LOG = logging.getLogger(__name__)

_TEXT = (
    "The train to the coast leaves at nine, and the last one back is full of people who carry shells, wet dogs and "
    "sand in their shoes. Which of them will tell at home what the sea was like? Most say: blue, cold, very large."
)
_TOLERANCE = {
    torch.float32: 1e-4,
    torch.float64: 1e-6,
    torch.float16: 0.05,
}  # nats a token; 0.5 in other formats
_NOISE = 4.0  # packing may move a score so many times as much as padding and batching do anyway
_EFFECT = 0.1  # and on average by this part of what a model that ignores the mask would be off
_NARROW = 64  # a window over fewer tokens leaves nothing to pack
_CONTEXT = 8  # tokens that the probe's texts share
_MASKS = ("sdpa", "eager")  # implementations of attention that take a mask of four dimensions


@dataclass(frozen=True)
class Method:
    """How log-likelihoods are computed.

    Attributes
    ----------
    packed : bool
        Choices are branches of one row, and shared prefixes are computed once; else each choice is a row of its own.
    gathered : bool
        Only needed positions go through the LM head.
    longest : int or None
        Rows over so many tokens are scored plainly all the same: a sliding window would cut through a packed row.
    reason : str
        Why packing does not hold; empty where it does.
    """

    packed: bool
    gathered: bool
    longest: int | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """What the records say; the same for all models that are scored the same way."""
        return SCORING if self.packed else f"{SCORING} (plain rows)"


@dataclass(frozen=True)
class Probe:
    """Texts, the plain scores of their tokens (nats), and how far these move in a batch of another shape."""

    texts: list[list[int]]
    plain: torch.Tensor
    noise: torch.Tensor


def choose_method(loaded: LoadedModel, multiple: int) -> Method:
    """Find the fastest way that gives a model's plain scores, and log where that is the plain one.

    Parameters
    ----------
    loaded : LoadedModel
    multiple : int
        Rows are padded to a multiple of this.
    """
    gathered, probe = _probe(loaded, multiple)
    longest = _window(loaded.model.config)
    reason = _unfit(loaded.model)
    if not reason and longest is not None and longest < _NARROW:
        reason = f"a sliding window of {longest} tokens"
    if not reason:
        reason = _differs(loaded, multiple, gathered, probe)
    if reason:
        _LOG.warning("choices are scored one row each, without shared contexts: %s", reason)
        return Method(False, gathered, reason=reason)
    if longest is not None:
        _LOG.info("rows over the model's window of %d tokens are scored without shared contexts", longest)
    return Method(True, gathered, longest)


def _unfit(model: Any) -> str:
    """Return why packing cannot hold whatever a short probe would find; empty where it may."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    other = kinds - {"full_attention", "sliding_attention", "chunked_attention"}
    if getattr(model.config, "is_encoder_decoder", False):
        return "an encoder-decoder model"
    if getattr(model, "_is_stateful", False) or other:
        return f"a recurrent or hybrid model ({', '.join(sorted(other)) or type(model).__name__})"
    if type(model).__module__.startswith("transformers_modules"):
        return "code of the model repository, whose attention is not known"
    if getattr(config, "alibi", False) or config.model_type in ("bloom", "mpt"):
        return "positions by attention bias (ALiBi), which follow the row and not the text"
    attention = model.config._attn_implementation
    if attention not in _MASKS:
        return f"attention {attention} takes no mask of four dimensions (set attn_implementation: sdpa)"
    return ""


def _window(config: Any) -> int | None:
    """Return the number of tokens within which every token sees all before it, None where that has no end.

    Counts whatever a configuration calls a window, and the length at which rotary embeddings change with the input's.
    """
    config = config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    found = []
    for name, value in config.to_dict().items():
        size = "window" in name and not name.endswith(("_layers", "_pattern"))
        windowed = size or name == "attention_chunk_size"
        if windowed and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            found.append(value)
    if (kinds and set(kinds) == {"full_attention"}) or getattr(config, "use_sliding_window", None) is False:
        found = []
    rope = getattr(config, "rope_parameters", None) or {}
    for one in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        if one.get("rope_type") in ("dynamic", "longrope"):
            first = one.get("original_max_position_embeddings") or config.max_position_embeddings
            found.append(int(first))
    return min(found, default=None)


def _probe(loaded: LoadedModel, multiple: int) -> tuple[bool, Probe]:
    """Score three short texts plainly; tell whether the LM head may see only needed positions."""
    texts = _texts(loaded)
    rows = chains([_row(ids) for ids in texts]).trees
    plain = Forward(loaded, multiple, gathered=False)
    expected = _scores(plain, rows)
    some = slice(0, sum(len(target.ids) for row in rows[:2] for target in row.targets))
    if loaded.model.get_output_embeddings() is not None:
        try:
            found = _scores(Forward(loaded, multiple, gathered=True), rows[:2])
        except (RuntimeError, ValueError, TypeError, IndexError):
            pass
        else:
            effect = (expected - expected.roll(1)).abs().mean()  # of taking another position's
            off = (found - expected[some]).abs()
            if _broken(expected) or bool(off.max() <= _tolerance(loaded) and off.mean() <= _EFFECT * effect):
                return True, Probe(texts, expected, off)
    return False, Probe(texts, expected, (_scores(plain, rows[:2]) - expected[some]).abs())


def _differs(loaded: LoadedModel, multiple: int, gathered: bool, probe: Probe) -> str:
    """Compare packed and prefixed scores with plain ones; return what is wrong, empty where nothing is."""
    run = Forward(loaded, multiple, gathered)
    rows = sorted((_row(ids) for ids in probe.texts), key=lambda row: row.tokens)
    tree, short = grow(rows, 0), grow(rows[:2], 0)  # of two shapes, so that there is padding
    size, count = len(tree.tokens), len(probe.plain)
    flat = Tree(tree.tokens, list(range(size)), [size] * size, tree.targets)  # as if the mask were ignored
    prefix = rows[0].tokens[: _CONTEXT - 3]
    try:
        scores = _scores(run, [tree, short, flat])
        packed, ignored = scores[:count], scores[-count:]
        cache = Prefixes().get(prefix, lambda empty: run.fill(prefix, empty))
        trees = [grow(rows, len(prefix)), grow(rows[:2], len(prefix))]
        first = _scores(run, trees, cache)[:count]
        again = _scores(run, trees[:1], cache)  # finds what was written into the shared cache
    except Exception as error:  # a model may refuse in any way it likes; then it is scored plainly
        said = str(error).strip().splitlines() or [""]
        return f"a packed row fails: {type(error).__name__}: {said[0][:120]}"
    if _broken(probe.plain):
        return ""
    allowed = max(_tolerance(loaded), _NOISE * float(probe.noise.max()))
    average = max(_EFFECT * float((ignored - probe.plain).abs().mean()), float(probe.noise.mean()))
    for name, scores in (("packed", packed), ("prefixed", first), ("prefixed", again)):
        off = (scores - probe.plain).abs()
        if not (float(off.max()) <= allowed and float(off.mean()) <= average):
            return f"{name} rows are off plain ones by up to {float(off.max()):.2g} nats a token in a probe"
    return ""


def _broken(scores: torch.Tensor) -> bool:
    """Tell whether the weights are: there is nothing to compare then, and the answers will say so."""
    return bool(scores.isnan().any())


def _scores(run: Forward, trees: Sequence[Tree], prefix: Any = None) -> torch.Tensor:
    """Return the log-probabilities (float32, nats) of all targets' tokens, in the order of their continuations."""
    read: list[tuple[tuple[int, int], Place, int]] = []
    for row, tree in enumerate(trees):
        for target in tree.targets:
            for at, token in zip(target.at, target.ids, strict=True):
                read.append(((row, target.place[1]), (row, at), token))
    read.sort(key=lambda one: one[0])
    logits = run.logits(trees, [place for _, place, _ in read], prefix).float().log_softmax(dim=1)
    return logits[torch.arange(len(read)), [token for _, _, token in read]].cpu()


def _texts(loaded: LoadedModel) -> list[list[int]]:
    """Return three texts that share their first tokens; two of them share two more."""
    ids = list(loaded.tokenizer([_TEXT], add_special_tokens=False)["input_ids"][0])
    ids = (ids * (48 // max(1, len(ids)) + 1))[:48]
    context = ids[:_CONTEXT]
    return [context + ids[8:13], context + ids[8:10] + ids[20:24], context + ids[30:37]]


def _row(ids: Sequence[int]) -> Row:
    # lengths differ, so they name the continuations
    return Row(tuple(ids[:-1]), (Target((0, len(ids)), len(ids) - 1, tuple(ids[_CONTEXT:])),))


def _tolerance(loaded: LoadedModel) -> float:
    return _TOLERANCE.get(loaded.model.dtype, 0.5)
