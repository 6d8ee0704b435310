"""gate.yml: its values and defaults, and the line, message and hint of every error."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.gate_yml import GOOD, parse, problem

from gate.config import DistanceSettings, EngineSettings, load_config
from gate.config.engine import EngineOverride
from gate.errors import ConfigError


def problems(text: str) -> list[str]:
    """Return the lines of the error, or none."""
    try:
        parse(text)
    except ConfigError as error:
        return error.message.splitlines()
    return []


def test_a_good_file_gives_typed_values_and_the_documented_defaults() -> None:
    config = parse(GOOD)
    assert config.baseline.revision == "0e9e39f2"
    assert config.baseline.dtype == "bfloat16"
    assert config.candidate.dtype == "auto"
    assert (config.decision.alpha, config.decision.rule, config.decision.margin) == (0.05, "omnibus", 0.0)
    assert (config.samples.store, config.samples.limit, config.samples.seed) == (".gate", None, 0)
    assert config.engine.device == "auto"
    assert config.engine.trust_remote_code is False
    assert config.tasks[0].resolved_metric == "acc"
    assert config.report.json_path == "gate-result.json"


def test_every_key_of_the_design_example_is_known() -> None:
    example = (
        GOOD.replace("- name: faq", "- arc_challenge\n  - name: faq")
        + """\
