"""Samples: the record of every answered item; storage, pairing, files of other tools."""

from gate.samples.pairing import PairedTask, Pairing, pair
from gate.samples.record import SAMPLE_SCHEMA, SCHEMA_VERSION, ModelSamples, TaskSamples
from gate.samples.store import SampleSet, Store, as_samples, open_set, read_sets, write_text

__all__ = [
    "SAMPLE_SCHEMA",
    "SCHEMA_VERSION",
    "ModelSamples",
    "PairedTask",
    "Pairing",
    "SampleSet",
    "Store",
    "TaskSamples",
    "as_samples",
    "open_set",
    "pair",
    "read_sets",
    "write_text",
]
