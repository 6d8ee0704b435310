"""The judgements that were made, on disk: one line per judgement, so that a killed run loses none that it has."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from gate.common.canonical import canonical_json
from gate.common.files import writing
from gate.store.lock import hold
from gate.store.trust import WorkSeal


class Judgement(BaseModel):
    """One reply of a judge.

    Attributes
    ----------
    key : str
        See `Case.key`.
    verdict : str or None
        See `read_verdict`; None if the reply has none.
    messages : list of dict
        What the judge was asked.
    signature : str
        Of everything else, by the key of this user: a judgement that somebody planted does not count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    model: str
    verdict: str | None
    reply: str
    nonce: str
    messages: list[dict[str, str]]
    tokens_in: int = 0
    tokens_out: int = 0
    signature: str = ""

    @property
    def content(self) -> bytes:
        """What is signed."""
        return canonical_json(self.model_dump(exclude={"signature"})).encode("utf-8", "replace")


class Judgements:
    """The judgements of one judge, in a file that is only appended to. Use it with `with`.

    Every judgement is on disk before `add` returns. A line that a killed process left unfinished is cut off. One
    process at a time may use the file.

    Attributes
    ----------
    known : mapping of str to Judgement
        By key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seal = WorkSeal("candidate")
        self._known: dict[str, Judgement] = {}
        self._file: IO[bytes] | None = None
        self._lock = hold(path.with_suffix(".lock"), "the judge is being asked by another process")

    @property
    def known(self) -> Mapping[str, Judgement]:
        """The judgements with a valid signature, by key."""
        return self._known

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.__enter__()
        try:
            with writing(self._path):
                if self._path.is_symlink():
                    self._path.unlink()
                self._file = self._path.open("a+b")
                self._read(self._file)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._lock.__exit__(kind, error, traceback)

    def _read(self, file: IO[bytes]) -> None:
        file.seek(0)
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):  # cut off by a kill
                break
            whole += len(line)
            try:
                judgement = Judgement.model_validate(json.loads(line))
            except (ValidationError, ValueError, RecursionError):
                continue
            if self._seal.accepts(self._path.parent, judgement.content, judgement.signature):
                self._known[judgement.key] = judgement
        file.truncate(whole)

    def add(self, judgement: Judgement) -> None:
        """Append a judgement and flush it to disk.

        Raises
        ------
        EvaluationError
            The disk is full or the file cannot be written.
        """
        assert self._file is not None  # noqa: S101 - within `with`
        signature = self._seal.sign(self._path.parent, judgement.content)
        signed = judgement.model_copy(update={"signature": signature})
        with writing(self._path):
            self._file.write(canonical_json(signed.model_dump()).encode("utf-8", "replace") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        self._known[judgement.key] = signed
