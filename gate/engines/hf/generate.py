"""Greedy generation over left-padded batches, each text cut at its first stop string."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from gate.engines.base import GenerateAnswer, GenerateRequest, Progress
from gate.engines.hf.batching import BatchLimit, padded, run_in_batches
from gate.engines.hf.load import LoadedModel
from gate.engines.hf.score import free_memory, is_out_of_memory
from gate.engines.hf.tokens import encode
from gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)


def generate(
    loaded: LoadedModel,
    requests: Sequence[GenerateRequest],
    limit: BatchLimit,
    multiple: int,
    max_length: int,
    progress: Progress,
) -> list[GenerateAnswer]:
    """Answer generation requests, in their order.

    The requests must agree in `stop` and `max_tokens` (those of one task do). Prompts that leave no room for
    `max_tokens` lose tokens on the left, with a warning.
    """
    if not requests:
        return []
    stop, max_tokens = requests[0].stop, requests[0].max_tokens
    if any((request.stop, request.max_tokens) != (stop, max_tokens) for request in requests):
        raise ValueError("requests of one call must agree in stop and max_tokens")
    room = max(1, max_length - max_tokens)
    beginning = [_beginning(loaded.tokenizer)]
    prompts = [
        ids or beginning for ids in encode(loaded.tokenizer, [request.context for request in requests])
    ]
    cut = sum(len(prompt) > room for prompt in prompts)
    if cut:
        _LOG.warning(
            "%d of %d prompts leave no room for %d tokens; cut on the left", cut, len(prompts), max_tokens
        )
    prompts = [prompt[-room:] for prompt in prompts]
    answers: list[GenerateAnswer | None] = [None] * len(requests)

    def forward(batch: list[int]) -> None:
        made = _generate(loaded, [prompts[index] for index in batch], stop, max_tokens, multiple)
        for index, tokens in zip(batch, made, strict=True):
            text = _cut(loaded.tokenizer.decode(tokens, skip_special_tokens=True), stop)
            answers[index] = GenerateAnswer(text, len(prompts[index]), len(tokens))
        progress(len(batch))

    lengths = [len(prompt) + max_tokens for prompt in prompts]
    run_in_batches(lengths, limit, forward, is_out_of_memory, free_memory)
    return [answer for answer in answers if answer is not None]


def _generate(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    stop: tuple[str, ...],
    max_tokens: int,
    multiple: int,
) -> list[list[int]]:
    """Return the new tokens of each prompt, without padding and end-of-text."""
    model, tokenizer = loaded.model, loaded.tokenizer
    pad = tokenizer.pad_token_id or 0
    width = padded(max(map(len, prompts)), multiple)
    gaps = [width - len(prompt) for prompt in prompts]
    inputs = torch.tensor([[pad] * gap + list(prompt) for gap, prompt in zip(gaps, prompts, strict=True)])
    mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
    ends = loaded.end_tokens
    criteria = StoppingCriteriaList([_Stopped(tokenizer, stop, width)] if stop else [])
    with torch.no_grad():
        output = model.generate(
            input_ids=inputs.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            max_new_tokens=max_tokens,
            do_sample=False,
            pad_token_id=pad,
            stopping_criteria=criteria,
            logits_processor=LogitsProcessorList([_RefuseNan()]),
        )
    return [_until_end(tokens, ends, pad) for tokens in output[:, width:].tolist()]


class _Stopped(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Ends a row whose new text holds a stop string; transformers' own criterion also looks into the prompt."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...], width: int) -> None:
        self._tokenizer, self._stop, self._width = tokenizer, stop, width
        # a token is at least a byte; the few more give the decoder whole characters to start with
        self._reach = max(len(one.encode()) for one in stop) + 8

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002 - the signature is given
        tails = input_ids[:, self._width :][:, -self._reach :].tolist()
        texts = self._tokenizer.batch_decode(tails, skip_special_tokens=True)
        ended = [any(one in text for one in self._stop) for text in texts]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)


class _RefuseNan(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Refuses logits that are not numbers: their largest is token 0, a wrong answer that looks like one."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        if bool(scores.isnan().any()):
            raise EvaluationError(
                "the model's logits are not numbers (NaN) while it generates.",
                "The weights are broken or overflow in this dtype (try bfloat16 or float32); no verdict is possible.",
            )
        return scores


def _beginning(tokenizer: Any) -> int:
    """Return the token that an empty prompt becomes: BOS, else EOS, as for log-likelihoods."""
    return int(tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id or 0)


def _until_end(tokens: list[int], ends: Sequence[int], pad: int) -> list[int]:
    """Return the tokens before the first end; without one, before the padding behind a stop string."""
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[:place]
    made = len(tokens)
    while made and tokens[made - 1] == pad:
        made -= 1
    return tokens[:made]


def _cut(text: str, stop: Sequence[str]) -> str:
    """Return the text before the first of the stop strings."""
    places = [place for one in stop if (place := text.find(one)) >= 0]
    return text[: min(places)] if places else text
