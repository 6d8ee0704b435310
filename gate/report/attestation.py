"""An in-toto Statement of a verdict, which a publish job signs and verifies.

The predicate is in-toto's test-result, version 0.1
(https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md). The Statement is not signed here:
`cosign attest-blob` or `actions/attest` does that with an identity that the verifier trusts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from gate.errors import SampleError
from gate.report.redact import redact
from gate.report.result import Result, to_json

_OUTCOMES = {"PASS": "PASSED", "INCONCLUSIVE": "WARNED", "FAIL": "FAILED"}
_REMEDY = "Create the result with `gate run`, or with `gate compare` on sets that `gate evaluate` wrote."

Resource = dict[str, JsonValue]
"""An artefact with its digest (in-toto: ResourceDescriptor)."""


def render_statement(result: Result, secrets: Sequence[str] = (), written: str | None = None) -> str:
    """Return the Statement of a verdict as JSON text, with the digests of the candidate, the baseline and the tasks.

    A task is failed where closed testing says so (`Decision.task_fails`) or where it exceeds a limit of its own, warned
    where it is advisory or cannot reject, else passed. The verdict itself is the test `decision`. An INCONCLUSIVE
    verdict is FAILED where it blocks, else WARNED.

    Parameters
    ----------
    result : Result
        From `gate run`, or from `gate compare` on sample sets of quantgate; files of other tools do not identify the
        weights.
    secrets : sequence of str
        Replaced by `***`, also in gate-result.json, whose digest is in the Statement.
    written : str, optional
        Text of gate-result.json where it holds several candidates.

    Raises
    ------
    SampleError
        The result lacks the hash of the weights or the fingerprint of a task.
    """
    failed = [task.task for task in result.tasks if result.task_fails(task) or task.exceeds_limit]
    doubtful = {finding.task for finding in result.validity}
    warned = [
        task.task
        for task in result.tasks
        if task.task not in failed and (task.role == "advisory" or not task.can_reject or task.task in doubtful)
    ]
    passed = [task.task for task in result.tasks if task.task not in {*failed, *warned}]
    outcome = "FAILED" if result.blocks else _OUTCOMES[result.verdict]
    {"PASSED": passed, "WARNED": warned, "FAILED": failed}[outcome].append("decision")
    keys = ("decision", "tasks")
    policy = {key: result.provenance[key] for key in keys if key in result.provenance}
    # without policies of single tasks, the digest is that of the decision's settings alone, as in earlier versions
    hashed = policy if "tasks" in policy else policy.get("decision")
    policy_digest = _sha256(json.dumps(hashed, sort_keys=True))
    quantgate = result.provenance.get("quantgate")
    doubts: list[JsonValue] = [finding.message for finding in result.validity]
    numbers: dict[str, JsonValue] = {
        "verdict": result.verdict,
        "p_value": result.p_value,
        "alpha": result.alpha,
        "margin": result.margin,
        **({"validity": doubts} if doubts else {}),
    }
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_model("candidate", result.candidate)],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": outcome,
            "configuration": [
                _model("baseline", result.baseline),
                *_tasks(result),
                _resource("policy", policy_digest, {**policy, "quantgate": quantgate}),
                _resource("gate-result.json", _sha256(written or to_json(redact(result, secrets))), numbers),
            ],
            "passedTests": passed,
            "warnedTests": warned,
            "failedTests": failed,
        },
    }
    return json.dumps(redact(statement, secrets), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _resource(name: str, digest: str, annotations: Mapping[str, JsonValue], algorithm: str = "sha256") -> Resource:
    return {"name": name, "digest": {algorithm: digest}, "annotations": dict(annotations)}


def _model(role: str, about: Mapping[str, JsonValue]) -> Resource:
    """Identify weights by the SHA-256 of their files, or by the commit on the hub."""
    name = str(about.get("label", role))
    kept = ("revision", "dtype", "engine", "fingerprint", "hardware")
    annotations = {"role": role, **{key: about[key] for key in kept if about.get(key) is not None}}
    weights, revision = about.get("weights"), about.get("revision")
    if isinstance(weights, str) and re.fullmatch(r"[0-9a-f]{64}", weights):
        return _resource(name, weights, annotations)
    if isinstance(revision, str) and re.fullmatch(r"[0-9a-f]{40}", revision):
        return _resource(name, revision, annotations, "gitCommit")
    raise SampleError(f"the result has no hash of the weights of the {role}, so it cannot be attested.", _REMEDY)


def _tasks(result: Result) -> list[Resource]:
    """Return one resource per task, with its fingerprint: the SHA-256 of its prompts and its scoring."""
    sets = result.baseline.get("sets")
    resources = []
    for task in result.tasks:
        facts = sets.get(task.task) if isinstance(sets, dict) else None
        fingerprint = facts.get("task_fingerprint") if isinstance(facts, dict) else None
        if not isinstance(fingerprint, str):
            raise SampleError(f"the result has no fingerprint of task {task.task}, so it cannot be attested.", _REMEDY)
        annotations: Resource = {
            "items": task.n,
            "metric": task.metric,
            "role": task.role,
            "test": task.test_label,
        }
        resources.append(_resource(f"task {task.task}", fingerprint, annotations))
    return resources


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
