"""Extraction, normalisation and exact match of generated texts."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gate.tasks.scorers.text import ExactMatch
from gate.tasks.scoring import extract, normalise

seeded = settings(max_examples=150, deadline=None, derandomize=True)


def exact_match(text: str, targets: list[str], pattern: str | None, steps: list[str]) -> bool:
    grade = ExactMatch(tuple(steps)).grade(extract(text, pattern), targets, {})
    assert grade.score == float(grade.correct is True)
    return grade.correct is True


@pytest.mark.parametrize("step", ["strip", "lower", "punctuation", "articles", "whitespace", "number"])
@given(text=st.text(alphabet=st.sampled_from("aAnthe THE1234567890.,-_$€%\t\nİßé!'") | st.characters(codec="utf-8")))
@seeded
def test_normalisation_steps_are_idempotent(step: str, text: str) -> None:
    once = normalise(text, [step])
    assert normalise(once, [step]) == once


SQUAD = ["lower", "punctuation", "articles", "whitespace"]


@given(st.text(alphabet="aAnthe .,!'\t-cat"))
@seeded
def test_the_steps_of_squad_give_its_normalisation(text: str) -> None:
    import re

    lowered = "".join(ch for ch in text.lower() if ch not in set(string.punctuation))
    assert normalise(text, SQUAD) == " ".join(re.sub(r"\b(a|an|the)\b", " ", lowered).split())


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("  A b ", ["strip"], "A b"),
        ("  A b ", [], "  A b "),
        ("A.B!", ["punctuation"], "AB"),
        ("The cat and an anthem", ["articles", "whitespace"], "cat and anthem"),
        ("a\n\tb ", ["whitespace"], "a b"),
        ("THE", ["articles", "lower"], " "),
        ("1,234.50", ["number"], "1234.5"),
        (" 7.0 % ", ["number"], "7"),
        ("€1e3", ["number"], "1000"),
        ("-0.00", ["number"], "0"),
        ("100", ["number"], "100"),
        ("0.000001", ["number"], "0.000001"),
        ("seven", ["number"], "seven"),
        ("NaN", ["number"], "NaN"),
        ("-Infinity", ["number"], "-Infinity"),
        (",", ["number"], ","),
    ],
)
def test_normalisation_steps(text: str, steps: list[str], expected: str) -> None:
    assert normalise(text, steps) == expected


def test_long_numbers_are_not_rounded() -> None:
    one, other = "12345678901234567890123456789012345", "12345678901234567890123456789012346"
    assert not exact_match(one, [other], None, ["number"])
    assert exact_match(one + ".0", [one], None, ["number"])


@pytest.mark.parametrize("text", ["1e999999999", "-1e-999999999", "9e5000"])
def test_a_number_too_large_to_expand_stays_text(text: str) -> None:
    assert normalise(text, ["number"]) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3))
@seeded
def test_equal_numbers_normalise_to_the_same_text(value: object) -> None:
    assume(len(str(value)) < 40)
    text = normalise(str(value), ["number"])
    assert normalise(f"${value}0", ["number"]) == text
    assert not text.endswith((".", "-0"))


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("so #### 42", r"#### (\d+)", "42"),
        ("so 41, 42", r"\d+", "41"),
        ("nothing", r"\d+", ""),
        ("nothing", None, "nothing"),
        ("b", r"(a)|b", ""),
        ("x=1 y=2", r"x=(\d) y=(\d)", "1"),
        ("a\nAnswer: B", r"(?m)^Answer: (\w)", "B"),
    ],
)
def test_extraction_takes_the_first_group_or_the_match(text: str, pattern: str | None, expected: str) -> None:
    assert extract(text, pattern) == expected


def test_exact_match_normalises_both_sides_and_accepts_any_target() -> None:
    assert exact_match(" The Cat.", ["dog", "cat!"], None, SQUAD)
    assert not exact_match(" The Cat.", ["dog", "cat!"], None, ["strip"])
    assert exact_match("I think: 1,000.", ["1000"], r"([\d,]+)", ["number"])
    assert not exact_match("no number here", ["1000"], r"(\d+)", ["number"])
    assert not exact_match("", [], None, ["strip"])


@given(
    st.text(max_size=20),
    st.lists(st.sampled_from(["strip", "lower", "punctuation", "articles", "whitespace", "number"])),
)
@seeded
def test_a_text_matches_itself_under_all_steps(text: str, steps: list[str]) -> None:
    assert exact_match(text, [text], None, steps)
