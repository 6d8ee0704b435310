"""Generation by our engine and by LM Evaluation Harness's `hf` model, side by side in one process.

    python benchmarks/generation_speed.py MODEL_FOLDER DATA_FOLDER [--items 128] [--batch 16] [--rounds 3]

Same weights, number format, prompts, stop strings, token limits and batch limit: LM Evaluation Harness gets batches of
`--batch` rows, our engine as many tokens as such a batch of the longest prompts takes. Two workloads: arithmetic behind
a few-shot block, and free text of mixed length in the chat template (DATA_FOLDER holds BIG-bench's
`social_iqa.jsonl`). Rounds alternate; each figure is the median of its rounds, the ratio that of the medians. Loading
is not counted. CPU seconds are given beside wall seconds because they hold on a machine that others use as well: set
OMP_NUM_THREADS=1 there, or waiting threads count too.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.config import EngineSettings, ModelSettings
from gate.engines import Engine, GenerateRequest, fetch, locate, open_engine


@dataclass(frozen=True)
class Timed:
    """What a round took (wall and CPU seconds) and made."""

    wall: float
    cpu: float
    texts: tuple[str, ...]


def worked_sums(model_folder: Path, data_folder: Path, items: int, shots: int = 8) -> list[GenerateRequest]:
    """Return arithmetic in words behind a block of worked examples; an answer is one line of one to four steps."""
    del model_folder, data_folder
    draw = random.Random(0)
    texts = [_sum_in_words(draw, steps=1 + number % 4) for number in range(shots + items)]
    block = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in texts[:shots])
    return [
        GenerateRequest(f"{block}Question: {question}\nAnswer:", ("\n", "Question:"), 96)
        for question, _ in texts[shots:]
    ]


def _sum_in_words(draw: random.Random, steps: int) -> tuple[str, str]:
    name = draw.choice(["Ann", "Ben", "Carla", "Dmitri", "Esra"])
    thing = draw.choice(["apples", "books", "coins", "shells", "stamps"])
    held = draw.randint(20, 60)
    question, answer = [f"{name} has {held} {thing}."], []
    for _ in range(steps):
        count = draw.randint(2, 15)
        gains = draw.random() < 0.5
        question.append(f"{name} then {'finds' if gains else 'gives away'} {count} {thing}.")
        now = held + count if gains else held - count
        answer.append(f"{held} {'+' if gains else '-'} {count} = {now}.")
        held = now
    return " ".join([*question, f"How many {thing} does {name} have?"]), " ".join(
        [*answer, f"The answer is {held}."]
    )


def chat(model_folder: Path, data_folder: Path, items: int) -> list[GenerateRequest]:
    """Return questions in the model's chat template; answered in a sentence or a paragraph."""
    lines = (data_folder / "social_iqa.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    tokenizer = _tokenizer(model_folder)
    return [
        GenerateRequest(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": row["question"]}], tokenize=False, add_generation_prompt=True
            ),
            ("\n\n",),
            128,
        )
        for row in rows[:: max(1, len(rows) // items)][:items]
    ]


WORKLOADS = {"8-shot worked sums": worked_sums, "chat, free text": chat}


def ours(
    model_folder: Path,
    requests: Sequence[GenerateRequest],
    batch: int,
    dtype: str = "float32",
    device: str = "cpu",
) -> Timed:
    """Time our engine; the model is loaded before the clock starts, once a process."""
    engine = _engine(model_folder, dtype, device, batch_tokens(model_folder, requests, batch))
    wall, cpu = time.perf_counter(), time.process_time()
    answers = engine.generate_until(requests, lambda _: None)
    return Timed(
        time.perf_counter() - wall, time.process_time() - cpu, tuple(answer.text for answer in answers)
    )


def theirs(
    model_folder: Path,
    requests: Sequence[GenerateRequest],
    batch: int,
    dtype: str = "float32",
    device: str = "cpu",
) -> Timed:
    """Time LM Evaluation Harness; the model is loaded before the clock starts, once a process."""
    from lm_eval.api.instance import Instance

    model = _harness(model_folder, dtype, device)
    model.batch_size_per_gpu = batch
    instances = [
        Instance(
            request_type="generate_until",
            doc={},
            arguments=(request.context, {"until": list(request.stop), "max_gen_toks": request.max_tokens}),
            idx=index,
        )
        for index, request in enumerate(requests)
    ]
    wall, cpu = time.perf_counter(), time.process_time()
    texts = model.generate_until(instances, disable_tqdm=True)
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, tuple(texts))


def batch_tokens(model_folder: Path, requests: Sequence[GenerateRequest], batch: int) -> int:
    """Return the tokens that a batch of the longest prompts and their answers takes."""
    tokenizer = _tokenizer(model_folder)
    longest = max(len(tokenizer(request.context).input_ids) + request.max_tokens for request in requests)
    return batch * longest


@functools.cache
def _tokenizer(model_folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_folder)


@functools.cache
def _engine(model_folder: Path, dtype: str, device: str, tokens: int) -> Engine:
    settings = EngineSettings.model_validate({"device": device, "max_batch_tokens": tokens})
    source = locate(ModelSettings.model_validate({"model": str(model_folder), "dtype": dtype}), model_folder)
    return open_engine(fetch(source, settings, model_folder, None), settings)


@functools.cache
def _harness(model_folder: Path, dtype: str, device: str) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(model_folder), dtype=dtype, device=device, batch_size=1)


