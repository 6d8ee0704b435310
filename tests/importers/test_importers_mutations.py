"""Damaged files of every format end in a valid result or in a `GateError`, never in anything else."""

from __future__ import annotations

import importlib.util
import random
import re
import shutil
from pathlib import Path

import pytest
from support.mutations import Origin, check, mutate, origins, read_or_refuse

from gate.errors import SampleError
from gate.importers import read_foreign
from gate.importers.build import task_samples

PER_ORIGIN = 50
SLOW = {"Inspect": 10}  # its own library takes 20 ms per file


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> list[Origin]:
    found = origins(tmp_path_factory.mktemp("valid"))
    return [one for one in found if one.tool != "Inspect" or importlib.util.find_spec("inspect_ai")]


def test_the_files_are_valid_before_they_are_damaged(valid: list[Origin]) -> None:
    for origin in valid:
        for source in (origin.file, origin.folder):
            check(read_foreign(source))


@pytest.mark.parametrize("value", [2**31, -(10**30), "three"])
def test_numbers_that_do_not_fit_their_column_are_refused(value: object) -> None:
    with pytest.raises(SampleError, match="task sums: a value of repeat does not fit int32"):
        task_samples("sums", "acc", {"item_id": ["a"], "score": [1.0], "repeat": [value]})


def test_damaged_files_are_read_or_refused(valid: list[Origin], tmp_path: Path) -> None:
    outcomes = {"read": 0, "refused": 0}
    for number, origin in enumerate(valid):
        for mutation in range(SLOW.get(origin.tool, PER_ORIGIN)):
            seed = f"{number}-{mutation}"
            rng = random.Random(seed)
            source = mutate(origin, tmp_path / "run", rng)
            try:
                outcomes[read_or_refuse(source, rng)] += 1
            except BaseException as error:
                error.add_note(f"{origin.tool}, seed {seed}: {source}")
                raise
            shutil.rmtree(tmp_path / "run")
    assert sum(outcomes.values()) > 800
    assert min(outcomes.values()) > 120  # the damage is neither hopeless nor harmless


def test_metadata_of_parquet_that_contradict_each_other_are_refused(valid: list[Origin], tmp_path: Path) -> None:
    """Each name of a column is replaced in turn: in the schema, in the path of its values, in Arrow's own schema."""
    outcomes = []
    for origin in (one for one in valid if one.file.suffix == ".parquet"):
        content = origin.file.read_bytes()
        for match in re.finditer(rb"gold|predictions|metric|element|task|item_id|correct", content):
            damaged = content[: match.start()] + match[0][::-1] + content[match.end() :]
            (tmp_path / origin.file.name).write_bytes(damaged)
            outcomes.append(read_or_refuse(tmp_path / origin.file.name, random.Random(0)))
    assert outcomes.count("refused") > 10
