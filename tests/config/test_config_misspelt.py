"""A misspelt key of gate.yml, in any section, is an error that suggests the right one."""

from __future__ import annotations

import difflib
import re
import types
from typing import Any, Union, get_args, get_origin

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from support.gate_yml import GOOD, problem

from gate.config import DecisionSettings, GateConfig


def sections() -> dict[tuple[str, ...], list[str]]:
    """Return the keys of every mapping of gate.yml, by the path of the mapping; lists are left out of paths."""
    keys: dict[tuple[str, ...], list[str]] = {}

    def model_of(annotation: Any) -> type[BaseModel] | None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        if get_origin(annotation) in (list, Union, types.UnionType):
            return next((m for a in get_args(annotation) if (m := model_of(a))), None)
        return None

    def walk(model: type[BaseModel], path: tuple[str, ...]) -> None:
        keys[path] = [field.alias or name for name, field in model.model_fields.items()]
        for name, field in model.model_fields.items():
            inner = model_of(field.annotation)
            if inner is not None:
                walk(inner, (*path, name))

    walk(GateConfig, ())
    return keys


SECTIONS = sections()
KEYS = [(path, key) for path, keys in SECTIONS.items() for key in keys]
LETTERS = "abcdefghijklmnopqrstuvwxyz_"


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[tuple[str, ...], str, str]:
    """A valid key and a wrong spelling of it: a letter dropped, doubled, swapped with its neighbour, or added."""
    path, key = draw(st.sampled_from(KEYS))
    index = draw(st.integers(0, len(key) - 1))
    kind = draw(st.sampled_from(["drop", "double", "swap", "add"]))
    wrong = {
        "drop": key[:index] + key[index + 1 :],
        "double": key[:index] + key[index] + key[index:],
        "swap": key[:index] + key[index : index + 2][::-1] + key[index + 2 :],
        "add": key[:index] + draw(st.sampled_from(LETTERS)) + key[index:],
    }[kind]
    return path, key, wrong


def _nearness(wrong: str, key: str) -> float:
    matcher = difflib.SequenceMatcher()
    matcher.set_seqs(key, wrong)  # the order in which difflib.get_close_matches compares
    return matcher.ratio()


@given(misspelt())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_misspelt_key_always_suggests_the_right_one(case: tuple[tuple[str, ...], str, str]) -> None:
    path, key, wrong = case
    if wrong in SECTIONS[path]:
        return
    data = yaml.safe_load(GOOD)
    section = data
    for part in path:
        section = section.setdefault(part, [{}] if part in ("accept", "candidates") else {})
        section = section[0] if isinstance(section, list) else section
    section[wrong] = None
    lines = [line for line in problem(yaml.safe_dump(data)).splitlines() if "unknown key" in line]
    assert len(lines) == 1
    suggested = re.fullmatch(rf".*{wrong}: unknown key; did you mean (.*)\?", lines[0])[1]
    # `to_pk` is as near to `top_p` as to `top_k`; `candidatse` is near to both `candidate` and `candidates`
    equally_near = _nearness(wrong, suggested) == _nearness(wrong, key)
    assert suggested == key or equally_near or {suggested, key} == {"candidate", "candidates"}
    assert re.match(r"gate\.yml:\d+: ", lines[0])


def test_the_misspellings_above_cover_every_section() -> None:
    assert {path for path, _ in KEYS} >= {
        (), ("baseline",), ("candidate", "engine"), ("engine",), ("tasks",), ("samples",), ("decision",),
        ("distance",), ("report",),
    }  # fmt: skip
    assert set(SECTIONS[("decision",)]) == set(DecisionSettings.model_fields)
