"""Reports on several candidates: every format, size limits, hostile labels, and results that could not be real."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from junitparser import JUnitXml
from rich.console import Console
from support.hostile import HOSTILE, naming

import gate
from gate.errors import ConfigError, SampleError
from gate.github.annotations import ANNOTATION_LIMIT, candidates_annotations
from gate.github.comment import COMMENT_LIMIT, comment_body
from gate.github.outputs import OUTPUTS
from gate.github.status import status_description, status_state
from gate.github.untrusted import read_untrusted
from gate.report.candidates import CandidatesResult, candidates_json, join_results, read_any_result
from gate.report.candidates_forms import render_candidates
from gate.report.candidates_html import render_candidates_html
from gate.report.candidates_markdown import render_candidates_markdown
from gate.report.candidates_rows import size
from gate.report.candidates_terminal import print_candidates
from gate.report.files import report_files
from gate.samples import ModelSamples


def samples(folder: Path, name: str, right: int, label: str | None = None) -> ModelSamples:
    path = folder / f"{name}.csv"
    rows = [f"{task},i{item},x,x,{int(item < right)}" for task in ("faq", "law") for item in range(60)]
    path.write_text("\n".join(["task,item_id,output,target,correct", *rows]) + "\n", encoding="utf-8")
    read = gate.load_samples(path)
    return read if label is None else replace(read, label=label)


@pytest.fixture
def result(tmp_path: Path) -> CandidatesResult:
    base = samples(tmp_path, "base", 50)
    facts = {"weights_bytes": 250_000_000, "sets": {"faq": {"seconds": 2.0, "tokens": 500}}}
    candidates = {
        "int8": replace(samples(tmp_path, "int8", 49), about=facts),
        "int4": replace(samples(tmp_path, "int4", 38), about=facts | {"weights_bytes": 125_000_000}),
        "same": samples(tmp_path, "same", 50),
    }
    return gate.compare_candidates(base, candidates)


def with_error(result: CandidatesResult, text: str = "no such folder") -> CandidatesResult:
    return join_results({one.name: one.result for one in result.candidates}, {"later": ConfigError(text)})


def test_the_verdict_over_all_is_the_worst_and_an_error_is_exit_code_4(result: CandidatesResult) -> None:
    assert (result.verdict, result.exit_code) == ("FAIL", 1)
    assert result.p_value == result["int4"].p_value
    good = {name: result[name] for name in ("int8", "same")}
    assert (join_results(good).verdict, join_results(good).exit_code) == ("PASS", 0)
    unsure = good | {"int8": good["int8"].model_copy(update={"verdict": "INCONCLUSIVE", "exit_code": 3})}
    assert (join_results(unsure).verdict, join_results(unsure).exit_code) == ("INCONCLUSIVE", 3)
    assert with_error(result).exit_code == 4


def test_result_json_can_be_read_again(result: CandidatesResult, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(candidates_json(with_error(result)), encoding="utf-8")
    assert read_any_result(path) == with_error(result)
    with pytest.raises(SampleError, match="has several candidates; expected the result of one"):
        gate.report.read_result(path)
    single = tmp_path / "single.json"
    single.write_text(gate.report.to_json(result["int4"]), encoding="utf-8")
    assert read_any_result(single) == result["int4"]


def test_every_form_names_every_candidate(result: CandidatesResult) -> None:
    broken = with_error(result)
    console = Console(width=160, record=True, file=io.StringIO())
    print_candidates(broken, console)
    texts = {form: render_candidates(form, broken) for form in ("markdown", "html", "junit", "json")}
    for text in (*texts.values(), console.export_text()):
        for name in ("int8", "int4", "same", "later"):
            assert name in text
    assert "250 MB" in texts["markdown"]
    assert "125 MB" in texts["html"]
    assert texts["markdown"].count("<details") == texts["markdown"].count("</details>")
    suites = JUnitXml.fromstring(texts["junit"].encode())
    assert [suite.name for suite in suites] == [f"quantgate {name}" for name in ("int8", "int4", "same", "later")]
    with pytest.raises(SampleError, match="no hash of the weights"):
        render_candidates("attestation", broken)


def test_the_page_has_a_plot_only_where_values_are_known(result: CandidatesResult) -> None:
    page = render_candidates_html(result)
    assert 'id="size"' in page
    assert page.count('class="FAIL"') >= 1
    unsized = {one.name: one.result.model_copy(update={"candidate": {"label": one.name}}) for one in result.candidates}
    assert 'id="size"' not in render_candidates_html(join_results(unsized))
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)


def test_each_candidate_has_its_own_page(result: CandidatesResult) -> None:
    files = {file.path: file.text() for file in report_files({"html": "out/report.html"}, result, {})}
    assert set(files) == {"out/report.html", *(f"out/report-{name}.html" for name in ("int8", "int4", "same"))}
    assert 'href="report-int4.html"' in files["out/report.html"]


@pytest.mark.parametrize("limit", [6_000, 20_000, COMMENT_LIMIT])
def test_a_report_fits_its_limit_and_keeps_the_failed_candidate(result: CandidatesResult, limit: int) -> None:
    text = render_candidates_markdown(result, limit)
    assert len(text.encode()) <= limit
    assert "<summary>int4: FAIL</summary>" in text
    assert "| int8 |" in text
    with pytest.raises(ValueError, match="needs more than 300 bytes"):
        render_candidates_markdown(result, 300)
    body = comment_body(with_error(result, "x" * 100_000), "nightly")
    assert len(body.encode()) <= COMMENT_LIMIT


def hostile_result(result: CandidatesResult, text: str) -> CandidatesResult:
    """Return the result with a text as every label, reason and error."""
    sides = {"baseline": {"label": text}, "candidate": {"label": text}, "reasons": [text]}
    return join_results(
        {one.name: one.result.model_copy(update=sides) for one in result.candidates[:2]}, {"later": ConfigError(text)}
    )


def test_hostile_labels_and_errors_are_text(result: CandidatesResult) -> None:
    tags = ("script", "img", "iframe", "svg", "h1", "b")
    harmless = render_candidates_html(hostile_result(result, "plain"))
    for text in HOSTILE[::4]:
        with naming(text):
            hostile = hostile_result(result, text)
            page = render_candidates_html(hostile)
            for tag in tags:
                assert page.count(f"<{tag}") == harmless.count(f"<{tag}")
            markdown = render_candidates_markdown(hostile)
            assert not re.findall(r"<(?!/?(code|details|summary|br|wbr|sub)\b)[a-z!?/]", markdown)
            for line in candidates_annotations(hostile, "gate.yml"):
                assert "\n" not in line
                assert line.startswith(("::error ", "::warning "))
            assert "\n" not in status_description(hostile)
            JUnitXml.fromstring(render_candidates("junit", hostile).encode())


def test_annotations_and_status_keep_githubs_limits(result: CandidatesResult) -> None:
    many = join_results({f"c{number}": result["int4"] for number in range(10)}, {"later": ConfigError("gone")})
    errors = [line for line in candidates_annotations(many, "gate.yml") if line.startswith("::error")]
    assert len(errors) == ANNOTATION_LIMIT
    assert len(status_description(many)) <= 140
    assert (status_state(many), status_state(join_results({"same": result["same"]}))) == ("failure", "success")
    assert "candidates" in OUTPUTS


def test_an_untrusted_result_is_checked_as_a_whole(result: CandidatesResult, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(candidates_json(with_error(result)), encoding="utf-8")
    read = read_untrusted(path)
    assert isinstance(read, CandidatesResult)
    assert [one.name for one in read.candidates] == ["int8", "int4", "same"]
    assert all("reproduce" not in one.result.provenance for one in read.candidates)
    good = json.loads(candidates_json(result))
    forged = [
        (good | {"verdict": "PASS", "exit_code": 0}, "its verdict does not fit those of the candidates"),
        (good | {"exit_code": 0}, "its exit code does not fit its verdict"),
        (good | {"p_value": 0.9}, "its p-value or alpha does not fit"),
        (good | {"candidates": [good["candidates"][0]] * 2}, "two candidates have the same name"),
        (good | {"candidates": []}, "at least 1 item"),
        (good | {"kind": "other"}, "kind"),
        (json.loads(json.dumps(good).replace('"name": "int8"', '"name": "<b>"')), "candidates.0.name"),
    ]
    for data, message in forged:
        path.write_text(json.dumps(data), encoding="utf-8")
        with pytest.raises(SampleError, match=message):
            read_untrusted(path)


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (269_000_000, "269 MB"), (999_600_000, "1 GB")],
)
def test_sizes_have_three_digits(count: int | None, text: str) -> None:
    assert size(count) == text
