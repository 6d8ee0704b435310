"""The plan of an evaluation: the items of each data file, the settings that the rows depend on, and the manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gate import __version__
from gate.common.canonical import canonical_json, digest
from gate.engines import ModelIdentity, Runtime
from gate.evaluation.recording import NONE, Recording
from gate.evaluation.resume import FinishedFile
from gate.samples.record import SCHEMA_VERSION
from gate.store import SampleSet
from gate.store.manifest import Manifest, ModelRecord, Shard, Timings
from gate.tasks import Item, Task

ITEMS_PER_DATA_FILE = 512
"""Large enough for full batches, small enough that a killed run loses about a minute of work."""
_TOKENS_PER_DATA_FILE = 131_072
_MIN_ANSWERS_PER_DATA_FILE = 128
_ITEMS_WITH_WHOLE_DISTRIBUTIONS = 64  # a whole distribution takes 100 KB or more
SCORING_METHOD = "scoring"
"""Entry of `Runtime.versions` that an engine sets after its first scores."""


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    Attributes
    ----------
    groups : tuple of tuple of Item
        The items of each data file.
    baseline : SampleSet or None
        Set whose stored distributions KL divergence is measured from. None: store the distributions.
    shard : Shard or None
        The shard of the task that the items are. None: all items.
    recording : Recording
        What to store of the distributions.
    """

    task: Task
    identity: ModelIdentity
    groups: tuple[tuple[Item, ...], ...]
    baseline: SampleSet | None
    shard: Shard | None
    recording: Recording

    @classmethod
    def of(
        cls,
        task: Task,
        identity: ModelIdentity,
        baseline: SampleSet | None,
        shard: tuple[int, int] | None,
        groups: Sequence[Sequence[Item]] | None,
        recording: Recording,
    ) -> Plan:
        """Group the items of a task, or of a shard of it, into data files, unless the groups are given."""
        size = items_per_data_file(task)
        if recording.top == "whole" and baseline is None:
            size = min(size, _ITEMS_WITH_WHOLE_DISTRIBUTIONS)
        record = None
        if shard is not None:
            record = Shard(index=shard[0], of=shard[1], items=len(task.items), items_per_data_file=size)
        if groups is None:
            items = task.items if record is None else [task.items[position] for position in record.positions]
            groups = [items[start : start + size] for start in range(0, len(items), size)]
        return cls(task, identity, tuple(map(tuple, groups)), baseline, record, recording)

    @property
    def sizes(self) -> list[int]:
        """Number of items in each data file."""
        return [len(group) for group in self.groups]

    def settings(self, runtime: Runtime) -> dict[str, str]:
        """Return everything that the rows depend on, by names that messages show.

        An interrupted evaluation is resumed only if all settings are equal.
        """
        environment = dataclasses.asdict(runtime)
        # batch settings may change between an interruption and its resumption, e.g. after running out of memory
        stack = environment.pop("stack")
        environment |= {"processor": stack["hardware"]} if "instructions" in stack else {}
        del environment["versions"], environment["weights_bytes"], environment["peak_memory"]
        environment["device"] = runtime.device.partition(":")[0]  # the index among equal GPUs does not matter
        return {
            "model": self.identity.fingerprint,
            "task": self.task.fingerprint,
            "items": digest([[item.item_id for item in group] for group in self.groups]),
            "items per data file": str(max(self.sizes, default=0)),
            "shard": "none" if self.shard is None else f"{self.shard.index}/{self.shard.of}",
            # the files, not the model: the distributions are those of one evaluation
            "baseline": "none"
            if self.baseline is None
            else digest([data_file.sha256 for data_file in self.baseline.manifest.data_files]),
            "stored tokens": str(self.recording),
            **({"measured texts": str(self.recording.texts)} if self.task.generates else {}),
            "quantgate": __version__,
            **{key: value if isinstance(value, str) else canonical_json(value) for key, value in environment.items()},
            **_library_versions(runtime),
        }

    def manifest(self, runtime: Runtime, finished: Sequence[FinishedFile]) -> Manifest:
        """Return the manifest of the set that the finished data files make up."""
        planned, answered = sum(self.sizes), sum(file.items for file in finished)
        seconds = sum(file.seconds for file in finished)
        recording = self.recording if self.baseline is None else NONE
        return Manifest(
            schema_version=SCHEMA_VERSION,
            task=self.task.name,
            metric=self.task.metric,
            items=answered,
            rows=sum(file.data_file.rows for file in finished),
            data_files=[file.data_file for file in finished],
            task_fingerprint=self.task.fingerprint,
            facets=dict(self.task.facets),
            model=self._model_record(runtime, finished),
            reference=None if self.baseline is None else self.baseline.manifest.model.fingerprint,
            timings=Timings(
                seconds=seconds,
                items_per_second=answered / max(seconds, 1e-9),
                tokens_in=sum(file.tokens_in for file in finished),
                tokens_out=sum(file.tokens_out for file in finished),
                peak_memory=runtime.peak_memory,
            ),
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            quantgate=__version__,
            shard=self.shard,
            top_tokens=recording.top,
            drawn_tokens=recording.drawn,
            positions=recording.positions,
            texts=recording.texts if recording.top and recording.is_sample_of(self.task) else None,
            settings=digest(self.settings(runtime)),
            stopped_of=planned if answered < planned else None,
        )

    def _model_record(self, runtime: Runtime, finished: Sequence[FinishedFile]) -> ModelRecord:
        versions = _library_versions(runtime)
        if not self.task.generates and finished and finished[-1].method:
            versions[SCORING_METHOD] = finished[-1].method
        return ModelRecord(
            **dataclasses.asdict(self.identity),
            fingerprint=self.identity.fingerprint,
            device=runtime.device,
            hardware=runtime.hardware,
            loaded_dtype=runtime.dtype,
            loaded_tokenizer=runtime.tokenizer,
            end_tokens=list(runtime.end_tokens),
            versions=versions,
            stack=runtime.stack,
            weights_bytes=runtime.weights_bytes,
            quantization=runtime.quantization,
        )


def items_per_data_file(task: Task) -> int:
    """Return the number of items per data file: fewer if the task generates long texts."""
    if not task.generates:
        return ITEMS_PER_DATA_FILE
    answers = max(_MIN_ANSWERS_PER_DATA_FILE, _TOKENS_PER_DATA_FILE // max(task.max_tokens, 1))
    return max(1, min(ITEMS_PER_DATA_FILE, answers // task.repeats))


def _library_versions(runtime: Runtime) -> dict[str, str]:
    return {name: version for name, version in runtime.versions.items() if name != SCORING_METHOD}
