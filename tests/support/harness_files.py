"""Sample files of LM Evaluation Harness, as it writes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from support.jsonl import write_jsonl

STAMP = "2026-11-21T05-27-34.822721"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def choice_rows(count: int = 4, right: int = 4, topic: str = "sums", **more: Any) -> list[dict[str, Any]]:
    """Return rows of a multiple-choice task with two choices, of which the first `right` are answered right."""
    rows = []
    for number in range(count):
        doc = {"query": f"{topic} {number}?", "gold": 0, **more.get("doc", {})}
        prompt = f"Q: {topic} {number}?\nA:"
        likelihoods = [-1.0, -2.0] if number < right else [-2.0, -1.0]
        rows.append(
            {
                "doc_id": number,
                "doc": doc,
                "target": "0",
                "arguments": {f"gen_args_{i}": {"arg_0": prompt, "arg_1": f" {text}"} for i, text in enumerate("ab")},
                "filtered_resps": [[str(value), "False"] for value in likelihoods],
                "filter": "none",
                "metrics": ["acc"],
                "doc_hash": sha256(json.dumps(doc, indent=2, ensure_ascii=False)),
                "prompt_hash": sha256(prompt),
                "target_hash": sha256("0"),
                "acc": float(number < right),
                **{key: value for key, value in more.items() if key != "doc"},
            }
        )
    return rows


def perplexity_rows(total: float, count: int = 30) -> list[dict[str, Any]]:
    """Return rows of a task like wikitext: the log-likelihood of each page, `total` nats or less, and its words."""
    rows = []
    for number in range(count):
        doc = {"page": f"page {number}"}
        pair = [total - number, 40 + number]
        rows.append(
            {
                "doc_id": number,
                "doc": doc,
                "target": f"page {number}",
                "arguments": {"gen_args_0": {"arg_0": f"page {number}"}},
                "filtered_resps": [str(pair[0])],
                "filter": "none",
                "metrics": ["word_perplexity", "bits_per_byte"],
                "doc_hash": sha256(json.dumps(doc, indent=2)),
                "prompt_hash": sha256(f"page {number}"),
                "word_perplexity": pair,
                "bits_per_byte": pair,
            }
        )
    return rows


def summary(model: str, *tasks: str, **arguments: Any) -> dict[str, Any]:
    """Return the summary of a run of a model."""
    return {
        "results": {task: {"acc,none": 1.0} for task in tasks},
        "configs": {task: {"num_fewshot": 0} for task in tasks},
        "config": {"model": "hf", "model_args": {"pretrained": model, **arguments}},
        "model_name": model,
    }


def write(path: Path, content: Any) -> Path:
    """Write rows as JSON lines, and anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list) and path.suffix != ".json":
        write_jsonl(path, content)
    else:
        path.write_text(json.dumps(content), encoding="utf-8")
    return path
