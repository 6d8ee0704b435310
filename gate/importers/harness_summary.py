"""The summary (results file) of an LM Evaluation Harness run: settings, versions, directions, and the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json
from gate.common.jsonlines import mapping, read_json
from gate.common.lm_eval import is_samples_name, split_samples_name
from gate.errors import SampleError
from gate.importers.files import LINES, files_in, stem_of

_SECTIONS = ("results", "configs", "higher_is_better", "versions", "n-shot")
_LARGEST = 256 << 20  # bytes
_START = 1 << 16  # bytes; a section's name occurs among them
# arguments that change neither the weights nor their number format
# fmt: off
_HARMLESS = frozenset(
    [
        "batch_size", "max_batch_size", "device", "device_map", "parallelize", "gpu_memory_utilization",
        "tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "max_length", "max_model_len",
        "max_gen_toks", "num_concurrent", "max_retries", "tokenized_requests", "trust_remote_code", "cache_dir",
        "swap_space", "seed", "add_bos_token", "enable_thinking", "think_end_token",
    ]
)
# fmt: on


@dataclass(frozen=True)
class Summary:
    """A summary and its file; empty if there is none.

    Attributes
    ----------
    name : str
        Name of the file; "" if there is none.
    """

    name: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)

    def of_task(self, section: str, task: str) -> Any:
        """Return the entry of a task in a section, or None."""
        return mapping(self.content.get(section)).get(task)

    @property
    def tasks(self) -> set[str]:
        """The tasks that the summary names."""
        return {str(task) for section in _SECTIONS for task in mapping(self.content.get(section))}

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run; empty if the summary has none."""
        return mapping(self.content.get("config"))

    @property
    def model_name(self) -> str | None:
        """The name of the model; None if it is unknown."""
        name = self.content.get("model_name")
        return name if isinstance(name, str) and name else None

    @property
    def model(self) -> str | None:
        """The model and its arguments as JSON, without arguments that do not change it; None if they are unknown."""
        if not self.config:
            return None
        arguments = self.config.get("model_args")
        if isinstance(arguments, str):
            arguments = dict(part.partition("=")[::2] for part in arguments.split(",") if part)
        if isinstance(arguments, Mapping):
            arguments = {str(key): str(value) for key, value in arguments.items() if key not in _HARMLESS}
        return canonical_json([self.config.get("model"), arguments, self.config.get("model_dtype")])

    @property
    def description(self) -> str:
        """The model and its arguments, for messages."""
        arguments = self.config.get("model_args")
        shown = arguments if isinstance(arguments, str) else canonical_json(arguments)
        return f"{self.name} ({self.config.get('model')}: {shown})"


@dataclass(frozen=True)
class RunsIn:
    """The summaries in a folder, and the time stamps in the names of its samples."""

    summaries: Sequence[Summary]
    stamps: frozenset[str]

    @classmethod
    def of(cls, folder: Path, samples: Sequence[Path]) -> RunsIn:
        """Return those of a folder, under any name; `samples` are files that hold samples."""
        found = []
        for file in files_in(folder, (".json",)):
            if file in samples or file.stat().st_size > _LARGEST or not _may_be_summary(file):
                continue
            try:
                content = read_json(file)
            except SampleError:  # not a summary
                continue
            if any(isinstance(content.get(section), Mapping) for section in _SECTIONS):
                found.append(Summary(file.name, content))
        names = {stem_of(file) for file in (*samples, *files_in(folder, (".json", *LINES)))}
        stamps = {split_samples_name(name)[1] for name in names if is_samples_name(name)}
        return cls(found, frozenset(stamps - {""}))

    def summary_of(self, file: Path, task: str, stamp: str) -> Summary:
        """Return the summary of the run that wrote a file; an empty one if there is none.

        It is the one with the same time stamp in its name. Where there is none, it is the only one that names the task
        and has the time stamp of no other file.

        Raises
        ------
        SampleError
            Several summaries fit, and they are of different models.
        """
        fitting = [summary for summary in self.summaries if stamp and stamp in summary.name]
        if not fitting:
            free = [summary for summary in self.summaries if not any(other in summary.name for other in self.stamps)]
            fitting = [summary for summary in free if task_in(stem_of(file), task, summary) is not None]
        fitting = [summary for summary in fitting if task in summary.tasks] or fitting
        if len({(summary.model_name, summary.model) for summary in fitting}) > 1:
            shown = "; ".join(summary.description for summary in fitting[:4])
            raise SampleError(
                f"{file.parent} holds runs of several models, or of one model with different arguments, and "
                f"{file.name} may be of any of them: {shown}.",
                "Move each run (its summary and its samples) into a folder of its own.",
            )
        return fitting[-1] if fitting else Summary()


def task_in(stem: str, task: str, summary: Summary) -> str | None:
    """Return the task of a file according to a summary: `task` itself, or the longest that ends the file's name."""
    if task in summary.tasks:
        return task
    endings = [name for name in summary.tasks if stem == name or stem.endswith(f"_{name}")]
    return max(endings, key=len, default=None)


def _may_be_summary(file: Path) -> bool:
    with file.open("rb") as handle:
        start = handle.read(_START)
    return any(f'"{section}"'.encode() in start for section in _SECTIONS)
