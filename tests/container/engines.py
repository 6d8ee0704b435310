"""Build an image and run commands in it, with Docker if its daemon runs, or else with buildah."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOUNTS = {"workspace": "/github/workspace", "home": "/github/home", "file_commands": "/github/file_commands",
          "workflow": "/github/workflow"}  # fmt: skip
"""The runner's folders and where it mounts them."""


@dataclass(frozen=True)
class Finished:
    """A finished container: exit code, output, and seconds that it ran."""

    code: int
    out: str
    err: str
    seconds: float


class Engine(ABC):
    """Builds and runs images."""

    @abstractmethod
    def build(self, tag: str, arguments: Sequence[str]) -> None:
        """Build the image of this checkout."""

    @abstractmethod
    def size(self, tag: str) -> int:
        """Return the size of an image in bytes."""

    @abstractmethod
    def environment(self, tag: str) -> dict[str, str]:
        """Return the variables that an image sets."""

    def run(
        self,
        tag: str,
        folders: Path,
        environment: Mapping[str, str],
        arguments: Sequence[str] = (),
        entrypoint: str | None = None,
    ) -> Finished:
        """Run an image with the runner's folders, which are in `folders`."""
        options = [part for name, text in environment.items() for part in ("--env", f"{name}={text}")]
        options += [part for name, target in MOUNTS.items() for part in ("--volume", f"{folders / name}:{target}")]
        return self._run(tag, options, arguments, entrypoint)

    @abstractmethod
    def _run(self, tag: str, options: Sequence[str], arguments: Sequence[str], entrypoint: str | None) -> Finished: ...


def _checked(command: Sequence[str], **options: object) -> str:
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, **options)  # type: ignore[call-overload]
    assert process.returncode == 0, f"{shlex.join(command)}: exit code {process.returncode}\n{process.stdout[-3000:]}"
    return str(process.stdout).strip()


def _timed(command: Sequence[str]) -> Finished:
    start = time.monotonic()
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    return Finished(process.returncode, process.stdout, process.stderr, time.monotonic() - start)


class Docker(Engine):
    """Docker with a running daemon."""

    def build(self, tag: str, arguments: Sequence[str]) -> None:
        _checked(["docker", "build", "--tag", tag, *arguments, str(ROOT)])

    def size(self, tag: str) -> int:
        return int(_checked(["docker", "image", "inspect", "--format", "{{.Size}}", tag]))

    def environment(self, tag: str) -> dict[str, str]:
        text = _checked(["docker", "image", "inspect", "--format", "{{json .Config.Env}}", tag])
        return dict(entry.split("=", 1) for entry in json.loads(text))

    def _run(self, tag: str, options: Sequence[str], arguments: Sequence[str], entrypoint: str | None) -> Finished:
        # the fake GitHub listens on this machine
        start = ["docker", "run", "--rm", "--network", "host", "--workdir", MOUNTS["workspace"]]
        start += [] if entrypoint is None else ["--entrypoint", entrypoint]
        return _timed([*start, *options, tag, *arguments])


class Buildah(Engine):
    """buildah without a daemon or namespaces: containers are folders (vfs) entered with chroot."""

    def __init__(self, storage: Path) -> None:
        # options override STORAGE_DRIVER of the environment
        self._start = ["buildah", "--root", str(storage / "root"), "--runroot", str(storage / "run"),
                       "--storage-driver", "vfs"]  # fmt: skip

    def _image(self, *arguments: str) -> str:
        return _checked([*self._start, *arguments])

    def base(self, tag: str, folder: Path) -> None:
        """Build a Debian base image with Python, for machines that cannot reach an image registry."""
        if self._has(tag):
            return
        subprocess.run(
            [
                "debootstrap",
                "--variant=minbase",
                "--include=python3,python3-venv,ca-certificates",
                "bookworm",
                str(folder),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(folder / "var/cache/apt/archives")
        container = self._image("from", "scratch")
        self._image("add", "--quiet", container, str(folder), "/")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._image("config", "--env", path, container)
        self._image("commit", "--quiet", "--rm", container, tag)
        shutil.rmtree(folder)

    def _has(self, tag: str) -> bool:
        return (
            subprocess.run(
                [*self._start, "inspect", "--type", "image", tag], capture_output=True, check=False
            ).returncode
            == 0
        )

    def build(self, tag: str, arguments: Sequence[str]) -> None:
        # vfs copies the whole image for every layer: 30 GB
        self._image("build", "--isolation", "chroot", "--layers=false", "--tag", tag, *arguments, str(ROOT))

    def size(self, tag: str) -> int:
        (image,) = json.loads(self._image("images", "--json", tag))
        unit = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
        number, name = str(image["size"]).split()
        return int(float(number) * unit[name.upper()])

    def _config(self, tag: str) -> dict[str, object]:
        image = json.loads(self._image("inspect", "--type", "image", tag))
        config: dict[str, object] = image["OCIv1"]["config"]
        return config

    def environment(self, tag: str) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self._config(tag)["Env"])  # type: ignore[attr-defined]

    def _run(self, tag: str, options: Sequence[str], arguments: Sequence[str], entrypoint: str | None) -> Finished:
        config = self._config(tag)
        # `buildah run` ignores the entry point; Docker runs it with the arguments
        start = config["Entrypoint"] if entrypoint is None else [entrypoint]
        command = [*start, *(arguments or config["Cmd"])]  # type: ignore[misc]
        container = self._image("from", tag)
        try:
            run = ["run", "--isolation", "chroot", "--workingdir", MOUNTS["workspace"]]
            return _timed([*self._start, *run, *options, container, "--", *command])
        finally:
            self._image("rm", container)


def find_engine(storage: Path) -> Engine | None:
    """Return the engine that this machine has, or None."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return Docker()
    return Buildah(storage) if shutil.which("buildah") and os.getuid() == 0 else None
