"""gate.yml with the inputs over it: what replaces what, where paths start, which name an error carries."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.github.effective import Effective, effective
from gate.github.inputs import input_fields, read_inputs

GATE_YML = """\
version: 1
baseline: {model: ./served}
candidate: {model: org/awq, revision: abc, dtype: bfloat16}
tasks:
  - name: faq
    file: faq.jsonl
    prompt: "{{ q }}"
    choices: "{{ c }}"
    answer: "{{ a }}"
  - {name: law, file: law.jsonl, prompt: p, choices: [x, "y"], answer: "0"}
decision: {alpha: 0.05, certify: 0.02}
"""


def put_together(folder: Path, **inputs: str) -> Effective:
    return effective(
        *read_inputs({f"INPUT_{k.replace('_', '-').upper()}": v for k, v in inputs.items()}), folder
    )


def refused(folder: Path, **inputs: str) -> str:
    with pytest.raises(ConfigError) as caught:
        put_together(folder, **inputs)
    return str(caught.value)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "gate.yml").write_text(GATE_YML, encoding="utf-8")
    return tmp_path


def test_without_inputs_it_is_the_file(project: Path) -> None:
    found = put_together(project)
    assert found.path == project / "gate.yml"
    assert found.loaded.config.candidate.model == "org/awq"
    assert found.task_lines == {"faq": 5, "law": 10}


def test_inputs_replace_the_files_values_and_only_those(project: Path) -> None:
    found = put_together(
        project, alpha="0.01", certify="none", limit="10", device="cuda:1", max_kl="0.2"
    ).loaded.config
    assert (found.decision.alpha, found.decision.certify) == (0.01, None)
    assert (found.samples.limit, found.engine.device, found.distance.max_kl) == (10, "cuda:1", 0.2)
    assert found.candidate.dtype == "bfloat16"
    assert [task.name for task in found.tasks] == ["faq", "law"]


def test_another_candidate_does_not_keep_the_old_ones_revision(project: Path) -> None:
    model = put_together(project, candidate="org/gptq").loaded.config.candidate
    assert (model.model, model.revision, model.dtype) == ("org/gptq", None, "bfloat16")
    same = put_together(project, candidate="org/awq").loaded.config.candidate
    assert same.revision == "abc"
    pinned = put_together(project, candidate="org/gptq", candidate_revision="def").loaded.config.candidate
    assert pinned.revision == "def"


@pytest.mark.parametrize(
    ("text", "model", "file"),
    [
        ("out/q4.gguf", "out", "q4.gguf"),
        ("q4.gguf", ".", "q4.gguf"),
        ("org/repo-gguf/q4.gguf", "org/repo-gguf", "q4.gguf"),
    ],
)
def test_a_gguf_file_is_its_folder_and_its_name(project: Path, text: str, model: str, file: str) -> None:
    found = put_together(project, candidate=text).loaded.config.candidate
    assert (found.model, found.gguf_file) == (model, file)


def test_a_name_that_the_file_defines_means_that_task(project: Path) -> None:
    tasks = put_together(project, tasks="law").loaded.config.tasks
    assert [(task.name, task.file) for task in tasks] == [("law", "law.jsonl")]


def test_inputs_alone_are_enough(tmp_path: Path) -> None:
    tasks = textwrap.dedent("""\
        - name: faq
          file: evals/faq.jsonl
          prompt: "{{ q }}"
          choices: "{{ c }}"
          answer: "{{ a }}"
        """)
    found = put_together(tmp_path, baseline="org/served", candidate="org/awq", tasks=tasks, certify="0.01")
    assert found.path is None
    assert found.task_lines == {}
    assert found.loaded.folder == tmp_path
    assert found.loaded.config.decision.certify == 0.01
    assert found.loaded.config.tasks[0].file == "evals/faq.jsonl"


def test_inputs_alone_must_say_what_is_needed(tmp_path: Path) -> None:
    text = refused(tmp_path, baseline="org/served")
    assert "input candidate: required, because there is no gate.yml here." in text
    assert "input tasks: required" in text
    assert "input baseline" not in text


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    assert "ci/gate.yml does not exist" in refused(tmp_path, config="ci/gate.yml", candidate="m")


def test_paths_in_inputs_start_from_the_workspace_not_from_the_files_folder(project: Path) -> None:
    (project / "ci").mkdir()
    (project / "gate.yml").rename(project / "ci" / "gate.yml")
    (project / "out" / "awq").mkdir(parents=True)
    task = "[{name: t, file: evals/t.jsonl, prompt: p, choices: [a, b], answer: '0'}]"
    found = put_together(
        project, config="ci/gate.yml", candidate="out/awq", store=".gate", report_path="r.md", tasks=task
    ).loaded
    config = found.config
    assert (found.folder / config.candidate.model).resolve() == (project / "out" / "awq").resolve()
    assert (found.folder / config.samples.store).resolve() == (project / ".gate").resolve()
    assert (found.folder / str(config.report.markdown)).resolve() == (project / "r.md").resolve()
    assert (found.folder / str(config.tasks[0].file)).resolve() == (project / "evals/t.jsonl").resolve()
    hub = put_together(
        project, config="ci/gate.yml", candidate="org/awq", store="s3://bucket/x"
    ).loaded.config
    assert (hub.candidate.model, hub.samples.store) == ("org/awq", "s3://bucket/x")


def test_a_value_out_of_its_limits_names_the_input_and_not_a_line(project: Path) -> None:
    text = refused(project, alpha="1.5", rule="omnibos", margin="nan")
    assert "input alpha: Input should be less than 1; found 1.5." in text
    assert "input rule: Input should be 'omnibus'" in text
    assert "input margin:" in text
    assert "gate.yml:" not in text


def test_the_files_own_mistakes_still_name_their_line(project: Path) -> None:
    text = GATE_YML.replace("alpha: 0.05", "alhpa: 0.05").replace("file: law.jsonl", "file: 3")
    (project / "gate.yml").write_text(text, encoding="utf-8")
    said = refused(project, margin="0.1")
    assert "gate.yml:11: decision.alhpa: unknown key; did you mean alpha?" in said
    assert "gate.yml:10: tasks.1.file:" in said


def test_an_error_inside_a_task_of_the_input_names_the_input(project: Path) -> None:
    assert "input tasks: 0.fewshto: unknown key; did you mean fewshot?" in refused(
        project, tasks="[{name: t, file: f, prompt: p, choices: [a, b], answer: '0', fewshto: 1}]"
    )


def test_a_section_that_is_no_mapping_is_an_error_of_the_file(project: Path) -> None:
    (project / "gate.yml").write_text(
        GATE_YML.replace("decision: {alpha: 0.05, certify: 0.02}", "decision: 3")
    )
    assert "gate.yml:11: decision:" in refused(project, alpha="0.1")


@pytest.mark.parametrize("text", ["", "[]", "a: {", "a: 1\na: 2\n", "x: 2024-13-45"])
def test_a_file_that_cannot_be_read_is_refused_as_gate_run_does(project: Path, text: str) -> None:
    (project / "gate.yml").write_text(text)
    assert "gate.yml" in refused(project, alpha="0.1")


def test_each_key_of_the_inputs_exists_in_gate_yml(project: Path) -> None:
    """A key renamed in the configuration would otherwise show as an unknown key in somebody's workflow."""
    good = {
        "baseline": "org/a", "baseline_revision": "r", "candidate": "org/b", "candidate_revision": "r",
        "tasks": "faq", "limit": "3", "store": "s", "device": "cpu", "alpha": "0.1", "rule": "holm",
        "margin": "0.1", "certify": "0.1", "on_inconclusive": "fail", "max_flip_rate": "0.1", "max_kl": "0.1",
        "report_path": "r.md", "result_path": "r.json",
    }  # fmt: skip
    keyed = {
        name.replace("-", "_")
        for name, field in input_fields().items()
        if isinstance(field.json_schema_extra, dict) and "key" in field.json_schema_extra
    }
    assert keyed == set(good)
    put_together(project, **good)


@pytest.mark.parametrize("tasks", ["7", "{faq: 1}", "[{name: [a]}, 3, {name: {b: c}}, faq]", "text"])
def test_tasks_of_the_file_that_are_none_are_no_crash(project: Path, tasks: str) -> None:
    (project / "gate.yml").write_text(
        f"version: 1\nbaseline: {{model: ./served}}\ncandidate: {{model: org/awq}}\ntasks: {tasks}\n"
    )
    assert "tasks" in refused(project)
    found = put_together(project, tasks="[{name: t, file: t.jsonl, prompt: p, choices: [a, b], answer: '0'}]")
    assert [task.name for task in found.loaded.config.tasks] == ["t"]
