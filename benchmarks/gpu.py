"""Speed of the transformers engine on a GPU, beside LM Evaluation Harness's `hf` model and `generate_batch`.

    python benchmarks/gpu.py [--model gate-demo/models/baseline] [--data ../shared/data] [--out FILE]

Needs one GPU, no network and no server; takes at most eight minutes on an H100. Two models in bfloat16: the given one
and a Llama with 1.2 billion random parameters. Per model: start-up of a whole process, scoring without and with
few-shot examples, and generation of a fixed number of tokens without stop strings, so that all contestants do the same
work. Scoring batches have at most `--batch-tokens` padded tokens. For generation, lm-eval has `--batch` rows,
and quantgate and `generate_batch` of transformers size their batches themselves. Loading is not measured except in
start-up. Rounds alternate; a figure is the median of its rounds. "GPU busy" is the proportion of the time of a round in
which the GPU runs a kernel or copies data, by torch's profiler.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import torch
from contestants import Ours, Theirs, make_task
from engine_speed import gpu_busy, hardware, random_llama, side_by_side, start_up
from generation_speed import chat, worked_sums

from gate.tasks.requests import GenerateRequest

DTYPE = "bfloat16"
PARTS = ["start-up", "scoring", "generation"]


@dataclass
class Row:
    """Figures of a workload: items per second (seconds for start-up) per contestant, and proportions."""

    model: str
    workload: str
    speed: dict[str, float]
    equal: float | None = None
    busy: float | None = None

    def cells(self) -> str:
        """Return the row of the Markdown table."""
        ours = self.speed["quantgate"]
        unit = "s" if self.workload == "start-up" else "items/s"
        cells = [self.model, self.workload, f"{ours:.2f} {unit}"]
        for name in ("lm-eval", "generate_batch"):
            other = self.speed.get(name)
            if other is None:
                cells += ["", ""]
            else:
                cells += [f"{other:.2f}", f"{other / ours if unit == 's' else ours / other:.2f}"]
        cells += ["" if value is None else f"{value:.1%}" for value in (self.equal, self.busy)]
        return "| " + " | ".join(cells) + " |"


def score(name: str, model: Path, options: argparse.Namespace, folder: Path) -> list[Row]:
    """Score multiple-choice items without and with few-shot examples."""
    given = (model, DTYPE, options.device, options.batch_tokens)
    pair = (Ours(*given), Theirs(*given))
    rows = []
    for workload, shots, items in (
        ("scoring, zero-shot", 0, options.items),
        ("scoring, 5-shot", 5, options.items // 2),
    ):
        task = make_task(options.data, "social_iqa", items, shots, folder)
        found = side_by_side(pair, task, folder, options.rounds, time.perf_counter)
        few = replace(task, items=task.items[: max(1, items // 4)])
        busy = busy_share(options, lambda few=few: pair[0].run(few, folder))
        speed = {"quantgate": found["ours"], "lm-eval": found["lm-eval"]}
        rows.append(Row(name, workload, speed, found["same"], busy))
        print(rows[-1].cells(), flush=True)
    return rows


def generate(name: str, model: Path, tokenizer_model: Path, options: argparse.Namespace) -> list[Row]:
    """Generate up to a fixed number of tokens: free text in the chat template, and answers after few-shot examples."""
    data = options.data / "bigbench"
    workloads = {
        "generation, chat": chat(tokenizer_model, data, options.generations),
        "generation, 8-shot": worked_sums(tokenizer_model, data, options.generations),
    }
    from transformers import AutoModelForCausalLM

    engine = Ours(model, DTYPE, options.device, "auto").engine
    theirs = Theirs(model, DTYPE, options.device, options.batch_tokens).model
    theirs.batch_size_per_gpu = options.batch
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=DTYPE).to(options.device)
    rows = []
    for workload, given in workloads.items():
        requests = [GenerateRequest(request.context, (), 128) for request in given]
        contestants: dict[str, Callable[[Sequence[GenerateRequest]], list[str]]] = {
            "quantgate": lambda some: [answer.text for answer in engine.generate_until(some, lambda _: None)],
            "lm-eval": lambda some: harness(theirs, some),
            "generate_batch": lambda some: batch(plain, theirs.tokenizer, some),
        }
        seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
        texts: dict[str, list[str]] = {}
        for number in range(options.rounds + 1):
            order = list(contestants.items())
            for contestant, run in order if number % 2 else order[::-1]:
                began = time.perf_counter()
                texts[contestant] = run(requests)
                took = time.perf_counter() - began
                print(f"{workload}, round {number}, {contestant}: {took:.1f} s", flush=True)
                if number:  # round 0 warms up; generate_batch records its CUDA graphs there
                    seconds[contestant].append(took)
        speed = {one: len(requests) / statistics.median(times) for one, times in seconds.items()}
        same = statistics.mean(a == b for a, b in zip(texts["quantgate"], texts["generate_batch"], strict=True))
        few = [replace(request, max_tokens=32) for request in requests[:32]]  # the profiler keeps every kernel
        busy = busy_share(options, lambda some=few: engine.generate_until(some, lambda _: None))
        rows.append(Row(name, workload, speed, same, busy))
        print(rows[-1].cells(), flush=True)
    return rows


def busy_share(options: argparse.Namespace, run: Callable[[], object]) -> float | None:
    """Return the proportion of the time in which the GPU is busy; None on a CPU."""
    return gpu_busy(run) if options.device == "cuda" else None


def harness(model: Any, requests: Sequence[GenerateRequest]) -> list[str]:
    """Generate with the `hf` model of LM Evaluation Harness."""
    from lm_eval.api.instance import Instance

    return list(
        model.generate_until(
            [
                Instance("generate_until", {}, (one.context, {"until": [], "max_gen_toks": one.max_tokens}), index)
                for index, one in enumerate(requests)
            ],
            disable_tqdm=True,
        )
    )


def batch(model: Any, tokenizer: Any, requests: Sequence[GenerateRequest]) -> list[str]:
    """Generate with continuous batching of transformers."""
    from transformers import GenerationConfig

    settings = GenerationConfig(
        max_new_tokens=requests[0].max_tokens, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=0
    )
    prompts = [tokenizer(one.context, add_special_tokens=False).input_ids for one in requests]
    answers = model.generate_batch(prompts, generation_config=settings, persistent_manager=True)
    if len(answers) != len(prompts):
        raise SystemExit(f"generate_batch answered {len(answers)} of {len(prompts)} prompts")
    return [tokenizer.decode(answer.generated_tokens, skip_special_tokens=True) for answer in answers.values()]


def main() -> None:
    """Measure both models and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("gate-demo/models/baseline"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with bigbench/*.jsonl")
    parser.add_argument("--items", type=int, default=1000, help="items without examples; 5-shot uses a half")
    parser.add_argument("--generations", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64, help="rows per batch of lm-eval's generation")
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=1, help="measured rounds, after one that warms up")
    parser.add_argument("--models", nargs="+", choices=["given", "random"], default=["given", "random"])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu only checks the script")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.md"))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU is visible to torch")
    options.dtype, options.clock = DTYPE, "wall"
    began = time.perf_counter()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
        models = {}
        if "given" in options.models:
            models[options.model.name] = options.model
        if "random" in options.models:
            models["random Llama, 1.2 B"] = random_llama(options.model, folder / "1b")
        for label, model in models.items():
            parts: dict[str, Callable[[], list[Row]]] = {
                "start-up": partial(start, label, model, options, folder),
                "scoring": partial(score, label, model, options, folder),
                "generation": partial(generate, label, model, options.model, options),
            }
            for part in options.only:
                if part == "start-up" and model is not options.model:
                    continue  # half a minute per process, mostly imports
                rows += parts[part]()
                gc.collect()
                torch.cuda.empty_cache()
                write(rows, options, time.perf_counter() - began)  # a run that is cut off keeps what it has
    print(options.out.read_text(encoding="utf-8"))


def start(name: str, model: Path, options: argparse.Namespace, folder: Path) -> list[Row]:
    """Time whole processes that evaluate one item."""
    found = start_up(model, make_task(options.data, "step_inference", 8, 0, folder), folder, options)
    row = Row(name, "start-up", {"quantgate": found["ours"], "lm-eval": found["lm-eval"]})
    print(row.cells(), flush=True)
    return [row]


def write(rows: Sequence[Row], options: argparse.Namespace, seconds: float) -> None:
    """Write the table."""
    lines = [
        "# The transformers engine on a GPU",
        "",
        f"Written by `benchmarks/gpu.py` in {seconds:.0f} s. {hardware(options.device)}; transformers "
        f"{version('transformers')}, lm-eval {version('lm-eval')}. {DTYPE}, {options.rounds} rounds. Scoring: "
        f"{options.items} items without examples, half as many with 5; at most {options.batch_tokens} padded tokens "
        f"per batch. Generation: {options.generations} texts of at most 128 tokens; lm-eval with {options.batch} rows.",
        "",
        "| model | workload | quantgate | lm-eval | ratio | generate_batch | ratio | equal answers | GPU busy |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *(row.cells() for row in rows),
        "",
        "Ratios above 1 mean that quantgate is faster. Equal answers: items that quantgate and lm-eval both have right "
        "or both wrong; for generation, texts equal to those of `generate_batch`. bfloat16 rounds differently in other "
        "batches, so equal is not expected for every text.",
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
