"""The `engine` section, and its override for one model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, create_model, model_validator

from gate.config.section import Section

_SERVED = ("preset", "command", "args", "env", "python", "ready", "startup_timeout", "port", "gpus")
_PROGRAM = ("preset", "command", "args", "env", "python", "ready")


def _positive(value: int | str) -> int | str:
    if isinstance(value, int) and value < 1:
        raise ValueError("must be a positive number of tokens, or auto")
    return value


def _as_text(value: Any) -> Any:
    """Write a number of YAML as a command line does; `true` stays an error, because programs spell it differently."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Word = Annotated[str, BeforeValidator(_as_text), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]})]
"""A word of a command line, or the value of an environment variable."""


class EngineSettings(Section):
    """The engine that answers the requests."""

    kind: Literal["transformers", "openai", "served"] = Field(
        "transformers",
        description="transformers (loads the weights itself), openai (a running server with an OpenAI-compatible API), "
        "or served (starts such a server for each model, and stops it).",
    )
    base_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="openai: address of the server, e.g. http://localhost:8000/v1.",
    )
    api_key_env: str | None = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="openai: environment variable that holds the API key; null sends no key.",
    )
    concurrency: int = Field(16, ge=1, le=1024, description="openai, served: number of concurrent requests.")
    timeout: float = Field(300.0, gt=0, description="openai, served: time limit of one request, in seconds.")
    preset: Literal["vllm", "sglang", "llama.cpp"] | None = Field(
        None, description="served: the program to start; its command is known."
    )
    command: list[Word] | None = Field(
        None,
        min_length=1,
        description="served: the command of any other server, as a list of words. {model} becomes the folder of the "
        "model (or its GGUF file), {name} the model's name in requests, {host} 127.0.0.1, {port} the port, {dtype} the "
        "dtype.",
    )
    args: list[Word] = Field(
        default_factory=list,
        description="served: further arguments of the server. Those of one model are added to the top-level ones.",
    )
    env: dict[str, Word] = Field(
        default_factory=dict,
        description="served: environment variables of the server. Those of one model are added to the top-level ones.",
    )
    python: str | None = Field(
        None,
        min_length=1,
        description="served: Python interpreter of the environment in which vLLM or SGLang is installed.",
    )
    ready: str | None = Field(
        None,
        pattern=r"^/",
        description="served: route that answers with status 200 when the model is loaded. Default: /health for a "
        "preset, /v1/models for a command.",
    )
    startup_timeout: float = Field(1800.0, gt=0, description="served: time limit of the server's start, in seconds.")
    port: Annotated[int, Field(ge=1, le=65535)] | Literal["auto"] = Field(
        "auto", description="served: port of the server on this machine; auto takes a free one."
    )
    gpus: list[Annotated[int, Field(ge=0)]] | Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="served: numbers of the GPUs that the server sees (CUDA_VISIBLE_DEVICES); null for all, [] for "
        "none. With replicas, the number of GPUs of each replica, which Ray chooses; null for one if there are any.",
    )
    replicas: int = Field(
        1, ge=1, le=1024, description="Number of copies of the model; more than 1 run on Ray workers."
    )
    address: str | None = Field(None, description="Address of a Ray cluster; null starts one on this machine.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?|balanced)$",
        description="auto (a GPU if there is one), cpu, cuda, cuda:N, or balanced (spread over all GPUs).",
    )
    max_batch_tokens: Annotated[int | Literal["auto"], AfterValidator(_positive)] = Field(
        "auto",
        description="Largest batch, in tokens: rows x padded length of a forward pass, and the tokens of all sequences "
        "that are generated at a time.",
    )
    attn_implementation: str | None = Field(
        None, description="Attention implementation of transformers: sdpa, eager, ..."
    )
    trust_remote_code: bool = Field(False, description="Run Python code from the model repository.")

    @model_validator(mode="after")
    def _consistent(self) -> EngineSettings:
        if self.kind == "openai" and self.base_url is None:
            raise ValueError("an openai engine needs base_url, e.g. http://localhost:8000/v1")
        if self.kind != "openai" and self.base_url is not None:
            raise ValueError(f"base_url belongs to kind: openai, not {self.kind}")
        if self.kind == "openai" and self.replicas > 1:
            raise ValueError("replicas belong to the kinds transformers and served; a running server manages its own")
        if self.kind == "served":
            self._check_served()
        else:
            defaults = _defaults(_SERVED)
            foreign = [name for name in _SERVED if getattr(self, name) != defaults[name]]
            if foreign:
                raise ValueError(f"{', '.join(foreign)}: these keys belong to kind: served, not {self.kind}")
        return self

    def _check_served(self) -> None:
        if (self.preset is None) == (self.command is None):
            found = "neither" if self.preset is None else "both"
            raise ValueError(f"a served engine needs a preset (vllm, sglang, llama.cpp) or a command; found {found}")
        on_ray = self.replicas > 1 or self.address is not None
        if on_ray and isinstance(self.gpus, list):
            raise ValueError("with replicas, gpus must be a number: the GPUs per replica, which Ray chooses")
        if on_ray and self.port != "auto":
            raise ValueError("port must be auto with replicas: two servers cannot listen on one port")
        if not on_ray and isinstance(self.gpus, int):
            raise ValueError("without replicas, gpus must be a list of numbers, e.g. [0, 1]")
        if self.python is not None and self.preset not in ("vllm", "sglang"):
            raise ValueError("python belongs to the presets vllm and sglang; a command names its program itself")
        words = " ".join([*(self.command or ()), *self.args])
        if self.command is not None and "{model}" not in words:
            raise ValueError("command must contain {model}: the server has to load the weights that are hashed")
        if self.command is not None and self.port == "auto" and "{port}" not in words:
            raise ValueError("command must contain {port}, or `port` must be a number")
        if any("\0" in text or "=" in name for name, text in self.env.items()) or "" in self.env:
            raise ValueError("env: names must not be empty or contain `=`")


