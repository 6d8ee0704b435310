"""How many choices per second the client of model servers scores, against a stub that answers at once.

    python benchmarks/client_speed.py [--items 1000] [--model DIR] [--out benchmarks/results/client_speed.md]

The stub is a process of its own with vLLM's protocol: log-probabilities of a bigram rule in place of a model. The same
items are scored by LM Evaluation Harness (`local-completions`) on the same stub in the same run. The time of the
processors is measured beside the clock, because it does not depend on other work on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

CONCURRENCY = 16
STUB = Path(__file__).parents[1] / "tests" / "support" / "instant_server.py"


def make_items(count: int) -> list[tuple[str, list[str], list[str]]]:
    """Return contexts of about 60 tokens, with choices of one token and of about six."""
    generator = random.Random(0)
    words = ["the", "red", "dog", "eats", "fish", "and", "sees", "many", "birds", "old", "house", "people", "books"]
    items = []
    for _ in range(count):
        text = "Question: " + " ".join(generator.choices(words, k=50)) + "?\nAnswer:"
        items.append((text, [" A", " B", " C", " D"], [" " + " ".join(generator.choices(words, k=6)) for _ in "ABCD"]))
    return items


def counts_of(port: int) -> dict[str, float]:
    """Return what the stub counted so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts") as reply:
        return json.loads(reply.read())


def ours(port: int, tokenizer: Path) -> Callable[[list[tuple[str, list[str]]]], list[list[float]]]:
    """Return the scoring function of quantgate's engine."""
    from gate.config import EngineSettings, ModelSettings
    from gate.engines import fetch, locate, open_engine
    from gate.tasks.requests import LoglikelihoodRequest

    settings = EngineSettings(kind="openai", base_url=f"http://127.0.0.1:{port}/v1", concurrency=CONCURRENCY)
    source = locate(ModelSettings(model="stub"), Path(), settings)
    engine = open_engine(fetch(source, settings, Path(), locate(ModelSettings(model=str(tokenizer)), Path())), settings)

    def score(items: list[tuple[str, list[str]]]) -> list[list[float]]:
        requests = [LoglikelihoodRequest(context, tuple(choices)) for context, choices in items]
        return [list(each.loglikelihoods) for each in engine.loglikelihood(requests, lambda _: None)]

    return score


def theirs(port: int, tokenizer: Path, batch: int) -> Callable[[list[tuple[str, list[str]]]], list[list[float]]]:
    """Return the scoring function of lm-eval's `local-completions`."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    model = LocalCompletionsAPI(
        base_url=f"http://127.0.0.1:{port}/v1/completions",
        model="stub",
        tokenizer=str(tokenizer),
        num_concurrent=CONCURRENCY,
        batch_size=batch,
        max_length=4096,
        tokenized_requests=True,
    )

    def score(items: list[tuple[str, list[str]]]) -> list[list[float]]:
        requests = [
            Instance("loglikelihood", {}, (context, each), place)
            for context, choices in items
            for place, each in enumerate(choices)
        ]
        values = iter(model.loglikelihood(requests, disable_tqdm=True))
        return [[next(values)[0] for _ in choices] for _, choices in items]

    return score


def main() -> None:
    """Measure all clients on both kinds of choices."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", type=Path, help="folder with a tokenizer; default: SmolLM2-135M is written")
    arguments = parser.parse_args()
    from gate.demo.models import write_baseline

    os.environ.setdefault("OPENAI_API_KEY", "none")
    items = make_items(arguments.items)
    kinds = {
        "one token": [(context, letters) for context, letters, _ in items],
        "about 6 tokens": [(context, texts) for context, _, texts in items],
    }
    lines = []
    with tempfile.TemporaryDirectory() as name:
        tokenizer = arguments.model or Path(name) / "model"
        if not tokenizer.exists():
            write_baseline(tokenizer)
        for kind, chosen in kinds.items():
            expected: list[list[float]] | None = None
            for stub, client in (("ids", "quantgate"), ("echo", "quantgate"), ("echo", "lm-eval, batch_size 1"),
                                 ("echo", "lm-eval, batch_size 16")):  # fmt: skip
                command = [sys.executable, str(STUB), "-", "stub", "127.0.0.1", "0", *["--echo"] * (stub == "echo")]
                process = subprocess.Popen(command, stdout=subprocess.PIPE)
                try:
                    assert process.stdout is not None
                    port = int(process.stdout.readline())
                    is_ours = client == "quantgate"
                    score = ours(port, tokenizer) if is_ours else theirs(port, tokenizer, int(client.split()[-1]))
                    score(chosen[:4])  # probes, and loads what is loaded once
                    before, own, started = counts_of(port), time.process_time(), time.monotonic()
                    values = score(chosen)
                    clock, mine = time.monotonic() - started, time.process_time() - own
                    after = counts_of(port)
                finally:
                    process.kill()
                    process.wait()
                expected = expected or values
                pairs = [pair for x, y in zip(expected, values, strict=True) for pair in zip(x, y, strict=True)]
                worst = max(abs(a - b) for a, b in pairs)
                assert worst < 1e-6, (client, worst)
                choices = sum(len(each) for _, each in chosen)
                theirs_seconds = after["seconds"] - before["seconds"]
                requests = after["requests"] - before["requests"]
                what = f"{client} ({'given ids' if stub == 'ids' else 'echo'})" if is_ours else client
                lines.append(
                    f"| {kind} | {what} | {choices / clock:,.0f} | {requests / clock:,.0f} | {choices / mine:,.0f} | "
                    f"{choices / (mine + theirs_seconds):,.0f} | {after['prompts'] - before['prompts']:,.0f} "
                    f"/ {requests:,.0f} |"
                )
                print(lines[-1], flush=True)
    load = os.getloadavg()[0]
    text = "\n".join([
        "# Speed of the client of model servers",
        "",
        f"`benchmarks/client_speed.py --items {arguments.items}`: {arguments.items} items with 4 choices and contexts "
        f"of about 60 tokens, {CONCURRENCY} requests at a time, a stub in a process of its own, "
        f"{os.cpu_count()} cores, load average {load:.1f} at the end. The scores of all rows are equal.",
        "",
        "| Choices | Client | Choices/s | Requests/s | Choices per second of the client's processor time "
        "| Choices per second of both processes' time | Prompts / requests |",
        "|:--|:--|--:|--:|--:|--:|--:|",
        *lines,
        "",
    ])  # fmt: skip
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
