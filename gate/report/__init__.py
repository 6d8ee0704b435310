"""Reports: what the user reads."""

from gate.report.forms import Form, render
from gate.report.result import Result, build_result, read_result, to_json
from gate.report.terminal import print_result

__all__ = [
    "Form",
    "Result",
    "build_result",
    "print_result",
    "read_result",
    "render",
    "to_json",
]
