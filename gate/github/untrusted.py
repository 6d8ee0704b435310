"""A result file that a stranger may have written: the first stage of a fork's pull request ran the fork's own code."""

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
"""Bytes of a result file; ours have some kilobytes."""
TEXT_LIMIT = 20_000
"""Characters of one text."""
LIST_LIMIT = 2_000
"""Entries of one list or mapping."""
NUMBER_LIMIT = 1e12
_EXITS = {"PASS": {0}, "FAIL": {1}, "INCONCLUSIVE": {0, 3}}


def read_untrusted(path: Path) -> Result:
    """Read a result.json as input that may be hostile.

    Commands to reproduce it are dropped: nobody should be shown a stranger's command line as ours.

    Raises
    ------
    SampleError
        Not a plain file, larger than `SIZE_LIMIT`, not a result of this schema, a text or list that is too long, or a
        number that no run produces. The message never quotes the file.
    """
    data = _bytes(path)
    try:
        result = Result.model_validate_json(data, strict=True)
        if "schema_version" not in result.model_fields_set:
            raise _refused("it names no schema_version")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = log_line(".".join(str(part) for part in first["loc"]) or "the file", 80)
        raise _refused(f"{where}: {log_line(first['msg'], 120)}") from None
    except RecursionError:
        raise _refused("it is nested too deeply") from None
    for value in _values(result.model_dump()):
        if isinstance(value, str) and len(value) > TEXT_LIMIT:
            raise _refused(f"a text has {len(value):,} characters, more than {TEXT_LIMIT:,}")
        if isinstance(value, list | tuple | dict) and len(value) > LIST_LIMIT:
            raise _refused(f"a list has {len(value):,} entries, more than {LIST_LIMIT:,}")
        if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= NUMBER_LIMIT):
            raise _refused("a number is not finite or larger than any run's")
    _check_numbers(result)
    known: dict[str, JsonValue] = {
        key: value for key, value in result.provenance.items() if key in ("quantgate", "seed")
    }
    return result.model_copy(update={"provenance": known})


def _bytes(path: Path) -> bytes:
    try:
        kind = path.lstat().st_mode
        if not stat.S_ISREG(kind):
            raise _refused("it is a link, a folder or a device, not a plain file")
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
        raise _refused(f"it is larger than {SIZE_LIMIT // 1024 // 1024} MiB")
    return data


def _values(value: object) -> Iterator[object]:
    """Yield a value and all inside it, keys too; no recursion, so that depth is no matter."""
    todo = [value]
    while todo:
        one = todo.pop()
        yield one
        if isinstance(one, dict):
            todo += [*one, *one.values()]
        elif isinstance(one, list | tuple):
            todo += one


def _check_numbers(result: Result) -> None:
    def need(good: bool, what: str) -> None:
        if not good:
            raise _refused(what)

    need(result.exit_code in _EXITS[result.verdict], "its exit code does not fit its verdict")
    need(0 < result.alpha < 1, "alpha is not between 0 and 1")
    aggregate = result.aggregate
    together = [aggregate.pooled, aggregate.max, aggregate.fisher, aggregate.holm, aggregate.omnibus]
    chances = [result.p_value, result.margin, result.sensitivity.power, *(one.p for one in together)]
    for task in [row for one in result.tasks for row in (one, *one.subtasks)]:
        low, high = task.drop_ci90
        need(low <= high, "an interval of a drop ends before it begins")
        chances += [task.flip_rate, task.all_flip_rate, task.p_exact]
        chances += [one for one in (task.p_mid, task.p_holm, task.same_top_rate) if one is not None]
        counts = (task.regressions, task.improvements)
        need(
            task.n >= 1 and all(0 <= one <= task.n for one in counts), "a task's counts do not fit its items"
        )
    early = result.early_stop
    if early is not None:
        need(
            0 < early.alpha < 1 and 0 <= early.items <= early.of and early.of >= 1,
            "its early stop does not add up",
        )
    need(all(0 <= one <= 1 for one in chances), "a proportion or p-value is not between 0 and 1")
    need(bool(result.tasks), "it has no tasks")


def _refused(why: str) -> SampleError:
    return SampleError(
        f"The result file is refused: {why}.",
        "It must be the gate-result.json that `gate run` of this version wrote, unchanged.",
    )
