"""Reads a result file that may be hostile: the first stage of a fork's pull request runs the fork's own code."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from gate.errors import ExitCode, SampleError
from gate.report.candidates import AnyResult, CandidatesResult, join_results
from gate.report.escape import log_line
from gate.report.result import Result

Parsed = TypeVar("Parsed", bound=BaseModel)

SIZE_LIMIT = 5 * 1024 * 1024
"""Bytes of a result file; real ones take some kilobytes."""
_LIST_LIMIT = 2_000  # entries of one list or mapping
_NUMBER_LIMIT = 10**20  # a seed may have 64 bits
_FREE_SECTIONS = {("baseline",), ("candidate",), ("provenance",)}
_STACK_FACTS = ("control", "differences")
_Location = tuple[str | int, ...]
_EXIT_CODES = {"PASS": {0}, "FAIL": {1}, "INCONCLUSIVE": {0, 3}}


class _Kind(BaseModel):
    """The key that tells the result of several candidates from that of one."""

    kind: Literal["candidates"] | None = None


def read_untrusted(path: Path) -> AnyResult:
    """Read a result.json as untrusted input.

    The commands that reproduce the result are dropped, so that an attacker's command line is never shown as ours.

    Raises
    ------
    SampleError
        Not a regular file, larger than `SIZE_LIMIT`, not a result of this schema, a list that is too long, or an
        impossible number. The message never quotes the file.
    """
    data = _read_bytes(path)
    if _parse(_Kind, data).kind != "candidates":
        return _checked(_parse(Result, data))
    result = _parse(CandidatesResult, data)
    _check_values(result.model_dump(by_alias=True, exclude={"candidates"}))
    candidates = [one.model_copy(update={"result": _checked(one.result)}) for one in result.candidates]
    for problem in _contradictions_over_candidates(result):
        raise _refusal(problem)
    return result.model_copy(update={"candidates": candidates, "provenance": _known(result.provenance)})


def _parse(model: type[Parsed], data: bytes) -> Parsed:
    try:
        result = model.model_validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = first["loc"][:2] if first["loc"][:2] == _STACK_FACTS else first["loc"]
        where = log_line(".".join(map(str, place)) or "the file", 80)
        raise _refusal(f"{where}: {log_line(first['msg'], 120)}") from None
    except RecursionError:
        raise _refusal("it is nested too deeply") from None
    if model is not _Kind and "schema_version" not in result.model_fields_set:
        raise _refusal("it has no schema_version")
    return result


def _checked(result: Result) -> Result:
    _check_values(result.model_dump(by_alias=True))
    for problem in _contradictions(result):
        raise _refusal(problem)
    return result.model_copy(update={"provenance": _known(result.provenance)})


def _known(provenance: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: value for key, value in provenance.items() if key in ("quantgate", "seed")}


def _check_values(data: object) -> None:
    for location, value in _walk(data):
        where = ".".join(map(str, location)) or "the file"
        if isinstance(value, list | tuple | dict) and len(value) > _LIST_LIMIT:
            raise _refusal(f"{where}: a list has {len(value):,} entries, more than {_LIST_LIMIT:,}")
        # a comparison, unlike math.isfinite, takes integers of any size; NaN compares false
        if isinstance(value, int | float) and not -_NUMBER_LIMIT <= value <= _NUMBER_LIMIT:
            raise _refusal(f"{where}: a number is not finite or is impossibly large")


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
        free = location[:1] in _FREE_SECTIONS or location[:2] == _STACK_FACTS
        if isinstance(current, dict):
            pending += [(location, key) for key in current]
            pending += [(location if free else (*location, key), child) for key, child in current.items()]
        elif isinstance(current, list | tuple):
            pending += [(location if free else (*location, index), child) for index, child in enumerate(current)]


def _contradictions_over_candidates(result: CandidatesResult) -> Iterator[str]:
    """Yield what no run with several candidates could have written."""
    names = [one.name for one in result.candidates] + [one.name for one in result.unevaluated]
    if len({name.lower() for name in names}) < len(names):
        yield "two candidates have the same name"
    expected = join_results({one.name: one.result for one in result.candidates})
    if result.verdict != expected.verdict:
        yield "its verdict does not fit those of the candidates"
    if result.exit_code != (ExitCode.EVALUATION if result.unevaluated else expected.exit_code):
        yield "its exit code does not fit its verdict"
    if (result.alpha, result.p_value) != (expected.alpha, expected.p_value):
        yield "its p-value or alpha does not fit those of the candidates"


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
        proof = None if task.certification is None else task.certification.p_value
        optional = (task.p_mid, task.p_holm, task.p_adjusted, task.same_top_rate, task.margin, proof)
        proportions += [value for value in optional if value is not None]
    if result.accepted is not None and result.accepted.p_value is not None:
        proportions.append(result.accepted.p_value)
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
