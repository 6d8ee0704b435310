"""Building a task: choices, targets, few-shot examples, chats, limits, and the fingerprint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.jsonl import write_jsonl
from support.tiny import write_tiny_task

from gate.config import SampleSettings, TaskSettings
from gate.errors import ExitCode, TaskError
from gate.tasks import Message, Task, build_task

MC: dict[str, Any] = {
    "name": "faq",
    "file": "items.jsonl",
    "prompt": "Q: {{ question }}\nA:",
    "choices": "{{ choices }}",
    "answer": "{{ gold }}",
}
GENERATE: dict[str, Any] = {
    "name": "faq",
    "file": "items.jsonl",
    "kind": "generate_until",
    "prompt": "Q: {{ question }}\nA:",
    "answer": "{{ gold }}",
}


def write(folder: Path, *rows: dict[str, Any], name: str = "items.jsonl") -> None:
    write_jsonl(folder / name, rows)


def build(folder: Path, settings: dict[str, Any], samples: dict[str, Any] | None = None) -> Task:
    return build_task(TaskSettings.model_validate(settings), SampleSettings(**(samples or {})), folder)


def refusal(folder: Path, settings: dict[str, Any]) -> str:
    with pytest.raises(TaskError) as caught:
        build(folder, settings)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.message.startswith(f"task {settings['name']}: ")
    return str(caught.value)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    write_tiny_task(tmp_path / "items.jsonl", count=12)
    return tmp_path


def test_an_item_has_prompt_choices_and_target(animals: Path) -> None:
    task = build(animals, MC)
    assert len(task.items) == 12
    item = task.items[1]
    assert item.prompt == item.context == "Q: Which animal is number 1?\nA:"
    assert item.choices == ("dog", "bird", "big fish")
    assert (item.target_index, item.target, item.targets) == (1, "1", ("bird",))
    assert (item.messages, item.cluster) == ((), None)
    assert (task.metric, task.delimiter) == ("acc", " ")


def test_jsonl_csv_and_parquet_build_the_same_items(tmp_path: Path) -> None:
    import csv

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"question": f"n{i}", "choices": json.dumps(["x", "y, z"]), "gold": str(i % 2)} for i in range(4)]
    write(tmp_path, *rows)
    with (tmp_path / "items.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    built = [
        build(tmp_path, MC | {"file": f"items.{kind}", "choices": "{{ choices | fromjson }}"})
        for kind in ("jsonl", "csv", "parquet")
    ]
    assert built[0].items == built[1].items == built[2].items
    assert built[0].fingerprint == built[1].fingerprint == built[2].fingerprint
    assert built[0].items[1].choices == ("x", "y, z")


@pytest.mark.parametrize(
    ("choices", "fields"),
    [
        ("{{ options }}", {"options": ["red", "blue"]}),
        ("{{- options -}}", {"options": ["red", "blue"]}),
        ("{{ options | fromjson }}", {"options": '["red", "blue"]'}),
        ("{{ options.split(';') }}", {"options": "red;blue"}),
        ("{{ [a, b] }}", {"a": "red", "b": "blue"}),
        (["{{ a }}", "{{ b }}"], {"a": "red", "b": "blue"}),
        (["red", "blue"], {}),
        ("{{ options | map(attribute='text') | list }}", {"options": [{"text": "red"}, {"text": "blue"}]}),
    ],
)
def test_choices_are_an_expression_or_a_list_of_templates(tmp_path: Path, choices: Any, fields: Any) -> None:
    write(tmp_path, {"question": "?", "gold": 1, **fields})
    item = build(tmp_path, MC | {"choices": choices}).items[0]
    assert item.choices == ("red", "blue")
    assert item.targets == ("blue",)


@pytest.mark.parametrize(
    ("gold", "expected"),
    [(0, 0), (2, 2), ("1", 1), (" 2 ", 2), (1.0, 1), ("A", 0), (" C", 2), ("dog", 1), ("C major", 0)],
)
def test_the_target_is_an_index_a_letter_or_a_choice(tmp_path: Path, gold: Any, expected: int) -> None:
    write(tmp_path, {"question": "?", "choices": ["C major", "dog", "cat"], "gold": gold})
    assert build(tmp_path, MC).items[0].target_index == expected


def test_the_text_of_a_choice_is_never_read_as_index_or_letter(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"question": "a", "choices": ["2", "1", "0"], "gold": "2"},
        {"question": "b", "choices": ["B", "A"], "gold": "B"},
    )
    assert [item.target_index for item in build(tmp_path, MC).items] == [0, 0]


@pytest.mark.parametrize("gold", [3, -1, "3", "D", "d", "mouse", 1.5, None, True, [1], "", "²", "-1"])
def test_an_invalid_target_is_refused_with_line_value_and_valid_range(tmp_path: Path, gold: Any) -> None:
    good = {"question": "ok", "choices": ["x", "y", "z"], "gold": 0}
    write(tmp_path, good, good | {"question": "?", "gold": gold})
    error = refusal(tmp_path, MC)
    assert f"items.jsonl:2: answer gave {gold!r}; expected an index from 0 to 2, a letter from A to C" in error
    assert "Indices start at 0" in error


@pytest.mark.parametrize("choices", [["x"], [], "xy", {"a": 1}, 5, ["x", ""], ["x", "x"], ["1", 1]])
def test_choices_must_be_at_least_two_distinct_texts(tmp_path: Path, choices: Any) -> None:
    write(tmp_path, {"question": "?", "choices": choices, "gold": 0})
    assert "items.jsonl:1: choices " in refusal(tmp_path, MC)


@pytest.mark.parametrize("key", ["prompt", "choices", "answer"])
def test_the_error_names_a_missing_field_and_its_line(animals: Path, key: str) -> None:
    error = refusal(animals, MC | {key: "{{ tpyo }}"})
    assert f"items.jsonl:1: {key} uses a field that the document lacks" in error
    assert "tpyo" in error
    assert f"Check `{key}:`; the document has: id, question, choices, gold." in error


def test_the_error_names_the_first_document_without_the_field(tmp_path: Path) -> None:
    rows = [{"question": f"{i}", "choices": ["a", "b"], "gold": 0} for i in range(4)]
    del rows[2]["gold"]
    write(tmp_path, *rows)
    assert "items.jsonl:3: answer uses a field" in refusal(tmp_path, MC)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path, MC)


@pytest.mark.parametrize(
    ("gold", "expected"),
    [("Paris", ("Paris",)), (["Paris", "paris"], ("Paris", "paris")), (7, ("7",)), (0.5, ("0.5",))],
)
def test_a_generation_has_one_target_or_several(tmp_path: Path, gold: Any, expected: Any) -> None:
    write(tmp_path, {"question": "?", "gold": gold})
    task = build(tmp_path, GENERATE)
    item = task.items[0]
    assert (item.targets, item.choices, item.target_index) == (expected, (), None)
    assert item.target == " | ".join(expected)
    assert task.metric == "exact_match"


@pytest.mark.parametrize("gold", [None, "", "  ", [], ["a", ""]])
def test_a_generation_needs_a_target(tmp_path: Path, gold: Any) -> None:
    write(tmp_path, {"question": "?", "gold": gold})
    assert "expected a text or a list of texts" in refusal(tmp_path, GENERATE)


def test_a_target_that_normalises_to_an_empty_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"question": "?", "gold": "A"})
    error = refusal(tmp_path, GENERATE | {"normalise": ["lower", "articles", "whitespace"]})
    assert "answer gave 'A', which normalise reduces to an empty text" in error
    assert build(tmp_path, GENERATE | {"normalise": ["lower"]}).items[0].targets == ("A",)


def test_limits_take_the_first_documents_and_the_task_overrides_samples(animals: Path) -> None:
    everything = build(animals, MC).items
    assert build(animals, MC, {"limit": 5}).items == everything[:5]
    assert build(animals, MC | {"limit": 3}, {"limit": 5}).items == everything[:3]
    assert build(animals, MC | {"limit": 99}).items == everything


def test_an_invalid_document_beyond_the_limit_is_not_rendered(tmp_path: Path) -> None:
    good = {"question": "ok", "choices": ["x", "y"], "gold": 0}
    write(tmp_path, good, {"question": "broken"})
    assert len(build(tmp_path, MC | {"limit": 1}).items) == 1


def test_solved_fewshot_examples_precede_the_prompt(tmp_path: Path) -> None:
    rows = [{"question": f"n{i}", "choices": ["x", "y"], "gold": i % 2} for i in range(3)]
    write(tmp_path, *rows)
    settings = MC | {"fewshot": 2, "description": "Choose.\n\n", "fewshot_delimiter": "\n--\n"}
    task = build(tmp_path, settings | {"target_delimiter": " => "})
    for number, item in enumerate(task.items):
        others = [i for i in range(3) if i != number]
        blocks = {f"Q: n{i}\nA: => {'xy'[i % 2]}" for i in others}
        *shots, question = item.context.removeprefix("Choose.\n\n").split("\n--\n")
        assert item.context.startswith("Choose.\n\n")
        assert set(shots) == blocks
        assert question == item.prompt == f"Q: n{number}\nA:"


def test_an_item_is_never_its_own_example(animals: Path) -> None:
    for item in build(animals, MC | {"fewshot": 4}).items:
        assert item.context.count(item.prompt) == 1
        assert item.context.count("A:") == 5


def test_the_examples_of_a_task_do_not_depend_on_the_limit(animals: Path) -> None:
    settings = MC | {"fewshot": 3}
    everything = build(animals, settings)
    assert build(animals, settings).items == everything.items
    assert build(animals, settings | {"limit": 4}).items == everything.items[:4]
    shots = {item.context.removesuffix(item.prompt) for item in everything.items}
    assert 1 < len(shots) <= 4  # the same for all but the items that are examples themselves


def test_another_seed_draws_other_examples(animals: Path) -> None:
    first, second = (build(animals, MC | {"fewshot": 3, "fewshot_seed": seed}) for seed in (0, 1))
    assert first.items[0].context != second.items[0].context
    assert first.fingerprint != second.fingerprint


def test_too_few_documents_for_the_examples_are_refused(animals: Path) -> None:
    assert "fewshot 12 needs 13 documents" in refusal(animals, MC | {"fewshot": 12})
    assert build(animals, MC | {"fewshot": 11}).items[0].context.count("A:") == 12


def test_examples_may_come_from_a_separate_file(animals: Path) -> None:
    solved = [{"question": f"s{i}", "choices": ["x", "y"], "gold": 0} for i in range(2)]
    write(animals, *solved, name="shots.jsonl")
    settings = MC | {"fewshot": 2, "fewshot_file": "shots.jsonl"}
    for item in build(animals, settings).items:
        assert "Q: s0\nA: x\n\n" in item.context
        assert "Q: s1\nA: x\n\n" in item.context
    assert "needs 3 documents" in refusal(animals, settings | {"fewshot": 3})
    write(animals, {"question": "broken"}, *solved, name="shots.jsonl")
    assert "shots.jsonl:1: choices uses a field" in refusal(animals, settings | {"fewshot": 3})


def test_an_item_among_too_few_examples_is_refused(animals: Path) -> None:
    lines = (animals / "items.jsonl").read_text(encoding="utf-8").splitlines()
    (animals / "shots.jsonl").write_text("\n".join(lines[:2]), encoding="utf-8")
    error = refusal(animals, MC | {"fewshot": 2, "fewshot_file": "shots.jsonl"})
    assert "items.jsonl:1: the document is one of the only 2 few-shot examples" in error


def test_a_chat_has_a_system_message_solved_turns_and_the_prompt(tmp_path: Path) -> None:
    rows = [{"question": f"n{i}", "choices": ["x", "y"], "gold": i} for i in range(2)]
    write(tmp_path, *rows)
    settings = MC | {"chat_template": True, "system": "Be brief.", "description": "Choose.", "fewshot": 1}
    task = build(tmp_path, settings)
    assert task.items[0].messages == (
        Message("system", "Be brief.\n\nChoose."),
        Message("user", "Q: n1\nA:"),
        Message("assistant", "y"),
        Message("user", "Q: n0\nA:"),
    )
    assert task.items[0].context == ""
    assert task.delimiter == ""
    plain = build(tmp_path, MC | {"chat_template": True})
    assert plain.items[0].messages == (Message("user", "Q: n0\nA:"),)


def test_clusters_come_from_a_field(tmp_path: Path) -> None:
    row = {"choices": ["x", "y"], "gold": 0}
    write(tmp_path, row | {"question": "a", "passage": 7}, row | {"question": "b", "passage": "7", "extra": 1})
    assert [item.cluster for item in build(tmp_path, MC | {"cluster": "passage"}).items] == ["7", "7"]
    error = refusal(tmp_path, MC | {"cluster": "extra"})
    assert "items.jsonl:1: the document lacks the cluster field 'extra'" in error


def test_the_order_of_keys_changes_neither_items_nor_fingerprint(tmp_path: Path) -> None:
    rows = [{"question": f"n{i}", "choices": ["x", "y"], "gold": 0} for i in range(3)]
    write(tmp_path, *rows)
    write(tmp_path, *(dict(reversed(row.items())) for row in rows), name="turned.jsonl")
    first, second = build(tmp_path, MC), build(tmp_path, MC | {"file": "turned.jsonl"})
    assert [item.item_id for item in first.items] == [item.item_id for item in second.items]
    assert first.fingerprint == second.fingerprint
    assert build(tmp_path, dict(reversed(MC.items()))).fingerprint == first.fingerprint


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("mc", {"prompt": "Q: {{ question }} A:"}, "prompt"),
    ("mc", {"choices": "{{ choices[:3] }}"}, "choices"),
    ("mc", {"answer": "{{ gold + 0 }}"}, "answer"),
    ("mc", {"metric": "acc_norm"}, "metric"),
    ("mc", {"description": "Hi."}, "description"),
    ("mc", {"target_delimiter": ""}, "target_delimiter"),
    ("mc", {"chat_template": True}, "chat_template"),
    ("mc", {"fewshot": 1}, "fewshot"),
    ("mc", {"fewshot_delimiter": "\n"}, "fewshot"),
    ("mc", {"limit": 5}, "documents"),
    ("mc", {"cluster": "id"}, "cluster"),
    ("generate", {"stop": ["\n"]}, "generation"),
    ("generate", {"max_tokens": 65}, "generation"),
    ("generate", {"extract": r"\d"}, "scoring"),
    ("generate", {"normalise": ["strip", "lower"]}, "scoring"),
    ("generate", {"normalise": []}, "scoring"),
]


@pytest.mark.parametrize(("kind", "change", "facet"), CHANGES)
def test_every_setting_of_prompt_and_score_changes_the_fingerprint(
    animals: Path, kind: str, change: dict[str, Any], facet: str
) -> None:
    settings = {"mc": MC, "generate": GENERATE}[kind]
    first, second = build(animals, settings), build(animals, settings | change)
    assert first.fingerprint != second.fingerprint
    differing = {name for name in first.facets if first.facets[name] != second.facets[name]}
    assert differing == {facet}


def test_a_system_message_changes_the_fingerprint(animals: Path) -> None:
    chat = MC | {"chat_template": True}
    assert build(animals, chat).fingerprint != build(animals, chat | {"system": "Hi."}).fingerprint


Change = Callable[[list[str]], list[str]]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: lines[::-1],
        lambda lines: [lines[0].replace("number 0", "number zero"), *lines[1:]],
        lambda lines: [lines[0].replace('"gold": 0', '"gold": 1'), *lines[1:]],
    ],
    ids=["one less", "other order", "other prompt", "other target"],
)
def test_other_documents_change_the_fingerprint(animals: Path, change: Change) -> None:
    first = build(animals, MC)
    path = animals / "items.jsonl"
    path.write_text("\n".join(change(path.read_text(encoding="utf-8").splitlines())), encoding="utf-8")
    second = build(animals, MC)
    assert first.facets["documents"] != second.facets["documents"]
    assert first.fingerprint != second.fingerprint


def test_name_role_and_file_name_are_not_part_of_the_fingerprint(animals: Path) -> None:
    (animals / "copy.jsonl").write_bytes((animals / "items.jsonl").read_bytes())
    renamed = MC | {"name": "other", "role": "advisory", "file": "copy.jsonl"}
    assert build(animals, MC).fingerprint == build(animals, renamed).fingerprint


def test_a_long_value_is_shortened_in_the_message(tmp_path: Path) -> None:
    write(tmp_path, {"question": "?", "choices": ["x", "y"], "gold": "z" * 500})
    assert "z" * 76 + "...; expected" in refusal(tmp_path, MC)
