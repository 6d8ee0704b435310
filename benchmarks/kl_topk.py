"""KL divergence from a few stored tokens, compared with the whole vocabulary: bias, standard error and size.

    python benchmarks/kl_topk.py DATA [--models gate-demo/models] [--items 200] [--text FILE] [--tokens 10000]
                                 [--out benchmarks/results]

DATA contains step_inference.jsonl with the field `question`: the divergence is measured after each prompt, and then at
every position of the first `--tokens` tokens of a text. The models are those that `gate demo` writes: `baseline`,
`int8` and `damaged`. Each reads each prompt and each window of the text once, in transformers; what is stored and
estimated is what the engine stores and estimates of these logits. Exact divergences are computed in float64. Prints a
table and writes kl_topk.md.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gate.engines.hf.model.distribution import Place, distributions
from gate.evaluation.recording import Recording
from gate.stats.divergence import _inside, _slope, _tail_of
from gate.tasks.requests import Distribution, Divergence

Floats = npt.NDArray[np.float64]
RECORDINGS = (
    *(Recording(top, 0) for top in (16, 64, 128, 1024)),
    *(Recording(top, drawn) for top, drawn in ((16, 16), (64, 16), (64, 64), (128, 16))),
    Recording("whole", 0),
)
ON_TEXT = tuple(Recording(top, drawn) for top, drawn in ((64, 0), (64, 16)))
CANDIDATES = ("int8", "damaged")
WINDOW = 500  # tokens


@dataclass
class Estimates:
    """Estimates and exact values of one candidate from one recording.

    `expected` and `spread` are the expectation and variance of each estimate over all draws, without simulation.
    """

    kl: list[float] = field(default_factory=list)
    exact: list[float] = field(default_factory=list)
    variance: list[float | None] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)

    def cells(self) -> str:
        """Return the cells of a row."""
        kl, exact = np.array(self.kl), np.array(self.exact)
        expected = np.array(self.expected or self.kl)
        error = spread = "-"
        if self.spread:
            stated = [value or 0.0 for value in self.variance]
            error, spread = (
                f"{np.sqrt(np.sum(values)) / len(kl) / exact.mean():.2%}" for values in (stated, self.spread)
            )
        bias = expected.mean() / exact.mean() - 1
        return (
            f"{exact.mean():.6f} | {kl.mean():.6f} | {bias:+.3%} | {spread} | {error} | {np.abs(kl - exact).max():.2g}"
        )


def expectation(p: Floats, q: Floats, one: Distribution) -> tuple[float, float]:
    """Return the expectation and the variance of the estimate at one position over all draws of its tail tokens."""
    top = np.array(one.tokens)
    stored = p.astype(np.float16).astype(np.float64)
    inside, slope = _inside(stored[None, top], q[None, top])[0], _slope(stored[None, top] - q[None, top])[0]
    weights = np.exp(p)
    weights[top] = 0.0
    weights /= weights.sum()
    terms = stored - q
    values = one.tail * terms + slope * (one.tail * np.exp(-terms) - _tail_of(q[None, top])[0])
    mean = float(weights @ values)
    return float(inside) + mean, float(weights @ (values - mean) ** 2) / len(one.drawn)


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logprobs(model: Any, ids: Sequence[int], start: int) -> torch.Tensor:
    """Return the log-probabilities (float32) of the tokens that follow each prefix of at least `start` tokens."""
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0, start - 1 :].float(), dim=1)


def measure(
    passages: Iterator[tuple[str, Sequence[int], int]], models: dict[str, Any], recordings: Sequence[Recording]
) -> tuple[dict[tuple[str, Recording], Estimates], dict[Recording, list[Distribution]]]:
    """Return the estimates of each candidate and recording, and what is stored (of the first positions)."""
    found: dict[tuple[str, Recording], Estimates] = {}
    stored: dict[Recording, list[Distribution]] = {recording: [] for recording in recordings}
    for name, ids, start in passages:
        before = logprobs(models["baseline"], ids, start)
        p = torch.log_softmax(before.double(), dim=1)
        references: dict[Recording, list[Distribution]] = {}
        for recording in recordings:
            places = [Place(name, recording.requested_top, recording.drawn, each) for each in range(len(before))]
            references[recording] = [one for one in distributions(before, places) if isinstance(one, Distribution)]
            if len(stored[recording]) < (16 if recording.top == "whole" else 1000):
                stored[recording] += references[recording]
        for candidate in CANDIDATES:
            after = logprobs(models[candidate], ids, start)
            q = torch.log_softmax(after.double(), dim=1)
            exact = (p.exp() * (p - q)).sum(dim=1).tolist()
            for recording, own in references.items():
                estimates = found.setdefault((candidate, recording), Estimates())
                results = distributions(after, [Place(name, 0, reference=one) for one in own])
                compared = [one for one in results if isinstance(one, Divergence)]
                estimates.kl += [one.kl for one in compared]
                estimates.variance += [one.variance for one in compared]
                estimates.exact += exact
                for row, one in enumerate(own if recording.drawn else ()):
                    mean, variance = expectation(p[row].numpy(), q[row].numpy(), one)
                    estimates.expected.append(mean)
                    estimates.spread.append(variance)
    return found, stored


def stored_bytes(kept: Sequence[Distribution]) -> float:
    """Return the size in Parquet, in bytes per position, with 16 positions per row as in sample sets."""
    groups = [kept[start : start + 16] for start in range(0, len(kept), 16)]
    columns = {
        "tokens": [np.array([one.tokens for one in group], np.int32).ravel() for group in groups],
        "logprobs": [np.array([one.logprobs for one in group], np.float16).ravel() for group in groups],
        "tail": [np.array([one.tail for one in group], np.float32) for group in groups],
        "drawn": [np.array([one.drawn for one in group], np.int32).ravel() for group in groups],
        "drawn_logprobs": [np.array([one.drawn_logprobs for one in group], np.float16).ravel() for group in groups],
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return len(sink.getvalue()) / len(kept)


def prompts(data: Path, items: int, tokenizer: Any) -> Iterator[tuple[str, Sequence[int], int]]:
    with (data / "step_inference.jsonl").open(encoding="utf-8") as lines:
        for _, line in zip(range(items), lines, strict=False):
            prompt = f"Q: {json.loads(line)['question']}\nA:"
            ids = tokenizer.encode(prompt)
            yield prompt, ids, len(ids)


def windows(text: str, tokens: int, tokenizer: Any) -> Iterator[tuple[str, Sequence[int], int]]:
    ids = tokenizer.encode(text)[:tokens]
    for start in range(0, len(ids), WINDOW):
        yield f"window {start}", ids[start : start + WINDOW], 1


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, default=Path("gate-demo/models"))
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--text", type=Path, default=Path("docs/explanation/statistics.md"))
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.models / "baseline")
    models = {name: load(options.models / name) for name in ("baseline", *CANDIDATES)}
    lines = [
        "# KL divergence from a few stored tokens, compared with the whole vocabulary",
        "",
        "SmolLM2-135M-Instruct in float32 on the CPU; mean KL divergence in nats. Stored: the k likeliest tokens, or",
        "k + m with m tokens drawn from the rest. Without drawn tokens the result is a lower bound, with them an",
        "unbiased estimate. `exact`: float64 over the whole vocabulary. `bias`: relative error of the expectation over",
        "all draws, computed without simulation; what remains is the rounding to float16. `spread`: standard deviation",
        "of the mean over the draws, computed likewise; `standard error`: what reports state, from the draws; it is",
        "too small where few unlikely tokens carry much of a large divergence. `largest error`: of a position. Bytes:",
        "per position, compressed, 16 positions per row.",
        "",
    ]
    parts = [
        ("first answer positions of step_inference", prompts(options.data, options.items, tokenizer), RECORDINGS),
        (
            f"positions of {options.text.name}",
            windows(options.text.read_text("utf-8"), options.tokens, tokenizer),
            ON_TEXT,
        ),
    ]
    for title, passages, recordings in parts:
        found, stored = measure(passages, models, recordings)
        count = len(found[CANDIDATES[0], recordings[0]].kl)
        part = [
            f"## {count:,} {title}",
            "",
            "| candidate | stored | exact | one estimate | bias | spread | standard error | largest error | bytes |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for (candidate, recording), estimates in sorted(found.items(), key=lambda entry: CANDIDATES.index(entry[0][0])):
            tokens = f"{recording.top} + {recording.drawn}" if recording.drawn else str(recording.top)
            part.append(f"| {candidate} | {tokens} | {estimates.cells()} | {stored_bytes(stored[recording]):,.0f} |")
        print("\n".join(part), flush=True)
        lines += [*part, ""]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "kl_topk.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
