"""Scorers of generated texts: each kind against a library or an exact rule, and hostile texts."""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.jsonl import write_jsonl

from gate.config import GateConfig, SampleSettings, TaskSettings, parse_config
from gate.errors import ExitCode, GateError, TaskError
from gate.tasks import Task, build_suite, build_task
from gate.tasks.requests import GenerateAnswer
from gate.tasks.scorers.json_schema import JsonSchema
from gate.tasks.scorers.numeric import Numeric, last_number
from gate.tasks.scorers.text import F1, SQUAD, Contains, Regex, RougeL
from gate.tasks.scoring import normalise
from gate.tasks.task import Scored

seeded = settings(max_examples=150, deadline=None, derandomize=True)
words = st.text(alphabet="aAnthe .,!'\t-cat 12")
TASK: dict[str, Any] = {
    "name": "own",
    "file": "items.jsonl",
    "kind": "generate_until",
    "prompt": "{{ q }}",
    "answer": "{{ a }}",
}


def task_of(folder: Path, target: object, include: tuple[str, ...] = (), **own: Any) -> Task:
    write_jsonl(folder / "items.jsonl", [{"q": "?", "a": target}])
    given = {key: value for key, value in (TASK | own).items() if value is not None}
    return build_task(TaskSettings.model_validate(given), SampleSettings(), folder, include)


def scored(task: Task, text: str) -> Scored:
    return task.score(task.items[0], [GenerateAnswer(text, 1, 1)])


def refusal(folder: Path, target: object, **own: Any) -> str:
    with pytest.raises(TaskError) as caught:
        task_of(folder, target, **own)
    assert caught.value.exit_code is ExitCode.USAGE
    return str(caught.value)


@given(words, st.lists(words.filter(str.split), min_size=1, max_size=3))
@seeded
def test_f1_is_that_of_squad(text: str, targets: list[str]) -> None:
    def by_precision_and_recall(target: str) -> float:
        found, expected = normalise(text, SQUAD).split(), normalise(target, SQUAD).split()
        shared = sum(min(found.count(word), expected.count(word)) for word in set(found))
        if shared == 0:
            return 0.0
        precision, recall = shared / len(found), shared / len(expected)
        return 2 * precision * recall / (precision + recall)

    targets = [target for target in targets if F1(SQUAD).problem_with(target) is None]
    if targets:
        assert F1(SQUAD).grade(text, targets, {}).score == pytest.approx(max(map(by_precision_and_recall, targets)))


@given(st.text(alphabet="abc ABC.,-1\n"), st.text(alphabet="abc ABC.,-1\n"))
@seeded
def test_rouge_l_is_that_of_rouge_score(text: str, target: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rougeL"]).score(target, text)["rougeL"].fmeasure
    assert RougeL().grade(text, [target], {}).score == pytest.approx(expected)


def test_rouge_l_reads_the_letters_of_all_languages() -> None:
    assert RougeL().grade("Über größere Häuser", ["über größere häuser"], {}).score == 1.0
    assert RougeL().grade("большой дом", ["дом"], {}).score == pytest.approx(2 / 3)
    assert RougeL().problem_with("!?") is not None


@given(st.decimals(-(10**9), 10**9, places=4), st.sampled_from(["{}", "x = {}.", "about {} km", "${:,}", "1 or {}\n"]))
@seeded
def test_the_last_number_of_a_text_is_read_exactly(value: Decimal, form: str) -> None:
    found = last_number(form.format(value))
    assert found is not None
    assert found == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5-3", 3), ("from 3 to -5", -5), ("\N{MINUS SIGN}7", -7), ("1,2,3", 3), ("1,200", 1200), ("1,2000", 2000),
        ("2e3", 2000), (".5", Decimal("0.5")), ("v1.2.3", Decimal("1.2")), ("100%", 100), ("a1", 1), ("+4", 4),
    ],
)  # fmt: skip
def test_forms_of_numbers(text: str, expected: Decimal) -> None:
    assert last_number(text) == expected


@pytest.mark.parametrize("text", ["", "none", "1e999999999", "9" * 2000, "NaN", "Infinity", "."])
def test_what_is_no_number_scores_zero_and_is_unreadable(text: str) -> None:
    grade = Numeric(1e9, 1e9).grade(text, ["0"], {})
    assert (grade.score, grade.correct, grade.readable) == (0.0, False, False)


