"""The image, built and run as GitHub's runner runs a container action, on real models.

    pytest tests/container -m container -s

Variables:

GATE_TEST_IMAGE          an existing image to test instead of building one
GATE_TEST_STORAGE        folder in which buildah keeps its images between runs; default: a temporary folder
GATE_TEST_BASE_IMAGE     value of BASE_IMAGE; default: the Dockerfile's with Docker, a debootstrap with buildah
GATE_TEST_BUILD_OPTIONS  further options of the build, such as --volume for the settings of a package mirror
GATE_TEST_MODELS         folder with the demo's models (baseline, int8, damaged); default: tiny random ones
GATE_TEST_REPORT         file for the measurements: times, size, exit codes, outputs
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engines import MOUNTS, Buildah, Engine, Finished, find_engine
from support.fake_github import HOME, TOKEN, FakeGitHub
from support.runner import PAYLOADS, as_runner, read_outputs
from support.tiny import use_outputs_as_targets, write_tiny_project, write_tiny_task
from support.workflow_steps import IS_FORK, SHELL, STORE_KEY, TORCH_INDEX, ScriptStep, input_values, script_steps

from gate.store import read_sets

pytestmark = [pytest.mark.container, pytest.mark.slow]
CPU = ["--build-arg", "TORCH=torch==2.13.0+cpu"]
CPU_INDEX = ["--build-arg", "TORCH_INDEX=https://download.pytorch.org/whl/cpu"]
RUNNER = 1001
"""User of the runner on GitHub's machines, who owns the workspace."""


@pytest.fixture(scope="module")
def note() -> Iterator[Callable[[str, object], None]]:
    """Return a function that prints a measurement and writes it to GATE_TEST_REPORT."""
    notes: list[str] = []

    def add(name: str, value: object) -> None:
        notes.append(f"| {name} | {value} |")
        print(f"\n{name}: {value}")

    yield add
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
    assert engine is not None, "these tests need a Docker daemon, or buildah and root"
    tag = os.environ.get("GATE_TEST_IMAGE", "localhost/quantgate:test")
    if "GATE_TEST_IMAGE" not in os.environ:
        options = [*CPU, *CPU_INDEX, *shlex.split(os.environ.get("GATE_TEST_BUILD_OPTIONS", ""))]
        base = os.environ.get("GATE_TEST_BASE_IMAGE")
        if base is None and isinstance(engine, Buildah):
            base = "localhost/quantgate-base"
            engine.base(base, storage / "debian")
        start = time.monotonic()
        engine.build(tag, options + (["--build-arg", f"BASE_IMAGE={base}"] if base else []))
        note("build", f"{time.monotonic() - start:.0f} s")
    note("size of the image (CPU build)", f"{engine.size(tag) / 1e9:.2f} GB")
    yield Image(engine, tag)
    if not kept and isinstance(engine, Buildah):
        shutil.rmtree(storage, ignore_errors=True)


class Step:
    """A step of a pull request's job, with the runner's folders and variables."""

    def __init__(self, folders: Path, image: Image, github: FakeGitHub) -> None:
        self.folders, self._image = folders, image
        for name in MOUNTS:
            (folders / name).mkdir()
        self.workspace = folders / "workspace"
        shutil.copy(PAYLOADS / "pull_request.json", folders / "workflow" / "event.json")
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

    def run(self, *arguments: str, env: dict[str, str] | None = None, **inputs: str) -> Finished:
        self._prepare()
        variables = self.environment | as_runner(**{"github_token": TOKEN} | inputs)
        return self._image.engine.run(self._image.tag, self.folders, variables | (env or {}), arguments)

    def script(self, step: ScriptStep) -> Finished:
        """Run a script as a step of a job container, whose shell the runner starts instead of the entry point."""
        self._prepare()
        bash, *options = SHELL
        return self._image.engine.run(
            self._image.tag, self.folders, self.environment | step.environment, [*options, step.script], bash
        )

    def _prepare(self) -> None:
        for name in ("set_output", "step_summary"):
            (self.folders / "file_commands" / name).write_text("")
        for path in [self.workspace, *self.workspace.rglob("*")]:
            os.chown(path, RUNNER, RUNNER)

    @property
    def outputs(self) -> dict[str, str]:
        return read_outputs(self.folders / "file_commands" / "set_output")

    @property
    def summary(self) -> str:
        return (self.folders / "file_commands" / "step_summary").read_text(encoding="utf-8")


@pytest.fixture
def step(tmp_path: Path, image: Image, github: FakeGitHub) -> Step:
    return Step(tmp_path, image, github)


@pytest.fixture
def tiny(step: Step, tiny_model: Path, other_tiny_model: Path) -> Step:
    """A step whose workspace has two tiny models, 60 items and a gate.yml."""
    write_tiny_project(step.workspace, tiny_model, other_tiny_model)
    write_tiny_task(step.workspace / "items.jsonl", 60)
    return step


def check(step: Step, github: FakeGitHub, finished: Finished, verdict: str, code: int) -> None:
    """Assert that every output has the verdict, and that none has the token."""
    shown = finished.out + finished.err
    assert finished.code == code, shown
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


