"""The keys of a served engine: what is accepted, what the command becomes, and what the fingerprint depends on."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gate.config import EngineSettings, ModelSettings
from gate.config.engine import EngineOverride
from gate.engines import identify, locate
from gate.engines.served import log as log_module
from gate.engines.served.command import (
    check_model,
    chosen_variables,
    command_words,
    control_args,
    environment,
    fill,
    served_name,
    stack_args,
    stack_facts,
)
from gate.engines.served.log import Log
from gate.engines.served.ports import choose_port, is_public, listens
from gate.errors import ConfigError, EvaluationError

VLLM: dict[str, Any] = {"kind": "served", "preset": "vllm"}
COMMAND = [sys.executable, "serve.py", "{model}", "{port}"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "served"}, "a preset .* or a command; found neither"),
        ({**VLLM, "command": COMMAND}, "found both"),
        ({"preset": "vllm"}, "preset: these keys belong to kind: served, not transformers"),
        ({"kind": "openai", "base_url": "http://a/v1", "args": ["-x"]}, "args: these keys belong to kind: served"),
        ({"kind": "served", "command": ["serve", "{port}"]}, r"must contain \{model\}"),
        ({"kind": "served", "command": ["serve", "{model}"]}, r"must contain \{port\}"),
        ({"kind": "served", "command": []}, "at least 1 item"),
        ({**VLLM, "args": [True]}, "valid string"),
        ({**VLLM, "port": 70000}, "less than or equal to 65535"),
        ({**VLLM, "ready": "health"}, "pattern"),
        (
            {"kind": "openai", "base_url": "http://a/v1", "replicas": 2},
            "replicas belong to the kinds transformers and served",
        ),
        ({**VLLM, "env": {"A=B": "1"}}, "names must not be empty or contain"),
        ({**VLLM, "preset": "llama.cpp", "python": "python3"}, "python belongs to the presets vllm and sglang"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EngineSettings(**settings)


def test_numbers_of_yaml_are_words() -> None:
    settings = EngineSettings(**VLLM, args=["--max-num-seqs", 64, 0.9], env={"VLLM_CPU_KVCACHE_SPACE": 2})
    assert settings.args == ["--max-num-seqs", "64", "0.9"]
    assert settings.env == {"VLLM_CPU_KVCACHE_SPACE": "2"}


def test_arguments_of_one_model_are_added_unless_it_has_another_program() -> None:
    base = EngineSettings(**VLLM, args=["--max-model-len", 512], env={"A": "1"}, gpus=[0])
    own = EngineOverride(args=["--kv-cache-dtype", "fp8"], env={"B": "2"}).over(base)
    assert own.args == ["--max-model-len", "512", "--kv-cache-dtype", "fp8"]
    assert own.env == {"A": "1", "B": "2"}
    llama = EngineOverride(preset="llama.cpp", args=["-c", 1024]).over(base)
    assert (llama.args, llama.env, llama.gpus) == (["-c", "1024"], {}, [0])
    plain = EngineOverride(kind="transformers").over(base)
    assert plain == EngineSettings()


def test_a_preset_gives_its_command(tmp_path: Path) -> None:
    model = ModelSettings(model="org/model", dtype="bfloat16")
    words = command_words(EngineSettings(**VLLM, python=sys.executable, args=["-x"]), model, tmp_path)
    assert words[:4] == [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve"]
    assert words[-3:] == ["--dtype", "{dtype}", "-x"]
    sglang = command_words(EngineSettings(kind="served", preset="sglang", python=sys.executable), model, tmp_path)
    assert sglang[1:5] == ["-m", "sglang.launch_server", "--model-path", "{model}"]


def test_the_program_of_llama_cpp_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineSettings(kind="served", preset="llama.cpp")
    model = ModelSettings(model="m", gguf_file="m-Q8_0.gguf")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no program llama-server on the PATH"):
        command_words(engine, model, tmp_path)
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho 'version: 7010 (abc)' >&2\n")
    program.chmod(0o755)
    assert command_words(engine, model, tmp_path)[:3] == [str(program), "--model", "{model}"]
    with pytest.raises(ConfigError, match="reads GGUF files only"):
        command_words(engine, ModelSettings(model="m"), tmp_path)


def test_only_placeholders_are_replaced() -> None:
    words = fill(
        ["{model}", '{"a": {port}}', "{other}", "x{host}:{port}"], {"model": "/m {port}", "port": "7", "host": "h"}
    )
    assert words == ["/m {port}", '{"a": 7}', "{other}", "xh:7"]


@pytest.mark.parametrize(
    ("settings", "model", "message"),
    [
        ({**VLLM, "args": ["--host=0.0.0.0"]}, {}, "which the gate sets itself"),
        ({**VLLM, "args": ["--served-model-name", "x"]}, {}, "which the gate sets itself"),
        ({"kind": "served", "command": COMMAND}, {"dtype": "float16"}, "would not get it"),
        ({"kind": "served", "preset": "llama.cpp"}, {"dtype": "float16", "gguf_file": "a.gguf"}, "would not get it"),
    ],
)
def test_arguments_that_the_gate_sets_and_ignored_dtypes_are_refused(
    settings: dict[str, Any], model: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_model(EngineSettings(**settings), ModelSettings(model="m", **model))


def test_names_in_requests_are_safe() -> None:
    assert served_name(ModelSettings(model="org/My Model")) == "My-Model"
    assert served_name(ModelSettings(model="./", gguf_file="a,b.gguf")) == "a-b"
    assert served_name(ModelSettings(model="..")) == "model"


def test_the_environment_has_gpus_and_stays_on_this_machine() -> None:
    variables = environment(EngineSettings(**VLLM, gpus=[1, 3], env={"A": "own"}), {"A": "inherited", "B": "b"})
    assert variables == {
        "A": "own",
        "B": "b",
        "VLLM_HOST_IP": "127.0.0.1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "1,3",
    }
    assert environment(EngineSettings(**VLLM, gpus=[]), {})["CUDA_VISIBLE_DEVICES"] == ""


def test_the_server_does_not_get_the_secrets_of_the_gate() -> None:
    inherited = {"GATE_STORE_KEY": "a", "GITHUB_TOKEN": "b", "INPUT_GITHUB-TOKEN": "c", "ACTIONS_RUNTIME_TOKEN": "d"}
    assert environment(EngineSettings(kind="served", command=COMMAND), {**inherited, "HF_TOKEN": "e"}) == {
        "HF_TOKEN": "e"
    }


def test_inherited_variables_of_the_program_count_but_no_secrets_and_places() -> None:
    inherited = {"VLLM_USE_V1": "1", "VLLM_API_KEY": "secret", "VLLM_CACHE_ROOT": "/x", "HOME": "/root"}
    assert chosen_variables(EngineSettings(**VLLM, env={"A": "1"}), inherited) == {"A": "1", "VLLM_USE_V1": "1"}
    assert chosen_variables(EngineSettings(kind="served", command=COMMAND), inherited) == {}


def test_flags_of_the_number_format_belong_to_the_model_not_to_the_stack() -> None:
    args = ["--kv-cache-dtype", "fp8", "--max-num-seqs", "4", "--quantization=fp8", "--enforce-eager", "-q", "awq"]
    assert stack_args(args) == ["--max-num-seqs", "4", "--enforce-eager"]
    assert stack_args(["--speculative-config", '{"model": "m"}', "-c", "-1"]) == ["-c", "-1"]
    assert stack_facts(EngineSettings(**VLLM, args=args))["args"] == "--max-num-seqs 4 --enforce-eager"


def fingerprint_of(tiny_model: Path, folder: Path, **engine: Any) -> str:
    settings = EngineSettings(kind="served", **{"command": COMMAND, **engine})
    return identify(locate(ModelSettings(model=str(tiny_model)), folder, settings), settings, folder).fingerprint


def test_the_fingerprint_depends_on_what_changes_numbers(tiny_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text("print(1)")
    plain = fingerprint_of(tiny_model, tmp_path)
    for same in ({"port": 8123}, {"concurrency": 3}, {"gpus": [0]}, {"startup_timeout": 5.0}, {"ready": "/x"}):
        assert fingerprint_of(tiny_model, tmp_path, **same) == plain
    changes: tuple[dict[str, Any], ...] = ({"args": ["-x"]}, {"env": {"A": "1"}}, {"command": [*COMMAND, "-y"]})
    others = {fingerprint_of(tiny_model, tmp_path, **change) for change in changes}
    script.write_text("print(2)")  # another version of the program
    from gate.engines.served.programs import _command_versions

    _command_versions.cache_clear()
    others.add(fingerprint_of(tiny_model, tmp_path))
    assert len({plain, *others}) == 5


def test_served_weights_are_hashed_as_for_transformers(tiny_model: Path, tmp_path: Path) -> None:
    settings = EngineSettings(kind="served", command=COMMAND)
    model = ModelSettings(model=str(tiny_model))
    served = identify(locate(model, tmp_path, settings), settings, tmp_path)
    plain = identify(locate(model, tmp_path), EngineSettings(), tmp_path)
    assert (served.weights, served.tokenizer) == (plain.weights, plain.tokenizer)
    assert served.fingerprint != plain.fingerprint
    assert "command " in served.engine
    assert "torch" in served.engine


def test_a_port_is_public_if_other_machines_can_reach_it() -> None:
    for host, public in (("127.0.0.1", False), ("0.0.0.0", True)):
        with socket.socket() as server:
            server.bind((host, 0))
            server.listen()
            assert is_public(server.getsockname()[1]) is public
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(EvaluationError, match="cannot be used: Address already in use"):
            choose_port(server.getsockname()[1])
    assert 0 < choose_port("auto") < 65536


def test_a_port_belongs_to_the_process_that_listens_on_it() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert listens([os.getpid()], port)
        assert not listens([os.getppid()], port)


def test_the_end_of_a_log_is_short_and_free_of_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_bytes(b"of an earlier server\n")
    log = Log(path)
    with path.open("ab") as file:
        file.write(b"\x1b[31mred\x1b[0m\n\n" + b"0%\r50%\r100%\n" + b"\xff\xfe bad\n" + b"x" * 5000 + b"\n")
    assert log.lines() == ["red", "100%", "\ufffd\ufffd bad", "x" * 5000]
    assert max(map(len, log.tail().splitlines()[1:])) <= 210
    with path.open("ab") as file:
        file.writelines(b"line %d\n" % number for number in range(100_000))
    assert log.lines()[-1] == "line 99999"
    assert len(log.tail().splitlines()) == log_module._LINES + 1


def test_control_has_the_stack_of_the_candidate_and_the_number_formats_of_the_baseline() -> None:
    candidate = ["--max-num-seqs", "8", "--kv-cache-dtype", "fp8", "--enforce-eager", "--quantization=fp8"]
    baseline = ["--max-num-seqs", "64", "--kv-cache-dtype", "auto"]
    assert control_args(candidate, baseline) == ["--max-num-seqs", "8", "--enforce-eager", "--kv-cache-dtype", "auto"]
    assert control_args(candidate, []) == stack_args(candidate) == ["--max-num-seqs", "8", "--enforce-eager"]
