"""The A/A control in reports: hostile facts of a stack stay text, and an untrusted result is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.binary_results import answers, result_of

from gate.decision.noise import Control, Excess, NoiseFloor, TaskNoise
from gate.errors import SampleError
from gate.github.untrusted import read_untrusted
from gate.report import Result
from gate.report.html import render_html
from gate.report.markdown import render_markdown
from gate.report.result import to_json

HOSTILE = "<img src=x onerror=alert(1)>\n| [a](javascript:b) @team `x`"


def result_with_control(hardware: str = "H100", **changes: object) -> Result:
    floor = NoiseFloor(
        items=80, flips=3, flip_rate=3 / 80, flip_rate_ci95=(0.01, 0.1), kl_mean=0.002, drop=0.0125, p_value=0.004
    )
    control = Control(
        kind="stack",
        differences={"hardware": ("A100", hardware)},
        floor=floor,
        excess=Excess(candidate_alone=9, control_alone=2, p_value=0.0327),
        tasks=[TaskNoise(task="arc", role="gating", n=80, flips=3, flip_rate=3 / 80, kl_mean=0.002)],
    )
    result = result_of({"arc": answers(6, 5, 80)})
    return result.model_copy(update={"control": control.model_copy(update=changes)})


def test_every_report_gives_the_floor_the_candidate_and_the_shift() -> None:
    result = result_with_control()
    for text in (render_markdown(result), render_html(result)):
        assert "3 of 80 items flip" in text
        assert "The candidate flips 11 of 80" in text
        assert "it moved more than noise" in text
        assert "The stack alone changed the baseline" in text
        assert "two-sided p = 0.004" in text


def test_hardware_names_are_text() -> None:
    result = result_with_control(HOSTILE)
    page = render_html(result)
    assert "<img src=x" not in page
    report = render_markdown(result)
    assert "<img" not in report
    assert "](javascript" not in report
    assert "@team" not in report.replace("<code>@team</code>", "")


def test_a_result_with_a_control_is_read_again_also_as_untrusted_input(tmp_path: Path) -> None:
    result = result_with_control()
    path = tmp_path / "result.json"
    path.write_text(to_json(result))
    assert read_untrusted(path).control == result.control  # type: ignore[union-attr]
    data = json.loads(path.read_text())
    assert Result.model_validate({key: value for key, value in data.items() if key != "control"}).control is None


@pytest.mark.parametrize(
    ("key", "value"), [("flips", -1), ("flip_rate", 1.5), ("p_value", 7), ("items", 10**30), ("kl_mean", -1)]
)
def test_impossible_figures_of_a_control_are_refused(tmp_path: Path, key: str, value: float) -> None:
    data = json.loads(to_json(result_with_control()))
    data["control"]["floor"][key] = value
    path = tmp_path / "result.json"
    path.write_text(json.dumps(data))
    with pytest.raises(SampleError, match=r"control\.floor"):
        read_untrusted(path)


def test_messages_about_an_untrusted_control_do_not_quote_its_keys(tmp_path: Path) -> None:
    data = json.loads(to_json(result_with_control()))
    path = tmp_path / "result.json"
    for facts in ({f"secret{n}": ["a", "b"] for n in range(3_000)}, {"secret": ["a", "b", "c"]}):
        data["control"]["differences"] = facts
        path.write_text(json.dumps(data))
        with pytest.raises(SampleError, match=r"control\.differences") as caught:
            read_untrusted(path)
        assert "secret" not in str(caught.value)
