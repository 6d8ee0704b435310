"""The Markdown report: what an engineer reads in ten seconds, in a comment, a job summary or a mail."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gate.report import words
from gate.report.escape import markdown, prose
from gate.report.result import Result


def render_markdown(result: Result) -> str:
    """Return the report as GitHub Markdown; all text of models and tasks is escaped."""
    environment = Environment(  # noqa: S701 - Markdown; every foreign text goes through the filter `md`
        loader=PackageLoader("gate.report"),
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = prose
    environment.filters["md"] = lambda text, limit=200: markdown(str(text), limit)
    tests = sorted({task.test for task in result.tasks})
    context: dict[str, Any] = {
        "r": result,
        "kl": any(task.kl_mean is not None for task in result.tasks),
        "tests": " and ".join(tests),
        "worse": sum(task.regressions for task in result.tasks),
        "cell": lambda text: "-" if text is None else markdown(text),
        **{
            name: getattr(words, name)
            for name in ("percent", "drop_cell", "p_value", "headline", "sensitivity", "spending")
        },
    }
    return environment.get_template("report.md.j2").render(context)
