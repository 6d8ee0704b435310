"""Workflow commands: values are escaped as the runner expects, and foreign text never becomes a command."""

from __future__ import annotations

from gate.common.workflow_commands import disarm, workflow_command


def test_values_are_escaped() -> None:
    command = workflow_command("error", "50% a::b\r\nc", {"file": "a,b:c%.yml", "line": "3"})
    assert command == "::error file=a%2Cb%3Ac%25.yml,line=3::50%25 a::b%0D%0Ac"


def test_command_without_properties_or_message() -> None:
    assert workflow_command("endgroup") == "::endgroup::"
    assert workflow_command("add-mask", "s3cr%t") == "::add-mask::s3cr%25t"


def test_disarmed_text_contains_no_command() -> None:
    assert disarm("::error::x ##[group]y\n:::z") == ": :error: :x # #[group]y\n  : : :z"
    assert disarm("a: b #c") == "a: b #c"


def test_control_characters_and_forged_lines_are_shown_as_text() -> None:
    assert disarm("a\x1b]0;t\x07b\r\u202ec") == "a\\x1b]0;t\\x07b\\r\\u202ec"
    assert disarm("no such file\nPASS: all well") == "no such file\n  PASS: all well"
