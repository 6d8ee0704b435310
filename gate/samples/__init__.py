"""Samples: the record of one answered item, and the pairing of two models' samples."""

from gate.samples.pairing import PairedTask, Pairing, pair
from gate.samples.record import SAMPLE_SCHEMA, SCHEMA_VERSION, ModelSamples, TaskSamples

__all__ = ["SAMPLE_SCHEMA", "SCHEMA_VERSION", "ModelSamples", "PairedTask", "Pairing", "TaskSamples", "pair"]
