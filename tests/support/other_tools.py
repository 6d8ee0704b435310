"""Result files of lighteval, HELM, evalscope, OpenCompass, promptfoo and DeepEval, as their writers write them.

Each function names the code that it follows. A sample is one question with the model's answer and its score.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from support.jsonl import write_jsonl

DATE = "2026-11-05T14-43-47.148527"


@dataclass(frozen=True)
class Sample:
    question: str
    target: str
    answer: str
    score: Any

    @property
    def right(self) -> bool:
        return self.answer == self.target


def samples(count: int = 12, right: int | None = None, topic: str = "sums") -> list[Sample]:
    """Return samples of which the first `right` (default: all) are answered right."""
    answers = [str(number) if right is None or number < right else "no idea" for number in range(count)]
    return [
        Sample(f"{topic}: {number} + 0?", str(number), answer, float(answer == str(number)))
        for number, answer in enumerate(answers)
    ]


def lighteval(
    folder: Path, rows: Sequence[Sample], *, model: str = "org/m", task: str = "gsm8k|5", metric: str = "em",
    date: str = DATE, old: bool = False, higher: bool | None = None, more: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """`EvaluationTracker.save_details` and `save_results`, lighteval 3fd15266; `old`: `DetailsLogger` of v0.9.2."""
    if old:
        records: list[dict[str, Any]] = [
            {
                "choices": [row.target], "cont_tokens": [[1, 2]], "example": row.question, "full_prompt": f"Q: {row.question}",
                "gold": [row.target], "gold_index": [0], "input_tokens": [[1]], "instruction": "", "metrics": {metric: row.score},
                "num_asked_few_shots": 5, "num_effective_few_shots": 5, "padded": [0], "pred_logits": [], "predictions": [row.answer],
                "specifics": {"subject": "sums"}, "truncated": [0],
            }
            for row in rows
        ]  # fmt: skip
    else:
        records = [
            {
                "doc": {
                    "choices": [row.target], "fewshot_samples": [], "fewshot_sorting_class": None, "generation_grammar": None,
                    "generation_size": 256, "gold_index": 0, "id": str(number), "images": None, "instruction": None,
                    "num_samples": 1, "original_query": None, "query": row.question, "sampling_methods": ["GENERATIVE"],
                    "specific": None, "stop_sequences": ["Question:"], "task_name": task.split("|")[0],
                    "unconditioned_query": None, "use_logits": False,
                },
                "metric": {metric: row.score, **(more or {})},
                "model_response": {
                    "argmax_logits_eq_gold": [], "input": f"<user>{row.question}", "input_tokens": [1, 2], "logits": None,
                    "logprobs": [], "output_tokens": [[3]], "padded_tokens_count": 0, "reasonings": [], "text": [row.answer],
                    "text_post_processed": None, "truncated_tokens_count": 0, "unconditioned_logprobs": None,
                },
            }
            for number, row in enumerate(rows)
        ]  # fmt: skip
    details = folder / "details" / model / date
    details.mkdir(parents=True, exist_ok=True)
    path = details / f"details_{task}_{date}.parquet"
    pq.write_table(pa.Table.from_pylist(records), path)
    results = folder / "results" / model
    results.mkdir(parents=True, exist_ok=True)
    metrics = [{"metric_name": metric, "higher_is_better": higher, "category": "GENERATIVE"}]
    summary = {
        "config_general": {"lighteval_sha": "?", "model_config": {"model_name": model}},
        "results": {task: {metric: 0.5}},
        "versions": {task: 0},
        "config_tasks": {task: {"name": task.split("|")[0], "metrics": metrics if higher is not None else []}},
    }
    (results / f"results_{date}.json").write_text(json.dumps(summary, indent=2))
    return path


def helm(
    folder: Path, rows: Sequence[Sample], *, model: str = "org/m", task: str = "gsm:stop=none", metric: str = "exact_match",
    state: bool = True, perturbations: Sequence[str | None] = (None,), more: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """`Runner.run_one` with `asdict_without_nones`, HELM 63754d05: one entry per metric class and instance."""
    name = f"{task}{',' if ':' in task else ':'}model={model.replace('/', '_')}"
    run = folder / name
    run.mkdir(parents=True, exist_ok=True)
    adapter = {
        "method": "generation",
        "max_train_instances": 5,
        "model": model,
        "model_deployment": model,
        "temperature": 0.0,
    }
    _indented(
        run / "run_spec.json",
        {"name": name, "scenario_spec": {"class_name": "x"}, "adapter_spec": adapter, "groups": []},
    )

    def stat(named: str, value: Any, perturbation: Mapping[str, Any] | None) -> dict[str, Any]:
        context = {"name": named, "split": "test"} | ({} if perturbation is None else {"perturbation": perturbation})
        return {"name": context, "count": 1, "sum": value, "sum_squared": 0, "min": value, "max": value, "mean": value,
                "variance": 0.0, "stddev": 0.0}  # fmt: skip

    entries: list[dict[str, Any]] = []
    states = []
    for values in ({"num_output_tokens": 3, "inference_runtime": 0.4}, {metric: None, **(more or {})}):
        for number, row in enumerate(rows):
            for perturbed in perturbations:
                context = None if perturbed is None else {"name": perturbed, "robustness": True, "fairness": False}
                stats = [stat(key, row.score if key == metric else value, context) for key, value in values.items()]
                stats = [entry for entry in stats if entry["mean"] == entry["mean"]]  # remove_per_instance_stats_nans
                entry = {"instance_id": f"id{number}", "train_trial_index": 0, "stats": stats}
                entries.append(entry | ({} if context is None else {"perturbation": context}))
                if metric not in values:
                    continue
                instance = {
                    "input": {"text": row.question}, "id": f"id{number}", "split": "test",
                    "references": [{"output": {"text": row.target}, "tags": ["correct"]}],
                } | ({} if context is None else {"perturbation": context})  # fmt: skip
                states.append(
                    {
                        "instance": instance, "train_trial_index": 0, "num_train_instances": 5, "prompt_truncated": False,
                        "request": {"model": model, "prompt": f"Q: {row.question}", "temperature": 0.0},
                        "result": {"success": True, "completions": [{"text": row.answer, "logprob": 0, "tokens": []}]},
                    }
                )  # fmt: skip
    path = run / "per_instance_stats.json"
    _indented(path, entries)
    _indented(run / "stats.json", [stat(metric, 0.5, None)])
    _indented(run / "scenario.json", {"name": "gsm", "tags": []})
    if state:
        _indented(run / "scenario_state.json", {"adapter_spec": adapter, "request_states": states})
    return path


def evalscope(
    folder: Path, rows: Sequence[Sample], *, model: str = "m", task: str = "gsm8k_main", metric: str = "acc",
    old: bool = False, more: Mapping[str, Any] | None = None, status: str | None = "success", main: str | None = None,
) -> Path:  # fmt: skip
    """`CacheManager.save_review_cache`, evalscope fde259d2; `old`: `Evaluator._get_review` of v0.17.1."""
    reviews = []
    for index, row in enumerate(rows):
        if old:
            verdict = {"gold": row.target, "pred": row.answer, "result": row.score}
            reviews.append(
                {
                    "index": index, "answer_id": f"answer-{index}", "raw_input": {"question": row.question},
                    "choices": [{"index": 0, "message": {"content": row.answer, "role": "assistant"}, "review": verdict}],
                    "model_spec": {"model_id": model}, "reviewed": True, "review_id": f"review-{index}", "reviewer_spec": {},
                }
            )  # fmt: skip
            continue
        score = {
            "value": {metric: row.score, **(more or {})}, "status": status, "extracted_prediction": row.answer,
            "prediction": row.answer, "explanation": None, "metadata": {}, "main_score_name": main,
        }  # fmt: skip
        reviews.append(
            {
                "index": index, "target": row.target, "agent_trace": None,
                "messages": [
                    {"role": "user", "content": row.question},
                    {"role": "assistant", "content": row.answer},
                ],
                "sample_score": {"score": score, "sample_id": index, "group_id": index, "generation_index": 0},
            }
        )  # fmt: skip
    path = folder / "reviews" / model / f"{task}.jsonl"
    predictions = folder / "predictions" / model / path.name
    for file in (path, predictions):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, reviews[::-1])  # in the order in which they were finished
    write_jsonl(predictions, [{"index": index, "model": model, "model_output": {}} for index in range(len(rows))])
    return path


def opencompass(
    folder: Path, rows: Sequence[Sample], *, model: str = "m", task: str = "gsm8k", metric: str = "correct",
    details: bool = True, old: bool = False, answers: int = 1, more: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """`OpenICLEvalTask._save_results` after `BaseEvaluator.evaluate`, OpenCompass a5acc4bb; `old`: `format_details`."""
    result: dict[str, Any] = {"accuracy": 100.0 * sum(row.right for row in rows) / max(len(rows), 1)}
    if details and old:
        result["details"] = {"type": "GEN"} | {
            str(number): {
                "prompt": [{"role": "HUMAN", "prompt": row.question}], "origin_prediction": row.answer,
                "predictions": row.answer, "references": row.target, metric: row.score, **(more or {}),
            }
            for number, row in enumerate(rows)
        }  # fmt: skip
    elif details:
        result["details"] = [
            {
                "example_abbr": f"{task}_{number}", "pred": [row.answer] * answers, "answer": [row.target] * answers,
                metric: [row.score] * answers, **{name: [value] * answers for name, value in (more or {}).items()},
            }
            for number, row in enumerate(rows)
        ]  # fmt: skip
    path = folder / "results" / model / f"{task}.json"
    predictions = folder / "predictions" / model / path.name
    for file in (path, predictions):
        file.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=4, ensure_ascii=False))
    entries = {
        str(number): {"origin_prompt": [{"role": "HUMAN", "prompt": row.question}], "prediction": row.answer, "gold": row.target}
        for number, row in enumerate([*rows] * answers)
    }  # fmt: skip
    predictions.write_text(json.dumps(entries, indent=4, ensure_ascii=False))
    return path


def promptfoo(
    folder: Path, rows: Sequence[Sample], *, model: str = "openai:m", task: str = "output", metric: str = "success",
    lines: bool = False, version: int = 3, prompts: int = 1, named: Mapping[str, float] | None = None,
    broken: Sequence[int] = (),
) -> Path:  # fmt: skip
    """`EvaluateSummaryV3` of `promptfoo eval --output`, promptfoo 0011eb02; `version=2` has no failureReason."""
    results = []
    for number, row in enumerate(rows):
        for prompt in range(prompts):
            check = {"type": "equals", "value": row.target}
            error = "API error: 500" if number in broken else None if row.right else "Expected output"
            result: dict[str, Any] = {
                "id": f"{number}", "promptIdx": prompt, "testIdx": number, "promptId": "p", "latencyMs": 3, "cost": 0,
                "testCase": {"vars": {"question": row.question}, "assert": [check], "options": {}, "metadata": {}},
                "provider": {"id": model, "label": ""}, "vars": {"question": row.question},
                "prompt": {"raw": f"{prompt}: {row.question}", "label": f"{prompt}: {{{{question}}}}"},
                "response": {"output": row.answer, "tokenUsage": {"total": 9}},
                "success": row.right, "score": row.score, "namedScores": dict(named or {}),
                "gradingResult": None if number in broken else {"pass": row.right, "score": row.score, "reason": "x"},
            }  # fmt: skip
            if metric == "success":
                result["success"] = bool(row.score) if isinstance(row.score, bool | int | float) else row.score
            else:
                result["namedScores"][metric] = row.score
            if error is not None:
                result["error"] = error
            if version > 2:
                result["failureReason"] = 2 if number in broken else int(not row.right)
            results.append(result)
    folder.mkdir(parents=True, exist_ok=True)
    if lines:
        return write_jsonl(folder / f"{task}.jsonl", results[::-1])
    summary = {
        "version": version,
        "timestamp": "2026-07-16",
        "prompts": [],
        "results": results[::-1],
        "stats": {"successes": 1},
    }
    content = {"evalId": "eval-1", "results": summary, "config": {"providers": [model]}, "shareableUrl": None}
    path = folder / f"{task}.json"
    path.write_text(json.dumps(content, indent=2))
    return path


def deepeval(
    folder: Path, rows: Sequence[Sample], *, model: str | None = None, task: str = "test_run_20260421_140114",
    metric: str = "Answer Relevancy", threshold: float = 0.5, below: bool = False, wrapped: bool = False,
    turns: bool = False, error: Sequence[int] = (), more: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """`TestRun.save` (by alias, without nulls) and `create_metric_data`, DeepEval a2e0d4cf."""

    def measured(name: str, score: Any, failed: bool) -> dict[str, Any]:
        number = isinstance(score, int | float)
        success = number and (score <= threshold if below else score >= threshold)
        data = {"name": name, "threshold": threshold, "success": success, "strictMode": False, "flaky": False}
        return data | (
            {"error": "judge timed out"} if failed else {} if score is None else {"score": score, "reason": "x"}
        )

    cases = []
    for number, row in enumerate(rows):
        metrics = [
            measured(name, value, number in error) for name, value in {metric: row.score, **(more or {})}.items()
        ]
        case = {
            "name": f"test_case_{number}",
            "success": all(m["success"] for m in metrics),
            "metricsData": metrics,
            "order": number,
        }
        if turns:
            case |= {
                "scenario": row.question,
                "expectedOutcome": row.target,
                "turns": [{"role": "assistant", "content": row.answer, "order": 0}],
            }
        else:
            case |= {"input": row.question, "actualOutput": row.answer, "expectedOutput": row.target, "flaky": False}
        cases.append(case)
    run: dict[str, Any] = {"testFile": "test_x.py", "testCases": [] if turns else cases, "metricsScores": [], "testPassed": 1,
                           "conversationalTestCases": cases if turns else [], "testFailed": 0, "runDuration": 1.0}  # fmt: skip
    if model is not None:
        run["hyperparameters"] = {"model": model}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{task}.json"
    path.write_text(json.dumps({"testRunData": run} if wrapped else run))
    return path


WRITERS: dict[str, Callable[..., Path]] = {
    "lighteval": lighteval,
    "HELM": helm,
    "evalscope": evalscope,
    "OpenCompass": opencompass,
    "promptfoo": promptfoo,
    "DeepEval": deepeval,
}


def _indented(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2))
