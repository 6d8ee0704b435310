"""The image, really built and run as GitHub's runner runs a container action, on real models.

    pytest tests/container -m container -s

Variables:

GATE_TEST_IMAGE          an image that is there already, instead of a build
GATE_TEST_STORAGE        buildah's storage, kept with the base image and the result; default: a temporary folder
GATE_TEST_BASE_IMAGE     for BASE_IMAGE; default: the Dockerfile's with Docker, a debootstrap with buildah
GATE_TEST_BUILD_OPTIONS  more options for the build, such as --volume of a package mirror's settings
GATE_TEST_MODELS         folder with the demo's models (baseline, int8, damaged); default: tiny random ones
GATE_TEST_REPORT         a file for the figures: times, size, exit codes, outputs
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "github")]
from engines import MOUNTS, ROOT, Buildah, Done, Engine, find_engine
from support.fake_github import HOME, TOKEN, FakeGitHub
from support.tiny import write_gate_yml, write_tiny_model, write_tiny_task
from test_outputs import read_back

from gate.store import read_sets

pytestmark = [pytest.mark.container, pytest.mark.slow]
CPU = ["--build-arg", "TORCH=torch==2.13.0+cpu"]
CPU_INDEX = ["--build-arg", "TORCH_INDEX=https://download.pytorch.org/whl/cpu"]
RUNNER = 1001
"""User of the runner on GitHub's machines, who owns the workspace."""


