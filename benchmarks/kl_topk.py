"""KL divergence from a few stored tokens, compared with the whole vocabulary: bias, standard error and size.

    python benchmarks/kl_topk.py DATA [--models gate-demo/models] [--items 200] [--text FILE ...] [--tokens 10000]
                                 [--out benchmarks/results]

DATA contains step_inference.jsonl with the field `question`: the divergence is measured after each prompt, and then at
every position of the first `--tokens` tokens of a text. The models are those that `gate demo` writes: `baseline`,
`int8` and `damaged`. Each reads each prompt and each window of the text once, in transformers; what is stored and
estimated is what the engine stores and estimates of these logits. Exact divergences are computed in float64. Prints
the tables and replaces their sections of kl_topk.md.
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
from gate.stats.divergence import _beta, _inside, _tail_of, estimate_kl
from gate.tasks.requests import Distribution, Divergence

Floats = npt.NDArray[np.float64]
RECORDINGS = (
    *(Recording(top, 0) for top in (16, 64, 128, 1024)),
    *(Recording(top, drawn) for top, drawn in ((16, 16), (64, 16), (64, 64), (128, 16))),
    Recording("whole", 0),
)
ON_TEXT = tuple(Recording(top, drawn) for top, drawn in ((64, 0), (16, 16), (64, 16), (64, 64)))
CANDIDATES = ("int8", "damaged")
TEXTS = [
    Path("README.md"),
    *(Path("docs", name) for name in ("explanation/statistics.md", "explanation/limits.md", "tutorial.md")),
]
WINDOW = 500  # tokens
CHUNK = 100  # positions
REPEATS = 200  # of the draws


@dataclass
class Estimates:
    """Estimates and exact values of one candidate from one recording.

    `expected` and `spread` are the expectation and variance of each estimate over all draws, without simulation.
    `repeated` has, for each chunk of positions, the errors of its sum and the stated variances, one per repeated draw.
    """

    kl: list[float] = field(default_factory=list)
    exact: list[float] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    repeated: list[tuple[Floats, Floats]] = field(default_factory=list)

    def cells(self) -> str:
        """Return the cells of a row."""
        kl, exact = np.array(self.kl), np.array(self.exact)
        expected = np.array(self.expected or self.kl)
        cells = [f"{exact.mean():.6f}", f"{kl.mean():.6f}", f"{expected.mean() / exact.mean() - 1:+.3%}"]
        if self.repeated:
            errors, variances = (np.array(part) for part in zip(*self.repeated, strict=True))
            stated = np.sqrt(variances.sum(axis=0).mean()) / len(kl)
            cells += [f"{np.sqrt(sum(self.spread)) / len(kl) / exact.mean():.2%}", f"{stated / exact.mean():.2%}"]
            cells += [covered(errors.sum(axis=0), variances.sum(axis=0)), covered(errors.ravel(), variances.ravel())]
        else:
            cells += ["-"] * 4
        return " | ".join([*cells, f"{np.abs(kl - exact).max():.2g}"])


def covered(errors: Floats, variances: Floats) -> str:
    """Return how often an error is within 1.96 stated standard errors."""
    return f"{np.mean(errors**2 <= 1.96**2 * variances):.1%}"


def expectation(p: Floats, q: Floats, stored: Sequence[Distribution]) -> tuple[Floats, Floats]:
    """Return the expectation and the variance of the estimate at each position over all draws of one tail token."""
    top = np.array([one.tokens for one in stored])
    tail = np.array([[one.tail] for one in stored])
    rounded = p.astype(np.float16).astype(np.float64)
    terms = rounded - q
    p_top, q_top = (np.take_along_axis(values, top, axis=1) for values in (rounded, q))
    weights = np.exp(p)
    np.put_along_axis(weights, top, 0.0, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    values = tail * terms + _beta(p_top - q_top)[:, None] * (tail * np.exp(-terms) - _tail_of(q_top)[:, None])
    mean = (weights * values).sum(axis=1)
    return _inside(p_top, q_top) + mean, (weights * (values - mean[:, None]) ** 2).sum(axis=1)


def draw_again(p: Floats, stored: Sequence[Distribution], generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return tail tokens of each position, drawn `REPEATS` times: an array of shape (positions, REPEATS, m)."""
    drawn = []
    for row, one in zip(p, stored, strict=True):
        weights = np.exp(row)
        weights[list(one.tokens)] = 0.0
        total = np.cumsum(weights)
        points = generator.random((REPEATS, len(one.drawn))) * total[-1]
        drawn.append(np.minimum(np.searchsorted(total, points, side="right"), len(row) - 1))
    return np.array(drawn)


