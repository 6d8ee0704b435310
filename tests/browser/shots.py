"""Take the pictures of docs/images again, from the samples that `gate demo` left in its folder.

    python tests/browser/shots.py gate-demo docs/images

They are the report of a damaged, of an 8-bit, and of the same 8-bit model where the policy asks for a proof, at the widths
of a phone, a tablet and a desk. Needs Playwright, Chromium and pngquant.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from playwright.sync_api import sync_playwright

from gate.config import DecisionSettings
from gate.decision import decide
from gate.report import build_result
from gate.report.detail import build_detail
from gate.report.html import render_html
from gate.samples import pair, read_sets

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = (390, 820, 1440)


def page_of(demo: Path, candidate: str, certify: float | None) -> tuple[str, str]:
    """Return the verdict and the report of one of the demo's candidates."""
    store = demo / ".gate"
    sides = []
    for role, name in (("baseline", "baseline"), ("candidate", candidate)):
        (folder,) = (store / role).glob(f"models-{name}-*")
        found = read_sets(folder)
        if found is None:
            raise SystemExit(f"{folder} holds no samples: run `gate demo` first.")
        sides.append(found)
    pairing = pair(*sides)
    settings = DecisionSettings(certify=certify)
    decision = decide(pairing.tasks, settings)
    command = [f"gate run --config gate-{candidate}.yml"]
    result = build_result(decision, pairing, sides[0], sides[1], settings, 0, command)
    return result.verdict, render_html(result, build_detail(pairing))


def main() -> None:
    """Make the pages, open them at each width, and write the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for candidate, certify, scheme in (
            ("damaged", None, "light"),
            ("int8", None, "light"),
            ("int8", 0.005, "dark"),
        ):
            verdict, html = page_of(options.demo, candidate, certify)
            for width in WIDTHS:
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                page.set_content(html)
                page.wait_for_selector("html.ready")
                path = options.out / f"report-{verdict.lower()}-{width}.png"
                page.screenshot(path=path, full_page=True)
                page.close()
                subprocess.run(
                    ["pngquant", "--force", "--strip", "--speed", "1", "--ext", ".png", "64", path],
                    check=True,
                )
                print(path, path.stat().st_size)
        browser.close()


if __name__ == "__main__":
    main()
