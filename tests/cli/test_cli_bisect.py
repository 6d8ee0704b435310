"""`git bisect run gate compare --bisect`: git finds the commit that made the model worse."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gate.cli.bisect import for_git
from gate.cli.main import main
from gate.errors import ExitCode


@pytest.mark.parametrize(
    ("code", "for_bisect"),
    [
        (ExitCode.PASS, 0),
        (ExitCode.FAIL, 1),
        (ExitCode.USAGE, 128),
        (ExitCode.INCONCLUSIVE, 125),
        (ExitCode.EVALUATION, 125),
        (ExitCode.INTERRUPTED, 130),
        (ExitCode.TERMINATED, 143),
        (7, 128),
    ],
)
def test_git_reads_only_a_fail_as_bad(code: int, for_bisect: int) -> None:
    assert for_git(code) == for_bisect


def write(path: Path, right: int, items: int = 60) -> None:
    rows = [f"faq,i{item},x,x,{int(item < right)}" for item in range(items)]
    path.write_text("\n".join(["task,item_id,output,target,correct", *rows]) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["candidate.csv"], 0),
        (["worse.csv"], 1),
        (["candidate.csv", "--certify", "0.001"], 125),  # INCONCLUSIVE, which the policy lets pass
        (["missing.csv"], 128),
        (["candidate.csv", "--typo"], 128),
    ],
)
def test_exit_codes_of_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("baseline.csv"), 40)
    write(Path("candidate.csv"), 40)
    write(Path("worse.csv"), 20)
    with pytest.raises(SystemExit) as caught:
        main(["compare", "baseline.csv", *arguments, "--bisect"])
    assert caught.value.code == code


@pytest.mark.exhaustive
def test_git_bisect_finds_the_commit(tmp_path: Path) -> None:
    """The fourth commit, which git tries first, cannot be tested; the sixth makes the model worse."""

    def git(*arguments: str) -> str:
        words = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", *arguments]
        return subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    write(tmp_path / "baseline.csv", 40)
    commits = []
    for right in (40, 39, 40, None, 39, 20, 19, 20):
        if right is None:  # a file whose answers prove nothing
            (tmp_path / "candidate.csv").write_text(
                "task,item_id,output,target,correct\nfaq,i0,x,x,1\n", encoding="utf-8"
            )
        else:
            write(tmp_path / "candidate.csv", right)
        git("add", ".")
        git("commit", "--quiet", "--message", f"right {right}")
        commits.append(git("rev-parse", "HEAD").strip())
    git("bisect", "start", commits[-1], commits[0])
    gate = f"{shlex.quote(sys.executable)} -m gate compare baseline.csv candidate.csv --allow-partial --bisect --quiet"
    log = git("bisect", "run", "sh", "-c", gate)
    assert f"{commits[5]} is the first bad commit" in log
    assert "git bisect skip" in git("bisect", "log")
