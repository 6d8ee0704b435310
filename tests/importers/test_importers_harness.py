"""Files of LM Evaluation Harness, generated for each special case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.harness_files import STAMP, sha256
from support.importing import message
from support.jsonl import write_jsonl

from gate.importers import read_foreign
from gate.samples.record import ModelSamples


def hashes(doc: dict[str, Any], prompt: str, target: str) -> dict[str, str]:
    return {
        "doc_hash": sha256(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha256(prompt),
        "target_hash": sha256(target),
    }


def choice_row(
    doc_id: int, lls: list[float], gold: int = 0, question: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return a row of a multiple-choice task as 0.4.13 logs it, with the choices "a", "bb", "ccc", ..."""
    doc = {"q": question or f"Question {doc_id}?", "gold": gold}
    prompt = f"Q: {doc['q']}\nA:"
    choices = [chr(ord("a") + i) * (i + 1) for i in range(len(lls))]
    right = float(int(np.argmax(lls)) == gold)
    normed = float(int(np.argmax([ll / len(text) for ll, text in zip(lls, choices, strict=True)])) == gold)
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": str(gold),
        "arguments": {f"gen_args_{i}": {"arg_0": prompt, "arg_1": f" {text}"} for i, text in enumerate(choices)},
        "resps": [[[str(ll), "False"]] for ll in lls],
        "filtered_resps": [[str(ll), "False"] for ll in lls],
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        **hashes(doc, prompt, str(gold)),
        "acc": right,
        "acc_norm": normed,
        **more,
    }


def generated_row(doc_id: int, answer: str, target: str, filter_name: str = "none", **metrics: Any) -> dict[str, Any]:
    """Return a row of a generation task as 0.4.13 logs it."""
    doc = {"question": f"How many {doc_id}?", "answer": target}
    prompt = f"Question: {doc['question']}\nAnswer:"
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n\n"], "do_sample": False}}},
        "resps": [[f"It is {answer}."]],
        "filtered_resps": [answer],
        "filter": filter_name,
        "metrics": list(metrics),
        **hashes(doc, prompt, target),
        **metrics,
    }


def results(model: str = "m", task: str = "t", **more: Any) -> dict[str, Any]:
    return {
        "config": {"model": "hf", "model_args": {"pretrained": model}, "model_dtype": "torch.bfloat16"},
        "model_name": model,
        "lm_eval_version": "0.4.13",
        "n-shot": {task: 5},
        "versions": {task: 3.0},
        "configs": {task: {"num_fewshot": 5, "repeats": 1, "target_delimiter": " "}},
        "n-samples": {task: {"original": 100, "effective": 2}},
        **more,
    }


def write(folder: Path, rows: list[dict[str, Any]], task: str = "t", stamp: str = STAMP) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{stamp}.jsonl"
    write_jsonl(path, rows)
    return path


def write_results(folder: Path, content: dict[str, Any], stamp: str = STAMP) -> None:
    (folder / f"results_{stamp}.json").write_text(json.dumps(content))


def rows_of(samples: ModelSamples, task: str = "t") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = samples.tasks[task].table.to_pylist()
    return rows


def test_a_multiple_choice_row_becomes_a_sample(tmp_path: Path) -> None:
    row = choice_row(0, [-7.5, -2.0, -2.5], gold=1)
    (sample,) = rows_of(read_foreign(write(tmp_path, [row])))
    assert sample["item_id"] == row["doc_hash"]
    assert sample["prompt_hash"] == row["prompt_hash"]
    assert sample["choice_logprobs"] == [-7.5, -2.0, -2.5]
    assert sample["choices"] == [" a", " bb", " ccc"]
    assert (sample["output"], sample["target"], sample["correct"]) == ("1", "1", True)
    assert sample["prompt"] == "Q: Question 0?\nA:"


