"""Generation speed of quantgate and of the `hf` model of LM Evaluation Harness, in one process.

    python benchmarks/generation_speed.py MODEL_FOLDER DATA_FOLDER [--items 128] [--batch 16] [--rounds 3]

Both use the same weights, number format, prompts, stop strings, token limits and batch limit: LM Evaluation Harness has
batches of `--batch` rows, and quantgate has as many tokens as such a batch of the longest prompts. There are two
workloads: arithmetic with few-shot examples, and free text of mixed length with the chat template (DATA_FOLDER contains
`social_iqa.jsonl` of BIG-bench). Rounds alternate. Each figure is the median of its rounds, and the ratio is that of
the medians. Loading the model is not measured. CPU time is reported as well, because it is comparable on a shared
machine; set OMP_NUM_THREADS=1 there, so that waiting threads are not counted.
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
from gate.engines import Engine, fetch, locate, open_engine
from gate.tasks.requests import GenerateRequest


@dataclass(frozen=True)
class Timed:
    """Wall and CPU time of a round (seconds), and the generated texts."""

    wall: float
    cpu: float
    texts: tuple[str, ...]


def worked_sums(model_folder: Path, data_folder: Path, items: int, shots: int = 8) -> list[GenerateRequest]:
    """Return word problems after worked examples; a solution is one line with one to four steps."""
    del model_folder, data_folder
    rng = random.Random(0)
    texts = [_sum_in_words(rng, steps=1 + number % 4) for number in range(shots + items)]
    block = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in texts[:shots])
    return [
        GenerateRequest(f"{block}Question: {question}\nAnswer:", ("\n", "Question:"), 96)
        for question, _ in texts[shots:]
    ]


def _sum_in_words(rng: random.Random, steps: int) -> tuple[str, str]:
    name = rng.choice(["Ann", "Ben", "Carla", "Dmitri", "Esra"])
    thing = rng.choice(["apples", "books", "coins", "shells", "stamps"])
    amount = rng.randint(20, 60)
    question, answer = [f"{name} has {amount} {thing}."], []
    for _ in range(steps):
        count = rng.randint(2, 15)
        gains = rng.random() < 0.5
        question.append(f"{name} then {'finds' if gains else 'gives away'} {count} {thing}.")
        total = amount + count if gains else amount - count
        answer.append(f"{amount} {'+' if gains else '-'} {count} = {total}.")
        amount = total
    return " ".join([*question, f"How many {thing} does {name} have?"]), " ".join([*answer, f"The answer is {amount}."])


def chat(model_folder: Path, data_folder: Path, items: int) -> list[GenerateRequest]:
    """Return questions in the chat template of the model; answers are a sentence or a paragraph."""
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
    """Time quantgate. The model is loaded once per process, before the measurement."""
    engine = _engine(model_folder, dtype, device, batch_tokens(model_folder, requests, batch))
    wall, cpu = time.perf_counter(), time.process_time()
    answers = engine.generate_until(requests, lambda _: None)
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, tuple(answer.text for answer in answers))


def theirs(
    model_folder: Path,
    requests: Sequence[GenerateRequest],
    batch: int,
    dtype: str = "float32",
    device: str = "cpu",
) -> Timed:
    """Time LM Evaluation Harness. The model is loaded once per process, before the measurement."""
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
    """Return the number of tokens of a batch of the longest prompts with their answers."""
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
    source = locate(ModelSettings.model_validate({"model": str(model_folder.resolve()), "dtype": dtype}), model_folder)
    return open_engine(fetch(source, settings, model_folder, None), settings)


@functools.cache
def _harness(model_folder: Path, dtype: str, device: str) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(model_folder), dtype=dtype, device=device, batch_size=1)


def compare(
    model_folder: Path, requests: Sequence[GenerateRequest], batch: int, rounds: int, dtype: str, device: str
) -> dict[str, float]:
    """Run both alternately; return medians in items per second, by wall and CPU time, and their ratios."""
    rounds_of: dict[str, list[Timed]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        pair = [("ours", ours), ("theirs", theirs)]
        for name, run in pair if number % 2 == 0 else reversed(pair):
            rounds_of[name].append(run(model_folder, requests, batch, dtype, device))
            print(
                f"  round {number + 1}, {name}: {rounds_of[name][-1].wall:.1f} s, CPU {rounds_of[name][-1].cpu:.1f} s"
            )
    result: dict[str, float] = {}
    for clock in ("wall", "cpu"):
        for name, timed in rounds_of.items():
            result[f"{name} {clock}"] = len(requests) / statistics.median(getattr(entry, clock) for entry in timed)
        result[f"ratio {clock}"] = result[f"ours {clock}"] / result[f"theirs {clock}"]
    pairs = zip(rounds_of["ours"][0].texts, rounds_of["theirs"][0].texts, strict=True)
    result["equal texts"] = statistics.mean(first == second for first, second in pairs)
    return result


def main() -> None:
    """Print the table, and write it with --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
        results[name] = compare(options.model, requests, options.batch, options.rounds, options.dtype, options.device)
    setup = f"{options.items} items, batch {options.batch}, {options.dtype}, {options.rounds} round(s)"
    clocks = "quantgate, items/s | lm-eval, items/s | ratio | ratio by CPU time | equal texts"
    lines = [f"| workload ({setup}) | {clocks} |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row['ours wall']:.2f} | {row['theirs wall']:.2f} | {row['ratio wall']:.2f} "
        f"| {row['ratio cpu']:.2f} | {row['equal texts']:.1%} |"
        for name, row in results.items()
    ]
    print("\n" + "\n".join(lines))
    if options.out:
        title = "# Generation speed, compared with the `hf` model of LM Evaluation Harness"
        page = [title, "", "Written by `benchmarks/generation_speed.py`.", "", *lines]
        options.out.write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
