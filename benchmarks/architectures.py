"""Scores and texts of every causal architecture of transformers, against plain forward passes one at a time.

    python benchmarks/architectures.py                  # about 20 minutes on a quiet core
    python benchmarks/architectures.py llama mamba      # these only; the other rows of the table stay

For each architecture, a tiny model with random weights is saved, loaded by the engine, and compared with the model's
own forward pass over one sequence at a time: scores (with branches, shared prefixes, and rows beyond every attention
window) at the model's own logits and at logits up to 50, and greedy texts. Writes architectures.md to
benchmarks/results.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.every_architecture import Outcome, names, verify

RESULTS = Path(__file__).parent / "results"
SECONDS = 600  # per architecture


def run(name: str) -> Outcome:
    """Verify one architecture in a process of its own, with a time limit."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send, args=(name, sender))
    started = time.perf_counter()
    process.start()
    sender.close()
    try:
        outcome = receiver.recv() if receiver.poll(SECONDS) else Outcome(name, "fails", f"no result in {SECONDS} s")
    except EOFError:
        outcome = Outcome(name, "fails", "the process died")
    process.kill()
    process.join()
    print(f"{time.perf_counter() - started:6.1f} s  {outcome.line}", flush=True)
    return outcome


def _send(name: str, sender: multiprocessing.connection.Connection) -> None:
    sender.send(verify(name))
    sender.close()


def table(rows: dict[str, str]) -> str:
    """Return the Markdown table of rows by name."""
    import torch
    import transformers

    counts = Counter(row.split(" | ")[1] for row in rows.values())
    lines = [
        "# Architectures",
        "",
        f"Every architecture of AutoModelForCausalLM in transformers {transformers.__version__} (torch "
        f"{torch.__version__}, CPU, float32): a tiny model with random weights, every length threshold (windows, "
        "sparse attention, rescaled rotary embeddings) within the length of the test's sequences. Written by "
        "`python benchmarks/architectures.py`.",
        "",
        "The reference is the model's own forward pass over one sequence without a cache. Differences are the largest "
        "of a score per token, in nats: at the model's own logits, and with logits up to 50. `ok`: packed rows, shared "
        "prefixes and a paged cache; `falls back`: the log names a slower method that gives the same numbers; "
        "`refused`: this error message and no number; `not built`: no tiny model of text alone; "
        "`fails`: an error or no result in time, and no number.",
        "",
        ", ".join(f"{kind}: {count}" for kind, count in counts.most_common()) + ".",
        "",
        "| Architecture | Result | Scoring | Generation | Difference | at logits of 50 | Notes |",
        "|:--|:--|:--|:--|--:|--:|:--|",
        *(rows[name] for name in sorted(rows)),
    ]
    return "\n".join(lines) + "\n"


def rows_of(path: Path) -> dict[str, str]:
    """Return the rows of an existing table by name."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    table_lines = [line for line in lines if line.startswith("| ")]
    return {line.split(" | ")[0].removeprefix("| "): line for line in table_lines[1:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    path = arguments.out / "architectures.md"
    rows = rows_of(path) if arguments.names else {}
    for name in arguments.names or names():
        rows[name] = run(name).row
    path.write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
