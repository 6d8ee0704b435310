"""Tasks of kind `text`: windows, likelihoods and perplexity."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.evaluations import evaluate, opened

from gate.config import SampleSettings, TaskSettings
from gate.decision.behaviour import behaviour_of
from gate.errors import TaskError
from gate.samples import pair
from gate.store import as_samples
from gate.tasks import Task, build_task
from gate.tasks.text_task import windows

TEXT = " ".join(
    f"the {animal} sees the {colour} fish and eats it."
    for animal in ("cat", "dog", "bird")
    for colour in ("red", "blue", "green")
)


def text_task(folder: Path, name: str = "text.txt", text: str = TEXT, **settings: object) -> Task:
    (folder / name).write_text(text, encoding="utf-8")
    defaults = {"name": "text", "kind": "text", "file": name}
    return build_task(TaskSettings.model_validate(defaults | settings), SampleSettings(), folder)


@given(st.text(alphabet="ab \nü", max_size=300), st.integers(20, 60), st.integers(10, 60))
def test_the_parts_of_the_windows_make_up_the_text(text: str, window: int, stride: int) -> None:
    stride = min(stride, window)
    cut = list(windows(text, window, stride))
    assert "".join(part for _, part in cut) == text
    end = 0
    for context, part in cut:
        assert text[:end].endswith(context)
        assert 0 < len(part) <= stride + stride // 2
        assert len(context) <= window - stride
        end += len(part)


def test_windows_begin_at_white_space() -> None:
    cut = list(windows(TEXT, 60, 40))
    assert all(part.startswith(" ") for _, part in cut[1:])
    assert all(not context or context.startswith((" ", "the")) for context, _ in cut)


def test_a_document_as_a_whole_has_lm_evals_rolling_log_likelihood(tmp_path: Path, tiny_model: Path) -> None:
    """Longer than the model's context, so that lm-eval's own windows of tokens are used too."""
    lm_eval = pytest.importorskip("lm_eval")
    assert lm_eval
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    text = " ".join([TEXT] * 8)
    task = text_task(tmp_path, "text.jsonl", json.dumps({"text": text}))
    (row,) = evaluate(task, opened(tiny_model), tmp_path / "set").read().table.to_pylist()
    model = HFLM(str(tiny_model), device="cpu", dtype="float32", batch_size=1)
    (theirs,) = model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)])
    assert row["choice_logprobs"][0] == pytest.approx(theirs, rel=1e-5)
    assert row["score"] == pytest.approx(theirs / len(text.encode()), rel=1e-5)
    assert sum(row["token_logprobs"]) == pytest.approx(theirs, rel=1e-4)
    assert len(row["token_logprobs"]) == row["tokens_out"]


def test_context_changes_the_likelihood_but_not_what_is_scored(tmp_path: Path, tiny_model: Path) -> None:
    model = opened(tiny_model)
    plain, strided = (
        evaluate(text_task(tmp_path, window=window, stride=60), model, tmp_path / str(window)).read().table
        for window in (60, 120)
    )
    assert plain.column("prompt") == strided.column("prompt")
    assert plain.column("tokens_out").to_pylist()[1:] == strided.column("tokens_out").to_pylist()[1:]
    assert plain.column("score")[0].as_py() == pytest.approx(strided.column("score")[0].as_py(), abs=1e-6)
    assert plain.column("score").to_pylist()[1:] != strided.column("score").to_pylist()[1:]


def test_behaviour_of_a_text_task(tmp_path: Path, tiny_model: Path, other_tiny_model: Path) -> None:
    task = text_task(tmp_path, window=100)
    baseline = evaluate(task, opened(tiny_model), tmp_path / "a")
    candidate = evaluate(task, opened(other_tiny_model), tmp_path / "b", baseline=baseline)
    itself = evaluate(task, opened(tiny_model), tmp_path / "c", baseline=baseline)
    sides = [as_samples([each]) for each in (baseline, candidate, itself)]
    (paired,), (same,) = (pair(sides[0], side).tasks for side in sides[1:])
    behaviour, unchanged = behaviour_of(paired), behaviour_of(same)
    assert behaviour is not None
    assert behaviour.texts is not None
    assert behaviour.divergences is not None
    assert unchanged is not None
    assert unchanged.texts is not None
    assert unchanged.divergences is not None
    logprobs = [
        np.concatenate(table.column("token_logprobs").to_pylist()) for table in (paired.baseline, paired.candidate)
    ]
    assert behaviour.texts.perplexity == pytest.approx([math.exp(-values.mean()) for values in logprobs], rel=1e-5)
    assert behaviour.texts.bytes == len(TEXT)
    assert behaviour.texts.words == len(TEXT.split())
    assert paired.n > 1
    change = np.exp(logprobs[1]) - np.exp(logprobs[0])
    assert behaviour.texts.probability_change_rms == pytest.approx(float(np.sqrt((change**2).mean())), rel=1e-4)
    assert behaviour.divergences.positions == sum(
        min(16, count) for count in paired.candidate["answer_tokens"].to_pylist()
    )
    assert not behaviour.divergences.is_bound
    found = behaviour.divergences
    assert found.median <= found.p90 <= found.p99 <= found.p999 <= found.max
    assert unchanged.texts.ratio == pytest.approx(1.0, abs=1e-6)
    assert unchanged.divergences.max < 1e-4
    assert unchanged.divergences.same_top == 1.0
    assert paired.unit == "score"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("text.txt", "   ", "the text is empty"),
        ("text.jsonl", json.dumps({"body": "x"}), "text"),
    ],
)
def test_files_without_text_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        text_task(tmp_path, name, text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choices": ["a", "b"]}, "a text task has no choices"),
        ({"window": 100, "stride": 200}, "stride must be at most window"),
        ({"metric": "acc"}, "does not fit a text task"),
        ({"max_flip_rate": 0.1}, "max_flip_rate does not fit a text task"),
    ],
)
def test_keys_that_do_not_fit_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskSettings.model_validate({"name": "t", "kind": "text", "file": "t.txt"} | settings)


def test_windows_need_a_text_task() -> None:
    with pytest.raises(ValueError, match="window and stride belong to text tasks"):
        TaskSettings.model_validate(
            {"name": "t", "file": "f.jsonl", "prompt": "p", "choices": "c", "answer": "a", "window": 100}
        )
