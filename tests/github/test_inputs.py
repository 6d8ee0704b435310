"""Inputs as the runner passes them: names, types, unknown and empty inputs."""

from __future__ import annotations

import pytest
from support.runner import as_runner

from gate.errors import ConfigError
from gate.github.given import read_inputs
from gate.github.inputs import UNSET, Inputs, input_fields


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
    assert (inputs.alpha, inputs.limit, inputs.comment, inputs.max_flip_rate) == (0.01, 200, "never", 0.01)
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
    [("candidat", "candidate"), ("max kll", "max-kl"), ("maxkl", "max-kl"), ("gh-token", "github-token")],
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
        ("summary", "yes", "input summary: expected true or false; found 'yes'."),
        ("comment", "yes", "input comment: expected always, on-change, on-failure or never; found 'yes'."),
        ("status", "commit", "input status: expected check, status or none; found 'commit'."),
        ("tasks", "[arc", "input tasks: not valid YAML:"),
        ("tasks", "[1, 2]", "input tasks: expected a list of task names or of tasks as in gate.yml"),
    ],
)
def test_value_of_the_wrong_type_is_reported(name: str, text: str, message: str) -> None:
    assert message in problems(as_runner(**{name: text}))


def test_variables_with_underscores_are_the_same_inputs() -> None:
    """A shell cannot have a variable with a dash in its name."""
    assert read_inputs({"INPUT_MAX_KL": "0.1", "INPUT_MAX-KL": UNSET})[0].max_kl == 0.1
    assert read_inputs({"INPUT_MAX_KL": "0.1", "INPUT_MAX-KL": "0.1"})[0].max_kl == 0.1
    text = problems({"INPUT_MAX_KL": "0.1", "INPUT_MAX-KL": "0.2"})
    assert text.startswith("input max-kl: set twice, to different values")


@pytest.mark.parametrize(
    ("given", "kind", "name"),
    [
        ({}, "none", "quantgate"),
        ({"status_context": "gate"}, "status", "gate"),
        ({"status": "check", "name": "nightly"}, "check", "nightly"),
        ({"status": "check", "status_context": "gate"}, "check", "gate"),
        ({"status": "none", "status_context": "gate"}, "none", "gate"),
    ],
)
def test_kind_and_name_of_what_is_set_on_the_commit(given: dict[str, str], kind: str, name: str) -> None:
    inputs = read_inputs(as_runner(**given))[0]
    assert (inputs.commit_mark, inputs.mark_name) == (kind, name)


@pytest.mark.parametrize(("old", "new"), [("true", "always"), ("True", "always"), ("false", "never")])
def test_comment_accepts_the_booleans_of_earlier_versions(old: str, new: str) -> None:
    assert read_inputs(as_runner(comment=old))[0].comment == new


def test_all_problems_are_reported_together() -> None:
    text = problems(as_runner(alpha="x", candidate="", summary="yes") | {"INPUT_BASLINE": "m"})
    assert text.count("input ") >= 4


def test_error_never_contains_the_token() -> None:
    with pytest.raises(ConfigError) as caught:
        read_inputs(as_runner(github_token="ghs_SECRET", alpha="x", baseline=""))
    assert "ghs_SECRET" not in str(caught.value)
    assert "ghs_SECRET" not in repr(caught.value)
