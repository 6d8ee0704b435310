"""The command line and the environment of a server, and what of them identifies its answers."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from gate.config import EngineSettings, ModelSettings
from gate.engines.served.programs import program, resolve, versions
from gate.errors import ConfigError

HOST = "127.0.0.1"
_LISTED_TOKENS = "256"
_OWN_FLAGS = {
    "vllm": ("--host", "--port", "--served-model-name", "--model", "--api-key", "--uds", "--root-path"),
    "sglang": ("--host", "--port", "--served-model-name", "--model-path", "--model", "--api-key"),
    "llama.cpp": ("--host", "--port", "--alias", "-a", "--model", "-m", "--api-key", "--api-key-file", "--api-prefix"),
}
# inherited variables with these prefixes change what the program computes, so they count like those in `env`
_PREFIXES = {"vllm": ("VLLM_",), "sglang": ("SGLANG_", "SGL_"), "llama.cpp": ("LLAMA_", "GGML_")}
# ... unless they name secrets, places on this machine, or what is written to the log
_OTHER = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CACHE|_DIR$|_PATH$|_ROOT$|_HOST|_IP$|_PORT|LOG|USAGE|CPU_OMP_THREADS")

_GATE_SECRETS = re.compile(r"(GATE_STORE_KEY|GITHUB_TOKEN|GH_TOKEN)$|ACTIONS_.*TOKEN|INPUT_.*TOKEN")

# flags that choose a number format or another model, rather than only the order of sums: what such a flag changes is
# tested like the weights are, so the A/A control does not share it
_MODEL_FLAGS = (
    # vLLM and SGLang
    *("--quantization", "-q", "--quantization-param-path", "--kv-cache-dtype", "--calculate-kv-scales"),
    *("--load-format", "--hf-overrides", "--torchao-config", "--modelopt-quant", "--json-model-override-args"),
    *("--enable-lora",),
    # llama.cpp
    *("--cache-type-k", "-ctk", "--cache-type-v", "-ctv", "--model-draft", "-md", "--override-kv"),
)
_MODEL_PREFIXES = ("--spec", "--draft-", "--lora", "--rope-", "--yarn-")


def check_model(engine: EngineSettings, model: ModelSettings) -> None:
    """Refuse a model or arguments that the server cannot be started with.

    Raises
    ------
    ConfigError
        llama.cpp without a GGUF file, a dtype that the command ignores, or an argument that the gate sets itself.
    """
    if engine.preset == "llama.cpp" and model.gguf_file is None:
        raise ConfigError(
            f"model {model.model}: engine.preset is llama.cpp, which reads GGUF files only, but gguf_file is not set.",
            "Set gguf_file to the name of a GGUF file in the model's folder.",
        )
    words = [*(engine.command or ()), *engine.args]
    ignored = engine.preset == "llama.cpp" or (engine.command is not None and "{dtype}" not in " ".join(words))
    if model.dtype != "auto" and ignored:
        remedy = "Remove dtype; the file decides." if engine.preset else "Remove dtype, or use {dtype} in the command."
        raise ConfigError(f"model {model.model}: dtype is {model.dtype}, but its server would not get it.", remedy)
    own = _OWN_FLAGS.get(engine.preset or "", ())
    taken = [word for word in engine.args if word.partition("=")[0] in own]
    if taken:
        raise ConfigError(
            f"engine.args contains {taken[0]}, which the gate sets itself.",
            "Remove it; engine.port chooses the port, and the server is reachable on this machine only.",
        )


def command_words(engine: EngineSettings, model: ModelSettings, base: Path) -> list[str]:
    """Return the words of the command, with their placeholders ({model}, {name}, {host}, {port}, {dtype}).

    Raises
    ------
    ConfigError
        The program is not installed, or see `check_model`.
    """
    check_model(engine, model)
    if engine.command is not None:
        return [resolve(engine.command[0], base, "engine.command"), *engine.command[1:], *engine.args]
    return [*program(engine, base), *_preset_words(engine, model), *engine.args]


def _preset_words(engine: EngineSettings, model: ModelSettings) -> list[str]:
    address = ["--host", "{host}", "--port", "{port}"]
    if engine.preset == "llama.cpp":
        return ["--model", "{model}", *address, "--alias", "{name}"]
    words = ["serve", "{model}"] if engine.preset == "vllm" else ["--model-path", "{model}"]
    words += [*address, "--served-model-name", "{name}"]
    if engine.preset == "vllm":
        words += ["--max-logprobs", _LISTED_TOKENS]  # vLLM's default is 20, too few for KL divergence
    if model.dtype != "auto":
        words += ["--dtype", "{dtype}"]
    return [*words, *(["--trust-remote-code"] if engine.trust_remote_code else [])]


def fill(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Replace placeholders; braces around anything else, as in JSON, stay."""
    pattern = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))
    return [pattern.sub(lambda match: values[match[0][1:-1]], word) for word in words]


