"""Every request that the client sends is valid according to GitHub's OpenAPI description.

Publishing runs against the fake server. Each distinct request is then sent unchanged to a mock server (Prism), which
has GitHub's description (`@octokit/openapi`) and answers invalid requests with status 4xx and the reasons. The client
must also parse the mock's replies, which are GitHub's own examples. The only request outside of the REST description is
the GraphQL query `viewer { login }`.

Needs node: `cd tests/github/node && npm ci`.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
from support.fake_github import BOT, HOME, TOKEN, Answer, FakeGitHub, Request, pull
from support.results import example

from gate.errors import ExitCode
from gate.github.client import Client
from gate.github.comment import Comment, marker
from gate.github.context import PullRequest
from gate.github.inputs import Inputs
from gate.github.no_verdict import report_no_verdict
from gate.github.publish import publish, start

NODE = Path(__file__).parent / "node"
PRISM = NODE / "node_modules" / ".bin" / "prism"
SPEC = NODE / "node_modules" / "@octokit" / "openapi" / "generated" / "api.github.com.json"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not PRISM.exists(), reason="run `npm ci` in tests/github/node first"),
]


def used_paths(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the description of the paths in use; the whole description takes a minute to load."""
    used = re.compile(r"/user|/repos/\{owner\}/\{repo\}/(pulls|issues|commits|statuses|check-runs)\b.*")
    return {**spec, "paths": {path: item for path, item in spec["paths"].items() if used.fullmatch(path)}}


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prism")
    (folder / "github.json").write_text(json.dumps(used_paths(json.loads(SPEC.read_text(encoding="utf-8")))))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        command = [str(PRISM), "mock", "-h", "127.0.0.1", "-p", str(port), str(folder / "github.json")]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            for attempt in stamina.retry_context(on=httpx.TransportError, attempts=None, timeout=180, wait_max=1):
                with attempt:
                    assert process.poll() is None, (folder / "log").read_text()[-2_000:]
                    httpx.get(f"{url}/user", timeout=30)
            yield url
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def sent(github: FakeGitHub, event: Callable[..., Path], tmp_path: Path) -> list[Request]:
    """Publish to the fake server in every way, and return the requests."""
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": HOME,
        "GITHUB_SHA": "9" * 40,
        "GITHUB_API_URL": github.url,
        "GITHUB_RUN_ID": "77",
    }

    def run(name: str, payload: Path | None, verdict: str = "FAIL", **more: Any) -> None:
        environment["GITHUB_EVENT_NAME"] = name
        environment.pop("GITHUB_EVENT_PATH", None)
        if payload is not None:
            environment["GITHUB_EVENT_PATH"] = str(payload)
        given = {"name": "nightly", "status-context": "quantgate", "summary": False, "annotations": False, **more}
        inputs = Inputs.model_validate(given | {"github-token": TOKEN})
        start(inputs, environment)
        publish(example(verdict), inputs, None, {}, environment)

    def fork(data: Any) -> None:
        data["workflow_run"] |= {"pull_requests": [], "head_branch": "fix/a b&c"}
        data["workflow_run"]["head_repository"]["full_name"] = "stranger/Hello-World"

    for number in range(205):
        github.add_comment(str(number), "octocat")
    github.add_comment(f"{marker('nightly')}\none", BOT)
    github.add_comment(f"{marker('nightly')}\ntwo", BOT)
    github.pulls = [pull(2), pull(104), pull(3, "9" * 40)]
    run("pull_request", event("pull_request"))  # updates a comment, removes a duplicate
    github.comments.clear()
    for verdict in ("PASS", "FAIL", "INCONCLUSIVE"):
        run("push", event("push"), verdict)  # creates a comment, then updates it
    run("workflow_run", event("workflow_run"))
    run("workflow_run", event("workflow_run", fork))
    run("merge_group", event("merge_group"))
    run("workflow_dispatch", event("workflow_dispatch"))
    run("schedule", None)
    for verdict in ("PASS", "FAIL", "INCONCLUSIVE"):
        run("push", event("push"), verdict, status="check", **{"report-only": verdict == "FAIL"})
    publish(
        example("PASS"), Inputs.model_validate({"status": "check", "github-token": TOKEN}), None, {}, environment
    )  # no check run was started
    cancelled = {"INPUT_STATUS": "check", "INPUT_GITHUB_TOKEN": TOKEN}
    report_no_verdict(environment | cancelled, ExitCode.TERMINATED, "cancelled")
    github.fail("POST", "graphql", Answer(401, {"message": "no"}))
    run("push", event("push"))  # falls back to GET /user
    return github.requests


