"""Compare the engine with plain forward passes, one sequence at a time, for any causal architecture of transformers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gate.engines.hf.engine  # noqa: F401 - before a fork, and once
from gate.engines.hf.generation.generate import generate_sequences
from gate.engines.hf.generation.paged import ignores_padding, paging_obstacle, supports_shared_prefix
from gate.engines.hf.generation.sequence import TokenSequence, make_sequences
from gate.engines.hf.model.batching import BatchLimit
from gate.engines.hf.scoring.scorer import Scorer
from gate.engines.tokens.sequences import generation_prompts, scored_sequences, texts_to_encode
from gate.engines.tokens.tokenizer import encode, prefix_token
from gate.errors import GateError
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest
from support.opened import open_model, silent
from support.tiny import WORDS, write_tiny_model
from support.tiny_configs import small_config

_LARGE = 50.0  # logits
_TOLERANCE = 1e-4  # nats per token, in float32
_TIE = 1e-3  # nats between the two likeliest tokens below which rounding may choose


def _words(count: int, seed: int) -> str:
    words = [word for word in WORDS if word.strip()]
    return " ".join(words[(seed * 7 + number * (seed + 3) + number**2 // 5) % len(words)] for number in range(count))


_SHORT_BLOCK = _words(40, 1) + "\n"  # with its question within every window
_LONG_BLOCK = _words(140, 2) + "\n"  # beyond every window, and long enough to share its pages


def _choices(seed: int, count: int) -> tuple[str, ...]:
    return tuple(" " + _words(1 + (seed + number) % 5, seed + 11 * number) for number in range(count))


def scoring_requests() -> list[LoglikelihoodRequest]:
    """Return requests of three kinds: short, after a common short block, and after a common long block."""
    short = [LoglikelihoodRequest(_words(2 + number, number), _choices(number, 3)) for number in range(6)]
    few_shot = [LoglikelihoodRequest(_SHORT_BLOCK + _words(4, number), _choices(number, 2)) for number in range(13)]
    long = [LoglikelihoodRequest(_LONG_BLOCK + _words(6, number), _choices(number, 2)) for number in range(5)]
    return [*short, *few_shot, *long]


def generation_requests() -> list[GenerateRequest]:
    """Return short prompts, and prompts with a common prefix."""
    prompts = [_words(3 + 4 * number, number) for number in range(4)]
    prompts += [_LONG_BLOCK + _words(3 + number, number) for number in range(4)]
    return [GenerateRequest(prompt, (), 14) for prompt in prompts]


@dataclass(frozen=True)
class Outcome:
    """What became of one architecture: ok, falls back, refused, not built, fails or wrong."""

    name: str
    kind: str
    note: str = ""
    scoring: str = ""
    generation: str = ""
    difference: float | None = None
    large: float | None = None

    @property
    def line(self) -> str:
        """The outcome for the terminal."""
        numbers = "" if self.difference is None else f"{self.difference:.1e} {self.large:.1e}"
        return f"{self.name}: {self.kind} {numbers} {self.note}"

    @property
    def row(self) -> str:
        """The outcome as a row of a Markdown table."""
        numbers = ["" if value is None else f"{value:.0e}" for value in (self.difference, self.large)]
        return " | ".join(["| " + self.name, self.kind, self.scoring, self.generation, *numbers, self.note + " |"])


def names() -> list[str]:
    """Return the architectures that AutoModelForCausalLM knows."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def verify(name: str, dtype: str = "float32") -> Outcome:
    """Save a tiny model of an architecture, load it with the engine, and compare scores and texts."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = small_model(name)
            with torch.no_grad():
                model(input_ids=torch.arange(2, 40)[None], use_cache=False)
            model.to(getattr(torch, dtype)).save_pretrained(write_tiny_model(Path(folder)))
        except Exception as error:  # the architecture needs more than text, or a package that is not installed
            return Outcome(name, "not built", _first_line(error))
        try:
            engine = open_model(Path(folder), dtype=dtype)
        except GateError as error:
            return Outcome(name, "refused", _first_line(error).replace(str(folder), "DIR"))
        try:
            return _compare(name, engine)
        except GateError as error:
            return Outcome(name, "refused", _first_line(error))
        except Exception as error:
            return Outcome(name, "fails", _first_line(error))


def small_model(name: str) -> Any:
    """Build a tiny model with random weights that are large enough to tell its parts apart."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(small_config(name)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.is_floating_point():
                continue
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def _compare(name: str, engine: Any) -> Outcome:
    loaded = engine._loaded
    method, obstacle = engine.scorer.method, paging_obstacle(loaded)
    scoring = "packed" if method.packed else "plain rows"
    generation = "static" if obstacle else "paged, shared prefix" if supports_shared_prefix(loaded) else "paged"
    if obstacle and not ignores_padding(loaded):
        generation += ", one at a time"
    window = loaded.capabilities.window
    notes = [f"length bound {window}"] if window else []
    if not method.packed or obstacle:
        notes.append(method.reason or str(obstacle))
    requests = scoring_requests()
    difference = score_difference(engine, requests)
    texts, contradictions = _wrong_texts(engine)
    large = None
    head = loaded.model.get_output_embeddings()
    if head is not None:
        with torch.no_grad():
            for _ in range(4):  # a tied embedding changes the model too
                ids = torch.tensor([encode(loaded.tokenizer, [_LONG_BLOCK])[0]])
                reached = float(loaded.model(input_ids=ids, use_cache=False).logits.abs().max())
                head.weight.mul_(_LARGE / max(reached, 1e-3))
        engine.scorer = Scorer(loaded, None, 512)  # without prefixes from before
        large = score_difference(engine, requests[::2])
    wrong = [f"scores differ by {difference:.2g} nats per token"] if not difference <= _TOLERANCE else []
    if large is not None and not large <= _TOLERANCE:
        wrong.append(f"scores at large logits differ by {large:.2g} nats per token")
    kind = "wrong" if wrong or texts else "ok" if method.packed and not obstacle else "falls back"
    note = "; ".join([*wrong, *texts, *contradictions, *notes]).replace("|", "/").replace("\n", " ")
    return Outcome(name, kind, note, scoring, generation, difference, large)