def test_acc_norm_divides_by_the_length_without_the_delimiter(tmp_path: Path) -> None:
    path = write(tmp_path, [choice_row(0, [-1.0, -1.8, -2.1], gold=2)])
    assert rows_of(read_foreign(path))[0]["output"] == "0"
    (sample,) = rows_of(read_foreign(path, metric="acc_norm"))
    assert (sample["output"], sample["correct"]) == ("2", True)


def test_ties_go_to_the_first_choice(tmp_path: Path) -> None:
    assert rows_of(read_foreign(write(tmp_path, [choice_row(0, [-3.0, -2.5, -2.5], gold=1)])))[0]["output"] == "1"


def test_mutual_information_subtracts_the_log_likelihood_without_context(tmp_path: Path) -> None:
    row = choice_row(0, [-4.0, -5.0], gold=1, metrics=["acc", "acc_mutual_info"], acc_mutual_info=1.0)
    for i, ll in enumerate((-1.0, -9.0)):
        row["arguments"][f"gen_args_{i + 2}"] = {
            "arg_0": "",
            "arg_1": row["arguments"][f"gen_args_{i}"]["arg_1"],
        }
        row["filtered_resps"].append([str(ll), "False"])
    path = write(tmp_path, [row])
    (sample,) = rows_of(read_foreign(path, metric="acc_mutual_info"))
    assert (sample["output"], sample["choice_logprobs"], len(sample["choices"])) == ("1", [-4.0, -5.0], 2)
    assert rows_of(read_foreign(path))[0]["output"] == "0"


def test_choices_within_the_context_are_read_as_choices(tmp_path: Path) -> None:
    row = choice_row(0, [-4.0, -5.0])
    for i, name in enumerate(("Ann", "Bea")):
        row["arguments"][f"gen_args_{i}"] = {"arg_0": f"{name} slept because", "arg_1": " she was tired."}
    (sample,) = rows_of(read_foreign(write(tmp_path, [row])))
    assert sample["choices"] == ["Ann slept because", "Bea slept because"]


def test_gsm8k_reads_strict_match_by_default(tmp_path: Path) -> None:
    rows = []
    for i in range(2):
        rows.append(generated_row(i, "[invalid]", "4", "strict-match", exact_match=0.0))
        rows.append(generated_row(i, "4", "4", "flexible-extract", exact_match=1.0))
    path = write(tmp_path, rows, "gsm8k")
    samples = read_foreign(path)
    assert [row["output"] for row in rows_of(samples, "gsm8k")] == ["[invalid]"] * 2
    assert samples.tasks["gsm8k"].facets["filter"] == "strict-match"
    assert "gsm8k: read the filter strict-match (also available: flexible-extract" in samples.notes[0]
    other = read_foreign(path, filter_name="flexible-extract")
    assert [row["correct"] for row in rows_of(other, "gsm8k")] == [True, True]
    assert other.notes == ()
    assert "No task has the filter 'strict'" in message(path, filter_name="strict")


def test_several_filters_without_a_default_are_refused(tmp_path: Path) -> None:
    rows = [generated_row(0, "4", "4", name, exact_match=1.0) for name in ("maj@8", "score-first", "maj@64")]
    assert "has 3 filters: maj@64, maj@8, score-first" in message(write(tmp_path, rows))


def test_facets_hold_generation_settings_but_neither_model_nor_date(tmp_path: Path) -> None:
    rows = [generated_row(i, "4", "4", exact_match=1.0) for i in range(2)]
    baseline, candidate = tmp_path / "one", tmp_path / "two"
    write(baseline, rows)
    write_results(baseline, results("bf16"))
    write(candidate, rows, stamp="2027-01-01T00-00-00")
    write_results(candidate, results("int8", date=5.0, lm_eval_version="0.4.14"), "2027-01-01T00-00-00")
    facets = [read_foreign(folder).tasks["t"].facets for folder in (baseline, candidate)]
    assert facets[0] == facets[1]
    assert facets[0]["num_fewshot"] == "5"
    assert facets[0]["task_version"] == "3.0"
    assert json.loads(facets[0]["generation"]) == {"do_sample": False, "until": ["\n\n"]}


