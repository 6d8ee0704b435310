"""SIGTERM (a cancelled job, an evicted pod, `docker stop`) ends a command like Ctrl-C, and within seconds."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from gate.errors import ExitCode, Terminated

_GRACE = 4.0  # seconds to unwind; Docker and Kubernetes kill a process 10 and 30 s after the signal
_last_acts: list[Callable[[], None]] = []


class _Signal:
    """Whether SIGTERM has arrived since `handle_termination` began."""

    arrived = False


@contextmanager
def handle_termination() -> Iterator[None]:
    """Raise `Terminated` in the main thread when SIGTERM arrives.

    A handler is also what makes SIGTERM work for the first process of a container: the kernel ignores signals without
    a handler there. Code outside Python (a long matrix product) delays the exception. After 4 seconds the process
    therefore runs the actions of `on_termination` and exits with 143 by itself. Finished work is on disk by then,
    because every data file is written before the next one starts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waker, wakened = socket.socketpair()
    waker.setblocking(False)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(wakened, ended), daemon=True, name="termination").start()
    # the C handler writes to the socket at once, even while the main thread is outside Python
    previous_fd = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    previous = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        ended.set()
        _Signal.arrived = False
        signal.signal(signal.SIGTERM, previous)
        signal.set_wakeup_fd(previous_fd)
        waker.close()  # ends the thread


@contextmanager
def on_termination(action: Callable[[], None]) -> Iterator[None]:
    """Run `action` if the process has to exit without unwinding; it must take less than a second."""
    _last_acts.append(action)
    try:
        yield
    finally:
        _last_acts.remove(action)


def is_termination(error: BaseException) -> bool:
    """Return whether SIGTERM caused an exception.

    Click wraps `Terminated` in an Abort; Ray replaces it by a KeyboardInterrupt.
    """
    return _Signal.arrived or isinstance(error, Terminated) or isinstance(error.__cause__, Terminated)


def _raise(_: int, __: FrameType | None) -> None:
    _Signal.arrived = True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the unwinding
    raise Terminated


def _watch(wakened: socket.socket, ended: threading.Event) -> None:
    """Exit some seconds after SIGTERM unless the command has ended by then."""
    with wakened:
        while received := wakened.recv(1):
            if received[0] == signal.SIGTERM:
                break
        else:
            return
        if not ended.wait(_GRACE):
            for action in reversed(_last_acts):
                with suppress(Exception):
                    action()
            with suppress(OSError):
                os.write(2, b"terminated; completed work is kept, and the same command resumes\n")
            os._exit(ExitCode.TERMINATED)
