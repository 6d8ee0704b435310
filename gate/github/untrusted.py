"""Reads a result file that may be hostile: the first stage of a fork's pull request runs the fork's own code."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue, ValidationError

from gate.errors import SampleError
from gate.report.escape import log_line
from gate.report.result import Result

SIZE_LIMIT = 5 * 1024 * 1024
"""Bytes of a result file; real ones take some kilobytes."""
_TEXT_LIMIT = 20_000  # characters of one text
_LIST_LIMIT = 2_000  # entries of one list or mapping
_NUMBER_LIMIT = 1e12
_FREE_SECTIONS = {("baseline",), ("candidate",), ("provenance",)}
_Location = tuple[str | int, ...]
_EXIT_CODES = {"PASS": {0}, "FAIL": {1}, "INCONCLUSIVE": {0, 3}}


def read_untrusted(path: Path) -> Result:
    """Read a result.json as untrusted input.

    The commands that reproduce the result are dropped, so that an attacker's command line is never shown as ours.

    Raises
    ------
    SampleError
        Not a regular file, larger than `SIZE_LIMIT`, not a result of this schema, a text or list that is too long, or
        an impossible number. The message never quotes the file.
    """
    data = _read_bytes(path)
    try:
        result = Result.model_validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = log_line(".".join(map(str, first["loc"])) or "the file", 80)
        raise _refusal(f"{where}: {log_line(first['msg'], 120)}") from None
    except RecursionError:
        raise _refusal("it is nested too deeply") from None
    if "schema_version" not in result.model_fields_set:
        raise _refusal("it has no schema_version")
    for location, value in _walk(result.model_dump(by_alias=True)):
        where = ".".join(map(str, location)) or "the file"
        if isinstance(value, str) and len(value) > _TEXT_LIMIT:
            raise _refusal(f"{where}: a text has {len(value):,} characters, more than {_TEXT_LIMIT:,}")
        if isinstance(value, list | tuple | dict) and len(value) > _LIST_LIMIT:
            raise _refusal(f"{where}: a list has {len(value):,} entries, more than {_LIST_LIMIT:,}")
        if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= _NUMBER_LIMIT):
            raise _refusal(f"{where}: a number is not finite or is impossibly large")
    for problem in _contradictions(result):
        raise _refusal(problem)
    known: dict[str, JsonValue] = {
        key: value for key, value in result.provenance.items() if key in ("quantgate", "seed")
    }
    return result.model_copy(update={"provenance": known})


def _read_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _refusal("it is a link, a folder or a device, not a plain file")
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise SampleError(
            f"{path} does not exist.",
            "Download the artifact that the first stage uploaded, then name its file.",
        ) from None
    except OSError as error:
        raise SampleError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > SIZE_LIMIT:
        raise _refusal(f"it is larger than {SIZE_LIMIT // 1024 // 1024} MiB")
    return data


def _walk(value: object) -> Iterator[tuple[_Location, object]]:
    """Yield a value and everything inside it, including keys, with JSON paths. Not recursive, so any depth is safe.

    Inside a section with arbitrary keys, the path is that of the section: messages must not quote keys of the file.
    """
    pending: list[tuple[_Location, object]] = [((), value)]
    while pending:
        location, current = pending.pop()
        yield location, current
        free = location[:1] in _FREE_SECTIONS
        if isinstance(current, dict):
            pending += [(location, key) for key in current]
            pending += [(location if free else (*location, key), child) for key, child in current.items()]
        elif isinstance(current, list | tuple):
            pending += [(location if free else (*location, index), child) for index, child in enumerate(current)]


def _contradictions(result: Result) -> Iterator[str]:
    """Yield what no real run could have written."""
    if result.exit_code not in _EXIT_CODES[result.verdict]:
        yield "its exit code does not fit its verdict"
    if not 0 < result.alpha < 1:
        yield "alpha is not between 0 and 1"
    if not result.tasks:
        yield "it has no tasks"
    aggregate = result.aggregate
    p_values = [aggregate.pooled, aggregate.max, aggregate.fisher, aggregate.holm, aggregate.omnibus]
    proportions = [result.p_value, result.margin, result.sensitivity.power, *(entry.p for entry in p_values)]
    for task in [row for group in result.tasks for row in (group, *group.subtasks)]:
        low, high = task.drop_ci90
        if low > high:
            yield "the interval of a drop ends before it begins"
        if task.n < 1 or not all(0 <= count <= task.n for count in (task.regressions, task.improvements)):
            yield "a task's counts do not fit its items"
        proportions += [task.flip_rate, task.all_flip_rate, task.p_exact]
        optional = (task.p_mid, task.p_holm, task.p_adjusted, task.same_top_rate)
        proportions += [value for value in optional if value is not None]
    early = result.early_stop
    if early is not None and not (0 < early.alpha < 1 and 0 <= early.items <= early.total and early.total >= 1):
        yield "the numbers of its early stop are inconsistent"
    if not all(0 <= value <= 1 for value in proportions):
        yield "a proportion or p-value is not between 0 and 1"


def _refusal(reason: str) -> SampleError:
    return SampleError(
        f"The result file is refused: {reason}.",
        "It must be the unmodified gate-result.json written by `gate run` of this version.",
    )
