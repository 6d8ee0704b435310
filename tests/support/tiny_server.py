"""A small model server as a program: `python tiny_server.py MODEL NAME HOST PORT [OPTION...]`.

It serves `support.fake_vllm` and writes a log. Options make it fail as real servers do:

--fail=TEXT     print TEXT and end with exit code 1
--never-ready   load for ever
--die=N         end at the N-th request for completions, once per --state file, or always without one
--state=FILE    file that remembers that the server died
--again=N       with --state: a server that is started again dies at the N-th request too
--orphan        leave a grandchild in a session of its own, as a daemon does
--deaf          ignore SIGTERM
--alone=FILE    end with an error if another server holds a lock on FILE
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_DAEMON = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)"


def main() -> None:
    folder, name, host, port, *rest = sys.argv[1:]
    options = dict(word.removeprefix("--").partition("=")[::2] for word in rest)
    print(f"loading {folder} as {name} for {host}:{port}, TINY_FLAG={os.environ.get('TINY_FLAG')}", flush=True)
    if "deaf" in options:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "alone" in options:
        lock = os.open(options["alone"], os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until the process ends
    if "orphan" in options:
        subprocess.Popen([sys.executable, "-c", _DAEMON]).wait()
    if "fail" in options:
        sys.exit(options["fail"])
    if "never-ready" in options:
        time.sleep(600)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from support.fake_vllm import FakeVllm, serve

    fake = FakeVllm(Path(folder), options.get("name", name))
    if "die" in options:
        number, state = int(options["die"]), Path(options["state"]) if "state" in options else None
        if state is None or not state.exists():
            _die_at(fake, number, state)
        elif "again" in options:
            _die_at(fake, int(options["again"]), state)
    with serve(fake, int(port), load=False):  # many tests only start and stop it
        print("ready", flush=True)
        threading.Event().wait()


def _die_at(fake: Any, number: int, state: Path | None) -> None:
    complete, count = fake.complete, 0

    def dying(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        nonlocal count
        count += 1
        if count >= number:
            if state is not None:
                state.touch()
            print("RuntimeError: the engine core died", flush=True)
            os._exit(7)
        result: tuple[int, dict[str, Any]] = complete(body)
        return result

    fake.complete = dying


if __name__ == "__main__":
    main()