def test_another_number_of_shots_changes_prompt_hashes_and_facets(tmp_path: Path) -> None:
    rows = [choice_row(i, [-1.0, -2.0]) for i in range(2)]
    write(tmp_path / "zero", rows)
    write_results(tmp_path / "zero", results(**{"n-shot": {"t": 0}}))
    write(tmp_path / "five", [{**row, "prompt_hash": sha256("five")} for row in rows])
    write_results(tmp_path / "five", results())
    zero, five = (read_foreign(tmp_path / name) for name in ("zero", "five"))
    assert [row["item_id"] for row in rows_of(zero)] == [row["item_id"] for row in rows_of(five)]
    assert {row["prompt_hash"] for row in rows_of(zero)}.isdisjoint(row["prompt_hash"] for row in rows_of(five))
    assert (zero.tasks["t"].facets["num_fewshot"], five.tasks["t"].facets["num_fewshot"]) == ("0", "5")


def ifeval_row(doc_id: int, strict: Any) -> dict[str, Any]:
    return generated_row(
        doc_id,
        "text",
        "0",
        prompt_level_strict_acc=strict,
        inst_level_strict_acc=[True, False],
        prompt_level_loose_acc=True,
        inst_level_loose_acc=[True, True],
    )


@pytest.mark.parametrize("values", [[True, False], [1.0, 0.0], ["True", "False"]])
def test_ifeval_reads_the_score_per_prompt(tmp_path: Path, values: list[Any]) -> None:
    samples = read_foreign(write(tmp_path, [ifeval_row(i, value) for i, value in enumerate(values)], "ifeval"))
    assert samples.tasks["ifeval"].metric == "prompt_level_strict_acc"
    assert [row["correct"] for row in rows_of(samples, "ifeval")] == [True, False]


def test_ifeval_lists_per_instruction_are_refused(tmp_path: Path) -> None:
    text = message(write(tmp_path, [ifeval_row(0, True)]), metric="inst_level_strict_acc")
    assert "is a list in each sample" in text
    assert "prompt_level_strict_acc" in text


def test_equal_documents_get_the_same_ids_in_any_order(tmp_path: Path) -> None:
    rows = [choice_row(i, [-1.0, -2.0], question="Same?") for i in (3, 7, 9)] + [choice_row(1, [-1.0, -2.0])]
    samples = read_foreign(write(tmp_path / "a", rows))
    shuffled = read_foreign(write(tmp_path / "b", rows[::-1]))
    same = rows[0]["doc_hash"]
    assert [row["item_id"] for row in rows_of(samples)] == [
        same,
        f"{same}#2",
        f"{same}#3",
        rows[3]["doc_hash"],
    ]
    assert [row["item_id"] for row in rows_of(shuffled)] == [row["item_id"] for row in rows_of(samples)][::-1]
    assert "2 documents are duplicated; numbered by position" in " ".join(samples.notes)


def test_a_row_that_was_logged_twice_stays_duplicated(tmp_path: Path) -> None:
    row = choice_row(0, [-1.0, -2.0])
    assert [sample["item_id"] for sample in rows_of(read_foreign(write(tmp_path, [row, row])))] == [row["doc_hash"]] * 2


def test_several_metrics_without_a_default_are_refused_unless_one_is_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, [generated_row(0, "x", "x", rouge1=0.5, rouge2=0.25)])
    assert "has 2 metrics: rouge1, rouge2" in message(path)
    (sample,) = rows_of(read_foreign(path, metric="rouge2"))
    assert (sample["score"], sample["correct"]) == (0.25, None)


