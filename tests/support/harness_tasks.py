"""Task files of LM Evaluation Harness, of every kind, on local data: no hub is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from support.jsonl import write_jsonl

ANIMALS = ["cat", "dog", "bird", "fish", "big cat", "small dog"]
COLOURS = ["red", "blue", "green"]


def write_tasks(folder: Path) -> Path:
    """Write the tasks into a folder and return it. Their names start with `own_`."""
    folder.mkdir(parents=True, exist_ok=True)
    choice = _choice("own_choice", _data(folder, "animals", _animals(24)))
    examples = {"fewshot_split": "shots", "dataset_kwargs": _splits(folder, 24)}
    _write(folder, choice)
    _write(folder, choice | examples | {"task": "own_shots", "num_fewshot": 3})
    _write(folder, choice | {"task": "own_zero", "num_fewshot": 0})
    _write(folder, choice | {"task": "own_mutual", "metric_list": _metrics("acc_mutual_info", "acc")})
    _write(
        folder,
        {
            "task": "own_blank",
            **_data(folder, "blanks", _blanks(16)),
            "output_type": "multiple_choice",
            "doc_to_text": "label",
            "doc_to_target": "{{ rest }}",
            "doc_to_choice": "{{ [before + ' cat', before + ' dog'] }}",
            "metric_list": _metrics("acc"),
        },
    )
    _write(
        folder,
        {
            "task": "own_last_word",
            **_data(
                folder,
                "words",
                [{"text": f"the {c} {a} eats", "last": a} for c in COLOURS for a in ANIMALS[:4]],
            ),
            "output_type": "loglikelihood",
            "doc_to_text": "{{ text }} the",
            "doc_to_target": " {{ last }}",
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                *_metrics("acc"),
            ],
        },
    )
    _write(
        folder,
        {
            "task": "own_text",
            **_data(
                folder,
                "texts",
                [{"page": f"the {c} {a} sees a {b}. " * (3 * i + 1)} for i, (c, a, b) in enumerate(_triples())],
            ),
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{ page }}",
            "metric_list": [
                {"metric": "word_perplexity"},
                {"metric": "byte_perplexity"},
                {"metric": "bits_per_byte"},
            ],
        },
    )
    generated: dict[str, Any] = {
        "task": "own_written",
        **_data(folder, "written", _animals(12)),
        "output_type": "generate_until",
        "doc_to_text": "Q: {{ question }}\nA:",
        "doc_to_target": "{{ choices[gold] }}",
        "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 6, "do_sample": False},
        "metric_list": [
            {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True}
        ],
        "filter_list": [
            {
                "name": "strict-match",
                "filter": [{"function": "regex", "regex_pattern": "(cat|dog)"}, {"function": "take_first"}],
            },
            {"name": "whole", "filter": [{"function": "take_first"}]},
        ],
    }
    _write(folder, generated)
    votes = [{"name": "vote", "filter": [{"function": "majority_vote"}, {"function": "take_first"}]}]
    sampled = {"until": ["\n"], "max_gen_toks": 3, "do_sample": True, "temperature": 0.7}
    _write(
        folder,
        generated | {"task": "own_voted", "generation_kwargs": sampled, "repeats": 3, "filter_list": votes},
    )
    _write(folder, generated | {"task": "own_nucleus", "generation_kwargs": sampled | {"top_p": 0.9}})
    _write(folder, generated | {"task": "own_typical", "generation_kwargs": sampled | {"typical_p": 0.9}})
    _write(folder, generated | {"task": "own_beams", "generation_kwargs": {"num_beams": 4, "until": ["\n"]}})
    _write(folder, generated | {"task": "own_unsafe", "unsafe_code": True})
    corpus = [{"metric": "bleu", "aggregation": "bleu", "higher_is_better": True}]
    _write(
        folder,
        {k: v for k, v in generated.items() if k != "filter_list"} | {"task": "own_corpus", "metric_list": corpus},
    )
    (folder / "own_code.py").write_text(
        "def edits(doc, results):\n"
        "    doc['seen'] = doc.get('seen', 0) + 1  # must not affect the next model\n"
        "    return {'edits': abs(len(results[0]) - len(doc['choices'][doc['gold']])) * doc['seen']}\n",
        encoding="utf-8",
    )
    text = yaml.safe_dump(
        {k: v for k, v in generated.items() if k != "filter_list"}
        | {
            "task": "own_edits",
            "metric_list": [{"metric": "edits", "aggregation": "mean", "higher_is_better": False}],
        }
    )
    (folder / "own_edits.yaml").write_text(text + "process_results: !function own_code.edits\n", encoding="utf-8")
    for subtask, first in (("own_subtask_a", 0), ("own_subtask_b", 12)):
        # both subtasks hold the first document of the other, and subtask b one of its own twice
        rows = _animals(24)[first : first + 12] + [_animals(24)[12 - first]]
        rows += [rows[1]] if first else []
        _write(folder, _choice(subtask, _data(folder, subtask, rows)) | {"tag": "own_tag"})
    _write(
        folder,
        {
            "group": "own_group",
            "task": ["own_subtask_a", "own_subtask_b"],
            "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
        },
        name="own_group",
    )
    _write(folder, {"group": "own_mixture", "task": ["own_subtask_a", "own_written"]}, name="own_mixture")
    _write(folder, _choice("own_far", {"dataset_path": "no-such-owner/no-such-data", "test_split": "test"}))
    return folder


def _choice(task: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": task,
        **data,
        "output_type": "multiple_choice",
        "doc_to_text": "Q: {{ question }}\nA:",
        "doc_to_choice": "{{ choices }}",
        "doc_to_target": "gold",
        "metric_list": _metrics("acc", "acc_norm"),
        "metadata": {"version": 1.5},
    }


def _metrics(*names: str) -> list[dict[str, Any]]:
    return [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names]


def _animals(count: int) -> list[dict[str, Any]]:
    return [
        {
            "question": f"Which {COLOURS[i % 3]} animal is number {i}?",
            "choices": [ANIMALS[i % 6], ANIMALS[(i + 1) % 6], ANIMALS[(i + 4) % 6]],
            "gold": i % 3,
        }
        for i in range(count)
    ]


def _blanks(count: int) -> list[dict[str, Any]]:
    return [{"before": f"{i} the {COLOURS[i % 3]}", "rest": f"runs {i % 4}", "label": i % 2} for i in range(count)]


def _triples() -> list[tuple[str, str, str]]:
    return [(c, a, b) for c in COLOURS for a in ANIMALS[:2] for b in ANIMALS[2:4]]


def _data(folder: Path, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": _lines(folder, name, rows)}},
        "test_split": "test",
    }


def _splits(folder: Path, count: int) -> dict[str, Any]:
    files = {
        "test": _lines(folder, "items", _animals(count)),
        "shots": _lines(folder, "shots", _animals(40)[count:]),
    }
    return {"data_files": files}


def _lines(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    return str(write_jsonl(folder / f"{name}.jsonl", rows))


def _write(folder: Path, task: dict[str, Any], name: str | None = None) -> None:
    (folder / f"{name or task['task']}.yaml").write_text(yaml.safe_dump(task, sort_keys=False), encoding="utf-8")
