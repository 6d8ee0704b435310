"""GitHub's own parser accepts every workflow, and its evaluator takes the reusable workflow's decisions as meant.

Needs node: `cd tests/github/node && npm ci`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.runner import ROOT
from support.workflow_steps import input_values, workflow

NODE = Path(__file__).parent / "node"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not (NODE / "node_modules/@actions").exists(), reason="run `npm ci` in tests/github/node first"),
]
HOME, FORK = "octo/models", "stranger/models"


def ask(**request: Any) -> dict[str, Any]:
    finished = subprocess.run(
        ["node", "workflow.mjs"], cwd=NODE, input=json.dumps(request), capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    reply: dict[str, Any] = json.loads(finished.stdout)
    return reply


def test_githubs_parser_accepts_every_workflow() -> None:
    paths = [*(ROOT / ".github/workflows").glob("*.yml"), *(ROOT / "examples").glob("*.yml")]
    files = {path.name: text for path in paths if "\non:" in (text := path.read_text(encoding="utf-8"))}
    for page in ("README.md", "docs/action.md", "docs/tutorial-ci.md", "docs/how-to/pull-request.md"):
        found = re.findall(r"```yaml[^\n]*\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
        files |= {f"{page} {n}": text for n, text in enumerate(found) if "\non: " in f"\n{text}"}
    assert {"gate.yml", "forks.yml", "release.yml"} <= set(files)
    assert len([name for name in files if ".md" in name]) == 4
    files["wrong.yml"] = "on: push\njobs:\n  a:\n    runs-on: x\n    step: []\n"
    errors = ask(files=files)["errors"]
    assert errors.pop("wrong.yml") == ["wrong.yml (Line: 5, Col: 5): Unexpected value 'step'"]
    assert not any(errors.values()), errors


def contexts(event: str, home: str = HOME, ref: str = "refs/pull/7/merge", **inputs: Any) -> dict[str, Any]:
    """Return what GitHub knows about a job of the reusable workflow."""
    values: dict[str, Any] = {name.removeprefix("inputs."): value for name, value in input_values().items()}
    values |= {"gpu": False, "lfs": False, "cache": True}
    values |= {name.replace("_", "-"): value for name, value in inputs.items()}
    payload: dict[str, Any] = {"repository": {"default_branch": "main"}}
    if event.startswith("pull_request"):
        payload["pull_request"] = {"head": {"repo": {"full_name": home}}}
    if event == "workflow_run":
        payload["workflow_run"] = {
            "event": "pull_request",
            "conclusion": "success",
            "head_repository": {"full_name": home},
        }
    return {
        "github": {"event_name": event, "repository": HOME, "ref": ref, "event": payload},
        "inputs": values,
        "secrets": {"GATE_STORE_KEY": "the key"},
        "steps": {
            "key": {"outputs": {"value": "abc"}},
            "baseline": {"outputs": {"cache-hit": ""}},
            "gate": {"outputs": {"verdict": "FAIL", "result-path": "gate-result.json"}},
        },
    }


def expression(text: str) -> str:
    return text.strip().removeprefix("${{").removesuffix("}}").strip()


def values(text: str, *cases: dict[str, Any]) -> list[Any]:
    """Return the value of an expression in each context."""
    return list(ask(expressions=[{"text": expression(text), "contexts": case} for case in cases])["values"])


@pytest.fixture(scope="module")
def jobs() -> Any:
    return workflow()["jobs"]


def test_which_events_evaluate_and_which_post_the_result_of_a_fork(jobs: Any) -> None:
    cases = [
        contexts("pull_request"),
        contexts("push", ref="refs/heads/main"),
        contexts("merge_group"),
        contexts("pull_request", FORK),
        contexts("pull_request", FORK, fork_runner="ubuntu-24.04"),
        contexts("pull_request_target", FORK, fork_runner="ubuntu-24.04"),
        contexts("workflow_run", FORK),
        contexts("workflow_run", HOME),
    ]
    assert values(jobs["gate"]["if"], *cases) == [True, True, True, False, True, False, False, False]
    assert values(jobs["comment"]["if"], *cases) == [False, False, False, False, False, False, True, False]


def test_a_fork_never_runs_on_the_callers_runner(jobs: Any) -> None:
    own = {"runner": '["self-hosted", "gpu"]', "fork_runner": "ubuntu-24.04"}
    found = values(
        jobs["gate"]["runs-on"],
        contexts("pull_request", FORK, **own),
        contexts("pull_request", **own),
        contexts("push", **own),
        contexts("push"),
    )
    assert found == ["ubuntu-24.04", ["self-hosted", "gpu"], ["self-hosted", "gpu"], "ubuntu-24.04"]
    assert values(jobs["gate"]["env"]["FORK"], contexts("pull_request", FORK), contexts("push")) == [True, False]


def test_the_container_follows_the_inputs(jobs: Any) -> None:
    image = "ghcr.io/quantgate/quantgate"
    found = values(
        jobs["gate"]["container"],
        contexts("push"),
        contexts("push", gpu=True, volumes='["/srv/models:/models:ro"]'),
        contexts("push", gpu=True, image="own:1", container_options="--device nvidia.com/gpu=all"),
        contexts("push", image="none"),
    )
    assert found == [
        {"image": f"{image}:v1-cpu", "options": "", "volumes": []},
        {"image": f"{image}:v1", "options": "--gpus all", "volumes": ["/srv/models:/models:ro"]},
        {"image": "own:1", "options": "--device nvidia.com/gpu=all", "volumes": []},
        "",  # the runner starts no container
    ]


def test_only_the_default_branch_saves_and_only_it_has_the_key(jobs: Any) -> None:
    cases = [contexts("push", ref="refs/heads/main"), contexts("push", ref="refs/heads/x"), contexts("pull_request")]
    steps = {step.get("name"): step for step in jobs["gate"]["steps"]}
    for name in ("Save the baseline", "Save the result for later pull requests"):
        condition = steps[name]["if"].replace("!cancelled() && ", "")  # a function of the job, which is not cancelled
        assert values(condition, *cases) == [True, False, False], name
    key = steps["Run the gate"]["env"]["GATE_STORE_KEY"]
    assert values(key, *cases) == ["the key", "the key", ""]
