"""Take the screenshots of docs/images from the samples in the folder of `gate demo`.

    python tests/browser/shots.py gate-demo docs/images

They show three reports at the widths of a phone, a tablet and a desktop: the damaged model, the 8-bit model, and the
8-bit model under a policy with `certify`. One more shows the history of a simulated year. Needs Playwright, Chromium and
pngquant.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from gate.config import DecisionSettings
from gate.decision import decide, spend
from gate.report import build_result
from gate.report.detail import build_detail
from gate.report.history_html import render_history_html
from gate.report.html import render_html
from gate.samples import pair
from gate.stats import mcnemar_exact
from gate.store import read_sets
from gate.store.history import Record

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = (390, 820, 1440)


def page_of(demo: Path, candidate: str, certify: float | None) -> tuple[str, str]:
    """Return the verdict and the report of one of the demo's candidates."""
    store = demo / ".gate"
    sides = []
    for role, name in (("baseline", "models-baseline"), ("candidate", candidate)):
        (folder,) = (store / role).glob(f"{name}-*")
        sample_sets = read_sets(folder)
        if sample_sets is None:
            raise SystemExit(f"{folder} has no samples: run `gate demo` first.")
        sides.append(sample_sets)
    pairing = pair(*sides)
    settings = DecisionSettings(certify=certify)
    decision = decide(pairing.tasks, settings)
    command = ["gate run --config gate-demo.yml"]
    result = build_result(decision, pairing, sides[0], sides[1], settings, 0, command)
    return result.verdict, render_html(result, build_detail(pairing))


def history_page() -> str:
    """Return the history page of a simulated year with one run per night; the candidate is damaged for a week."""
    draw = np.random.default_rng(0)
    records = []
    for night in range(365):
        damaged = 300 <= night < 307
        flips = int(draw.poisson(40))
        worse = int(draw.binomial(flips, 0.8 if damaged else 0.5))
        past = [record.p_value for record in records]
        alpha = spend(DecisionSettings(alpha_spending={"kind": "lord"}), past).level
        p = mcnemar_exact(worse, flips - worse).pvalue
        records.append(
            Record(
                time=(datetime(2026, 1, 1, 3, tzinfo=UTC) + timedelta(days=night)).isoformat(timespec="seconds"),
                series="0" * 16,
                verdict="FAIL" if p <= alpha else "PASS",
                p_value=p,
                alpha=alpha,
                drop=(2 * worse - flips) / 2000,
                flip_rate=flips / 2000,
                baseline="b" * 64,
                candidate=f"{night:064}",
            )
        )
    return render_history_html(records)


def shoot(browser: Browser, html: str, path: Path, width: int, scheme: Literal["light", "dark"]) -> None:
    """Write a screenshot of a whole page with 64 colours."""
    page = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)
    page.set_content(html)
    if "<script" in html:
        page.wait_for_selector("html.ready")
    # the history's table is too long for a whole page
    page.screenshot(path=path, full_page=not path.name.startswith("history"))
    page.close()
    subprocess.run(["pngquant", "--force", "--strip", "--speed", "1", "--ext", ".png", "64", path], check=True)
    print(path, path.stat().st_size)


def main() -> None:
    """Write a screenshot of each page at each width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        shoot(browser, history_page(), options.out / "history-820.png", 820, "light")
        for candidate, certify, scheme in (
            ("damaged", None, "light"),
            ("int8", None, "light"),
            ("int8", 0.005, "dark"),
        ):
            verdict, html = page_of(options.demo, candidate, certify)
            for width in WIDTHS:
                shoot(browser, html, options.out / f"report-{verdict.lower()}-{width}.png", width, scheme)
        browser.close()


if __name__ == "__main__":
    main()