def score_difference(engine: Any, requests: Sequence[LoglikelihoodRequest]) -> float:
    """Return the largest difference of a score from that of a plain forward pass, in nats per token."""
    actual = [score for answer in engine.loglikelihood(requests, silent) for score in answer.loglikelihoods]
    expected = plain_scores(engine._loaded, requests)
    return max(abs(score - reference) / count for score, (reference, count) in zip(actual, expected, strict=True))


def plain_scores(loaded: Any, requests: Sequence[LoglikelihoodRequest]) -> list[tuple[float, int]]:
    """Return the score and the number of tokens of each continuation: one forward pass each, without a cache."""
    texts = texts_to_encode(requests)
    encoded = dict(zip(texts, encode(loaded.tokenizer, texts), strict=True))
    prefix = prefix_token(loaded.tokenizer)
    scores = []
    for sequence in [each for request in requests for each in scored_sequences(request, encoded, prefix, None)]:
        ids = list(sequence.ids)
        with torch.no_grad():
            logits = loaded.model(input_ids=torch.tensor([ids[:-1]]), use_cache=False).logits[0]
        logprobs = logits.double().log_softmax(dim=1)
        picked = [float(logprobs[at - 1, ids[at]]) for at in range(sequence.start, len(ids))]
        scores.append((sum(picked), len(picked)))
    return scores


def _wrong_texts(engine: Any) -> tuple[list[str], list[str]]:
    """Check that each generated token is the likeliest one in a plain forward pass.

    Returns
    -------
    (wrong, notes)
        `wrong` counts texts that are not those of transformers' own `generate` for one prompt either; `notes` counts those
        that are: the model contradicts itself.
    """
    loaded, requests = engine._loaded, generation_requests()
    prompts = generation_prompts(loaded.tokenizer, requests, None)
    sequences = make_sequences(loaded.tokenizer, requests, prompts, loaded.end_tokens)
    finished: list[TokenSequence] = []
    generate_sequences(loaded, sequences, BatchLimit(2000), finished.append)
    unlike = [sequence for sequence in finished if _is_wrong(loaded, sequence)]
    wrong = sum(sequence.generated != _generated_alone(loaded, sequence) for sequence in unlike)
    same = len(unlike) - wrong
    return (
        [f"{wrong} of {len(finished)} texts differ"] if wrong else [],
        [f"its `generate` contradicts its forward pass in {same} of {len(finished)} texts"] if same else [],
    )


def _generated_alone(loaded: Any, sequence: TokenSequence) -> list[int]:
    """Return the new tokens of transformers' `generate` for one prompt, without the end token."""
    prompt = torch.tensor([sequence.prompt])
    with torch.no_grad():
        ids = loaded.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=sequence.request.max_tokens, do_sample=False
        )
    new = ids[0, len(sequence.prompt) :].tolist()
    return [token for token in new if token not in loaded.end_tokens]


def _is_wrong(loaded: Any, sequence: TokenSequence) -> bool:
    ids = [*sequence.prompt, *sequence.generated]
    with torch.no_grad():
        logprobs = loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].log_softmax(dim=1)
    chosen = [*sequence.generated]
    if len(chosen) < sequence.request.max_tokens:  # it ended with an end token
        chosen.append(max(loaded.end_tokens, key=lambda token: float(logprobs[-1, token])))
    after = logprobs[len(sequence.prompt) - 1 :]
    return any(float(row.max() - row[token]) > _TIE for row, token in zip(after, chosen, strict=False))


def half_precision_differences(name: str) -> tuple[float, float]:
    """Return how far scores in bfloat16 are from plain ones, and how far these are from float32, in nats per token."""
    with tempfile.TemporaryDirectory() as folder:
        small_model(name).save_pretrained(write_tiny_model(Path(folder)))
        requests = scoring_requests()
        full, half = (open_model(Path(folder), dtype=dtype) for dtype in ("float32", "bfloat16"))
        exact, rounded = (plain_scores(engine._loaded, requests) for engine in (full, half))
        noise = max(abs(a - b) / count for (a, count), (b, _) in zip(exact, rounded, strict=True))
        return score_difference(half, requests), noise


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:240] if str(error).strip() else ''}"
