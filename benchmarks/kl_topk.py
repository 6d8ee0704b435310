"""KL divergence of the answer's first token: from a few stored tokens, compared with the whole vocabulary.

    python benchmarks/kl_topk.py DATA [--models gate-demo/models] [--items 200] [--out benchmarks/results]

DATA contains step_inference.jsonl with the field `question`. The models are those that `gate demo` writes: `baseline`,
`int8` and `damaged`. The exact divergence is computed in float64 from the logits of transformers, without the engine.
Prints a table and writes kl_topk.md.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gate.config import EngineSettings, ModelSettings, SampleSettings, TaskSettings
from gate.engines import Engine, fetch, locate, open_engine
from gate.evaluation.answer import answer_items
from gate.evaluation.recording import Recording
from gate.evaluation.references import StoredDistributions
from gate.samples.record import TaskSamples
from gate.tasks import Task, build_task

RECORDINGS = (
    *(Recording(top, 0) for top in (16, 64, 128, 1024)),
    *(Recording(top, drawn) for top, drawn in ((16, 16), (64, 16), (64, 64), (128, 16))),
    Recording("whole", 0),
)
COLUMNS = ("top_tokens", "top_logprobs", "tail_mass", "drawn_tokens", "drawn_logprobs")


def open_model(folder: Path) -> Engine:
    settings = EngineSettings(device="cpu")
    source = locate(ModelSettings(model=str(folder.resolve()), dtype="float32"), folder)
    return open_engine(fetch(source, settings, folder, None), settings)


def stored_bytes(table: pa.Table) -> float:
    """Return the size of the stored distributions in Parquet, in bytes per item."""
    sink = io.BytesIO()
    pq.write_table(table.select(COLUMNS), sink, compression="zstd")
    return len(sink.getvalue()) / table.num_rows


def exact_logprobs(folder: Path, task: Task) -> torch.Tensor:
    """Return the log-probabilities of the token after each prompt, as float64 of shape (items, vocabulary)."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        last = [model(**tokenizer(item.context, return_tensors="pt")).logits[0, -1] for item in task.items]
    return torch.log_softmax(torch.stack(last).double(), dim=1)


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, default=Path("gate-demo/models"))
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    settings = TaskSettings(
        name="step_inference",
        file=str(options.data.resolve() / "step_inference.jsonl"),
        prompt="Q: {{ question }}\nA:",
        # the distribution after the prompt does not depend on the choices; these need one row per item
        choices=["A", "B"],
        answer="0",
    )
    task = build_task(settings, SampleSettings(limit=options.items), options.data)
    models = options.models.resolve()
    baseline = open_model(models / "baseline")
    tables = {each: answer_items(task, task.items, baseline, lambda _: None, None, each) for each in RECORDINGS}
    del baseline
    sizes = {each: stored_bytes(table) for each, table in tables.items()}
    before = exact_logprobs(models / "baseline", task)
    lines = [
        "# KL divergence from a few stored tokens, compared with the whole vocabulary",
        "",
        f"First {options.items} items of step_inference, SmolLM2-135M-Instruct in float32 on the CPU; mean KL "
        "divergence of the",
        "answer's first token in nats. Stored: the k likeliest tokens, or k + m with m tokens drawn from the rest.",
        "Without drawn tokens the result is a lower bound, with them an unbiased estimate. `exact`: float64, from the",
        "logits of transformers. `error`: relative error of the mean. `standard error`: of the mean over the draws, as the",
        "report states it.",
        "",
        "| candidate | stored | mean KL | exact | error | standard error | largest error of an item | bytes per item |",
        "|---|---|---|---|---|---|---|---|",
    ]
    relative_errors: dict[str, dict[str, float]] = {}
    for name in ("int8", "damaged"):
        after = exact_logprobs(models / name, task)
        exact = (before.exp() * (before - after)).sum(dim=1).numpy()
        engine = open_model(models / name)
        for recording, table in tables.items():
            references = StoredDistributions(TaskSamples(task.name, task.metric, table))
            answers = answer_items(task, task.items, engine, lambda _: None, references, recording)
            kl = np.asarray(answers.column("kl").to_pylist(), dtype=np.float64)
            relative = kl.mean() / exact.mean() - 1
            variance = answers.column("kl_variance")
            error = "bound"
            if not variance.null_count:
                error = f"{np.sqrt(np.sum(variance.to_numpy())) / len(kl) / exact.mean():.3%}"
            relative_errors.setdefault(name, {})[str(recording)] = relative
            lines.append(
                f"| {name} | {recording} | {kl.mean():.6f} | {exact.mean():.6f} | {relative:+.3%} | "
                f"{error} | {np.abs(kl - exact).max():.2g} | {sizes[recording]:.0f} |"
            )
    lines += ["", f"Relative errors: `{json.dumps(relative_errors)}`."]
    text = "\n".join(lines) + "\n"
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "kl_topk.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