def test_pass_and_fail_on_tiny_models(tiny: Step, github: FakeGitHub, note: Callable[[str, object], None]) -> None:
    finished = tiny.run(candidate="base")
    check(tiny, github, finished, "PASS", 0)
    note("tiny models, baseline built, PASS", f"exit code {finished.code}, {finished.seconds:.1f} s")
    (stored,) = (tiny.workspace / ".gate" / "baseline").iterdir()
    samples = read_sets(stored)
    assert samples is not None
    use_outputs_as_targets(tiny.workspace / "items.jsonl", samples.tasks["animals"].table)
    finished = tiny.run(certify="0.1")
    check(tiny, github, finished, "FAIL", 1)
    note("tiny models, FAIL", f"exit code {finished.code}, {finished.seconds:.1f} s")
    note("outputs of FAIL", json.dumps(tiny.outputs))
    assert "::error " in finished.out


def test_an_input_with_a_dash_in_its_name_reaches_the_command(tiny: Step, github: FakeGitHub) -> None:
    """A shell as entry point would lose it: bash drops variables with invalid names."""
    finished = tiny.run(candidate="base", report_path="reports/r.md", certify="0.001", on_inconclusive="fail")
    check(tiny, github, finished, "INCONCLUSIVE", 3)
    assert (tiny.workspace / "reports" / "r.md").is_file()


def test_invalid_inputs_exit_with_2(tiny: Step, github: FakeGitHub) -> None:
    finished = tiny.run(candidat="base", alpha="")
    assert finished.code == 2
    assert "did you mean candidate?" in finished.err
    assert "input alpha: empty" in finished.err
    assert tiny.outputs["verdict"] == "ERROR"
    assert "quantgate: ERROR" in tiny.summary
    assert github.requests == []


def test_cuda_without_a_gpu_exits_with_4_before_the_items_are_read(
    tiny: Step, image: Image, note: Callable[[str, object], None]
) -> None:
    assert image.engine.environment(image.tag)["NVIDIA_VISIBLE_DEVICES"] == "all"
    (tiny.workspace / "items.jsonl").unlink()
    finished = tiny.run(device="cuda")
    assert finished.code == 4
    assert "default-runtime" in finished.err
    assert "--gpus all" in finished.err
    note("device: cuda without a GPU", f"exit code {finished.code}, {finished.seconds:.1f} s")


def test_doctor_explains_the_missing_gpu(tiny: Step, note: Callable[[str, object], None]) -> None:
    finished = tiny.run("doctor", "--config", "gate.yml", "--json")
    findings: dict[str, Any] = {finding["what"]: finding for finding in json.loads(finished.out)["findings"]}
    assert finished.code == 0, finished.out
    assert findings["GPU"]["state"] == "warn"
    assert "NVIDIA_VISIBLE_DEVICES is all" in findings["GPU"]["text"]
    assert "default-runtime" in findings["GPU"]["remedy"]
    assert findings["event"]["text"].startswith("pull_request of pull request 2")
    assert TOKEN not in finished.out + finished.err
    note("gate doctor", f"exit code {finished.code}, {finished.seconds:.1f} s")


def test_arguments_replace_the_default_command(tiny: Step) -> None:
    assert tiny.run("--version").out.startswith("quantgate")


def test_the_scripts_of_the_reusable_workflow_run_in_the_image(tiny: Step, github: FakeGitHub) -> None:
    """The image is the job's container there; it needs bash, rm, mkdir and cp beside gate."""
    values = {
        **input_values(candidate="base", status="check"),
        "github.token": TOKEN,
        "secrets.HF_TOKEN": "",
        IS_FORK: "false",
        STORE_KEY: "",
        TORCH_INDEX: "",
        **{f"steps.gate.outputs.{name}": "" for name in ("report-path", "result-path")},
    }
    for step in script_steps(values):
        if step.name != "Install the gate":
            finished = tiny.script(step)
            assert finished.code == 0, (step.name, finished.out, finished.err)
            values |= {f"steps.{step.id}.outputs.{name}": text for name, text in tiny.outputs.items()}
    assert values["steps.gate.outputs.verdict"] == "PASS"
    assert len(values["steps.key.outputs.value"]) >= 16
    assert {path.name for path in (tiny.workspace / "quantgate-reports").iterdir()} >= {"gate-result.json"}
    assert "PASS" in github.comments[0]["body"]
    assert (github.checks[0]["status"], github.checks[0]["conclusion"]) == ("completed", "success")


@pytest.mark.skipif("GATE_TEST_MODELS" not in os.environ, reason="GATE_TEST_MODELS names no demo models")
def test_pass_and_fail_on_the_demo_model(step: Step, github: FakeGitHub, note: Callable[[str, object], None]) -> None:
    """8-bit weights pass and 3-bit weights fail; the second run takes the baseline from the cache."""
    from gate.demo.setup import write_configs

    shutil.copytree(os.environ["GATE_TEST_MODELS"], step.workspace / "models")
    write_configs(step.workspace)
    finished = step.run(config="gate-int8.yml")
    check(step, github, finished, "PASS", 0)
    note("SmolLM2-135M int8, baseline built, PASS", f"exit code {finished.code}, {finished.seconds:.0f} s")
    finished = step.run(config="gate-damaged.yml")
    check(step, github, finished, "FAIL", 1)
    assert "from the cache" in finished.err
    note("SmolLM2-135M 3 bits, baseline cached, FAIL", f"exit code {finished.code}, {finished.seconds:.0f} s")
    note("first line of the summary", step.summary.strip().splitlines()[0])