def test_a_folder_may_mix_tasks_with_different_metrics(tmp_path: Path) -> None:
    write(tmp_path, [choice_row(0, [-1.0, -2.0])], "arc")
    write(tmp_path, [generated_row(0, "4", "4", exact_match=1.0)], "gsm8k")
    samples = read_foreign(tmp_path, metric="acc_norm")
    assert {name: task.metric for name, task in samples.tasks.items()} == {
        "arc": "acc_norm",
        "gsm8k": "exact_match",
    }
    assert samples.notes == ("gsm8k: no metric acc_norm; read exact_match.",)
    assert "No task has the metric 'accc'. Found: acc, acc_norm, exact_match" in message(tmp_path, metric="accc")


def test_corpus_scores_are_refused(tmp_path: Path) -> None:
    rows = [generated_row(0, "x", "x", bleu=["x", "x"])]
    assert "no metric with one score per sample (found: bleu)" in message(write(tmp_path, rows))


@pytest.mark.parametrize("summary", ["results", "fp16"])
def test_a_metric_that_only_the_summary_calls_lower_is_better_is_refused_until_declared(
    tmp_path: Path, summary: str
) -> None:
    write(tmp_path, [generated_row(0, "x", "x", surprise=3.5)])
    content = json.dumps(results(higher_is_better={"t": {"surprise": False}}))
    (tmp_path / f"{summary}_{STAMP}.json").write_text(content)
    text = message(tmp_path)
    assert f"surprise is better when lower, as {summary}_{STAMP}.json says" in text
    assert "--lower-is-better surprise" in text
    for path in (tmp_path, tmp_path / f"samples_t_{STAMP}.jsonl"):
        task = read_foreign(path, lower_is_better=["surprise"]).tasks["t"]
        assert (task.metric, task.table["score"].to_pylist()) == ("-surprise", [-3.5])
    assert read_foreign(tmp_path, higher_is_better=["surprise"]).tasks["t"].metric == "surprise"


def test_a_summary_that_contradicts_the_name_of_a_metric_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [generated_row(0, "x", "x", wer=3.5)])
    write_results(tmp_path, results(higher_is_better={"t": {"wer": True}}))
    assert "wer should be better when lower" in message(tmp_path)
    assert read_foreign(tmp_path, lower_is_better=["wer"]).tasks["t"].metric == "-wer"


def test_the_sign_of_a_known_error_is_changed_with_a_note(tmp_path: Path) -> None:
    samples = read_foreign(write(tmp_path, [generated_row(i, "x", "x", ter=value) for i, value in enumerate((3.5, 0))]))
    assert samples.tasks["t"].metric == "-ter"
    assert [row["score"] for row in rows_of(samples)] == [-3.5, 0.0]
    assert "t: lower values of ter are better, so its sign is changed: -ter." in samples.notes


def test_unscored_rows_are_counted_and_named(tmp_path: Path) -> None:
    rows = [generated_row(i, "x", "x", exact_match=value) for i, value in enumerate((1.0, None, float("nan")))]
    text = message(write(tmp_path, rows))
    assert "2 of 3 samples have no score" in text
    assert rows[1]["doc_hash"] in text


@pytest.mark.parametrize(
    ("value", "shown"), [("good", "'good'"), (10**400, "1000"), (float("inf"), "inf"), ("-inf", "'-inf'")]
)
def test_a_score_that_is_not_a_finite_number_is_refused(tmp_path: Path, value: Any, shown: str) -> None:
    path = write(tmp_path, [generated_row(0, "x", "x", exact_match=value)])
    assert f"{path}:1: exact_match is {shown}" in message(path)


def test_a_results_file_with_an_unreadable_model_name_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, [choice_row(0, [-1.0, -2.0])])
    write_results(tmp_path, results(model_name=["m"]))
    assert rows_of(read_foreign(tmp_path))[0]["correct"] is True


def test_rows_of_old_versions_get_the_hashes_that_new_versions_log(tmp_path: Path) -> None:
    new = choice_row(0, [-1.0, -2.0])
    old = {key: value for key, value in new.items() if "hash" not in key and key not in ("filter", "metrics")}
    old["arguments"] = [[request["arg_0"], request["arg_1"]] for request in new["arguments"].values()]
    old["filtered_resps"] = [[-1.0, False], [-2.0, False]]
    assert rows_of(read_foreign(write(tmp_path / "a", [old]))) == rows_of(read_foreign(write(tmp_path / "b", [new])))


