"""A headless Chromium that records every error message and every request of the pages that it opens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.html_samples import choice_samples, compare_samples, text_samples

from gate.report.detail import build_detail
from gate.report.html import render_html

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
AXE = Path(__file__).resolve().parents[2] / "gate/report/web/node_modules/axe-core/axe.min.js"
VIOLATIONS = "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective));"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker where pyproject.toml does not."""
    config.addinivalue_line("markers", "browser: needs Playwright and a Chromium; skipped without them")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; tests are skipped if Playwright or Chromium is missing.

    It is closed with its module: Playwright's event loop runs until then, and other tests start their own.
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
    """Return a function that writes a page to a file."""
    folder = tmp_path_factory.mktemp("reports")

    def put(name: str, html: str) -> Path:
        path = folder / f"{name}.html"
        path.write_text(html, encoding="utf-8")
        return path

    return put


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a file; no page may log an error or request anything but itself."""
    pages, errors, requests = [], [], []

    def open_page(path: Path, width: int = 1440, height: int = 900, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.add_init_script(VIOLATIONS)
        page.on("console", lambda message: errors.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        pages.append((context, path.as_uri()))
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html.ready")
        return page

    yield open_page
    addresses = [address for _, address in pages]
    for context, _ in pages:
        context.close()
    assert errors == []
    assert set(requests) == set(addresses)


def compare_three_tasks(verdict: str) -> tuple[Any, Any]:
    """Return a result with the given verdict, and its pairing."""
    worse = {"FAIL": 60, "PASS": 22, "INCONCLUSIVE": 22}[verdict]
    policy = {"certify": 0.002} if verdict == "INCONCLUSIVE" else {"certify": 0.08} if verdict == "PASS" else {}
    result, pairing = compare_samples(
        choice_samples("winds", 400, worse, 20, 10, 0),
        choice_samples("tides", 300, 4, 3, 2, 1),
        text_samples("sums", 200, 3),
        advisory=("sums",),
        **policy,
    )
    assert result.verdict == verdict
    return result, pairing


@pytest.fixture(scope="session")
def reports(write: Callable[[str, str], Path]) -> dict[str, Path]:
    """The file of a report for each verdict."""
    paths = {}
    for verdict in ("PASS", "FAIL", "INCONCLUSIVE"):
        result, pairing = compare_three_tasks(verdict)
        paths[verdict] = write(verdict.lower(), render_html(result, build_detail(pairing)))
    return paths


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which finds violations of accessibility rules."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in gate/report/web")
    return AXE.read_text(encoding="utf-8")