def served_name(model: ModelSettings) -> str:
    """Return the model's name in requests: short, and safe in a command line."""
    name = Path(model.gguf_file or model.model).name.removesuffix(".gguf")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"


def program_name(words: Sequence[str]) -> str:
    """Return the name of a command for messages: that of the script, where the program is an interpreter."""
    paths = [Path(word) for word in words[:2]]
    is_script = re.match(r"python[0-9.]*$", paths[0].name) and len(paths) > 1 and paths[1].suffix == ".py"
    return paths[1 if is_script else 0].name


def environment(engine: EngineSettings, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of the server's process: the inherited one without the gate's own secrets, and `env`."""
    variables = {name: value for name, value in inherited.items() if not _GATE_SECRETS.match(name)}
    if engine.preset == "vllm":
        variables.setdefault("VLLM_HOST_IP", HOST)  # its processes talk to each other on loopback
    if isinstance(engine.gpus, list):
        variables |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, engine.gpus))}
    return variables | engine.env


def chosen_variables(engine: EngineSettings, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that count for the identity: those of `env`, and inherited ones that the program reads."""
    prefixes = _PREFIXES.get(engine.preset or "", ())
    read = {name: value for name, value in inherited.items() if name.startswith(prefixes) and not _OTHER.search(name)}
    return dict(sorted(((read if prefixes else {}) | engine.env).items()))


def served_engine_name(engine: EngineSettings, base: Path) -> str:
    """Return the served engine in an identity: program and versions, command, arguments and chosen environment."""
    parts = [versions(engine, base)]
    if engine.command is not None:
        parts.append(f"command {shlex.join([Path(engine.command[0]).name, *engine.command[1:]])}")
    if engine.args:
        parts.append(f"args {shlex.join(engine.args)}")
    if chosen := chosen_variables(engine):
        parts.append(f"env {_listed(chosen)}")
    trust = ["trust_remote_code"] if engine.trust_remote_code else []
    return f"served({'; '.join([*parts, *trust])})"


def stack_facts(engine: EngineSettings) -> dict[str, str]:
    """Return what belongs to the stack: arguments and environment, without flags that belong to the model."""
    facts = {
        "args": shlex.join(stack_args(engine.args)) or "none",
        "env": _listed(chosen_variables(engine)) or "none",
    }
    if engine.command is not None:
        facts["command"] = shlex.join([Path(engine.command[0]).name, *engine.command[1:]])
    return facts


def stack_args(args: Sequence[str]) -> list[str]:
    """Return arguments without flags that choose a number format or another model, and without their values."""
    return _split_args(args)[0]


def control_args(candidate: Sequence[str], baseline: Sequence[str]) -> list[str]:
    """Return the arguments of a control: the candidate's, but with the number formats of the baseline.

    A number format is part of what the comparison tests, so the control must not have the candidate's.
    """
    return [*_split_args(candidate)[0], *_split_args(baseline)[1]]


def _split_args(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments that belong to the stack, and those that choose a number format or another model."""
    stack: list[str] = []
    model: list[str] = []
    words = stack
    for word in args:
        if re.match(r"--?[A-Za-z]", word):
            flag = word.partition("=")[0].replace("_", "-")
            words = model if flag in _MODEL_FLAGS or flag.startswith(_MODEL_PREFIXES) else stack
        words.append(word)
    return stack, model


def _listed(variables: Mapping[str, str]) -> str:
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
