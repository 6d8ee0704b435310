"""Scores and texts of every causal architecture of transformers, against plain forward passes one at a time.

    python benchmarks/architectures.py                  # about 20 minutes on a quiet core
    python benchmarks/architectures.py llama mamba      # these only; the table is printed, not written

For each architecture, a tiny model with random weights is saved, loaded by the engine, and compared with the model's own
forward pass over one sequence at a time: scores (with branches, shared prefixes, and rows beyond every attention window)
at the model's own logits and at logits up to 50, and greedy texts. Writes architectures.md to benchmarks/results.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.every_architecture import Outcome, names, verify

RESULTS = Path(__file__).parent / "results"
SECONDS = 240  # per architecture


def run(name: str) -> Outcome:
    """Verify one architecture in a process of its own, with a time limit."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send, args=(name, sender))
    started = time.perf_counter()
    process.start()
    sender.close()
    try:
        outcome = receiver.recv() if receiver.poll(SECONDS) else Outcome(name, "wrong", f"no result in {SECONDS} s")
    except EOFError:
        outcome = Outcome(name, "wrong", "the process died")
    process.kill()
    process.join()
    print(f"{time.perf_counter() - started:6.1f} s  {outcome.line}", flush=True)
    return outcome


def _send(name: str, sender: multiprocessing.connection.Connection) -> None:
    sender.send(verify(name))
    sender.close()


def table(outcomes: list[Outcome]) -> str:
    """Return the Markdown table."""
    import torch
    import transformers

    counts = {kind: sum(outcome.kind == kind for outcome in outcomes) for kind in ("ok", "falls back", "refused")}
    counts["not built"] = sum(outcome.kind == "not built" for outcome in outcomes)
    counts["wrong"] = sum(outcome.kind == "wrong" for outcome in outcomes)
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
        "prefixes and a paged cache; `falls back`: the log names a slower method that gives the same numbers.",
        "",
        ", ".join(f"{kind}: {count}" for kind, count in counts.items()) + ".",
        "",
        "| Architecture | Result | Scoring | Generation | Difference | at logits of 50 | Notes |",
        "|:--|:--|:--|:--|--:|--:|:--|",
    ]
    lines += [outcome.row for outcome in outcomes]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    outcomes = [run(name) for name in arguments.names or names()]
    text = table(outcomes)
    if arguments.names:
        print(text)
    else:
        (arguments.out / "architectures.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
