"""What measuring behaviour costs: text against plain forward passes, and divergences along generated answers.

    python benchmarks/behaviour_speed.py MODELS [--text FILE] [--windows 20] [--answers 100] [--out benchmarks/results]

MODELS is the folder that `gate demo` writes: `baseline` and `damaged`. All times are CPU seconds of one thread, so that
other processes on the machine matter little. Prints a table and writes behaviour_speed.md.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

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


def open_model(folder: Path) -> Engine:
    settings = EngineSettings(device="cpu")
    source = locate(ModelSettings(model=str(folder.resolve()), dtype="float32"), folder)
    return open_engine(fetch(source, settings, folder, None), settings)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def rows(task: Task, engine: Engine, recording: Recording, references: StoredDistributions | None = None) -> pa.Table:
    return answer_items(task, task.items, engine, lambda _: None, references, recording)


def plain_forward(task: Task, engine: Any) -> None:
    """Read every window with transformers alone, and take the log-probability of each token."""
    model, tokenizer = engine._loaded.model, engine._loaded.tokenizer
    with torch.no_grad():
        for item in task.items:
            ids = torch.tensor([[0, *tokenizer.encode(item.prompt, add_special_tokens=False)]])
            logprobs = torch.log_softmax(model(ids[:, :-1]).logits[0].float(), dim=1)
            logprobs.gather(1, ids[0, 1:, None]).sum()


def stored_bytes(table: pa.Table) -> float:
    sink = io.BytesIO()
    pq.write_table(table.select(COLUMNS), sink, compression="zstd")
    return len(sink.getvalue()) / table.num_rows


def compare(task: Task, models: Path, first: tuple[str, Callable[[Engine], Any]]) -> list[str]:
    """Return the lines of a table: the reference, and both models with what is measured of them."""
    lines = []
    base, other = open_model(models / "baseline"), open_model(models / "damaged")
    rows(task, base, NONE)  # memory and caches are warm afterwards
    plain, _ = timed(lambda: first[1](base))
    lines.append(f"| {first[0]} | {plain:.1f} | 1.00 | |")
    seconds, table = timed(lambda: rows(task, base, DEFAULT))
    lines.append(
        f"| baseline, distributions stored | {seconds:.1f} | {seconds / plain:.2f} | {stored_bytes(table):,.0f} |"
    )
    references = StoredDistributions(TaskSamples(task.name, task.metric, table))
    without, _ = timed(lambda: rows(task, other, NONE))
    lines.append(f"| candidate, scores only | {without:.1f} | {without / plain:.2f} | |")
    seconds, _ = timed(lambda: rows(task, other, DEFAULT, references))
    lines.append(f"| candidate, divergences measured | {seconds:.1f} | {seconds / plain:.2f} | |")
    return lines


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--text", type=Path, default=Path("docs/explanation/statistics.md"))
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = ["| what | CPU seconds | ratio | bytes stored per item |", "|---|---|---|---|"]
    text = TaskSettings(name="text", kind="text", file=str(options.text.resolve()))
    texts = build_task(text, SampleSettings(limit=options.windows), options.text)
    lines = [
        "# What measuring behaviour costs",
        "",
        "SmolLM2-135M-Instruct in float32, CPU seconds of one thread.",
        "",
        f"## {len(texts.items)} windows of text",
        "",
        *head,
        *compare(
            texts, options.models, ("plain forward passes, transformers", lambda engine: plain_forward(texts, engine))
        ),
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
        *head,
        *compare(answers, options.models, ("baseline, no distributions", lambda engine: rows(answers, engine, NONE))),
    ]
    print("\n".join(second))
    (options.out / "behaviour_speed.md").write_text("\n".join([*lines, *second]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
