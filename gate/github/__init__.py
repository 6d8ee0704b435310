"""GitHub: where the verdict is shown. Nothing here changes the verdict or the exit code."""

from gate.github.annotations import annotation, group, task_lines
from gate.github.client import GitHubError
from gate.github.comment import marker
from gate.github.context import Context, on_github, read_context
from gate.github.publish import Published, publish
from gate.github.status import check_context

__all__ = [
    "Context",
    "GitHubError",
    "Published",
    "annotation",
    "check_context",
    "group",
    "marker",
    "on_github",
    "publish",
    "read_context",
    "task_lines",
]