def compare(
    model_folder: Path, requests: Sequence[GenerateRequest], batch: int, rounds: int, dtype: str, device: str
) -> dict[str, float]:
    """Run both in turn and return medians: items a second, by the wall clock and by CPU time, and their ratios."""
    both: dict[str, list[Timed]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        pair = [("ours", ours), ("theirs", theirs)]
        for name, run in pair if number % 2 == 0 else reversed(pair):
            both[name].append(run(model_folder, requests, batch, dtype, device))
            print(
                f"  round {number + 1}, {name}: {both[name][-1].wall:.1f} s, CPU {both[name][-1].cpu:.1f} s"
            )
    found: dict[str, float] = {}
    for clock in ("wall", "cpu"):
        for name, timed in both.items():
            found[f"{name} {clock}"] = len(requests) / statistics.median(getattr(one, clock) for one in timed)
        found[f"ratio {clock}"] = found[f"ours {clock}"] / found[f"theirs {clock}"]
    pairs = zip(both["ours"][0].texts, both["theirs"][0].texts, strict=True)
    found["equal texts"] = statistics.mean(one == other for one, other in pairs)
    return found


def main() -> None:
    """Print the table and, if asked, write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--items", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workload", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--out", type=Path, help="write the table here")
    options = parser.parse_args()
    results = {}
    for name, make in ((name, WORKLOADS[name]) for name in options.workload):
        print(name)
        requests = make(options.model, options.data, options.items)
        results[name] = compare(
            options.model, requests, options.batch, options.rounds, options.dtype, options.device
        )
    what = f"{options.items} items, batch {options.batch}, {options.dtype}, {options.rounds} round(s)"
    clocks = "ours, items/s | lm-eval, items/s | ratio | ratio by CPU time | equal texts"
    lines = [f"| workload ({what}) | {clocks} |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row['ours wall']:.2f} | {row['theirs wall']:.2f} | {row['ratio wall']:.2f} "
        f"| {row['ratio cpu']:.2f} | {row['equal texts']:.1%} |"
        for name, row in results.items()
    ]
    print("\n" + "\n".join(lines))
    if options.out:
        title = "# Generation beside LM Evaluation Harness's `hf` model\n\nBy `benchmarks/generation_speed.py`.\n\n"
        options.out.write_text(title + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
