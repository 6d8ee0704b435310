"""The rule of `gate curate` sets temperature and repeats, also for a task with its own sampling."""

from __future__ import annotations

from gate.app.curate import _sampled
from gate.config import SampleSettings, TaskSettings
from gate.tasks import Sampling


def test_the_rule_of_selection_overrides_the_tasks_temperature_and_repeats() -> None:
    task = TaskSettings.model_validate(
        {"name": "t", "file": "t.jsonl", "kind": "generate_until", "prompt": "p", "answer": "a"}
        | {"sampling": {"temperature": 0.6, "repeats": 2, "top_p": 0.9, "seed": 5}}
    )
    rule = SampleSettings(repeats=10, temperature=0.3)
    assert Sampling.of(rule, _sampled(task)) == Sampling(10, 0.3, 5, top_p=0.9)
    assert Sampling.of(rule, task).repeats == 2
    plain = task.model_copy(update={"sampling": None})
    assert _sampled(plain) is plain