@given(st.integers(-(10**6), 10**6), st.integers(0, 1000), st.integers(-2000, 2000))
@seeded
def test_the_tolerance_is_exact_and_inclusive(target: int, tolerance: int, change: int) -> None:
    scaled = [f"{Decimal(value).scaleb(-3)}" for value in (target, target + change)]
    grade = Numeric(tolerance / 1000, 0.0).grade(scaled[1], [scaled[0]], {})
    assert grade.correct is (abs(change) <= tolerance)


def test_the_larger_tolerance_counts() -> None:
    assert Numeric(0.0, 0.1).grade("110", ["100"], {}).correct
    assert not Numeric(0.0, 0.1).grade("110.001", ["100"], {}).correct
    assert Numeric(11.0, 0.1).grade("110.001", ["100"], {}).correct


@given(st.text(max_size=30), st.text(min_size=1, max_size=5))
@seeded
def test_contains_is_python_s_in(text: str, target: str) -> None:
    assert Contains(()).grade(text, [target], {}).correct is (target in text)


def test_contains_finds_whole_words() -> None:
    assert Contains(("strip",)).grade("14", ["4"], {}).correct
    assert not Contains(("strip",), words=True).grade("14", ["4"], {}).correct
    assert Contains(("strip",), words=True).grade("(C++), yes", ["C++"], {}).correct


def test_a_regular_expression_is_searched_and_checked(tmp_path: Path) -> None:
    task = task_of(tmp_path, r"^\d{4}-\d\d$", scorer="regex")
    assert (scored(task, "2024-07").score, scored(task, "in 2024-07").score) == (1.0, 0.0)
    assert "answer gave '(', which is not a regular expression" in refusal(tmp_path, "(", scorer="regex")
    assert "which is found in an empty text" in refusal(tmp_path, "a*", scorer="regex")


def test_a_regular_expression_cannot_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.tasks.scoring._SEARCH_SECONDS", 0.2)
    with pytest.raises(TaskError, match="scorer regex: the pattern"):
        Regex().grade("a" * 40 + "b", ["(a|aa)+$"], {})


SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("text", "score", "readable"),
    [
        ('{"age": 3}', 1.0, True), (' {"age": 3}\n', 1.0, True), ('{"age": "3"}', 0.0, True), ("[]", 0.0, True),
        ('{"age": 3', 0.0, False), ("```json\n{}\n```", 0.0, False), ("NaN", 0.0, False), ("", 0.0, False),
        ("[" * 200_000, 0.0, False), ('{"age": ' + "9" * 10_000 + "}", 0.0, False),
    ],
)  # fmt: skip
def test_a_json_schema_accepts_or_rejects(text: str, score: float, readable: bool) -> None:
    grade = JsonSchema(SCHEMA, "the schema").grade(text, (), {})
    assert (grade.score, grade.readable) == (score, readable)


def test_a_schema_is_read_from_a_file_and_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps(SCHEMA))
    inline = task_of(tmp_path, "x", answer=None, scorer={"kind": "json_schema", "schema": SCHEMA})
    file = task_of(tmp_path, "x", answer=None, scorer={"kind": "json_schema", "schema": "own.json"})
    other = task_of(tmp_path, "x", answer=None, scorer={"kind": "json_schema", "schema": {}})
    assert inline.fingerprint == file.fingerprint != other.fingerprint
    assert scored(file, '{"age": 1}').correct is True


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "integr"}, "is not a valid JSON Schema: type: 'integr' is not valid"),
        ("missing.json", "missing.json cannot be read"),
        ("list.json", "list.json is a list; expected a mapping"),
    ],
)
def test_a_wrong_schema_is_named(tmp_path: Path, schema: object, message: str) -> None:
    (tmp_path / "list.json").write_text("[]")
    assert message in refusal(tmp_path, "x", scorer={"kind": "json_schema", "schema": schema})


def test_a_schema_downloads_nothing() -> None:
    scorer = JsonSchema({"$ref": "http://127.0.0.1:9/other.json"}, "the schema")
    with pytest.raises(TaskError, match=r"refers to 'http://127\.0\.0\.1:9/other\.json', which it does not contain"):
        scorer.grade("{}", (), {})


def test_a_pattern_of_a_schema_cannot_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.tasks.scorers.json_schema._SECONDS", 0.2)
    with pytest.raises(TaskError, match=r"takes more than 0\.2 s"):
        JsonSchema({"pattern": "^(a|a)*$"}, "the schema").grade(json.dumps("a" * 40 + "b"), (), {})


