"""Hub models, offline: found in the local cache by name and commit, or a clear error. In processes of their own,
because huggingface_hub reads its environment when it is imported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAIN, OLD = "a" * 40, "b" * 40

SCRIPT = """
import json, sys
from pathlib import Path
from gate.config import EngineSettings, ModelSettings
from gate.engines import fetch, identify, locate
from gate.errors import GateError

engine, answers = EngineSettings(device="cpu"), []
for options in json.loads(sys.argv[1]):
    settings = ModelSettings(**options)
    try:
        source = locate(settings, Path("."))
        identity = identify(source, engine, Path("."))
        # without a network huggingface_hub tries again for 20 s before it takes the cache
        fetched = fetch(source, engine, Path("."), None) if sys.argv[2] == "offline" else source
        answers.append({
            "revision": source.revision, "weights": identity.weights, "folder": str(fetched.folder),
            "tokenizer": str(fetched.tokenizer_folder), "fingerprint": identity.fingerprint,
        })
    except GateError as error:
        answers.append({"exit": int(error.exit_code), "error": str(error)})
assert "torch" not in sys.modules, "finding a model must not import torch"
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def cache(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a hub cache with two commits of org/tiny: main, and a tag `old` whose snapshot lacks its weights."""
    root = tmp_path_factory.mktemp("hub")
    repo = root / "models--org--tiny"
    for ref, commit in (("main", MAIN), ("old", OLD)):
        (repo / "refs").mkdir(parents=True, exist_ok=True)
        (repo / "refs" / ref).write_text(commit, encoding="utf-8")
        shutil.copytree(tiny_model, repo / "snapshots" / commit)
    (repo / "snapshots" / OLD / "model.safetensors").unlink()
    return root


def ask(cache: Path, folder: Path, *models: dict[str, Any], offline: bool = True) -> list[dict[str, Any]]:
    environment = os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": str(int(offline))}
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nothing listens there
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(models), "offline" if offline else "unreachable"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return list(json.loads(run.stdout))


def test_a_cached_model_is_found_offline_by_name_tag_and_commit(cache: Path, tmp_path: Path) -> None:
    tiny = {"model": "org/tiny"}
    main, named, commit = ask(cache, tmp_path, tiny, tiny | {"revision": "main"}, tiny | {"revision": MAIN})
    snapshot = str(cache / "models--org--tiny" / "snapshots" / MAIN)
    assert main == named == commit
    assert main["revision"] == MAIN
    assert main["weights"] == f"hub org/tiny@{MAIN}"
    assert main["folder"] == main["tokenizer"] == snapshot


def test_what_is_neither_here_nor_cached_is_an_error_with_exit_code_2(cache: Path, tmp_path: Path) -> None:
    answers = ask(
        cache,
        tmp_path,
        {"model": "org/nothing"},
        {"model": "org/tiny", "revision": "nothing"},
        {"model": "no-such-folder"},
        {"model": "not a name!"},
        {"model": "org/tiny", "revision": "old"},
    )
    assert [answer["exit"] for answer in answers] == [2] * 5
    assert "model org/nothing is not on this machine and the hub cannot be reached" in answers[0]["error"]
    assert "model org/tiny at revision nothing" in answers[1]["error"]
    assert "model no-such-folder" in answers[2]["error"]
    assert "neither a local folder nor a hub model of this name" in answers[3]["error"]
    assert "org/tiny: no weights in" in answers[4]["error"]


def test_without_a_network_the_cache_serves_and_the_rest_is_an_error(cache: Path, tmp_path: Path) -> None:
    found, missing = ask(cache, tmp_path, {"model": "org/tiny"}, {"model": "org/nothing"}, offline=False)
    assert found["revision"] == MAIN
    assert missing["exit"] == 2
    assert "the hub cannot be reached" in missing["error"]


def test_a_local_folder_wins_over_a_hub_name(cache: Path, tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "org" / "tiny")
    (answer,) = ask(cache, tmp_path, {"model": "org/tiny"})
    assert answer["revision"] is None
    assert answer["folder"] == str(tmp_path / "org" / "tiny")


def test_two_files_of_one_hub_model_and_two_commits_are_different_models(cache: Path, tmp_path: Path) -> None:
    snapshot = cache / "models--org--tiny" / "snapshots" / MAIN
    for name in ("a.gguf", "b.gguf"):
        (snapshot / name).write_bytes(b"GGUF")
    tiny = {"model": "org/tiny", "revision": MAIN}
    answers = ask(
        cache, tmp_path, tiny, tiny | {"gguf_file": "a.gguf"}, tiny | {"gguf_file": "b.gguf"},
    )  # fmt: skip
    assert len({answer["fingerprint"] for answer in answers}) == 3


def test_a_tokenizer_named_on_the_hub_is_the_commit_that_the_name_means(
    cache: Path, tmp_path: Path, tiny_model: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "mine")
    asking = {"model": "./mine", "tokenizer": "org/tiny"}
    (first,) = ask(cache, tmp_path, asking)
    assert first["tokenizer"] == str(cache / "models--org--tiny" / "snapshots" / MAIN)
    (again,) = ask(cache, tmp_path, asking)
    assert again == first
    # the name moves on to another commit
    moved = tmp_path / "moved"
    shutil.copytree(cache, moved, symlinks=True)
    (moved / "models--org--tiny" / "refs" / "main").write_text(OLD, encoding="utf-8")
    (other,) = ask(moved, tmp_path, asking)
    assert other["weights"] == first["weights"]
    assert other["fingerprint"] != first["fingerprint"]
    (missing,) = ask(cache, tmp_path, asking | {"tokenizer": "org/nothing"})
    assert missing["exit"] == 2
