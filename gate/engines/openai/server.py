"""Which server this is, what it serves, and what of that tells one set of weights from another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from gate.engines.openai.client import Client, RefusedError
from gate.errors import EvaluationError, ModelError

Kind = Literal["llama.cpp", "vllm", "sglang", "tgi", "unknown"]

_OPENING_ATTEMPTS = 4  # about 4 s: a mistyped port should not cost minutes
# changes with every start or every request, and says nothing about the weights
_PASSING = frozenset({"created", "permission", "permissions", "modified_at", "aliases"})


@dataclass(frozen=True)
class Server:
    """A server that was found.

    Attributes
    ----------
    kind : str
        Which program it is, by the routes that only this program has; `unknown` may be anything behind a proxy.
    version : str
        Its version or build, as it says; empty where it says none.
    model : str
        Name of the model in requests.
    max_length : int or None
        Longest prompt and answer together, in tokens, where it says so.
    slots : int or None
        llama.cpp: sequences that it holds at a time.
    bos : str or None
        llama.cpp: text of the token that texts begin with.
    facts : dict
        What it says of the model, without what changes from start to start.
    """

    kind: Kind
    version: str
    model: str
    max_length: int | None
    slots: int | None
    bos: str | None
    facts: dict[str, Any]


async def find_server(client: Client, name: str) -> Server:
    """Ask a server who it is, and check that it serves the model `name`.

    Raises
    ------
    EvaluationError
        It cannot be reached, or refuses the key.
    ModelError
        It serves other models only.
    """
    try:
        listed = await client.get("v1/models", _OPENING_ATTEMPTS)
    except RefusedError as refusal:
        if refusal.status != 404:
            raise
        listed = None  # some gateways have no such route
    entries = listed.get("data") if isinstance(listed, dict) else None
    entry = _entry(client, name, [one for one in entries or [] if isinstance(one, dict)])
    model = str(entry.get("id", name))
    props = await _optional(client, "props")
    if "default_generation_settings" in props and "total_slots" in props:
        return _llama_cpp(model, entry, props)
    facts = _lasting(entry)
    length = _number(entry.get("max_model_len"))
    version = await _optional(client, "version")
    if "version" in version:
        return Server("vllm", str(version["version"]), model, length, None, None, facts)
    info = await _optional(client, "get_server_info")
    if "version" in info:
        facts |= {key: info[key] for key in ("model_path", "dtype", "quantization") if key in info}
        length = length or _number(info.get("context_length"))
        return Server("sglang", str(info["version"]), model, length, None, None, facts)
    info = await _optional(client, "info")
    if "max_total_tokens" in info:
        facts |= {key: info[key] for key in ("model_id", "model_sha", "model_dtype") if key in info}
        length = _number(info["max_total_tokens"])
        return Server("tgi", str(info.get("version", "")), model, length, None, None, facts)
    return Server("unknown", "", model, length, None, None, facts)


def _llama_cpp(model: str, entry: dict[str, Any], props: dict[str, Any]) -> Server:
    template = props.get("chat_template")
    return Server(
        kind="llama.cpp",
        version=str(props.get("build_info", "")),
        model=model,
        max_length=_number(props["default_generation_settings"].get("n_ctx")),
        slots=_number(props["total_slots"]) or 1,
        bos=props.get("bos_token") or None,
        facts=_lasting(entry) | {"chat_template": template, "ftype": props.get("model_ftype")},
    )


def _entry(client: Client, name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the server lists of the model; llama.cpp's name of a model is its file's path by default."""
    for entry in entries:
        aliases = entry.get("aliases")
        known = [str(entry.get("id")), *(map(str, aliases) if isinstance(aliases, list) else [])]
        if name in known or name in [PurePosixPath(one).name for one in known]:
            return entry
    if entries:
        served = ", ".join(str(entry.get("id")) for entry in entries[:5])
        raise ModelError(
            f"model {name}: the server {client.address} does not serve it; it serves: {served}.",
            "Set model: to a served name, or start the server with this name "
            "(vLLM: --served-model-name, llama.cpp: --alias).",
        )
    return {}


async def _optional(client: Client, route: str) -> dict[str, Any]:
    """Return what a route of some servers answers; empty where there is none."""
    try:
        answer = await client.get(route, 1)
    except EvaluationError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _lasting(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in _PASSING}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
