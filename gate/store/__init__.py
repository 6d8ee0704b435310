"""Sample sets on disk and in remote stores: manifests, locks, signatures, history."""

from gate.store.local import Store
from gate.store.sample_set import SampleSet, as_samples, open_set, read_sets

__all__ = ["SampleSet", "Store", "as_samples", "open_set", "read_sets"]
