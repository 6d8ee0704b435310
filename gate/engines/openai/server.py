"""Which program a server runs, which model it serves, and the facts that identify the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from gate.engines.openai.client import Client, RefusedError
from gate.errors import EvaluationError, ModelError

Kind = Literal["llama.cpp", "vllm", "sglang", "tgi", "unknown"]

_OPENING_ATTEMPTS = 4  # about 4 s: a mistyped port should not take minutes
# changes with every start or request, independently of the weights
_VOLATILE = frozenset({"created", "permission", "permissions", "modified_at", "aliases"})


@dataclass(frozen=True)
class Server:
    """A server and the model that it serves.

    Attributes
    ----------
    kind : str
        The program, recognised by routes that only it has; `unknown` may be any program behind a proxy.
    version : str
        As reported; may be empty.
    model : str
        The model's name in requests.
    max_length : int or None
        Longest prompt and generated text together, in tokens, if reported.
    facts : dict
        What the server reports about the model, without what changes from start to start.
    slots : int
        llama.cpp: number of sequences that it processes at a time.
    bos : str or None
        llama.cpp: text of the BOS token.
    """

    kind: Kind
    version: str
    model: str
    max_length: int | None
    facts: dict[str, Any]
    slots: int = 1
    bos: str | None = None

    @property
    def max_input(self) -> int | None:
        """Longest input of a scored sequence: its last token and one generated token must fit too."""
        return None if self.max_length is None else max(1, self.max_length - 2)


async def find_server(client: Client, name: str) -> Server:
    """Identify a server, and check that it serves the model `name`.

    Raises
    ------
    EvaluationError
        It is unreachable, or rejects the key.
    ModelError
        It does not serve the model.
    """
    try:
        models = await client.request("v1/models", attempts=_OPENING_ATTEMPTS)
    except RefusedError as error:
        if error.status != 404:  # some gateways lack the route
            raise
        models = None
    entries = models.get("data") if isinstance(models, dict) else None
    entries = entries if isinstance(entries, list) else []
    entry = _find_entry(client, name, [each for each in entries if isinstance(each, dict)])
    model = str(entry.get("id", name))
    facts = {key: value for key, value in entry.items() if key not in _VOLATILE}
    props = await _get_optional(client, "props")
    settings, bos = props.get("default_generation_settings"), props.get("bos_token")
    if isinstance(settings, dict) and "total_slots" in props:
        facts |= {"chat_template": props.get("chat_template"), "ftype": props.get("model_ftype")}
        length = _positive(settings.get("n_ctx"))
        slots, bos = _positive(props["total_slots"]) or 1, bos if isinstance(bos, str) and bos else None
        return Server("llama.cpp", str(props.get("build_info", "")), model, length, facts, slots, bos)
    length = _positive(entry.get("max_model_len"))
    version = await _get_optional(client, "version")
    if "version" in version:
        return Server("vllm", str(version["version"]), model, length, facts)
    info = await _get_optional(client, "server_info") or await _get_optional(client, "get_server_info")
    if "version" in info:
        facts |= {key: info[key] for key in ("model_path", "dtype", "quantization") if key in info}
        length = length or _positive(info.get("context_length"))
        return Server("sglang", str(info["version"]), model, length, facts)
    info = await _get_optional(client, "info")
    if "max_total_tokens" in info:
        facts |= {key: info[key] for key in ("model_id", "model_sha", "model_dtype") if key in info}
        length = _positive(info["max_total_tokens"])
        return Server("tgi", str(info.get("version", "")), model, length, facts)
    return Server("unknown", "", model, length, facts)


def _find_entry(client: Client, name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the model's entry in the server's list. By default, llama.cpp names a model by the path of its file."""
    for entry in entries:
        aliases = entry.get("aliases")
        names = [str(entry.get("id")), *(map(str, aliases) if isinstance(aliases, list) else [])]
        if name in names or name in [PurePosixPath(each).name for each in names]:
            return entry
    if entries:
        served = ", ".join(str(entry.get("id")) for entry in entries[:5])
        raise ModelError(
            f"model {name}: the server {client.address} does not serve it; it serves: {served}.",
            "Set model: to a served name, or start the server with this name "
            "(vLLM: --served-model-name, llama.cpp: --alias).",
        )
    return {}


async def _get_optional(client: Client, route: str) -> dict[str, Any]:
    """Return the reply of a route that only some servers have, or an empty dict."""
    try:
        reply = await client.request(route, attempts=1)
    except EvaluationError:
        return {}
    return reply if isinstance(reply, dict) else {}


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