def test_the_newest_of_several_runs_is_read_with_a_note(tmp_path: Path) -> None:
    for stamp, likelihoods in (
        ("2026-01-02T00-00-00.1", [-1.0, -2.0]),
        ("2026-01-01T00-00-00.9", [-2.0, -1.0]),
    ):
        write(tmp_path, [choice_row(0, likelihoods)], stamp=stamp)
        write_results(tmp_path, results(), stamp)
    samples = read_foreign(tmp_path)
    assert rows_of(samples)[0]["correct"] is True
    assert "t: 2 runs in the folder; read the newest, samples_t_2026-01-02T00-00-00.1.jsonl." in samples.notes


def test_a_folder_with_runs_of_a_model_and_its_quantisation_is_refused(tmp_path: Path) -> None:
    for day, extra in (("01", {}), ("02", {"load_in_8bit": True})):
        write(tmp_path, [choice_row(0, [-1.0, -2.0])], stamp=f"2026-01-{day}T00-00-00.0")
        content = results()
        content["config"]["model_args"] |= extra
        write_results(tmp_path, content, f"2026-01-{day}T00-00-00.0")
    text = message(tmp_path)
    assert "different arguments" in text
    assert "load_in_8bit" in text
    assert read_foreign(tmp_path / "samples_t_2026-01-01T00-00-00.0.jsonl").label.startswith("samples_t")


def test_one_subfolder_per_model_is_read_and_two_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "out" / "org__model", [choice_row(0, [-1.0, -2.0])])
    assert read_foreign(tmp_path / "out").label == "out"
    write(tmp_path / "out" / "org__other", [choice_row(0, [-1.0, -2.0])])
    assert "org__model, org__other" in message(tmp_path / "out")


def test_fewer_rows_than_in_the_results_file_are_noted(tmp_path: Path) -> None:
    write(tmp_path, [choice_row(0, [-1.0, -2.0])])
    write_results(tmp_path, results())
    assert "t: 1 samples, but the results file says 2." in read_foreign(tmp_path).notes


def test_a_renamed_file_is_recognised_by_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path, [choice_row(0, [-1.0, -2.0])]).rename(tmp_path / "arc.jsonl")
    assert list(read_foreign(path).tasks) == ["arc"]


def test_results_without_samples_are_refused_with_the_option_that_logs_them(tmp_path: Path) -> None:
    write_results(tmp_path, results())
    assert "--log_samples" in message(tmp_path)
    assert "--log_samples" in message(tmp_path / f"results_{STAMP}.json")


def test_errors_name_the_line_of_a_cut_row_and_of_another_format(tmp_path: Path) -> None:
    path = write(tmp_path, [choice_row(0, [-1.0, -2.0]), choice_row(1, [-1.0, -2.0])])
    path.write_text(path.read_text()[:-100])
    assert f"{path}:2: not valid JSON" in message(path)
    write(tmp_path, [choice_row(0, [-1.0, -2.0]), {"doc_id": 1}])
    assert f"{path}:2: not a row of LM Evaluation Harness: no 'filtered_resps'" in message(path)
    path.write_text("")
    assert "empty" in message(path)


def test_thirty_thousand_rows_are_read(tmp_path: Path) -> None:
    line = json.dumps(choice_row(0, [-10.875, -19.25, -14.0625, -3.5]))
    path = tmp_path / f"samples_t_{STAMP}.jsonl"
    marker = hashes({"q": "Question 0?", "gold": 0}, "", "")["doc_hash"]
    assert marker in line
    with path.open("w") as handle:
        for i in range(30_000):
            handle.write(line.replace(marker, f"{i:064x}").replace('"doc_id": 0', f'"doc_id": {i}') + "\n")
    assert read_foreign(path).tasks["t"].table.num_rows == 30_000