def repeat(
    p: Floats, q: Floats, exact: Floats, stored: Sequence[Distribution], drawn: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return the error of the sum over the positions and its stated variance, for each repeated draw."""
    errors, variances = np.zeros(REPEATS), np.zeros(REPEATS)
    for p_row, q_row, value, one, ids in zip(p, q, exact, stored, drawn, strict=True):
        top = np.tile(q_row[list(one.tokens)], (REPEATS, 1))
        estimate = estimate_kl(
            np.tile(one.logprobs, (REPEATS, 1)),
            top,
            np.full(REPEATS, one.tail),
            p_row[ids].astype(np.float16),
            q_row[ids],
        )
        errors += estimate.kl - value
        variances += estimate.variance
    return errors, variances


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
    generator = np.random.default_rng(0)
    for name, before, afters in chunks(passages, models):
        p = torch.log_softmax(before.double(), dim=1).numpy()
        q = {candidate: torch.log_softmax(after.double(), dim=1).numpy() for candidate, after in afters.items()}
        moments: dict[tuple[str, int], tuple[Floats, Floats]] = {}
        exact = {candidate: (np.exp(p) * (p - values)).sum(axis=1) for candidate, values in q.items()}
        for recording in recordings:
            places = [Place(name, recording.requested_top, recording.drawn, each) for each in range(len(before))]
            own = [one for one in distributions(before, places) if isinstance(one, Distribution)]
            if len(stored[recording]) < (16 if recording.top == "whole" else 1000):
                stored[recording] += own
            drawn = draw_again(p, own, generator) if recording.drawn else None
            for candidate, after in afters.items():
                estimates = found.setdefault((candidate, recording), Estimates())
                results = distributions(after, [Place(name, 0, reference=one) for one in own])
                estimates.kl += [one.kl for one in results if isinstance(one, Divergence)]
                estimates.exact += exact[candidate].tolist()
                if drawn is not None:
                    key = candidate, recording.requested_top
                    if key not in moments:
                        moments[key] = expectation(p, q[candidate], own)
                    estimates.expected += moments[key][0].tolist()
                    estimates.spread += (moments[key][1] / recording.drawn).tolist()
                    estimates.repeated.append(repeat(p, q[candidate], exact[candidate], own, drawn))
    return found, stored


def chunks(
    passages: Iterator[tuple[str, Sequence[int], int]], models: dict[str, Any]
) -> Iterator[tuple[str, torch.Tensor, dict[str, torch.Tensor]]]:
    """Yield the log-probabilities of the baseline and of the candidates, at most `CHUNK` positions at a time."""
    held: list[list[torch.Tensor]] = []
    names = ["baseline", *CANDIDATES]

    def joined(number: int) -> tuple[str, torch.Tensor, dict[str, torch.Tensor]]:
        rows = [torch.cat(own) for own in zip(*held, strict=True)]
        return f"chunk {number}", rows[0], dict(zip(CANDIDATES, rows[1:], strict=True))

    number = 0
    for _, ids, start in passages:
        for parts in zip(*(logprobs(models[name], ids, start).split(CHUNK) for name in names), strict=True):
            if held and sum(len(own[0]) for own in held) + len(parts[0]) > CHUNK:
                yield joined(number)
                number, held = number + 1, []
            held.append(list(parts))
    if held:
        yield joined(number)


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
    parser.add_argument("--text", type=Path, nargs="+", default=TEXTS)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", help="words of the titles of the sections to measure")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.models / "baseline")
    models = {name: load(options.models / name) for name in ("baseline", *CANDIDATES)}
    path = options.out / "kl_topk.md"
    text = "\n\n".join(file.read_text(encoding="utf-8") for file in options.text)
    parts = [
        ("first answer positions of step_inference", prompts(options.data, options.items, tokenizer), RECORDINGS),
        ("positions of the documentation", windows(text, options.tokens, tokenizer), ON_TEXT),
    ]
    for title, passages, recordings in parts:
        if options.only and not any(word in title for word in options.only):
            continue
        found, stored = measure(passages, models, recordings)
        count = len(found[CANDIDATES[0], recordings[0]].kl)
        part = [
            f"{count:,} positions.",
            "",
            "| candidate | stored | exact | one estimate | bias | spread | standard error | covers all | covers 100 "
            "| largest error | bytes |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for (candidate, recording), estimates in sorted(found.items(), key=lambda entry: CANDIDATES.index(entry[0][0])):
            tokens = f"{recording.top} + {recording.drawn}" if recording.drawn else str(recording.top)
            part.append(f"| {candidate} | {tokens} | {estimates.cells()} | {stored_bytes(stored[recording]):,.0f} |")
        print("\n".join(part), flush=True)
        write_section(path, title[0].upper() + title[1:], part)


INTRODUCTION = f"""# KL divergence from a few stored tokens, compared with the whole vocabulary

SmolLM2-135M-Instruct in float32 on the CPU; mean KL divergence in nats. Stored: the k likeliest tokens, or
k + m with m tokens drawn from the rest. Without drawn tokens the result is a lower bound, with them an
unbiased estimate. `exact`: float64 over the whole vocabulary. `bias`: relative error of the expectation over
all draws, computed without simulation; what remains is the rounding to float16. `spread`: standard deviation
of the mean over the draws, computed likewise; `standard error`: what reports state, root mean square over {REPEATS}
repetitions of the draws. `covers all`, `covers {CHUNK}`: how often the mean over all positions, and over chunks of at
most {CHUNK}, is within 1.96 stated standard errors of the exact one. `largest error`: of a position, in one estimate.
Bytes: per position, compressed, 16 positions per row.
"""


def write_section(path: Path, title: str, lines: Sequence[str]) -> None:
    """Write or replace a section of the results."""
    sections = path.read_text(encoding="utf-8").split("\n## ")[1:] if path.is_file() else []
    kept = {section.partition("\n")[0]: section.partition("\n")[2].strip() for section in sections}
    kept[title] = "\n".join(lines)
    text = "\n".join([INTRODUCTION, *(f"## {name}\n\n{body}\n" for name, body in kept.items())])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