engine:    {kind: transformers, device: auto, max_batch_tokens: auto, trust_remote_code: false}
samples:   {store: .gate, limit: null, repeats: 1, seed: 0}
decision:  {alpha: 0.05, rule: omnibus, margin: 0.0, certify: null, power: 0.8, on_inconclusive: pass}
distance:  {kl: true, max_flip_rate: null, max_kl: null}
report:    {markdown: gate-report.md, html: gate-report.html, json: gate-result.json, junit: null}
"""
    )
    assert problems(example) == []
    assert any("unknown key" in line for line in problems(example.replace("certify", "certfy")))


def test_a_missing_file_says_how_to_create_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist") as caught:
        load_config(tmp_path / "gate.yml")
    assert "gate schema" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [("folder", r"gate\.yml is not a regular file"), ("latin-1", r"gate\.yml cannot be read")]
)
def test_an_unreadable_file_is_an_error_that_names_it(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "gate.yml"
    if content == "folder":
        path.mkdir()
    else:
        path.write_bytes("version: 1 # é".encode("latin-1"))
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_file_is_loaded_with_its_folder_and_the_line_of_every_key(tmp_path: Path) -> None:
    path = tmp_path / "gate.yml"
    path.write_text(GOOD, encoding="utf-8")
    loaded = load_config(path)
    assert loaded.folder == tmp_path
    assert loaded.lines[("tasks", 0, "prompt")] == 7
    assert loaded.lines[("baseline", "dtype")] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file"),
        ("# only a comment\n", "found an empty file"),
        ("- 1\n", "found a list"),
        ("version", "found a str"),
        ("version: 1\nbaseline: [\n", "gate.yml:3: not valid YAML"),
        ("version: 1\n\tbaseline: 2\n", "gate.yml:2: not valid YAML"),
        ("version: 1\n---\nversion: 1\n", "gate.yml:2: not valid YAML: but found another document"),
        ("version: *nowhere\n", "gate.yml:1: not valid YAML: found undefined alias 'nowhere'"),
        ("version: !!python/object:os.system {}\n", "gate.yml:1: not valid YAML: could not determine"),
        ("version: 1\nx: \x01\n", "gate.yml: not valid YAML: unacceptable character"),
        ("version: 1\nx: 2024-13-45\n", "gate.yml:2: not valid YAML: month must be in 1..12"),
        ("version: 1\nx: !!int many\n", "gate.yml:2: not valid YAML: invalid literal for int()"),
        ("version: 1\nx: &x {y: *x}\n", "an alias inside the node that it refers to"),
        ("x: " + "[" * 500, "nested too deeply"),
    ],
)
def test_text_that_is_not_a_yaml_mapping_is_an_error(text: str, message: str) -> None:
    assert message in problem(text)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        (GOOD + "version: 1\n", 10, "version"),
        (GOOD + "decision: {alpha: 0.05, alpha: 0.5}\n", 10, "alpha"),
        (GOOD + "    name: other\n", 10, "name"),
    ],
)
def test_a_duplicate_key_is_an_error_with_the_line_of_the_second(text: str, line: int, key: str) -> None:
    assert problem(text) == f"gate.yml:{line}: not valid YAML: duplicate key '{key}'."


def test_anchors_and_merge_keys_work() -> None:
    text = GOOD.replace("{model: ./out/llama-3.1-8b-awq}", "{<<: *b, dtype: float16}")
    config = parse(text.replace("baseline:  {", "baseline:  &b {"))
    assert config.candidate.model == "meta-llama/Llama-3.1-8B-Instruct"
    assert config.candidate.dtype == "float16"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "decison: {}\n", "gate.yml:10: decison: unknown key; did you mean decision?"),
        (GOOD + "decision:\n  alhpa: 0.1\n", "gate.yml:11: decision.alhpa: unknown key; did you mean alpha?"),
        (
            GOOD.replace("prompt:", "promt:"),
            "gate.yml:7: tasks.0.promt: unknown key; did you mean prompt?",
        ),
        (
            GOOD + "report: {json_path: a}\n",
            "gate.yml:10: report.json_path: unknown key; did you mean json?",
        ),
        (
            GOOD.replace("{model: ./out", "{engine: {devise: cpu}, model: ./out"),
            "gate.yml:3: candidate.engine.devise: unknown key; did you mean device?",
        ),
        (
            GOOD + "distance: {zzzzzz: 1}\n",
            f"gate.yml:10: distance.zzzzzz: unknown key; known keys: {', '.join(DistanceSettings.model_fields)}.",
        ),
        (
            GOOD + "    kind: generate_until\n    scorer: {kind: numeric, tolerence: 1}\n",
            "gate.yml:11: tasks.0.scorer.tolerence: unknown key; did you mean tolerance?",
        ),
        (
            GOOD + "    kind: generate_until\n    scorer: python\n",
            "gate.yml:11: tasks.0.scorer.function: this key is required.",
        ),
    ],
)
def test_an_unknown_key_names_its_line_and_the_nearest_valid_key(text: str, message: str) -> None:
    assert message in problem(text).splitlines()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("version: 1", "version: 2"), "gate.yml:1: version: Input should be 1; found 2."),
        (GOOD.replace("version: 1\n", ""), "gate.yml:1: version: this key is required."),
        (GOOD.replace("model: ./out", "revision: ./out"), "gate.yml:3: candidate.model: this key is required."),
        (GOOD + "decision: 5\n", "gate.yml:10: decision: Input should be a valid dictionary"),
        (GOOD + "decision: {margin: 1.5}\n", "gate.yml:10: decision.margin: Input should be less than 1"),
        (GOOD + "decision: {margin: true}\n", "gate.yml:10: decision.margin: Input should be a valid number"),
        (GOOD + "decision: {alpha: 0}\n", "gate.yml:10: decision.alpha: Input should be greater than or equal to 0.000000000001"),
        (GOOD + "decision: {alpha: .nan}\n", "gate.yml:10: decision.alpha: Input should be less than 1; found nan."),
        (GOOD + "decision: {rule: mcnemar}\n", "gate.yml:10: decision.rule: Input should be 'omnibus'"),
        (GOOD + "samples: {limit: '5'}\n", "gate.yml:10: samples.limit: Input should be a valid integer; found '5'."),
        (GOOD + "samples: {limit: true}\n", "gate.yml:10: samples.limit: Input should be a valid integer"),
        (GOOD + "samples: {limit: 0}\n", "gate.yml:10: samples.limit: Input should be greater than or equal to 1"),
        (GOOD + "samples: {repeats: 0}\n", "gate.yml:10: samples.repeats: Input should be greater than or equal to 1"),
        (GOOD + "samples: {repeats: 3}\n", "gate.yml:10: samples: repeats need a temperature above 0"),
        (GOOD + "samples: {temperature: -1}\n", "gate.yml:10: samples.temperature: Input should be greater than or"),
        (GOOD + "distance: {kl_top: 0}\n", "gate.yml:10: distance.kl_top: Input should be greater than or equal to 1"),
        (GOOD + "distance: {kl_top: all}\n", "gate.yml:10: distance.kl_top: Input should be 'whole'"),
        (GOOD + "    filter: strict-match\n", "gate.yml:5: tasks.0: filter belongs to tasks of LM Evaluation Harness"),
        (GOOD + "  - {name: gsm8k, prompt: p}\n", "gate.yml:10: tasks.1: task 'gsm8k' has no file, so it is a task of LM"),
        (GOOD + "  - {name: gsm8k, system: s}\n", "gate.yml:10: tasks.1: system needs chat_template: true"),
        (GOOD + "include_path: evals\n", "gate.yml:10: include_path: Input should be a valid list"),
        (GOOD + "engine: {device: gpu}\n", "gate.yml:10: engine.device: String should match pattern"),
        (GOOD + "engine: {max_batch_tokens: 0}\n", "gate.yml:10: engine.max_batch_tokens: must be a positive number"),
        (GOOD + "engine: {max_batch_tokens: all}\n", "gate.yml:10: engine.max_batch_tokens: Input should be 'auto'"),
        (GOOD + "engine: {trust_remote_code: 'yes'}\n", "gate.yml:10: engine.trust_remote_code: Input should be a v"),
        (GOOD + "distance: {kl: false, max_kl: 0.1}\n", "gate.yml:10: distance: max_kl needs kl: true"),
        (GOOD.replace("name: faq", "name: a/b"), "gate.yml:5: tasks.0: name: expected letters and digits"),
        (GOOD.replace('choices: "{{ options }}"', "choices: 3"), "gate.yml:8: tasks.0.choices: Input should be a"),
        (GOOD.replace('    answer: "{{ gold }}"\n', ""), "gate.yml:5: tasks.0: a multiple_choice task needs answer"),
        (GOOD + "    lower_is_better: true\n", "gate.yml:5: tasks.0: lower_is_better: true does not fit acc"),
        (GOOD + "    metric: exact_match\n", "gate.yml:5: tasks.0: metric exact_match does not fit a multiple_choice"),
        (GOOD + "    system: Be brief.\n", "gate.yml:5: tasks.0: system needs chat_template: true"),
        (GOOD + "    stop: [x]\n", "gate.yml:5: tasks.0: stop, extract and scorer belong to generate_until tasks"),
        (GOOD + "    kind: generate_until\n    stop: ['']\n", "gate.yml:5: tasks.0: an empty stop string"),
        (GOOD + "    kind: generate_until\n    extract: '('\n", "gate.yml:5: tasks.0: extract is not a valid regular"),
        (GOOD + "    role: advisory\n", "gate.yml:1: the file: all tasks are advisory, so the verdict could ne"),
        (GOOD.replace("model: meta", "tokenizer: baseline, model: meta"), "gate.yml:1: the file: baseline.tokenizer"),
        (GOOD[: GOOD.index("tasks:")] + "tasks: []\n", "gate.yml:4: tasks: List should have at least 1 item"),
        (GOOD[: GOOD.index("tasks:")] + "tasks: arc\n", "gate.yml:4: tasks: Input should be a valid list"),
    ],
)  # fmt: skip
def test_an_invalid_value_names_its_line_its_key_and_what_was_expected(text: str, message: str) -> None:
    lines = problem(text).splitlines()
    assert any(line.startswith(message) for line in lines), lines


def test_a_registry_task_is_given_by_its_name_or_with_settings() -> None:
    text = GOOD.replace("- name: faq", "- arc_challenge\n  - name: faq") + (
        "  - {name: gsm8k, fewshot: 5, limit: 10, metric: exact_match, filter: strict-match, chat_template: true}\n"
        "include_path: [evals, ../shared]\n"
    )
    config = parse(text)
    assert [task.is_registry_task for task in config.tasks] == [True, False, True]
    assert [task.name for task in config.tasks] == ["arc_challenge", "faq", "gsm8k"]
    assert "fewshot" not in config.tasks[0].model_fields_set
    assert config.tasks[2].filter == "strict-match"
    assert config.include_path == ["evals", "../shared"]
    assert parse(GOOD).include_path == []


def test_a_task_without_a_file_names_the_keys_that_need_one() -> None:
    message = problem(GOOD.replace("    file: evals/faq.jsonl\n", ""))
    assert "task 'faq' has no file" in message
    assert "which defines prompt, choices, answer itself: set file, or remove them" in message


def test_repeats_temperature_and_kl_top() -> None:
    config = parse(GOOD + "samples: {repeats: 4, temperature: 0.7, seed: 3}\ndistance: {kl_top: whole}\n")
    assert (config.samples.repeats, config.samples.temperature) == (4, 0.7)
    assert config.distance.kl_top == "whole"
    assert (parse(GOOD).distance.kl_top, parse(GOOD).distance.kl_sampled) == (64, 16)


def test_task_names_must_be_unique() -> None:
    duplicate = GOOD + GOOD[GOOD.index("  - name") :]
    assert "task names must be unique; used more than once: faq" in problem(duplicate)
    assert len(parse(GOOD + GOOD[GOOD.index("  - name") :].replace("faq", "b")).tasks) == 2


def test_all_problems_are_reported_together() -> None:
    message = problem(GOOD.replace("version: 1", "version: 3") + "decison: {}\nsamples: {limit: x}\n")
    assert [line.split(":")[1] for line in message.splitlines()] == ["1", "11", "10"]


def test_a_model_overrides_only_the_engine_settings_it_names() -> None:
    text = GOOD.replace("{model: ./out", "{engine: {max_batch_tokens: 64, device: cpu}, model: ./out")
    config = parse(text + "engine: {device: cuda, attn_implementation: eager, trust_remote_code: true}\n")
    own, base = config.engine_of(config.candidate), config.engine_of(config.baseline)
    assert base == config.engine
    assert (own.device, own.max_batch_tokens) == ("cpu", 64)
    assert (own.attn_implementation, own.trust_remote_code) == ("eager", True)


def test_a_model_can_override_every_engine_setting_within_the_same_limits() -> None:
    assert list(EngineOverride.model_fields) == list(EngineSettings.model_fields)
    for wrong in (
        "max_batch_tokens: 0",
        "concurrency: 0",
        "device: gpu",
        "base_url: localhost",
        "replicas: 1.5",
    ):
        (top,) = problem(GOOD + f"engine: {{{wrong}}}\n").splitlines()
        (override,) = problem(GOOD.replace("{model: ./out", f"{{engine: {{{wrong}}}, model: ./out")).splitlines()
        assert override == top.replace("gate.yml:10: engine", "gate.yml:3: candidate.engine")


def test_an_override_that_does_not_fit_the_engine_is_an_error() -> None:
    text = GOOD.replace("{model: ./out", "{engine: {kind: openai}, model: ./out")
    assert problem(text) == (
        "gate.yml:1: the file: candidate.engine, merged with the top-level engine: an openai engine needs base_url, "
        "e.g. http://localhost:8000/v1."
    )
    parse(text + "engine: {kind: openai, base_url: 'http://localhost:8000/v1'}\n")


def test_settings_never_change_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(GOOD).decision.alpha = 0.5  # type: ignore[misc]


NAMED = """\
candidates:
  - {name: int8, model: ./out/int8}
  - {name: fp8-kv, model: ./out/fp8, engine: {max_batch_tokens: 384}}
