"""An in-toto Statement of a verdict: the evidence that a publish job signs and checks.

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
from gate.report.junit import failed
from gate.report.redact import redact
from gate.report.result import Result, to_json

STATEMENT_TYPE: Literal["https://in-toto.io/Statement/v1"] = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Literal["https://in-toto.io/attestation/test-result/v0.1"] = (
    "https://in-toto.io/attestation/test-result/v0.1"
)
_RESULTS = {"PASS": "PASSED", "INCONCLUSIVE": "WARNED", "FAIL": "FAILED"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Resource(_Part):
    """An artefact by its digest; in-toto's ResourceDescriptor."""

    name: str
    digest: dict[str, str] = Field(min_length=1, description="Algorithm to lower-case hexadecimal digest.")
    annotations: dict[str, JsonValue] | None = None


class TestResult(_Part):
    """The predicate: how the gate judged the subject, and with what."""

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: list[Resource] = Field(description="Baseline, suite, policy and the full result.")
    passed_tests: list[str] = Field(alias="passedTests")
    warned_tests: list[str] = Field(alias="warnedTests")
    failed_tests: list[str] = Field(alias="failedTests")


class Statement(_Part):
    """An in-toto Statement, version 1."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(STATEMENT_TYPE, alias="_type")
    subject: list[Resource] = Field(min_length=1)
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = Field(
        PREDICATE_TYPE, alias="predicateType"
    )
    predicate: TestResult


def build_statement(result: Result, secrets: Sequence[str] = ()) -> Statement:
    """Return the Statement of a verdict over the digests of candidate, baseline and suite.

    A task is failed where it is significant on its own, warned where it is advisory or could not have rejected, else
    passed; the verdict itself is `decision`. An INCONCLUSIVE verdict is WARNED where the policy lets it go on and
    FAILED where it blocks.

    Parameters
    ----------
    result : Result
        Of `gate run`, or of `gate compare` on sets of our own: files of other tools do not say which weights answered.
    secrets : sequence of str
        Hidden in gate-result.json, whose digest is in the Statement.

    Raises
    ------
    SampleError
        The result names no weights, or no fingerprint of a task.
    """
    suite = _suite(result)
    blocks = result.exit_code != 0 and result.verdict == "INCONCLUSIVE"
    failures = [task.task for task in result.tasks if failed(task, result.alpha)]
    warned = [
        task.task
        for task in result.tasks
        if task.task not in failures and (task.role == "advisory" or not task.can_reject)
    ]
    passed = [task.task for task in result.tasks if task.task not in {*failures, *warned}]
    verdict: Literal["PASSED", "WARNED", "FAILED"] = (
        "FAILED" if blocks else _RESULTS[result.verdict]  # type: ignore[assignment]
    )
    {"PASSED": passed, "WARNED": warned, "FAILED": failures}[verdict].append("decision")
    policy = result.provenance.get("decision")
    return Statement(
        subject=[_model("candidate", result.candidate)],
        predicate=TestResult(
            result=verdict,
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
            failed_tests=failures,
        ),
    )


def render_statement(result: Result, secrets: Sequence[str] = ()) -> str:
    """Return the Statement as JSON text, with `***` for each of the secrets; see `build_statement`."""
    statement = build_statement(result, secrets).model_dump(mode="json", by_alias=True, exclude_none=True)
    data = redact(statement, secrets)
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _model(role: str, about: Mapping[str, JsonValue]) -> Resource:
    """Identify weights by their files' SHA-256, or by the hub's commit."""
    weights, revision = about.get("weights"), about.get("revision")
    if isinstance(weights, str) and re.fullmatch(r"[0-9a-f]{64}", weights):
        digest = {"sha256": weights}
    elif isinstance(revision, str) and re.fullmatch(r"[0-9a-f]{40}", revision):
        digest = {"gitCommit": revision}
    else:
        raise SampleError(
            f"the result does not say which weights the {role} has, so nothing can be attested about them.",
            "Make the result with `gate run`, or with `gate compare` on sets that `gate evaluate` wrote.",
        )
    kept = ("revision", "dtype", "engine", "fingerprint", "hardware")
    return Resource(
        name=str(about.get("label", role)),
        digest=digest,
        annotations={"role": role, **{key: about[key] for key in kept if about.get(key) is not None}},
    )


def _suite(result: Result) -> list[Resource]:
    """One resource a task: the SHA-256 of everything that decides what is asked and how it is scored."""
    sets = result.baseline.get("sets")
    found = []
    for task in result.tasks:
        one = sets.get(task.task) if isinstance(sets, dict) else None
        fingerprint = one.get("task_fingerprint") if isinstance(one, dict) else None
        if not isinstance(fingerprint, str):
            raise SampleError(
                f"the result does not say what task {task.task} asked, so nothing can be attested about it.",
                "Make the result with `gate run`, or with `gate compare` on sets that `gate evaluate` wrote.",
            )
        found.append(
            Resource(
                name=f"task {task.task}",
                digest={"sha256": fingerprint},
                annotations={"items": task.n, "metric": task.metric, "role": task.role},
            )
        )
    return found


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
