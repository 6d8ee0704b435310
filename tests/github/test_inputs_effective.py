"""gate.yml with inputs applied: what they override, where paths start, which input or line an error names."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.github.effective import EffectiveConfig, effective_config
from gate.github.given import read_inputs
from gate.github.inputs import input_fields

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


def load(folder: Path, **inputs: str) -> EffectiveConfig:
    environment = {f"INPUT_{name.replace('_', '-').upper()}": text for name, text in inputs.items()}
    return effective_config(*read_inputs(environment), folder)


def error_of(folder: Path, **inputs: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, **inputs)
    return str(caught.value)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "gate.yml").write_text(GATE_YML, encoding="utf-8")
    return tmp_path


def test_without_inputs_the_file_is_unchanged(project: Path) -> None:
    effective = load(project)
    assert effective.path == project / "gate.yml"
    assert effective.loaded.config.candidate.model == "org/awq"
    assert effective.task_lines == {"faq": 5, "law": 10}


def test_inputs_override_only_their_own_keys(project: Path) -> None:
    config = load(project, alpha="0.01", certify="none", limit="10", device="cuda:1", max_kl="0.2").loaded.config
    assert (config.decision.alpha, config.decision.certify) == (0.01, None)
    assert (config.samples.limit, config.engine.device, config.distance.max_kl) == (10, "cuda:1", 0.2)
    assert config.candidate.dtype == "bfloat16"
    assert [task.name for task in config.tasks] == ["faq", "law"]


def test_other_candidate_drops_the_revision(project: Path) -> None:
    model = load(project, candidate="org/gptq").loaded.config.candidate
    assert (model.model, model.revision, model.dtype) == ("org/gptq", None, "bfloat16")
    same = load(project, candidate="org/awq").loaded.config.candidate
    assert same.revision == "abc"
    pinned = load(project, candidate="org/gptq", candidate_revision="def").loaded.config.candidate
    assert pinned.revision == "def"


@pytest.mark.parametrize(
    ("text", "model", "file"),
    [
        ("out/q4.gguf", "out", "q4.gguf"),
        ("q4.gguf", ".", "q4.gguf"),
        ("org/repo-gguf/q4.gguf", "org/repo-gguf", "q4.gguf"),
    ],
)
def test_gguf_path_is_split_into_folder_and_file(project: Path, text: str, model: str, file: str) -> None:
    candidate = load(project, candidate=text).loaded.config.candidate
    assert (candidate.model, candidate.gguf_file) == (model, file)


def test_name_defined_in_the_file_selects_that_task(project: Path) -> None:
    tasks = load(project, tasks="law").loaded.config.tasks
    assert [(task.name, task.file) for task in tasks] == [("law", "law.jsonl")]


def test_inputs_alone_are_sufficient(tmp_path: Path) -> None:
    tasks = textwrap.dedent("""\
        - name: faq
          file: evals/faq.jsonl
          prompt: "{{ q }}"
          choices: "{{ c }}"
          answer: "{{ a }}"
        """)
    effective = load(tmp_path, baseline="org/served", candidate="org/awq", tasks=tasks, certify="0.01")
    assert effective.path is None
    assert effective.task_lines == {}
    assert effective.loaded.folder == tmp_path
    assert effective.loaded.config.decision.certify == 0.01
    assert effective.loaded.config.tasks[0].file == "evals/faq.jsonl"


def test_inputs_alone_must_be_complete(tmp_path: Path) -> None:
    text = error_of(tmp_path, baseline="org/served")
    assert "input candidate: required, because there is no gate.yml here." in text
    assert "input tasks: required" in text
    assert "input baseline" not in text


def test_named_file_must_exist(tmp_path: Path) -> None:
    assert "ci/gate.yml does not exist" in error_of(tmp_path, config="ci/gate.yml", candidate="m")


def test_paths_in_inputs_start_from_the_working_directory(project: Path) -> None:
    (project / "ci").mkdir()
    (project / "gate.yml").rename(project / "ci" / "gate.yml")
    (project / "out" / "awq").mkdir(parents=True)
    task = "[{name: t, file: evals/t.jsonl, prompt: p, choices: [a, b], answer: '0'}]"
    loaded = load(
        project, config="ci/gate.yml", candidate="out/awq", store=".gate", report_path="r.md", tasks=task
    ).loaded
    config = loaded.config
    assert (loaded.folder / config.candidate.model).resolve() == (project / "out" / "awq").resolve()
    assert (loaded.folder / config.samples.store).resolve() == (project / ".gate").resolve()
    assert (loaded.folder / str(config.report.markdown)).resolve() == (project / "r.md").resolve()
    assert (loaded.folder / str(config.tasks[0].file)).resolve() == (project / "evals/t.jsonl").resolve()
    hub = load(project, config="ci/gate.yml", candidate="org/awq", store="s3://bucket/x").loaded.config
    assert (hub.candidate.model, hub.samples.store) == ("org/awq", "s3://bucket/x")


def test_value_out_of_range_names_the_input_and_no_line(project: Path) -> None:
    text = error_of(project, alpha="1.5", rule="omnibos", margin="nan")
    assert "input alpha: Input should be less than 1; found 1.5." in text
    assert "input rule: Input should be 'omnibus'" in text
    assert "input margin:" in text
    assert "gate.yml:" not in text


def test_errors_in_the_file_name_their_line(project: Path) -> None:
    text = GATE_YML.replace("alpha: 0.05", "alhpa: 0.05").replace("file: law.jsonl", "file: 3")
    (project / "gate.yml").write_text(text, encoding="utf-8")
    message = error_of(project, margin="0.1")
    assert "gate.yml:11: decision.alhpa: unknown key; did you mean alpha?" in message
    assert "gate.yml:10: tasks.1.file:" in message


def test_error_in_a_task_of_the_input_names_the_input(project: Path) -> None:
    assert "input tasks: 0.fewshto: unknown key; did you mean fewshot?" in error_of(
        project, tasks="[{name: t, file: f, prompt: p, choices: [a, b], answer: '0', fewshto: 1}]"
    )


def test_section_that_is_not_a_mapping_is_an_error_of_the_file(project: Path) -> None:
    (project / "gate.yml").write_text(GATE_YML.replace("decision: {alpha: 0.05, certify: 0.02}", "decision: 3"))
    assert "gate.yml:11: decision:" in error_of(project, alpha="0.1")


@pytest.mark.parametrize("text", ["", "[]", "a: {", "a: 1\na: 2\n", "x: 2024-13-45"])
def test_unreadable_file_is_refused_as_in_gate_run(project: Path, text: str) -> None:
    (project / "gate.yml").write_text(text)
    assert "gate.yml" in error_of(project, alpha="0.1")


def test_every_key_of_an_input_exists_in_gate_yml(project: Path) -> None:
    """Otherwise a renamed key would be an unknown key in a user's workflow."""
    values = {
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
    assert keyed == set(values)
    load(project, **values)


@pytest.mark.parametrize("tasks", ["7", "{faq: 1}", "[{name: [a]}, 3, {name: {b: c}}, faq]", "text"])
def test_malformed_tasks_in_the_file_are_an_error(project: Path, tasks: str) -> None:
    (project / "gate.yml").write_text(
        f"version: 1\nbaseline: {{model: ./served}}\ncandidate: {{model: org/awq}}\ntasks: {tasks}\n"
    )
    assert "tasks" in error_of(project)
    effective = load(project, tasks="[{name: t, file: t.jsonl, prompt: p, choices: [a, b], answer: '0'}]")
    assert [task.name for task in effective.loaded.config.tasks] == ["t"]
