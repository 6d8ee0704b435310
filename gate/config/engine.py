"""The `engine` section, and its override for one model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model, model_validator

from gate.config.section import Section


def _positive(value: int | str) -> int | str:
    if isinstance(value, int) and value < 1:
        raise ValueError("must be a positive number of tokens, or auto")
    return value


class EngineSettings(Section):
    """The engine that answers the requests."""

    kind: Literal["transformers", "openai"] = Field(
        "transformers",
        description="transformers (loads the weights itself), or openai (a server with an OpenAI-compatible API).",
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
    concurrency: int = Field(16, ge=1, le=1024, description="openai: number of concurrent requests.")
    timeout: float = Field(300.0, gt=0, description="openai: time limit of one request, in seconds.")
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
            raise ValueError("replicas belong to kind: transformers; a server manages its own replicas")
        return self


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
            inherited |= {"base_url": None, "replicas": 1}
        if own.get("base_url", base.base_url) != base.base_url and base.base_url is not None:
            inherited["api_key_env"] = None  # do not send the API key of one server to another
        return EngineSettings(**{**inherited, **own})
