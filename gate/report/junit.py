"""JUnit XML: one test case per task, for the test views of GitHub, Jenkins and GitLab."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from gate.decision.wording import deciding_p, limit_found, task_summary
from gate.report.candidates import AnyResult, CandidatesResult, Unevaluated
from gate.report.escape import one_line
from gate.report.result import Result

if TYPE_CHECKING:
    from junitparser import TestSuite


def render_junit(result: AnyResult) -> str:
    """Return a result as JUnit XML: a test suite with one case per task and one case for the decision.

    A task fails where closed testing says so (`Decision.task_fails`), or where it exceeds a limit of its own; advisory
    tasks never fail. The decision is a separate case, because it can fail where no single task does (many small drops,
    a limit over all tasks). An INCONCLUSIVE verdict that does not block is a skipped case. Several candidates have one
    suite each; one that could not be evaluated is an error. The document is valid against Jenkins' `jenkins-junit.xsd`.
    """
    from junitparser import JUnitXml

    document = JUnitXml("quantgate")
    if isinstance(result, CandidatesResult):
        for candidate in result.candidates:
            document.add_testsuite(_suite(candidate.name, candidate.result))
        for unevaluated in result.unevaluated:
            document.add_testsuite(_error(unevaluated))
    else:
        document.add_testsuite(_suite(one_line(str(result.candidate.get("label", "candidate"))), result))
    document.update_statistics()  # type: ignore[no-untyped-call]
    root = ElementTree.fromstring(document.tostring())  # type: ignore[no-untyped-call]  # noqa: S314 - our own
    root.attrib.pop("skipped", None)  # Jenkins' schema allows the number of skipped cases on a suite only
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _error(unevaluated: Unevaluated) -> TestSuite:
    from junitparser import Error, TestCase, TestSuite

    suite = TestSuite(f"quantgate {unevaluated.name}")
    case = TestCase("decision", classname="quantgate", time=0)
    case.result = [Error(one_line(unevaluated.error, 2000), "NotEvaluated")]
    suite.add_testcase(case)
    return suite


def _suite(name: str, result: Result) -> TestSuite:
    from junitparser import Failure, Skipped, TestCase, TestSuite

    suite = TestSuite(f"quantgate {name}")
    for task in result.tasks:
        case = TestCase(one_line(task.task), classname="quantgate.tasks", time=0)
        summary = task_summary(result, task)
        if result.task_fails(task):
            case.result = [Failure(f"{one_line(task.task)}: {summary}", "SignificantDrop")]
        elif task.exceeds_limit:
            found = "; ".join(limit_found(task, limit) for limit in task.limits if limit.exceeded)
            case.result = [Failure(f"{one_line(task.task)}: {found}. {summary}", "LimitExceeded")]
        elif doubts := [finding.message for finding in result.validity if finding.blocks and finding.task == task.task]:
            case.result = [Skipped(one_line(" ".join(doubts), 2000))]
        case.system_out = f"{task.role}, {one_line(task.metric)}: {summary}"
        suite.add_testcase(case)
    decision = TestCase("decision", classname="quantgate", time=result.seconds or 0.0)
    reasons = " ".join(one_line(reason, 2000) for reason in result.reasons)
    if result.blocks:
        decision.result = [Failure(reasons, result.verdict)]
    elif result.verdict == "INCONCLUSIVE":
        decision.result = [Skipped(reasons)]
    warnings = "".join(f"Warning: {one_line(finding.message, 2000)} " for finding in result.warnings)
    decision.system_out = f"{warnings}{result.verdict}: {reasons} {deciding_p(result)}, alpha = {result.alpha:g}."
    suite.add_testcase(decision)
    return suite
