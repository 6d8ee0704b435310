"""JUnit XML: a test case a task, for the test views of GitHub, Jenkins and GitLab."""

from __future__ import annotations

from xml.etree import ElementTree

from gate.decision import TaskResult
from gate.report.escape import one_line
from gate.report.result import Result
from gate.report.words import drop_cell, p_value, percent


def render_junit(result: Result) -> str:
    """Return a result as JUnit XML, a test suite with a test case for each task and one for the decision itself.

    A gating task fails where its own Holm-adjusted p-value is at most alpha. The decision is a case of its own,
    because it can fail where no single task does (many small drops, a budget), and because an INCONCLUSIVE that
    does not block counts as skipped there. Advisory tasks never fail.

    Parameters
    ----------
    result : Result

    Returns
    -------
    str
        An XML document, valid against Jenkins' `jenkins-junit.xsd`.
    """
    from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

    label = one_line(str(result.candidate.get("label", "candidate")))
    suite = TestSuite(f"quantgate {label}")
    for task in result.tasks:
        case = TestCase(one_line(task.task), classname="quantgate.tasks", time=0)
        if failed(task, result.alpha):
            case.result = [Failure(_finding(task), "SignificantDrop")]
        case.system_out = _figures(task)
        suite.add_testcase(case)
    decision = TestCase("decision", classname="quantgate", time=_seconds(result))
    why = " ".join(one_line(reason, 2000) for reason in result.reasons)
    if result.verdict == "FAIL" or result.exit_code != 0:
        decision.result = [Failure(why, result.verdict)]
    elif result.verdict == "INCONCLUSIVE":
        decision.result = [Skipped(why)]
    decision.system_out = f"{result.verdict}: {why} p = {p_value(result.p_value)}, alpha = {result.alpha:g}."
    suite.add_testcase(decision)
    document = JUnitXml("quantgate")
    document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    root = ElementTree.fromstring(document.tostring())  # type: ignore[no-untyped-call]  # noqa: S314 - our own
    root.attrib.pop("skipped", None)  # Jenkins' schema knows the number of skipped cases on a suite only
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def failed(task: TaskResult, alpha: float) -> bool:
    """Tell whether a task is significant on its own: gating, with a Holm-adjusted p-value of at most alpha."""
    return task.role == "gating" and task.p_holm is not None and task.p_holm <= alpha


def _finding(task: TaskResult) -> str:
    return (
        f"{one_line(task.task)}: {percent(task.baseline)} to {percent(task.candidate)}, {task.regressions} worse and "
        f"{task.improvements} better of {task.n:,}; Holm p = {p_value(task.p_holm)}."
    )


def _figures(task: TaskResult) -> str:
    return (
        f"{task.role}, {task.metric}, n = {task.n}; drop in points (90 % interval) {drop_cell(task)}; "
        f"{task.regressions} worse, {task.improvements} better; {task.test} p = {p_value(task.p_exact)}"
    )


def _seconds(result: Result) -> float:
    seconds = result.provenance.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0
