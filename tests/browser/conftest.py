"""A real headless Chromium that records every complaint and every request of the pages it opens."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "report"))  # for html_samples

from support.html_samples import choices_task, compared, texts_task

from gate.report.detail import build_detail
from gate.report.html import render_html

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
AXE = Path(__file__).resolve().parents[2] / "gate/report/web/node_modules/axe-core/axe.min.js"
VIOLATIONS = (
    "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective));"
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker where pyproject.toml does not."""
    config.addinivalue_line("markers", "browser: needs Playwright and a Chromium; skipped without them")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; tests skip where Playwright or Chromium is missing.

    Closed with its module: Playwright's event loop runs as long as the browser does, and other tests start their own.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return a function that puts a page into a file."""
    folder = tmp_path_factory.mktemp("reports")

    def put(name: str, html: str) -> Path:
        path = folder / f"{name}.html"
        path.write_text(html, encoding="utf-8")
        return path

    return put


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a file; at the end nothing may have been complained of, or asked of the network."""
    pages, said, asked = [], [], []

    def go(path: Path, width: int = 1440, height: int = 900, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.add_init_script(VIOLATIONS)
        page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        pages.append((context, path.as_uri()))
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html.ready")
        return page

    yield go
    addresses = [address for _, address in pages]
    for context, _ in pages:
        context.close()
    assert said == []
    assert set(asked) == set(addresses)


def made(verdict: str) -> tuple[Any, Any]:
    """A comparison of three tasks that ends in the given verdict."""
    worse = {"FAIL": 60, "PASS": 22, "INCONCLUSIVE": 22}[verdict]
    policy = (
        {"certify": 0.002} if verdict == "INCONCLUSIVE" else {"certify": 0.08} if verdict == "PASS" else {}
    )
    result, pairing = compared(
        choices_task("winds", 400, worse, 20, 10, 0),
        choices_task("tides", 300, 4, 3, 2, 1),
        texts_task("sums", 200, 3),
        advisory=("sums",),
        **policy,
    )
    assert result.verdict == verdict
    return result, pairing


@pytest.fixture(scope="session")
def reports(write: Callable[[str, str], Path]) -> dict[str, Path]:
    """A report of each verdict."""
    paths = {}
    for verdict in ("PASS", "FAIL", "INCONCLUSIVE"):
        result, pairing = made(verdict)
        paths[verdict] = write(verdict.lower(), render_html(result, build_detail(pairing)))
    return paths


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which finds what keeps people with assistive technology out."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in gate/report/web")
    return AXE.read_text(encoding="utf-8")