@pytest.fixture(scope="module")
def note() -> Iterator[Callable[[str, object], None]]:
    """Keeps a figure, and shows it."""
    notes: list[str] = []

    def keep(what: str, value: object) -> None:
        notes.append(f"| {what} | {value} |")
        print(f"\n{what}: {value}")

    yield keep
    if "GATE_TEST_REPORT" in os.environ:
        Path(os.environ["GATE_TEST_REPORT"]).write_text("\n".join(notes) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Image:
    engine: Engine
    tag: str


@pytest.fixture(scope="module")
def image(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    note: Callable[[str, object], None],
) -> Iterator[Image]:
    if "container" not in str(request.config.getoption("markexpr")):
        pytest.skip("takes minutes and 10 GB: pytest tests/container -m container")
    kept = os.environ.get("GATE_TEST_STORAGE")
    storage = Path(kept) if kept else tmp_path_factory.mktemp("storage")
    engine = find_engine(storage)
    assert engine is not None, "neither a Docker daemon nor buildah (as root) is here"
    tag = os.environ.get("GATE_TEST_IMAGE", "localhost/quantgate:test")
    if "GATE_TEST_IMAGE" not in os.environ:
        options = [*CPU, *CPU_INDEX, *shlex.split(os.environ.get("GATE_TEST_BUILD_OPTIONS", ""))]
        base = os.environ.get("GATE_TEST_BASE_IMAGE")
        if base is None and isinstance(engine, Buildah):
            base = "localhost/quantgate-base"
            engine.base(base, storage / "debian")
        started = time.monotonic()
        engine.build(tag, options + (["--build-arg", f"BASE_IMAGE={base}"] if base else []))
        note("build", f"{time.monotonic() - started:.0f} s")
    note("size of the image (CPU build)", f"{engine.size(tag) / 1e9:.2f} GB")
    yield Image(engine, tag)
    if not kept and isinstance(engine, Buildah):
        shutil.rmtree(storage, ignore_errors=True)


class Step:
    """A step of a job on a pull request, as the runner starts it."""

    def __init__(self, folders: Path, image: Image, github: FakeGitHub) -> None:
        self.folders, self._image = folders, image
        for name in MOUNTS:
            (folders / name).mkdir()
        self.workspace = folders / "workspace"
        shutil.copy(ROOT / "tests/github/payloads/pull_request.json", folders / "workflow" / "event.json")
        commands = "/github/file_commands"
        self.environment = {
            "HOME": "/github/home",
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_EVENT_PATH": "/github/workflow/event.json",
            "GITHUB_REPOSITORY": HOME,
            "GITHUB_SHA": "c" * 40,
            "GITHUB_API_URL": github.url,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "77",
            "GITHUB_WORKSPACE": "/github/workspace",
            "GITHUB_OUTPUT": f"{commands}/set_output",
            "GITHUB_STEP_SUMMARY": f"{commands}/step_summary",
            "HF_HUB_OFFLINE": "1",
        }

    def run(self, *arguments: str, env: dict[str, str] | None = None, **inputs: str) -> Done:
        action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        given = {name: entry["default"] for name, entry in action["inputs"].items()} | {"github-token": TOKEN}
        given |= {name.replace("_", "-"): text for name, text in inputs.items()}
        for name in ("set_output", "step_summary"):
            (self.folders / "file_commands" / name).write_text("")
        for path in [self.workspace, *self.workspace.rglob("*")]:
            os.chown(path, RUNNER, RUNNER)
        variables = self.environment | {f"INPUT_{name.upper()}": text for name, text in given.items()}
        return self._image.engine.run(self._image.tag, self.folders, variables | (env or {}), arguments)

    @property
    def outputs(self) -> dict[str, str]:
        return read_back(self.folders / "file_commands" / "set_output")

    @property
    def summary(self) -> str:
        return (self.folders / "file_commands" / "step_summary").read_text(encoding="utf-8")


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        yield server


@pytest.fixture
def step(tmp_path: Path, image: Image, github: FakeGitHub) -> Step:
    return Step(tmp_path, image, github)


@pytest.fixture
def tiny(step: Step) -> Step:
    """A workspace with two tiny models, 60 questions and a gate.yml."""
    write_tiny_model(step.workspace / "base")
    write_tiny_model(step.workspace / "other", seed=1)
    write_tiny_task(step.workspace / "items.jsonl", 60)
    write_gate_yml(step.workspace, "base", "other")
    return step


def check(step: Step, github: FakeGitHub, done: Done, verdict: str, code: int) -> None:
    """The verdict is in every place, and the token in none."""
    shown = done.out + done.err
    assert done.code == code, shown
    assert step.outputs["verdict"] == verdict, shown
    assert step.outputs["exit-code"] == str(code)
    result = json.loads((step.workspace / step.outputs["result-path"]).read_text(encoding="utf-8"))
    assert result["verdict"] == verdict
    assert float(step.outputs["p-value"]) == result["p_value"]
    assert verdict in step.summary
    assert verdict in github.comments[-1]["body"]
    assert len(github.comments) == 1
    assert step.outputs["comment-url"] == github.comments[-1]["html_url"]
    assert TOKEN not in shown.replace(f"::add-mask::{TOKEN}", "")
    assert {path.stat().st_uid for path in step.workspace.rglob("*")} == {RUNNER}


def test_pass_and_fail_on_tiny_models(
    tiny: Step, github: FakeGitHub, note: Callable[[str, object], None]
) -> None:
    done = tiny.run(candidate="base")
    check(tiny, github, done, "PASS", 0)
    note("tiny models, baseline built, PASS", f"exit code {done.code}, {done.seconds:.1f} s")
    # the baseline's own answers become the right ones
    (stored,) = (tiny.workspace / ".gate" / "baseline").iterdir()
    samples = read_sets(stored)
    assert samples is not None
    path = tiny.workspace / "items.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, answer in zip(rows, samples.tasks["animals"].table.column("output").to_pylist(), strict=True):
        row["gold"] = int(answer)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = tiny.run(certify="0.1")
    check(tiny, github, done, "FAIL", 1)
    note("tiny models, FAIL", f"exit code {done.code}, {done.seconds:.1f} s")
    note("outputs of FAIL", json.dumps(tiny.outputs))
    assert "::error " in done.out


def test_an_input_with_a_dash_arrives(tiny: Step, github: FakeGitHub) -> None:
    """A shell as entry point would lose them: bash drops variables whose names it cannot hold."""
    done = tiny.run(candidate="base", report_path="reports/r.md", certify="0.001", on_inconclusive="fail")
    check(tiny, github, done, "INCONCLUSIVE", 3)
    assert (tiny.workspace / "reports" / "r.md").is_file()


def test_wrong_inputs_are_exit_code_2(tiny: Step, github: FakeGitHub) -> None:
    done = tiny.run(candidat="base", alpha="")
    assert done.code == 2
    assert "did you mean candidate?" in done.err
    assert "input alpha: empty" in done.err
    assert tiny.outputs["verdict"] == "ERROR"
    assert "no verdict" in tiny.summary
    assert github.requests == []


def test_cuda_without_a_gpu_stops_at_once_with_both_remedies(
    tiny: Step, image: Image, note: Callable[[str, object], None]
) -> None:
    assert image.engine.environment(image.tag)["NVIDIA_VISIBLE_DEVICES"] == "all"
    (tiny.workspace / "items.jsonl").unlink()  # would be the first thing to be read
    done = tiny.run(device="cuda")
    assert done.code == 4
    assert "default-runtime" in done.err
    assert "--gpus all" in done.err
    note("device: cuda without a GPU", f"exit code {done.code}, {done.seconds:.1f} s")


def test_doctor_says_why_there_is_no_gpu(tiny: Step, note: Callable[[str, object], None]) -> None:
    done = tiny.run("doctor", "--config", "gate.yml", "--json")
    found: dict[str, Any] = {one["what"]: one for one in json.loads(done.out)["findings"]}
    assert done.code == 0, done.out
    assert found["GPU"]["state"] == "warn"
    assert "NVIDIA_VISIBLE_DEVICES is all" in found["GPU"]["text"]
    assert "default-runtime" in found["GPU"]["remedy"]
    assert found["event"]["text"].startswith("pull_request of pull request 2")
    assert TOKEN not in done.out + done.err
    note("gate doctor", f"exit code {done.code}, {done.seconds:.1f} s")


def test_another_command_as_args(tiny: Step) -> None:
    assert tiny.run("--version").out.startswith("quantgate")


@pytest.mark.skipif("GATE_TEST_MODELS" not in os.environ, reason="GATE_TEST_MODELS names no demo models")
def test_pass_and_fail_on_the_demo_model(
    step: Step, github: FakeGitHub, note: Callable[[str, object], None]
) -> None:
    """The demo, whole: 8-bit weights pass, 3-bit weights fail; the second run takes the baseline from the cache."""
    from gate.demo.setup import write_configs

    shutil.copytree(os.environ["GATE_TEST_MODELS"], step.workspace / "models")
    write_configs(step.workspace)
    done = step.run(config="gate-int8.yml")
    check(step, github, done, "PASS", 0)
    note("SmolLM2-135M int8, baseline built, PASS", f"exit code {done.code}, {done.seconds:.0f} s")
    done = step.run(config="gate-damaged.yml")
    check(step, github, done, "FAIL", 1)
    assert "from the cache" in done.err
    note("SmolLM2-135M 3 bits, baseline cached, FAIL", f"exit code {done.code}, {done.seconds:.0f} s")
    note("first line of the summary", step.summary.strip().splitlines()[0])