def _defaults(names: tuple[str, ...]) -> dict[str, Any]:
    fields = EngineSettings.model_fields
    return {name: fields[name].get_default(call_default_factory=True) for name in names}


def _optional_fields(section: type[Section]) -> dict[str, Any]:
    """Return the fields of a section with their constraints and descriptions, each optional and None by default."""
    fields: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        annotation: Any = field.annotation
        optional = annotation | None
        for constraint in field.metadata:
            optional = Annotated[optional, constraint]
        fields[name] = (optional, Field(None, description=field.description))
    return fields


_OptionalEngine: Any = create_model("_OptionalEngine", __base__=Section, **_optional_fields(EngineSettings))


class EngineOverride(_OptionalEngine):
    """Engine settings for one model. Keys that are not set come from the top-level `engine`."""

    def over(self, base: EngineSettings) -> EngineSettings:
        """Return `base` with the values that are set here.

        Raises
        ------
        pydantic.ValidationError
            The values do not fit together.
        """
        own = self.model_dump(exclude_none=True)
        inherited = base.model_dump()
        if own.get("kind", base.kind) != base.kind:
            # the address of a server and the number of replicas do not apply to another kind of engine
            inherited |= {"base_url": None, "replicas": 1, **_defaults(_SERVED)}
        elif any(own.get(key, getattr(base, key)) != getattr(base, key) for key in ("preset", "command")):
            inherited |= _defaults(_PROGRAM)  # arguments of one program mean nothing to another
        else:
            own |= {"args": [*base.args, *own.get("args", ())], "env": base.env | own.get("env", {})}
        if own.get("base_url", base.base_url) != base.base_url and base.base_url is not None:
            inherited["api_key_env"] = None  # do not send the API key of one server to another
        return EngineSettings(**{**inherited, **own})
