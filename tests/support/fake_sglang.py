"""An HTTP server with SGLang's own routes on a tiny model, as its source describes them; it runs no SGLang code.

/generate: `input_ids` (a list of lists), `logprob_start_len`, `top_logprobs_num`, `token_ids_logprob`. The prompt's
log-probabilities begin at `logprob_start_len`, and the first of them is null (`_process_input_token_logprobs` in
scheduler_output_processor_mixin.py); entries are [log-probability, token id, text or null].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from support.fake_vllm import FakeVllm


@dataclass
class FakeSglang(FakeVllm):
    """The server; `has_generate` turns its own route off, as a proxy of OpenAI's routes does."""

    has_generate: bool = True
    shifts_tails: bool = False
    drops_ids: bool = False

    def answer(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        if route in ("/version", "/metrics"):
            return 404, {"detail": "Not Found"}
        if route == "/server_info":
            return 200, {"version": "0.0.tiny", "context_length": 256, "dtype": "float32"}
        if route == "/generate" and self.has_generate:
            options = {name: body.get(name) for name in ("logprob_start_len", "token_ids_logprob")}
            if not self.accepts_many and len(body["input_ids"]) > 1:
                return 400, {"error": {"message": "one prompt at a time"}}
            return 200, [
                self._generate(body, ids, {name: values and values[index] for name, values in options.items()})
                for index, ids in enumerate(body["input_ids"])
            ]
        return super().answer(route, body)

    def _generate(self, body: dict[str, Any], ids: list[int], options: dict[str, Any]) -> dict[str, Any]:
        top = body["top_logprobs_num"]
        generator = torch.Generator().manual_seed(len(ids))
        generated: list[int] = []
        output: dict[str, list[Any]] = {"tokens": [], "tops": [], "ids": []}
        for _ in range(body["sampling_params"]["max_new_tokens"]):
            row = self.logprobs(ids + generated)[-1]
            generated.append(int(row.softmax(0).multinomial(1, generator=generator)))
            output["tokens"].append([float(row[generated[-1]]), generated[-1], None])
            output["tops"].append(_entries(row, row.topk(top).indices.tolist()))
            output["ids"].append(_entries(row, options["token_ids_logprob"] or []))
        meta = {
            "output_token_logprobs": output["tokens"],
            "output_top_logprobs": output["tops"],
        }
        if options["token_ids_logprob"] is not None and not self.drops_ids:
            meta["output_token_ids_logprobs"] = output["ids"]
        start = options["logprob_start_len"]
        start = len(ids) if start in (None, -1) else start
        rows = self.logprobs(ids)
        shift = 1 if self.shifts_tails else 0
        scored = range(start + 1, len(ids))
        last = rows.shape[1] - 1
        meta["input_token_logprobs"] = [
            *([[None, ids[start], None]] if start < len(ids) else []),
            *[[float(rows[place - 1 + shift][ids[place]]), ids[place] if ids[place] < last else 0, None]
              for place in scored],
        ]  # fmt: skip
        meta["input_top_logprobs"] = [
            *([None] if start < len(ids) else []),
            *[_entries(rows[place - 1 + shift], rows[place - 1 + shift].topk(top).indices.tolist())
              for place in scored],
        ]  # fmt: skip
        return {"text": self.tokenizer.decode(generated), "meta_info": meta}


def _entries(row: torch.Tensor, numbers: list[int]) -> list[list[Any]]:
    return [[float(row[number]), number, None] for number in numbers]
