"""Size and speed of the HTML report in headless Chromium.

    python benchmarks/html_report.py [--out benchmarks/results] [--chromium /usr/bin/chromium]

Each case is a comparison from a seeded generator: multiple-choice items with four choices and their log-probabilities,
or generated answers of the given length. The browser's figures are medians over loading the page five times.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from gate.config import DecisionSettings
from gate.decision import decide
from gate.importers.build import task_samples
from gate.report import build_result
from gate.report.detail import build_detail
from gate.report.html import render_html
from gate.report.payload import flips_payload
from gate.samples import ModelSamples, Pairing, TaskSamples, pair

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TASKS = 12
SYLLABLES = [
    "ka",
    "lo",
    "mi",
    "ren",
    "tu",
    "sho",
    "bel",
    "dra",
    "fin",
    "gor",
    "hep",
    "jun",
    "vas",
    "wi",
    "yod",
    "zer",
]


def words(generator: np.random.Generator, characters: int, texts: int) -> list[str]:
    """Return texts of random three-syllable words, which compress about as well as prose."""
    vocabulary = ["".join(generator.choice(SYLLABLES, 3)) for _ in range(3_000)]
    ranks = np.minimum(generator.zipf(1.3, (texts, characters // 7)), len(vocabulary)) - 1
    return [" ".join(vocabulary[rank] for rank in row)[:characters] for row in ranks]


def comparison(items: int, flips: float, prompt: int, answer: int, seed: int = 0) -> tuple[Pairing, list[ModelSamples]]:
    """Return paired samples of two models; most flips are regressions.

    Parameters
    ----------
    items : int
    flips : float
        Proportion of items that flip; 70 % of the flips are regressions.
    prompt, answer : int
        Length in characters. An answer of 0 characters gives multiple-choice items.
    """
    generator = np.random.default_rng(seed)
    per_task = items // TASKS
    sides: list[dict[str, TaskSamples]] = [{}, {}]
    for task in range(TASKS):
        prompts = words(generator, prompt, per_task)
        right = generator.integers(0, 4, per_task)
        good = generator.random(per_task) < 0.7
        moved = generator.random(per_task) < flips
        before = np.where(moved, generator.random(per_task) < 0.7, good)
        for side, correct in enumerate((before, np.where(moved, ~before, before))):
            picked = np.where(correct, right, (right + 1) % 4)
            columns: dict[str, Any] = {
                "item_id": [f"{task}-{item}" for item in range(per_task)],
                "score": correct.astype(float),
                "prompt": prompts,
                "target": right.astype(str).tolist(),
            }
            if answer:
                columns["output"] = words(generator, answer, per_task)
            else:
                logprobs = generator.normal(-9, 2, (per_task, 4)).astype(np.float32)
                logprobs[np.arange(per_task), picked] = -1.5
                columns |= {
                    "output": picked.astype(str).tolist(),
                    "choices": [["the first", "the second one", "a third", "none of these"]] * per_task,
                    "choice_logprobs": logprobs.tolist(),
                    "kl": generator.gamma(0.5, 0.02, per_task),
                    "same_top": np.ones(per_task, dtype=bool),
                }
            name = f"task{task:02d}"
            samples = task_samples(name, "acc", columns)
            sides[side][name] = TaskSamples(name, "acc", samples.table, reference="base" if side else None)
    models = [
        ModelSamples(label, tasks, {"fingerprint": label}) for label, tasks in zip(("base", "new"), sides, strict=True)
    ]
    return pair(*models), models


def opened(browser: Any, path: Path, runs: int = 5) -> dict[str, float]:
    """Return the time (ms) to the first paint, to a usable page and of a text filter, and the memory (MB); medians."""
    measured: dict[str, list[float]] = {"paint": [], "ready": [], "filter": [], "heap": []}
    for _ in range(runs):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_selector("html.ready")
        measured["ready"].append(page.evaluate("performance.getEntriesByName('ready')[0]?.startTime ?? NaN"))
        measured["paint"].append(
            page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
        )
        measured["filter"].append(
            page.evaluate(
                """() => new Promise((done) => {
                  const said = document.querySelector('#f-count'), from = said.textContent, start = performance.now();
                  new MutationObserver(() => requestAnimationFrame(() => done(performance.now() - start)))
                    .observe(said, {childList: true});
                  const box = document.querySelector('#f-text');
                  box.value = 'kalomi'; box.form.dispatchEvent(new Event('change'));
                })"""
            )
        )
        session = page.context.new_cdp_session(page)
        session.send("HeapProfiler.collectGarbage")
        measured["heap"].append(session.send("Runtime.getHeapUsage")["usedSize"] / 1e6)
        page.close()
    return {name: statistics.median(values) for name, values in measured.items()}


CASES = (
    ("1,500 items, multiple choice", 1_500, 0.05, 300, 0),
    ("100,000 items, 10,000 flips, multiple choice", 100_000, 0.12, 300, 0),
    ("100,000 items, 10,000 flips, prompts of 600 and answers of 400 characters", 100_000, 0.12, 600, 400),
    ("12,000 items, 10,000 flips, prompts of 3,000 and answers of 3,000 characters", 12_000, 0.95, 3_000, 3_000),
)  # fmt: skip


def main() -> None:
    """Measure every case and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    lines = [
        "# Size and speed of the HTML report",
        "",
        "Generated comparisons with 12 tasks; 2 cores. Rendering: from the paired samples to the page.",
        "Browser: headless Chromium, median over loading the page 5 times. Filter: from the first search to the list.",
        "",
        "| comparison | flips in the page | characters per text, at most | size, MB | rendering, s "
        "| first paint, ms | usable, ms | filter, ms | JS heap, MB |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        for name, items, flips, prompt, answer in CASES:
            pairing, models = comparison(items, flips, prompt, answer)
            settings = DecisionSettings(draws=10_000)
            result = build_result(
                decide(pairing.tasks, settings), pairing, *models, settings, 0, ["gate compare base new"]
            )
            started = time.perf_counter()
            detail = build_detail(pairing)
            html = render_html(result, detail)
            seconds = time.perf_counter() - started
            path = Path(folder) / "report.html"
            path.write_text(html, encoding="utf-8")
            payload = flips_payload(detail)
            seen = opened(browser, path)
            lines.append(
                f"| {name} | {payload.flips:,} of {sum(detail.totals.values()):,} | {payload.limit:,} | "
                f"{path.stat().st_size / 1e6:.2f} | {seconds:.1f} | {seen['paint']:.0f} | {seen['ready']:.0f} | "
                f"{seen['filter']:.0f} | {seen['heap']:.0f} |"
            )
            print(lines[-1], flush=True)
        browser.close()
    (options.out / "html_report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
