"""The JSON Schema of gate.yml accepts and rejects the same files as the loader."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gate.config import GateConfig

jsonschema = pytest.importorskip("jsonschema")

GOOD = """\
version: 1
baseline: {model: org/base, revision: main}
candidate: {model: ./out, engine: {device: cpu}}
engine: {max_batch_tokens: auto}
tasks:
  - {name: a, file: a.jsonl, prompt: p, choices: [x, "y"], answer: "0", role: advisory}
  - {name: b, file: b.csv, kind: generate_until, prompt: p, answer: "{{ a }}", stop: ["\\n"], normalise: [lower]}
decision: {alpha: 0.01, certify: 0.02}
distance: {max_flip_rate: 0.1}
report: {markdown: r.md, json: null}
"""


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = GateConfig.model_json_schema(by_alias=True)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_a_valid_file_is_accepted_by_schema_and_loader(validator: Any) -> None:
    data = yaml.safe_load(GOOD)
    assert [error.message for error in validator.iter_errors(data)] == []
    assert GateConfig.model_validate(data).tasks[1].stop == ["\n"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 2"),
        ("alpha: 0.01", "alpha: 1.5"),
        ("alpha: 0.01", "alhpa: 0.01"),
        ("model: ./out", "model: 5"),
        ("normalise: [lower]", "normalise: [upper]"),
        ("json: null", "json_path: null"),
        ("device: cpu", "device: tpu"),
        ("max_flip_rate: 0.1", "max_flip_rate: 2"),
    ],
)
def test_an_invalid_file_is_rejected_by_schema_and_loader(validator: Any, old: str, new: str) -> None:
    data = yaml.safe_load(GOOD.replace(old, new))
    assert not validator.is_valid(data)
    with pytest.raises(ValueError, match="validation error"):
        GateConfig.model_validate(data)