def test_every_request_is_valid_according_to_the_description(prism: str, sent: list[Request]) -> None:
    rest = [request for request in sent if request.path != "/graphql"]
    kinds = {(request.method, re.sub(r"/[0-9a-f]{40}|/\d+", "/*", request.path)) for request in rest}
    repo = f"/repos/{HOME}"
    assert kinds == {
        ("GET", "/user"),
        ("GET", f"{repo}/pulls"),
        ("GET", f"{repo}/pulls/*"),
        ("GET", f"{repo}/commits/*/pulls"),
        ("GET", f"{repo}/issues/*/comments"),
        ("POST", f"{repo}/issues/*/comments"),
        ("PATCH", f"{repo}/issues/comments/*"),
        ("DELETE", f"{repo}/issues/comments/*"),
        ("POST", f"{repo}/statuses/*"),
        ("GET", f"{repo}/commits/*/check-runs"),
        ("POST", f"{repo}/check-runs"),
        ("PATCH", f"{repo}/check-runs/*"),
    }
    distinct = {json.dumps([request.method, request.path, request.query, request.body]): request for request in rest}
    with httpx.Client(base_url=prism, timeout=60) as mock:
        for request in distinct.values():
            headers = {
                key: value
                for key, value in request.headers.items()
                if key in ("accept", "content-type", "authorization", "user-agent", "x-github-api-version")
            }
            content = None if request.body is None else json.dumps(request.body)
            response = mock.request(
                request.method, request.path, params=request.query, headers=headers, content=content
            )
            assert response.status_code < 300, (request.method, request.path, response.text[:500])
            # violations in the mock's own example replies are ignored
            assert '"request"' not in response.headers.get("sl-violations", ""), response.headers["sl-violations"]
    assert len(distinct) > 15


def test_the_mock_rejects_invalid_requests(prism: str) -> None:
    """Otherwise the test above could not fail."""
    status = f"{prism}/repos/{HOME}/statuses/{'a' * 40}"
    assert httpx.post(status, json={"state": "worse"}, timeout=60).status_code == 422
    assert httpx.post(status, json={}, timeout=60).status_code == 422
    check = {"name": "q", "head_sha": "a" * 40, "status": "completed", "conclusion": "worse"}
    assert httpx.post(f"{prism}/repos/{HOME}/check-runs", json=check, timeout=60).status_code == 422
    assert httpx.patch(f"{prism}/repos/{HOME}/check-runs/1", json={"status": "begun"}, timeout=60).status_code == 422
    assert httpx.post(f"{prism}/repos/{HOME}/issues/2/comments", json={"text": "x"}, timeout=60).status_code == 422
    assert httpx.get(f"{prism}/repos/{HOME}/pulls?state=opened", timeout=60).status_code == 422
    assert httpx.get(f"{prism}/repos/{HOME}/pull/2", timeout=60).status_code == 404


def test_githubs_own_examples_are_parsed(prism: str) -> None:
    with Client(prism, TOKEN) as client:
        assert client.get("repos/octocat/Hello-World/pulls/1347", PullRequest).number == 1347
        repo = "repos/octocat/Hello-World"  # further pages of the examples are on api.github.com
        assert next(client.pages(f"{repo}/pulls", PullRequest)).head.ref == "new-topic"
        assert next(client.pages(f"{repo}/commits/{'a' * 40}/pulls", PullRequest)).number == 1347
        assert next(client.pages(f"{repo}/issues/1347/comments", Comment)).body == "Me too"
        created = client.post(f"{repo}/issues/1347/comments", {"body": "x"}, Comment, repeatable=False)
        assert created.html_url.startswith("https://github.com/")
        client.delete(f"{repo}/issues/comments/1")
