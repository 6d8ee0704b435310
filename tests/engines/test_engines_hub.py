"""Hub models without a network: located in the local cache, or a clear error.

Each test runs a subprocess, because huggingface_hub reads its environment when it is imported.
"""

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

engine, results = EngineSettings(device="cpu"), []
for options in json.loads(sys.argv[1]):
    settings = ModelSettings(**options)
    try:
        source = locate(settings, Path("."))
        identity = identify(source, engine, Path("."))
        # online, huggingface_hub retries for 20 s before it uses the cache
        fetched = fetch(source, engine, Path("."), None) if sys.argv[2] == "offline" else source
        results.append({
            "revision": source.revision, "weights": identity.weights, "folder": str(fetched.folder),
            "tokenizer": str(fetched.tokenizer_folder), "fingerprint": identity.fingerprint,
        })
    except GateError as error:
        results.append({"exit": int(error.exit_code), "error": str(error)})
assert "torch" not in sys.modules, "locating a model must not import torch"
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def cache(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a hub cache with two commits of org/tiny: `main`, and `old`, whose snapshot lacks weights."""
    root = tmp_path_factory.mktemp("hub")
    repo = root / "models--org--tiny"
    for ref, commit in (("main", MAIN), ("old", OLD)):
        (repo / "refs").mkdir(parents=True, exist_ok=True)
        (repo / "refs" / ref).write_text(commit, encoding="utf-8")
        shutil.copytree(tiny_model, repo / "snapshots" / commit)
    (repo / "snapshots" / OLD / "model.safetensors").unlink()
    return root


def locate_models(cache: Path, folder: Path, *models: dict[str, Any], offline: bool = True) -> list[dict[str, Any]]:
    environment = os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": str(int(offline))}
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # a closed port
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
    main, named, commit = locate_models(cache, tmp_path, tiny, tiny | {"revision": "main"}, tiny | {"revision": MAIN})
    snapshot = str(cache / "models--org--tiny" / "snapshots" / MAIN)
    assert main == named == commit
    assert main["revision"] == MAIN
    assert main["weights"] == f"hub org/tiny@{MAIN}"
    assert main["folder"] == main["tokenizer"] == snapshot


def test_a_model_that_is_neither_local_nor_cached_is_an_error_with_exit_code_2(cache: Path, tmp_path: Path) -> None:
    results = locate_models(
        cache,
        tmp_path,
        {"model": "org/nothing"},
        {"model": "org/tiny", "revision": "nothing"},
        {"model": "no-such-folder"},
        {"model": "not a name!"},
        {"model": "org/tiny", "revision": "old"},
    )
    assert [result["exit"] for result in results] == [2] * 5
    assert "model org/nothing is not on this machine and the hub cannot be reached" in results[0]["error"]
    assert "model org/tiny at revision nothing" in results[1]["error"]
    assert "model no-such-folder" in results[2]["error"]
    assert "neither a local folder nor a hub model of this name" in results[3]["error"]
    assert "org/tiny: no weights in" in results[4]["error"]


def test_if_the_hub_is_unreachable_the_cache_is_used(cache: Path, tmp_path: Path) -> None:
    cached, missing = locate_models(cache, tmp_path, {"model": "org/tiny"}, {"model": "org/nothing"}, offline=False)
    assert cached["revision"] == MAIN
    assert missing["exit"] == 2
    assert "the hub cannot be reached" in missing["error"]


def test_a_local_folder_takes_precedence_over_a_hub_name(cache: Path, tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "org" / "tiny")
    (result,) = locate_models(cache, tmp_path, {"model": "org/tiny"})
    assert result["revision"] is None
    assert result["folder"] == str(tmp_path / "org" / "tiny")


def test_the_files_of_one_hub_model_are_different_models(cache: Path, tmp_path: Path) -> None:
    snapshot = cache / "models--org--tiny" / "snapshots" / MAIN
    for name in ("a.gguf", "b.gguf"):
        (snapshot / name).write_bytes(b"GGUF")
    tiny = {"model": "org/tiny", "revision": MAIN}
    results = locate_models(
        cache, tmp_path, tiny, tiny | {"gguf_file": "a.gguf"}, tiny | {"gguf_file": "b.gguf"},
    )  # fmt: skip
    assert len({result["fingerprint"] for result in results}) == 3


def test_a_tokenizer_on_the_hub_is_identified_by_its_commit(cache: Path, tmp_path: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "mine")
    settings = {"model": "./mine", "tokenizer": "org/tiny"}
    first, missing = locate_models(cache, tmp_path, settings, settings | {"tokenizer": "org/nothing"})
    assert first["tokenizer"] == str(cache / "models--org--tiny" / "snapshots" / MAIN)
    # the branch moves to another commit
    moved = tmp_path / "moved"
    shutil.copytree(cache, moved, symlinks=True)
    (moved / "models--org--tiny" / "refs" / "main").write_text(OLD, encoding="utf-8")
    (other,) = locate_models(moved, tmp_path, settings)
    assert other["weights"] == first["weights"]
    assert other["fingerprint"] != first["fingerprint"]
    assert missing["exit"] == 2
