"""Broken and hostile inputs that the libraries below answer with unusual exceptions: exit code 2 and a message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import run_gate
from support.tiny import write_gate_yml, write_tiny_task

DEEP = "[" * 100_000


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(tiny_model)
    shutil.copytree(tiny_model, tmp_path / "cand")
    write_tiny_task(tmp_path / "items.jsonl", 6)
    write_gate_yml(tmp_path, "base", "cand")
    return tmp_path


def write(name: str, content: str | bytes) -> Callable[[], None]:
    def make() -> None:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def replace(old: str, new: str) -> Callable[[], None]:
    def make() -> None:
        text = Path("gate.yml").read_text()
        assert old in text
        Path("gate.yml").write_text(text.replace(old, new, 1))

    return make


def tokenizer(change: Callable[[dict[str, object]], None]) -> Callable[[], None]:
    def make() -> None:
        path = Path("cand/tokenizer.json")
        data = json.loads(path.read_text())
        change(data["model"])
        path.write_text(json.dumps(data))

    return make


EVALUATE = ("evaluate", "cand", "-o", "out")
RECURSION = "prompt: '{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}' #"


@pytest.mark.parametrize(
    ("make", "command"),
    [
        pytest.param(write("s/manifest.json", DEEP), ("compare", "s", "s"), id="deep manifest"),
        pytest.param(write("r.json", DEEP), ("report", "r.json"), id="deep result"),
        pytest.param(write("cand/config.json", '{"a": ' + DEEP), EVALUATE, id="deep config"),
        pytest.param(write(".gate/history.jsonl", b"\xff\n"), ("history", "--store", ".gate"), id="history not UTF-8"),
        pytest.param(replace("file: items.jsonl", 'file: "a\\0.jsonl"'), ("fingerprint",), id="NUL in a file"),
        pytest.param(replace("model: base", 'model: "a\\0b"'), ("fingerprint",), id="NUL in a model"),
        pytest.param(replace("model: base", f"model: {'a' * 5000}"), ("fingerprint",), id="long model"),
        pytest.param(replace("version: 1", f"version: 0x{'f' * 100_000}"), ("fingerprint",), id="long number"),
        pytest.param(replace("prompt:", RECURSION), ("fingerprint",), id="recursive template"),
        pytest.param(tokenizer(lambda bpe: bpe["vocab"].update(zz=2**32)), EVALUATE, id="token id above 32 bits"),
        pytest.param(tokenizer(lambda bpe: bpe.update(merges=[["zz", "yy"]])), EVALUATE, id="merge of no tokens"),
    ],
)
def test_broken_input_is_an_error_with_a_message(project: Path, make: Callable[[], None], command: tuple[str]) -> None:
    make()
    code, _, err = run_gate(*command)
    assert code == 2, err
    assert "error: " in err
    assert "bug in quantgate" not in err
    assert len(err) < 3000


def test_a_history_without_a_final_line_break_is_continued(project: Path) -> None:
    assert run_gate("run", "-q").code in (0, 1, 3)
    path = project / ".gate" / "history.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert run_gate("run", "-q").code in (0, 1, 3)
    assert len(path.read_text().splitlines()) == 2
    assert run_gate("history", "--store", ".gate").code == 0
