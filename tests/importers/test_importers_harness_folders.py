"""Folders of LM Evaluation Harness: layouts, names, several models, and tasks that are not read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.harness_files import STAMP, choice_rows, perplexity_rows, summary, write
from support.importing import message

from gate.importers import read_foreign
from gate.importers.renamed import with_names_of
from gate.samples import ModelSamples


def sizes(samples: ModelSamples) -> dict[str, int]:
    return {name: task.table.num_rows for name, task in samples.tasks.items()}


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["samples_sums_2024-06-16T22-09-58.078705.json", "results_2024-06-16T22-09-58.078705.json"], "sums"),
        (["samples_sums_2024-06-16T22-09-58.078705.jsonl", "fp16_2024-06-16T22-09-58.078705.json"], "sums"),
        (["20261001_155054_samples_sums.jsonl", "20261001_155054_results.json"], "sums"),
        (["pretrained__org__m_sums.jsonl", "results.json"], "sums"),
        (["samples_sums.jsonl", "summary.json"], "sums"),
        (["sums.jsonl"], "sums"),
        (["leaf/deeper/samples_sums.jsonl", "leaf/deeper/run.json"], "sums"),
        (["anything.json"], "anything"),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_file_names_of_all_versions_give_the_task_and_its_summary(
    tmp_path: Path, names: list[str], task: str, as_list: bool
) -> None:
    path = tmp_path / names[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = choice_rows()
    path.write_text(json.dumps(rows, indent=1) if as_list else "\n".join(map(json.dumps, rows)), encoding="utf-8")
    if names[1:]:
        write(tmp_path / names[1], summary("m", "sums"))
    for place in (tmp_path, path):
        samples = read_foreign(place)
        assert sizes(samples) == {task: 4}
        assert ("num_fewshot" in samples.tasks[task].facets) == bool(names[1:])
        assert samples.tasks[task].named_after_file == (place == path or not names[1:])


def test_compressed_samples_are_read(tmp_path: Path) -> None:
    content = "\n".join(map(json.dumps, choice_rows())).encode()
    (tmp_path / f"samples_sums_{STAMP}.jsonl.gz").write_bytes(gzip.compress(content))
    write(tmp_path / f"results_{STAMP}.json", summary("m", "sums"))
    assert sizes(read_foreign(tmp_path)) == {"sums": 4}


def test_one_folder_per_task_is_one_model(tmp_path: Path) -> None:
    for task in ("sums", "names", "dates"):
        folder = tmp_path / task / "org__m"
        write(folder / f"samples_{task}_{STAMP}.jsonl", choice_rows(topic=task))
        write(folder / f"results_{STAMP}.json", summary("org/m", task))
    assert sizes(read_foreign(tmp_path)) == {"dates": 4, "names": 4, "sums": 4}


def test_rows_that_name_their_task_are_read_by_that_name(tmp_path: Path) -> None:
    rows = choice_rows(topic="a", task_name="sums") + choice_rows(topic="b", task_name="names")
    path = write(tmp_path / "all.jsonl", rows)
    samples = read_foreign(path)
    assert sizes(samples) == {"sums": 4, "names": 4}
    assert not samples.tasks["sums"].named_after_file
    only = read_foreign(tmp_path, tasks=["names"])
    assert (sizes(only), only.unread) == ({"names": 4}, ("sums",))


MODELS: list[tuple[list[tuple[str, Any]], str]] = [
    ([("org__a/samples_sums.jsonl", 4), ("org__b/samples_names.jsonl", 4)], "org__a, org__b"),
    ([("fp16/samples_sums.jsonl", 4), ("int8/samples_sums.jsonl", 2)], "fp16/samples_sums.jsonl"),
    ([(f"samples_sums_{STAMP}.jsonl", 4), ("samples_sums_2026-11-22T00-00-00.1.jsonl", 2)], "2 runs of sums"),
    ([("samples_sums_fp16.jsonl", 4), ("samples_sums_int8.jsonl", 2)], "two sets of answers to the same prompts"),
    ([("fp16.jsonl", 4), ("int8.jsonl", 2)], "two sets of answers to the same prompts"),
]


@pytest.mark.parametrize(("files", "expected"), MODELS)
def test_two_models_in_a_folder_are_refused_under_any_names(
    tmp_path: Path, files: list[tuple[str, int]], expected: str
) -> None:
    for name, right in files:
        write(tmp_path / name, choice_rows(right=right))
    assert expected in message(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (summary("a", "sums"), summary("b", "names")),
        (summary("a", "sums"), summary("a", "names", load_in_8bit=True)),
        (summary("a", "sums", dtype="bfloat16"), summary("a", "names", dtype="float16")),
    ],
)
def test_summaries_under_any_name_tell_two_models(tmp_path: Path, one: Any, other: Any) -> None:
    for number, (task, content) in enumerate((("sums", one), ("names", other))):
        stamp = f"2026-11-2{number}T00-00-00.1"
        write(tmp_path / f"samples_{task}_{stamp}.jsonl", choice_rows(topic=task))
        write(tmp_path / f"run_{stamp}.json", content)
    assert "several models" in message(tmp_path)


def test_arguments_that_do_not_change_the_model_may_differ(tmp_path: Path) -> None:
    for number, task in enumerate(("sums", "names")):
        stamp = f"2026-11-2{number}T00-00-00.1"
        write(tmp_path / f"samples_{task}_{stamp}.jsonl", choice_rows(topic=task))
        write(tmp_path / f"results_{stamp}.json", summary("m", task, max_length=2048 + number, batch_size=number))
    assert sizes(read_foreign(tmp_path)) == {"names": 4, "sums": 4}


def test_two_summaries_without_a_time_stamp_that_fit_a_file_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "samples_sums.jsonl", choice_rows())
    for model in ("fp16", "int8"):
        write(tmp_path / f"{model}.json", summary(model, "sums"))
    assert "samples_sums.jsonl may be of any of them" in message(tmp_path)


def test_a_summary_with_a_time_stamp_of_its_own_is_used_if_no_other_file_has_it(tmp_path: Path) -> None:
    write(tmp_path / "samples_sums_2026-11-21T00-00-00.1.jsonl", choice_rows(metrics=["odd"], odd=3.0))
    content = summary("m", "sums") | {"higher_is_better": {"sums": {"odd": False}}}
    write(tmp_path / "run_2026-11-21T00-00-09.7.json", content)
    assert "odd is better when lower, as run_2026-11-21T00-00-09.7.json says" in message(tmp_path)
    write(tmp_path / "samples_dates_2026-11-21T00-00-09.7.jsonl", choice_rows(topic="d"))
    for place in (tmp_path, tmp_path / "samples_sums_2026-11-21T00-00-00.1.jsonl"):
        assert "unknown whether higher or lower" in message(place)


def test_a_folder_named_after_a_task_is_no_model(tmp_path: Path) -> None:
    for task in ("mmlu__art", "mmlu__law"):
        write(tmp_path / task / f"samples_{task}.jsonl", choice_rows(topic=task))
    assert sizes(read_foreign(tmp_path)) == {"mmlu__art": 4, "mmlu__law": 4}


def test_nan_log_likelihoods_are_refused_with_their_line(tmp_path: Path) -> None:
    rows = choice_rows(6)
    for value, line in (("nan", 3), ("inf", 3), ("-inf", 3), (float("nan"), 3)):
        rows[2]["filtered_resps"][1] = [value, "False"]
        path = write(tmp_path / "samples_sums.jsonl", rows)
        text = message(path)
        assert "the log-likelihoods are NaN or infinite in 1 of 6 samples" in text
        assert f"{path}:{line}" in text


def test_a_document_with_an_address_of_an_object_has_the_same_id_in_every_process(tmp_path: Path) -> None:
    ids = []
    for address in ("0x7F10C0DE0000", "0x7e44beef0000"):
        image = f"<PIL.PngImagePlugin.PngImageFile image mode=RGB size=64x64 at {address}>"
        rows = choice_rows(doc={"image": image, "more": [{"image": image}]})
        samples = read_foreign(write(tmp_path / address / "samples_sums.jsonl", rows))
        ids.append(samples.tasks["sums"].table["item_id"].to_pylist())
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 4


def test_predict_only_is_named(tmp_path: Path) -> None:
    for rows in (choice_rows(metrics=[]), choice_rows(metrics=["bypass"], bypass=999)):
        assert "logged with --predict_only" in message(write(tmp_path / "samples_sums.jsonl", rows))


def test_a_task_without_a_score_per_sample_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "samples_sums.jsonl", choice_rows())
    write(tmp_path / "samples_bleu.jsonl", choice_rows(topic="b", metrics=["bleu"], bleu=["x", "y"]))
    write(tmp_path / "samples_wiki.jsonl", perplexity_rows(-130.0))
    samples = read_foreign(tmp_path)
    assert sizes(samples) == {"sums": 4}
    notes = "\n".join(samples.notes)
    assert "left out: task bleu (samples_bleu.jsonl): no metric with one score per sample" in notes
    assert "To compare it, pass --metric bits_per_byte, or --task with its name." in notes
    assert samples.left_out == tuple(
        f"samples_{task}.jsonl: task {task} has no score per sample." for task in ("bleu", "wiki")
    )
    assert "task bleu" in message(tmp_path, tasks=["bleu"])
    assert sizes(read_foreign(tmp_path, tasks=["sums"])) == {"sums": 4}
    assert read_foreign(tmp_path, tasks=["sums"]).unread == ("bleu", "wiki")


def test_perplexities_are_read_as_log_likelihoods_per_word_where_asked_for_or_alone(tmp_path: Path) -> None:
    write(tmp_path / "wiki" / "samples_wiki.jsonl", perplexity_rows(-130.0))
    alone = read_foreign(tmp_path / "wiki").tasks["wiki"]
    assert alone.metric == "loglikelihood_per_word"
    assert alone.table["score"][:2].to_pylist() == [-130 / 40, -131 / 41]
    write(tmp_path / "wiki" / "samples_sums.jsonl", choice_rows())
    for options in ({"tasks": ["wiki", "sums"]}, {"metric": "word_perplexity"}):
        samples = read_foreign(tmp_path / "wiki", **options)
        assert samples.tasks["wiki"].metric == "loglikelihood_per_word"
        assert samples.tasks["sums"].metric == "acc"
    per_byte = read_foreign(tmp_path / "wiki", metric="bits_per_byte").tasks["wiki"]
    assert per_byte.metric == "loglikelihood_per_byte"


def test_a_perplexity_that_is_logged_as_a_log_likelihood_keeps_its_sign(tmp_path: Path) -> None:
    rows = choice_rows(metrics=["perplexity"], perplexity=-1.5)
    content = summary("m", "lambada") | {"higher_is_better": {"lambada": {"perplexity": False}}}
    write(tmp_path / "samples_lambada.jsonl", rows)
    write(tmp_path / "results.json", content)
    task = read_foreign(tmp_path).tasks["lambada"]
    assert (task.metric, task.table["score"][0].as_py()) == ("loglikelihood", -1.5)
    write(tmp_path / "samples_lambada.jsonl", choice_rows(metrics=["perplexity"], perplexity=4.5))
    task = read_foreign(tmp_path).tasks["lambada"]
    assert (task.metric, task.table["score"][0].as_py()) == ("-perplexity", -4.5)


def test_files_of_other_formats_and_older_runs_are_listed_with_the_reason(tmp_path: Path) -> None:
    for day, right in (("20", 4), ("21", 3)):
        write(tmp_path / f"samples_sums_2026-11-{day}T00-00-00.1.jsonl", choice_rows(right=right))
        write(tmp_path / f"results_2026-11-{day}T00-00-00.1.json", summary("m", "sums"))
    (tmp_path / "other.csv").write_text("task,item_id,output,target,correct\n", encoding="utf-8")
    samples = read_foreign(tmp_path)
    assert samples.tasks["sums"].table["score"].to_pylist() == [1.0, 1.0, 1.0, 0.0]
    assert samples.left_out == (
        "samples_sums_2026-11-20T00-00-00.1.jsonl: an older run of sums.",
        "other.csv: has the format table, and the folder is read as LM Evaluation Harness.",
    )


def pair_names(baseline: Path, candidate: Path) -> ModelSamples:
    return with_names_of(read_foreign(baseline), read_foreign(candidate))


def test_single_files_under_any_names_are_one_task_if_they_hold_the_same_items(tmp_path: Path) -> None:
    base = write(tmp_path / "baseline.jsonl", choice_rows())
    samples = pair_names(base, write(tmp_path / "awq.jsonl", choice_rows(right=2)))
    assert sizes(samples) == {"baseline": 4}
    assert samples.tasks["baseline"].table["task"].unique().to_pylist() == ["baseline"]
    assert "baseline: paired with awq of the candidate, which has the same documents." in samples.notes
    other = write(tmp_path / "other.jsonl", choice_rows(topic="other"))
    with pytest.raises(Exception, match=r"baseline.jsonl and other.jsonl have no item in common"):
        pair_names(base, other)


def test_renamed_tasks_of_folders_are_paired_by_their_documents(tmp_path: Path) -> None:
    for task in ("sums", "names", "dates"):
        write(tmp_path / "base" / f"samples_leaderboard_{task}.jsonl", choice_rows(topic=task))
        write(tmp_path / "cand" / f"samples_{task}.jsonl", choice_rows(topic=task, right=3))
    samples = pair_names(tmp_path / "base", tmp_path / "cand")
    assert sizes(samples) == {"leaderboard_dates": 4, "leaderboard_names": 4, "leaderboard_sums": 4}


def test_a_task_that_the_summary_names_is_not_renamed(tmp_path: Path) -> None:
    for side in ("base", "cand"):
        write(tmp_path / side / f"samples_{side}.jsonl", choice_rows())
        write(tmp_path / side / "results.json", summary("m", side))
    assert sizes(pair_names(tmp_path / "base", tmp_path / "cand")) == {"cand": 4}
    files = tmp_path / "base" / "samples_base.jsonl", tmp_path / "cand" / "samples_cand.jsonl"
    assert sizes(pair_names(*files)) == {"base": 4}  # two files that are passed by themselves are one task
