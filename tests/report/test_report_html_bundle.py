"""The committed script and style are what the source builds."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

WEB = Path(str(resources.files("gate.report").joinpath("web")))


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_bundle_is_small_and_includes_its_licences() -> None:
    assert (WEB / "bundle" / "report.js").stat().st_size < 300_000
    licences = (WEB / "bundle" / "LICENSES.txt").read_text(encoding="utf-8")
    for name, version in json.loads((WEB / "package.json").read_text(encoding="utf-8"))["dependencies"].items():
        assert f"{name} {version} (" in licences


def test_lock_file_names_no_other_registry() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))
    packages = [entry for name, entry in lock["packages"].items() if name]
    assert packages
    for entry in packages:
        assert entry.get("integrity", "").startswith("sha512-")
        assert entry.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/")


@pytest.mark.slow
def test_fresh_build_equals_the_committed_bundle(tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("the build needs node and npm")
    web = tmp_path / "web"
    shutil.copytree(WEB, web, ignore=shutil.ignore_patterns("node_modules", "bundle"))
    installed = run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], web)
    if installed.returncode:
        pytest.skip(f"npm ci did not install the build's packages: {installed.stderr.strip()[-300:]}")
    types = run(["npx", "--no-install", "tsc", "--noEmit"], web)
    assert types.returncode == 0, types.stdout
    built = run(["node", "build.mjs"], web)
    assert built.returncode == 0, built.stderr
    for name in ("report.js", "report.css", "LICENSES.txt"):
        fresh, kept = ((folder / "bundle" / name).read_bytes() for folder in (web, WEB))
        assert fresh == kept, f"{name} is not what the source builds: run `make web`"