OWN = """
from __future__ import annotations
from dataclasses import dataclass
import helper

@dataclass
class Rule:
    length: int

def short(text, document):
    document.clear()
    return len(text) <= Rule(helper.LENGTH).length

def share(text, document):
    return text.count(document["a"]) / max(len(text), 1)

def text(text, document):
    return text

def broken(text, document):
    return 1 / 0
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "rules.py").write_text(OWN)
    (folder / "helper.py").write_text("LENGTH = 3\n")
    return folder


def python(name: str, **more: Any) -> dict[str, Any]:
    return {"include": ("own",), "answer": None, "scorer": {"kind": "python", "function": f"rules:{name}"}} | more


def test_a_function_of_the_user_scores(tmp_path: Path, own: Path) -> None:
    task = task_of(tmp_path, "ab", **python("short"))
    assert task.metric == "short"
    assert (scored(task, "abc"), scored(task, "abcd").score) == (Scored(1.0, True, "abc", readable=True), 0.0)
    graded = scored(task_of(tmp_path, "ab", **python("share")), "xxab")
    assert (graded.score, graded.correct) == (0.25, None)


def test_the_code_of_every_file_is_part_of_the_fingerprint_and_is_read_again(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = own / "helper.py"
    # Python would take its cached bytecode for a file of the same size and time
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    os.utime(helper, (1e9, 1e9))
    before = task_of(tmp_path, "ab", **python("short"))
    helper.write_text("LENGTH = 9\n")
    os.utime(helper, (1e9, 1e9))
    after = task_of(tmp_path, "ab", **python("short"))
    assert before.fingerprint != after.fingerprint
    assert (scored(before, "abcd").score, scored(after, "abcd").score) == (0.0, 1.0)


def test_lower_is_better_negates_and_needs_a_scale(tmp_path: Path, own: Path) -> None:
    task = task_of(tmp_path, "ab", **python("share", lower_is_better=True, scale=[0, 1]))
    assert (task.metric, scored(task, "xxab").score) == ("-share", -0.25)
    assert task.fingerprint != task_of(tmp_path, "ab", **python("share")).fingerprint
    with pytest.raises(ValueError, match="needs scale"):
        TaskSettings.model_validate(TASK | {"scorer": python("share")["scorer"], "lower_is_better": True})
    with pytest.raises(ValueError, match="set lower_is_better to true or false"):
        TaskSettings.model_validate(TASK | {"scorer": {"kind": "python", "function": "rules:wer"}})


@pytest.mark.parametrize(
    ("name", "message", "code"),
    [
        ("text", "scorer rules:text returned 'xxab'; expected True, False or a number", ExitCode.EVALUATION),
        ("broken", "scorer rules:broken failed: ZeroDivisionError: division by zero", ExitCode.EVALUATION),
        ("nothing", "rules.py has no function nothing", ExitCode.USAGE),
    ],
)
def test_errors_of_a_function_name_it(tmp_path: Path, own: Path, name: str, message: str, code: ExitCode) -> None:
    with pytest.raises(GateError) as caught:
        scored(task_of(tmp_path, "ab", **python(name)), "xxab")
    assert message in str(caught.value)
    assert caught.value.exit_code is code


def test_a_score_outside_of_the_scale_is_refused(tmp_path: Path, own: Path) -> None:
    (own / "rules.py").write_text("def length(text, document):\n    return len(text)\n")
    with pytest.raises(GateError, match=r"returned 4; expected a number from 0 to 1\."):
        scored(task_of(tmp_path, "ab", **python("length")), "xxab")
    assert scored(task_of(tmp_path, "ab", **python("length", scale=[0, 10])), "xxab").score == 4.0


def test_a_module_is_only_searched_in_include_path(tmp_path: Path, own: Path) -> None:
    assert "no folder of include_path has the file json.py (none are listed)" in refusal(
        tmp_path, "x", scorer={"kind": "python", "function": "json:loads"}
    )
    (own / "rules.py").write_text("import nowhere\n")
    assert "rules.py cannot be imported: ModuleNotFoundError" in refusal(tmp_path, "x", **python("short"))


def test_exact_match_stays_the_default_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    plain, named = task_of(tmp_path, "x"), task_of(tmp_path, "x", scorer="exact_match")
    assert plain.fingerprint == named.fingerprint
    assert "scorer" not in plain.facets
    assert plain.metric == "exact_match"


@pytest.mark.parametrize("scorer", ["contains", "regex", "numeric", "f1", "rouge_l"])
def test_each_scorer_has_a_fingerprint_and_scores_the_answer_best(tmp_path: Path, scorer: str) -> None:
    task = task_of(tmp_path, "12", scorer=scorer)
    assert task.fingerprint != task_of(tmp_path, "12").fingerprint
    assert (task.metric, scored(task, "12").score, scored(task, "").score) == (scorer, 1.0, 0.0)


def test_settings_of_a_scorer_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    kinds = [
        {"kind": "numeric"}, {"kind": "numeric", "tolerance": 1}, {"kind": "numeric", "relative": 1},
        {"kind": "contains"}, {"kind": "contains", "words": True}, {"kind": "f1"},
    ]  # fmt: skip
    prints = [task_of(tmp_path, "12", scorer=kind).fingerprint for kind in kinds]
    prints.append(task_of(tmp_path, "12", scorer="f1", normalise=["strip"]).fingerprint)
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"answer": None}, "a generate_until task needs answer"),
        ({"answer": None, "scorer": "numeric"}, "a generate_until task needs answer"),
        ({"scorer": "f2"}, "does not match any of the expected tags"),
        ({"scorer": "f1", "metric": "exact_match"}, "metric exact_match does not fit a generate_until task; use f1"),
        ({"scorer": "f1", "lower_is_better": True}, "does not fit f1"),
        ({"scorer": {"kind": "python", "function": "os.system"}}, "should match pattern"),
        ({"kind": "multiple_choice", "choices": "{{ c }}", "scorer": "f1"}, "scorer belong to generate_until"),
        (
            {"answer": None, "fewshot": 1, "scorer": {"kind": "json_schema", "schema": {}}},
            "a generate_until task needs answer",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(own: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        TaskSettings.model_validate({key: value for key, value in (TASK | own).items() if value is not None})
    assert message in str(caught.value)


def test_the_page_s_examples_build_and_score(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/scorers.md").read_text(encoding="utf-8")
    config, own = (page.split(fence, 1)[1].split("```", 1)[0] for fence in ("```yaml\n", 'title="scorers/own.py"\n'))
    rows = {
        "capitals": ({"q": "", "a": ["Paris"]}, "The Paris.", 1.0),
        "sums": ({"q": "", "a": "4"}, "2 + 2 = 4.01", 1.0),
        "facts": ({"q": "", "a": "4"}, "14", 0.0),
        "dates": ({"q": ""}, "2024-07-01", 1.0),
        "spans": ({"q": "", "a": "red cat"}, "the red dog", 0.5),
        "news": ({"text": "", "summary": "a b c d"}, "a c", 2 / 3),
        "calls": ({"q": ""}, '{"name": 1}', 0.0),
    }
    for name, (row, _, _) in rows.items():
        write_jsonl(tmp_path / f"{name}.jsonl", [row])
    (tmp_path / "call.schema.json").write_text('{"properties": {"name": {"type": "string"}}}')
    (tmp_path / "scorers").mkdir()
    (tmp_path / "scorers/own.py").write_text(own)
    tasks = build_suite(parse_config(config, tmp_path / "gate.yml").config, tmp_path)
    answers = {Path(str(task.settings.file)).stem: task for task in tasks if task.name != "brevity"}
    assert {name: scored(answers[name], text).score for name, (_, text, _) in rows.items()} == {
        name: pytest.approx(score) for name, (_, _, score) in rows.items()
    }
    assert scored(tasks[-1], "word " * 24).score == 6.0


def test_the_json_schema_of_gate_yml_knows_names_and_mappings() -> None:
    import jsonschema

    schema = GateConfig.model_json_schema(by_alias=True)
    scorer = {"$defs": schema["$defs"], **schema["$defs"]["TaskSettings"]["properties"]["scorer"]}
    good = ["f1", {"kind": "numeric", "tolerance": 1}, {"kind": "json_schema", "schema": {"type": "object"}}]
    good.append({"kind": "judge", "base_url": "http://localhost/v1", "model": "m"})
    wrong = ["f2", "python", {"kind": "numeric", "tolerence": 1}, {"kind": "python"}, {"kind": "judge", "model": "m"}]
    validator = jsonschema.Draft202012Validator(scorer)
    assert [validator.is_valid(value) for value in (*good, *wrong)] == [True] * len(good) + [False] * len(wrong)


@pytest.mark.parametrize(
    ("own", "text", "readable"),
    [
        ({"scorer": "numeric"}, "none", False), ({"scorer": "numeric"}, "13", True), ({}, "wrong", True),
        ({"extract": r"#(\d+)"}, "12", False), ({"extract": r"#(\d+)"}, "#13", True),
        ({"extract": r"#(\d+)", "scorer": "contains"}, "12", False),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_is_told_from_a_wrong_one(
    tmp_path: Path, own: dict[str, Any], text: str, readable: bool
) -> None:
    result = scored(task_of(tmp_path, "12", **own), text)
    assert (result.score, result.readable) == (0.0, readable)
