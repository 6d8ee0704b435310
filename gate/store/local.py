"""A store in a local folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gate.common.files import write_text, writing
from gate.errors import SampleError
from gate.samples.record import SCHEMA_VERSION
from gate.store.manifest import MANIFEST
from gate.store.sample_set import EVALUATE_AGAIN, SampleSet, check_schema_version, open_set, refuse_shard
from gate.store.trust import KEY, SIGNATURE, is_signed, sign, store_key

_MARKER = "store.json"
_START_AFRESH = "Rename or delete the store folder, then run again."


class Store:
    """A folder of sample sets, e.g. `.gate`.

    Layout: `<role>/<model>-<model fingerprint>/<task>-<task fingerprint>/`. The role is `baseline` or `candidate`, so
    that a candidate's set is never used as a baseline.

    Raises
    ------
    SampleError
        The store has another schema version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        marker = root / _MARKER
        if marker.is_file():
            try:
                version = json.loads(marker.read_text(encoding="utf-8"))["schema_version"]
            except OSError as error:
                raise SampleError(f"{marker} cannot be read: {error.strerror}.", "Check its permissions.") from None
            except (ValueError, RecursionError) as error:
                raise SampleError(f"{marker} is not JSON: {error}.", _START_AFRESH) from None
            except (KeyError, TypeError):
                raise SampleError(
                    f"{marker} does not describe a quantgate store: it has no schema_version.", _START_AFRESH
                ) from None
            check_schema_version(version, root)

    def folder(self, role: str, model: str, fingerprint: str, task: str, task_fingerprint: str) -> Path:
        """Return the folder of a model's set of a task."""
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.")[-60:] or "model"
        return self.root / role / f"{slug}-{fingerprint[:12]}" / f"{task}-{task_fingerprint[:12]}"

    def find(self, folder: Path, fingerprint: str, task_fingerprint: str) -> SampleSet | None:
        """Return the complete set in a folder of this store; None if there is none.

        With a signing key (`GATE_STORE_KEY`), a baseline's set without a signature counts as absent.

        Raises
        ------
        SampleError
            The set is damaged, is only a shard, belongs to a different model or task, or is signed with another key.
        EvaluationError
            A remote store is unavailable.
        """
        if not (folder / MANIFEST).is_file():
            return None
        sample_set = open_set(folder)
        manifest = sample_set.manifest
        if (manifest.model.fingerprint, manifest.task_fingerprint) != (fingerprint, task_fingerprint):
            raise SampleError(
                f"{folder} holds samples of a different model or task from the one in its name.", EVALUATE_AGAIN
            )
        refuse_shard(sample_set)
        return sample_set if self._is_trusted(folder) else None

    def publish(self, sample_set: SampleSet) -> None:
        """Sign a baseline's set if there is a key; a remote store also uploads it.

        Raises
        ------
        EvaluationError
            The store cannot be written.
        """
        key, folder = store_key(), sample_set.folder
        if key is not None:
            content = (folder / MANIFEST).read_bytes()
            write_text(folder / SIGNATURE, sign(key, self._relative(folder), content) + "\n")

    def prepare(self) -> None:
        """Create the store's folder and record its schema version."""
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            marker = self.root / _MARKER
            if not marker.exists():
                write_text(marker, json.dumps({"schema_version": SCHEMA_VERSION}) + "\n")

    def _is_trusted(self, folder: Path) -> bool:
        """Verify a baseline's signature if there is a key; False if the set has no signature."""
        key, relative = store_key(), self._relative(folder)
        if key is None or not relative.startswith("baseline/"):
            return True
        path = folder / SIGNATURE
        if not path.is_file():
            return False
        content = (folder / MANIFEST).read_bytes()
        if not is_signed(key, relative, content, path.read_text(errors="replace")):
            raise SampleError(
                f"{folder} is not signed with the key in {KEY}: it was altered, moved, or signed with another key.",
                "Find out who wrote it; then delete the folder and evaluate the baseline again.",
            )
        return True

    def _relative(self, folder: Path) -> str:
        """Return the path of a set within the store: role, model, task."""
        return folder.relative_to(self.root).as_posix()
