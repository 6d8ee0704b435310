"""Inputs as the runner passes them: names, types, unknown and empty inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.runner import as_runner

from gate.errors import ConfigError
from gate.github.inputs import UNSET, Inputs, input_fields, read_inputs

ROOT = Path(__file__).resolve().parents[2]


def problems(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        read_inputs(environment)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_defaults_override_nothing() -> None:
    inputs, overrides = read_inputs(as_runner())
    assert overrides == {}
    assert inputs == Inputs.model_validate({"github-token": "ghs_default"})
    assert read_inputs({})[0] == Inputs()


def test_values_are_parsed() -> None:
    environment = as_runner(alpha="0.01", limit=" 200 ", comment="False", max_flip_rate="1e-2", name="nightly")
    inputs, overrides = read_inputs(environment)
    assert (inputs.alpha, inputs.limit, inputs.comment, inputs.max_flip_rate) == (0.01, 200, False, 0.01)
    assert inputs.name == "nightly"
    assert overrides == {"limit": "200", "alpha": "0.01", "max-flip-rate": "1e-2"}


def test_none_disables_a_value_of_the_file() -> None:
    inputs, overrides = read_inputs(as_runner(certify="none"))
    assert inputs.certify is None
    assert overrides == {"certify": "none"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("arc, faq\nhellaswag", ["arc", "faq", "hellaswag"]),
        ("arc", ["arc"]),
        ("[arc, faq]", ["arc", "faq"]),
        ("- arc\n- {name: faq, file: faq.jsonl}", ["arc", {"name": "faq", "file": "faq.jsonl"}]),
    ],
)
def test_tasks_are_names_or_yaml(text: str, expected: list[object]) -> None:
    assert read_inputs(as_runner(tasks=text))[0].tasks == expected


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("candidat", "candidate"), ("MAX KL", "max-kl"), ("max_kl", "max-kl"), ("gh-token", "github-token")],
)
def test_unknown_input_is_reported_with_the_nearest_name(name: str, nearest: str) -> None:
    environment = as_runner() | {f"INPUT_{name.replace(' ', '_').upper()}": "x"}
    text = problems(environment)
    assert f"input {name.replace(' ', '_').lower()}: there is no such input; did you mean {nearest}?" in text


@pytest.mark.parametrize("name", ["QQQQ", "PATH", "TOKEN"])
def test_variable_that_resembles_no_input_is_only_a_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A self-hosted runner or a container may define such variables for other programs."""
    assert read_inputs({f"INPUT_{name}": "x"}) == read_inputs({})
    assert f"input {name.lower()}: there is no such input; known: config, working-directory" in caplog.text


def test_container_arguments_of_the_runner_are_ignored() -> None:
    environment = as_runner() | {"INPUT_ARGS": "doctor", "INPUT_ENTRYPOINT": ""}
    assert read_inputs(environment)[1] == {}


@pytest.mark.parametrize("name", [name for name in input_fields() if name not in ("status-context", "github-token")])
@pytest.mark.parametrize("empty", ["", " \n"])
def test_empty_value_is_an_error_that_names_the_input(name: str, empty: str) -> None:
    """`candidate: ${{ steps.x.outputs.typo }}` must not silently select the candidate of gate.yml."""
    assert f"input {name}: empty; expected a value." in problems(as_runner(**{name: empty}))


def test_token_and_status_may_be_empty() -> None:
    inputs, _ = read_inputs(as_runner(github_token="", status_context=""))
    assert (inputs.github_token, inputs.status_context) == (None, None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("alpha", "five", "input alpha: expected a valid number; found 'five'."),
        ("limit", "2.5", "input limit: expected a valid integer"),
        ("comment", "yes", "input comment: expected true or false; found 'yes'."),
        ("tasks", "[arc", "input tasks: not valid YAML:"),
        ("tasks", "[1, 2]", "input tasks: expected a list of task names or of tasks as in gate.yml"),
    ],
)
def test_value_of_the_wrong_type_is_reported(name: str, text: str, message: str) -> None:
    assert message in problems(as_runner(**{name: text}))


def test_all_problems_are_reported_together() -> None:
    text = problems(as_runner(alpha="x", candidate="", comment="yes") | {"INPUT_BASLINE": "m"})
    assert text.count("input ") >= 4


def test_error_never_contains_the_token() -> None:
    with pytest.raises(ConfigError) as caught:
        read_inputs(as_runner(github_token="ghs_SECRET", alpha="x", baseline=""))
    assert "ghs_SECRET" not in str(caught.value)
    assert "ghs_SECRET" not in repr(caught.value)


# --- action.yml, the model and the documentation agree -------------------------------------------------------


def documented_default(name: str) -> str:
    field = input_fields()[name]
    if name == "github-token":
        return "${{ github.token }}"
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("empty"):
        return ""
    if field.default is None:
        return UNSET
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def test_action_yml_has_the_same_inputs_defaults_and_descriptions() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert list(action["inputs"]) == list(input_fields())
    for name, entry in action["inputs"].items():
        assert entry["default"] == documented_default(name), name
        assert entry["required"] is False
        assert entry["description"].startswith((input_fields()[name].description or "").replace("`", "")), name
    assert len(action["description"]) <= 125  # the Marketplace's limit


def test_documentation_has_the_same_inputs() -> None:
    rows = {}
    for line in (ROOT / "docs/action.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            rows[cells[0].strip("`")] = cells[1:]
    assert list(rows) == list(input_fields())
    for name, (default, key, description) in rows.items():
        field = input_fields()[name]
        expected = documented_default(name)
        assert default.strip("`") == ("" if expected == UNSET else expected), name
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        assert key.strip("`") == extra.get("key", ""), name
        assert description == field.description