"""
SEVERAL = GOOD.replace("candidate: {model: ./out/llama-3.1-8b-awq}\n", NAMED)


def test_several_candidates_have_names_and_share_the_level_of_early_stopping() -> None:
    config = parse(SEVERAL + "decision: {early_stop: {alpha: 0.01}}\n")
    assert config.candidate is None
    assert {name: model.model for name, model in config.compared.items()} == {
        "int8": "./out/int8",
        "fp8-kv": "./out/fp8",
    }
    assert list(config.models) == ["baseline", "int8", "fp8-kv"]
    assert config.engine_of(config.compared["fp8-kv"]).max_batch_tokens == 384
    assert config.early_stop.alpha == 0.005
    assert list(parse(GOOD).compared) == ["candidate"]
    assert parse(GOOD).early_stop is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + NAMED, "name one candidate (`candidate`) or several (`candidates`); found both"),
        (GOOD.replace("candidate: {model: ./out/llama-3.1-8b-awq}\n", ""), "(`candidates`); found neither"),
        (SEVERAL.replace("fp8-kv", "INT8"), "names of candidates must be unique; used more than once: INT8, int8"),
        (SEVERAL.replace("fp8-kv", "baseline"), "a candidate cannot have the name `baseline`"),
        (SEVERAL.replace("fp8-kv", "../fp8"), "gate.yml:5: candidates.1.name: String should match pattern"),
        (SEVERAL.replace("name: int8, ", ""), "gate.yml:4: candidates.0.name: this key is required."),
        (SEVERAL.replace("model: ./out/fp8", "model: ./out/fp8, gguf: x"), "did you mean gguf_file?"),
    ],
)
def test_candidates_that_cannot_be_told_apart_are_refused(text: str, message: str) -> None:
    assert message in problem(text)


REGISTRY = "version: 1\nbaseline: {model: a}\ncandidate: {model: b}\ntasks:\n  - "


def test_each_task_has_its_own_policy_beside_that_of_the_decision() -> None:
    text = (
        "{name: arc, margin: 0.01, certify: 0.02, max_drop: 0.03, min_recovery: 0.98, max_flip_rate: 0.1, max_kl: 0.2}"
    )
    (task,) = parse(f"{REGISTRY}{text}\n").tasks
    assert (task.margin, task.certify, task.max_drop) == (0.01, 0.02, 0.03)
    assert (task.min_recovery, task.max_flip_rate, task.max_kl) == (0.98, 0.1, 0.2)
    (plain,) = parse(f"{REGISTRY}arc\n").tasks
    assert (plain.margin, plain.certify, plain.max_drop, plain.min_recovery) == (None,) * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: arc, margin: 1.5}", "tasks.0.margin: Input should be less than 1"),
        ("{name: arc, certify: 0.0}", "tasks.0.certify: Input should be greater than 0"),
        ("{name: arc, min_recovery: 99}", "tasks.0.min_recovery: Input should be"),
        ("{name: arc, max_drops: 0.1}", "did you mean max_drop?"),
        (
            "{name: arc, margin: 0.01}\ndecision: {early_stop: {}}",
            "early_stop tests for any drop and cannot be used with a margin; remove one of them from: arc",
        ),
        ("{name: arc, max_kl: 0.1}\ndistance: {kl: false}", "max_kl needs distance.kl: true; it is set for: arc"),
    ],
)
def test_a_policy_of_a_task_that_is_wrong_is_refused(text: str, message: str) -> None:
    assert message in problem(f"{REGISTRY}{text}\n")


def test_aliases_that_multiply_are_refused_at_once(tmp_path: Path) -> None:
    """350 bytes that expand to 10^10 entries."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 10)]
    path = tmp_path / "gate.yml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="more than 100,000 entries after its aliases are expanded"):
        load_config(path)


def test_nul_character_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "gate.yml"
    path.write_text('version: 1\nbaseline:\n  model: "a\\0b"\n')
    with pytest.raises(ConfigError, match=r"gate\.yml:3: baseline\.model contains a NUL character"):
        load_config(path)
