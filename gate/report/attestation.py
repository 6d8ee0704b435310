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
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from gate.errors import SampleError
from gate.report.redact import redact
from gate.report.result import Result, to_json

STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Literal["https://in-toto.io/attestation/test-result/v0.1"] = (
    "https://in-toto.io/attestation/test-result/v0.1"
)
Outcome = Literal["PASSED", "WARNED", "FAILED"]
_OUTCOMES: dict[str, Outcome] = {"PASS": "PASSED", "INCONCLUSIVE": "WARNED", "FAIL": "FAILED"}
_REMEDY = "Make the result with `gate run`, or with `gate compare` on sets that `gate evaluate` wrote."


class _StatementSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Resource(_StatementSection):
    """An artefact with its digest (in-toto: ResourceDescriptor)."""

    name: str
    digest: dict[str, str] = Field(min_length=1, description="Lower-case hexadecimal digest by algorithm.")
    annotations: dict[str, JsonValue] | None = None


class TestResult(_StatementSection):
    """The predicate: the verdict, and what it was based on."""

    result: Outcome
    configuration: list[Resource] = Field(description="Baseline, tasks, policy and the full result.")
    passed_tests: list[str] = Field(alias="passedTests")
    warned_tests: list[str] = Field(alias="warnedTests")
    failed_tests: list[str] = Field(alias="failedTests")


class Statement(_StatementSection):
    """An in-toto Statement, version 1."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(STATEMENT_TYPE, alias="_type")
    subject: list[Resource] = Field(min_length=1)
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = Field(
        PREDICATE_TYPE, alias="predicateType"
    )
    predicate: TestResult


def build_statement(result: Result, secrets: Sequence[str] = ()) -> Statement:
    """Return the Statement of a verdict, with the digests of the candidate, the baseline and the tasks.

    A task is failed where it is significant on its own, warned where it is advisory or cannot reject, else passed. The
    verdict itself is the test `decision`. An INCONCLUSIVE verdict is FAILED where it blocks, else WARNED.

    Parameters
    ----------
    result : Result
        From `gate run`, or from `gate compare` on sample sets of quantgate; files of other tools do not identify the
        weights.
    secrets : sequence of str
        Hidden in gate-result.json, whose digest is in the Statement.

    Raises
    ------
    SampleError
        The result lacks the hash of the weights or the fingerprint of a task.
    """
    suite = _suite(result)
    failed = [task.task for task in result.significant_tasks]
    warned = [
        task.task
        for task in result.tasks
        if task.task not in failed and (task.role == "advisory" or not task.can_reject)
    ]
    passed = [task.task for task in result.tasks if task.task not in {*failed, *warned}]
    outcome = "FAILED" if result.blocks else _OUTCOMES[result.verdict]
    {"PASSED": passed, "WARNED": warned, "FAILED": failed}[outcome].append("decision")
    policy = result.provenance.get("decision")
    return Statement(
        subject=[_model("candidate", result.candidate)],
        predicate=TestResult(
            result=outcome,
            configuration=[
                _model("baseline", result.baseline),
                *suite,
                Resource(
                    name="policy",
                    digest={"sha256": _sha256(json.dumps(policy, sort_keys=True))},
                    annotations={"decision": policy, "quantgate": result.provenance.get("quantgate")},
                ),
                Resource(
                    name="gate-result.json",
                    digest={"sha256": _sha256(to_json(redact(result, secrets)))},
                    annotations={
                        "verdict": result.verdict,
                        "p_value": result.p_value,
                        "alpha": result.alpha,
                        "margin": result.margin,
                    },
                ),
            ],
            passed_tests=passed,
            warned_tests=warned,
            failed_tests=failed,
        ),
    )


def render_statement(result: Result, secrets: Sequence[str] = ()) -> str:
    """Return the Statement as JSON text, with `***` in place of every secret; see `build_statement`."""
    statement = build_statement(result, secrets).model_dump(mode="json", by_alias=True, exclude_none=True)
    data = redact(statement, secrets)
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _model(role: str, about: Mapping[str, JsonValue]) -> Resource:
    """Identify weights by the SHA-256 of their files, or by the commit on the hub."""
    weights, revision = about.get("weights"), about.get("revision")
    if isinstance(weights, str) and re.fullmatch(r"[0-9a-f]{64}", weights):
        digest = {"sha256": weights}
    elif isinstance(revision, str) and re.fullmatch(r"[0-9a-f]{40}", revision):
        digest = {"gitCommit": revision}
    else:
        raise SampleError(
            f"the result has no hash of the weights of the {role}, so it cannot be attested.",
            _REMEDY,
        )
    kept = ("revision", "dtype", "engine", "fingerprint", "hardware")
    return Resource(
        name=str(about.get("label", role)),
        digest=digest,
        annotations={"role": role, **{key: about[key] for key in kept if about.get(key) is not None}},
    )


def _suite(result: Result) -> list[Resource]:
    """Return one resource per task, with its fingerprint: the SHA-256 of its prompts and its scoring."""
    sets = result.baseline.get("sets")
    resources = []
    for task in result.tasks:
        facts = sets.get(task.task) if isinstance(sets, dict) else None
        fingerprint = facts.get("task_fingerprint") if isinstance(facts, dict) else None
        if not isinstance(fingerprint, str):
            raise SampleError(
                f"the result has no fingerprint of task {task.task}, so it cannot be attested.", _REMEDY
            )
        annotations = {"items": task.n, "metric": task.metric, "role": task.role, "test": task.test_label}
        resources.append(
            Resource(name=f"task {task.task}", digest={"sha256": fingerprint}, annotations=annotations)
        )
    return resources


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
