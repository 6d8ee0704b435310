"""A FAIL result in which every text from outside is hostile."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from gate.config import DecisionSettings
from gate.decision import decide
from gate.importers.build import task_samples
from gate.report import Result, build_result, to_json
from gate.samples import ModelSamples, pair

PLACEHOLDER = "PLACEHOLDER"


@cache
def pattern() -> dict[str, Any]:
    """Return a FAIL result as JSON in which every text from outside contains PLACEHOLDER."""
    count = 30
    columns: dict[str, Any] = {
        "item_id": [PLACEHOLDER, *(f"{n}" for n in range(count - 1))],
        "target": [PLACEHOLDER] * count,
        "prompt": [PLACEHOLDER] * count,
    }
    sides = []
    for label, score in (("a " + PLACEHOLDER, 1.0), (PLACEHOLDER, 0.0)):
        columns_of_side = {**columns, "score": [score] * count, "output": [f"{PLACEHOLDER}{score}"] * count}
        table = task_samples(PLACEHOLDER, "acc", columns_of_side)
        blind = task_samples(f"blind {PLACEHOLDER}", "acc", {**columns_of_side, "score": [1.0] * count})
        names = ("fingerprint", "engine", "hardware")
        about = {
            "loaded_dtype": PLACEHOLDER + label,
            "device": PLACEHOLDER + label,
            **dict.fromkeys(names, PLACEHOLDER),
        }
        sides.append(ModelSamples(label, {PLACEHOLDER: table, f"blind {PLACEHOLDER}": blind}, about, (PLACEHOLDER,)))
    pairing = pair(*sides)
    settings = DecisionSettings(draws=1_000, rule="holm")
    decision = decide(pairing.tasks, settings)
    assert decision.verdict == "FAIL"
    assert decision.sensitivity.blind_tasks == [f"blind {PLACEHOLDER}"]
    result = build_result(decision, pairing, *sides, settings, 0, [PLACEHOLDER])
    assert PLACEHOLDER in result.reasons[0]
    data: dict[str, Any] = json.loads(to_json(result))
    # further fields that a result.json of unknown origin could fill
    data["reasons"].append(PLACEHOLDER)
    data["rule"] = PLACEHOLDER
    data["provenance"].update(quantgate=PLACEHOLDER, seed=PLACEHOLDER)
    data["tasks"][0]["subtasks"] = [{**data["tasks"][0], "role": "advisory"}]
    return data


def result_with(text: str) -> Result:
    """Return the FAIL result with `text` in place of every PLACEHOLDER."""
    text = text.encode("utf-8", "replace").decode()  # a file cannot hold lone surrogates

    def substitute(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: substitute(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [substitute(entry) for entry in value]
        return value.replace(PLACEHOLDER, text) if isinstance(value, str) else value

    return Result.model_validate(substitute(pattern()))
