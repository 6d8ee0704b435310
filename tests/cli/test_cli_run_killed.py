"""`gate run` killed with `kill -9` at each operation that changes a file: the same command completes the run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.commands import run_gate
from support.killed_runs import Runs, copied, runs
from support.tiny import edit_gate_yml, use_outputs_as_targets, write_tiny_project, write_tiny_task

from gate.report.candidates import read_any_result
from gate.store import open_set
from gate.store.history import LocalHistory

REPORTS = {"markdown": "out/report.md", "html": "out/report.html", "junit": "out/junit.xml", "json": "result.json"}
SAMPLED = 3
"""Points of each kind of run in the normal suite; the whole is slow."""


@pytest.fixture(scope="module")
def server() -> Iterator[Runs]:
    with runs() as started:
        yield started


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, other_tiny_model: Path) -> Path:
    """A project whose candidate FAILs, and whose level depends on the history."""
    folder = tmp_path_factory.mktemp("killed")
    write_tiny_project(folder, tiny_model, other_tiny_model)
    path = write_tiny_task(folder / "items.jsonl", 40)
    assert run_gate("evaluate", folder / "base", "-c", folder / "gate.yml", "-o", folder / "probe", "-q").code == 0
    use_outputs_as_targets(path, open_set(folder / "probe" / "animals").read().table)
    shutil.rmtree(folder / "probe")
    shutil.rmtree(folder / ".gate", ignore_errors=True)
    edit_gate_yml(folder, report=REPORTS, decision={"alpha_spending": {"kind": "lord"}, "draws": 10_000})
    return folder


def with_candidates(project: Path) -> None:
    """Give a project two candidates."""
    config = yaml.safe_load((project / "gate.yml").read_text())
    del config["candidate"]
    config["candidates"] = [{"name": "int8", "model": "base"}, {"name": "int4", "model": "other"}]
    (project / "gate.yml").write_text(yaml.safe_dump(config))


def outcome(project: Path) -> dict[str, Any]:
    """Return what must not depend on interruptions."""
    result = read_any_result(project / "result.json")
    history = LocalHistory(project / ".gate").read()
    reports = {path.name: path.stat().st_size > 0 for path in (project / "out").iterdir()}
    assert all(reports.values())
    return {
        "verdict": result.verdict,
        "p": result.p_value,
        "alpha": result.alpha,
        "reports": sorted(reports),
        "history": [(one.name, one.verdict, one.p_value, one.alpha) for one in history],
        "files": sorted(
            str(path.relative_to(project))
            for path in project.rglob("*")
            # readers ignore a lock's entry and the journal of a complete set; the next writer removes them
            if path.is_file()
            and path.name not in ("output.txt", "journal.json")
            and path.suffix not in (".holder", ".running", ".ended")
        ),
    }


def is_over(project: Path, candidates: int) -> bool:
    """Return whether a killed run was recorded, and its markers had been removed, or were about to be, all together."""
    left = list(project.rglob("*.running"))
    recorded = len(LocalHistory(project / ".gate").read()) == candidates
    return recorded and (not left or bool(list(project.rglob("*.ended"))))


def check_points(server: Runs, whole: Path, folder: Path, several: bool, sampled: int | None) -> int:
    """Kill a run at all points, or at some drawn with a seed, and complete it; return how many points there are."""
    reference = copied(whole, folder / "reference")
    if several:
        with_candidates(reference)
    ended = server.run(reference)
    assert ended.status == 1, ended.text
    expected = outcome(reference)
    assert len(expected["history"]) == 1 + several
    assert json.loads((reference / "result.json").read_text())["verdict"] == "FAIL"

    points = list(range(2 * len(ended.points)))
    for point in points if sampled is None else sorted(random.Random(14).sample(points, sampled)):
        project = copied(reference, folder / f"point-{point}")
        killed = server.run(project, kill=point)
        assert killed.status == -signal.SIGKILL, (point, killed.text)
        where = (point, ended.points[point // 2], killed.text)
        for left in project.rglob("*.tmp"):
            os.utime(left, (0, 0))  # as if it were a day old
        over = is_over(project, len(expected["history"]))
        if over:  # nothing but its exit code is missing: the same command is the next run of the series
            assert outcome(project) == expected, where
        again = server.run(project)
        assert again.status == 1, (*where, again.text)
        assert not list(project.rglob("*.running")) + list(project.rglob("*.ended")), where
        found = outcome(project)
        if over:
            assert len(found["history"]) == 2 * len(expected["history"]), where
        else:
            assert found == expected, (*where, again.text)
        shutil.rmtree(project)
    return len(points)


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_a_run_killed_at_some_points_is_completed(server: Runs, whole: Path, tmp_path: Path, several: bool) -> None:
    assert check_points(server, whole, tmp_path, several, SAMPLED) > 200


@pytest.mark.exhaustive
@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_a_run_killed_at_any_point_is_completed(server: Runs, whole: Path, tmp_path: Path, several: bool) -> None:
    print("points:", check_points(server, whole, tmp_path, several, None))


@pytest.mark.parametrize(
    "share",
    [
        0.02,
        0.999,
        *(pytest.param(share, marks=pytest.mark.exhaustive) for share in (0.001, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9)),
    ],
)
def test_a_full_disk_is_an_error_and_the_same_command_completes_the_run(
    server: Runs, whole: Path, tmp_path: Path, share: float
) -> None:
    reference = copied(whole, tmp_path / "reference")
    size = server.run(reference, full=2**40).written
    expected = outcome(reference)
    project = copied(whole, tmp_path / "project")
    ended = server.run(project, full=int(size * share))
    verdict = "not every report was written" in ended.text
    assert ended.status == (1 if verdict else 4), ended.text
    assert "no space left" in ended.text
    assert "bug in quantgate" not in ended.text
    again = server.run(project)
    assert again.status == 1, again.text
    assert outcome(project) == expected


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, whose size `mount` changes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if mount(folder, 64 << 10) != 0:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def mount(folder: Path, kilobytes: int, *options: str) -> int:
    """Mount a file system in memory, or with the option "remount" change its size; return the exit code."""
    words = ",".join([*options, f"size={kilobytes}k"])
    return subprocess.run(["mount", "-t", "tmpfs", "-o", words, "tmpfs", folder], capture_output=True).returncode


@pytest.mark.exhaustive
def test_a_file_system_of_ten_sizes_fills_up_and_the_same_command_completes_the_run(
    server: Runs, whole: Path, tmp_path: Path, mounted: Path
) -> None:
    def project_in(name: str) -> Path:
        project = copied(whole, mounted / name)
        (project / "output.txt").symlink_to(tmp_path / f"{name}.txt")  # the log has room
        return project

    reference = project_in("reference")
    assert server.run(reference).status == 1
    expected = outcome(reference)
    used = sum(path.stat().st_blocks for path in reference.rglob("*") if not path.is_symlink()) // 2  # of 512 bytes
    shutil.rmtree(reference)
    statuses = []
    for number in range(10):
        project = project_in(f"size-{number}")
        before = shutil.disk_usage(mounted).used >> 10
        assert mount(mounted, before + 4 + used * number // 10, "remount") == 0
        ended = server.run(project)
        statuses.append(ended.status)
        verdict = "not every report was written" in ended.text
        assert ended.status == (1 if verdict else 4), (number, ended.text)
        assert "no space left" in ended.text, (number, ended.text)
        assert "bug in quantgate" not in ended.text, (number, ended.text)
        assert mount(mounted, 64 << 10, "remount") == 0
        again = server.run(project)
        assert again.status == 1, (number, again.text)
        assert outcome(project) == expected, (number, again.text)
        shutil.rmtree(project)
    print("kilobytes:", used, "exit codes:", statuses)


@pytest.mark.exhaustive
def test_two_runs_at_once_spend_no_alpha_twice(server: Runs, whole: Path, tmp_path: Path) -> None:
    """Runs of two candidates share a store; each is recorded once, at the level of its place in the series."""
    first = copied(whole, tmp_path / "first")
    second = copied(whole, tmp_path / "second")
    (second / "other").unlink()
    (second / "other").symlink_to((whole / "base").resolve())
    (second / ".gate").symlink_to(first / ".gate")
    assert server.run(first).status == 1  # the baseline is cached
    with runs() as other, ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda pair: pair[0].run(pair[1]), [(server, first), (other, second)]))
        assert [one.status for one in ended] == [1, 0], [one.text for one in ended]
        again = list(pool.map(lambda one: one.run(first), [server, other]))
    records = LocalHistory(first / ".gate").read()
    # the same set has one writer: of two runs of one candidate, one waits, or is told who writes
    assert sorted(one.status for one in again) in ([1, 1], [1, 4]), [one.text for one in again]
    for one in again:
        assert one.status == 1 or "is being written by process" in one.text
    # a run that waited finds the set of the other one complete: it is the same run, recorded once
    assert len(records) in (4, 3 + sum(one.status == 1 for one in again))
    assert len({record.run for record in records}) == len(records)
    assert len({record.alpha for record in records}) == len(records)
