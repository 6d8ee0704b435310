"""quantgate's engines as a model of LM Evaluation Harness: `python -m gate.engines.harness --model quantgate ...`.

The arguments are those of the command `lm_eval`, which cannot discover models of other packages. In Python, import this
module; `lm_eval.simple_evaluate(model="quantgate", ...)` then knows the name.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval.models  # noqa: F401 - lm-eval registers its own models only while there are none
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from gate.config import EngineSettings, ModelSettings
from gate.engines import Engine, fetch, locate, open_engine
from gate.tasks import Message
from gate.tasks.harness.generation import generation
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest, RollingRequest, draw_seed

_LOG = logging.getLogger(__name__)


@register_model("quantgate")
class QuantgateLM(LM):  # type: ignore[misc]  # lm_eval is untyped
    """Answers the requests of lm-eval with an engine of quantgate.

    Parameters
    ----------
    pretrained : str
        A folder, or a name on the hub.
    device : str, optional
        auto (default), cpu, cuda, ...
    batch_size, max_batch_size
        Ignored: `max_batch_tokens` bounds the batches.
    seed : int
        Seed of sampled texts.
    **arguments
        Keys of `baseline:` (revision, dtype, tokenizer, gguf_file, allow_pickle) and of `engine:` (max_batch_tokens,
        attn_implementation, trust_remote_code, kind, base_url, ...) in gate.yml.

    Raises
    ------
    ModelError, EvaluationError
        The model cannot be loaded.
    pydantic.ValidationError
        An argument is not one of these keys.
    """

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        batch_size: object = None,  # noqa: ARG002 - lm-eval passes it to every model
        max_batch_size: object = None,  # noqa: ARG002
        seed: int = 0,
        **arguments: Any,
    ) -> None:
        super().__init__()
        options = {key: arguments.pop(key) for key in ModelSettings.model_fields if key in arguments}
        model = ModelSettings(model=pretrained, **options)
        settings = EngineSettings(device=device or "auto", **arguments)
        base = Path.cwd()
        source = fetch(locate(model, base, settings), settings, base, None)
        self.engine: Engine = open_engine(source, settings)
        self._seed = seed

    @property
    def tokenizer_name(self) -> str:
        """SHA-256 of the tokenizer's behaviour, which keys lm-eval's cache of rendered requests."""
        return self.engine.runtime.tokenizer

    def apply_chat_template(
        self,
        chat_history: Sequence[Mapping[str, str]],
        add_generation_prompt: bool = True,  # noqa: ARG002 - False exactly if the last turn is the assistant's
    ) -> str:
        """Return the prompt that the tokenizer's chat template renders."""
        return self.engine.render_chat(tuple(Message(turn["role"], turn["content"]) for turn in chat_history))

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Return the log-likelihood (nats) of each continuation, and whether it is the greedy one."""
        by_context: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            by_context.setdefault(request.args[0], []).append(index)
        grouped = [
            LoglikelihoodRequest(context, tuple(requests[index].args[1] for index in indices))
            for context, indices in by_context.items()
        ]
        answers = self.engine.loglikelihood(grouped, lambda _: None)
        if not all(answer.greedy for answer in answers):
            _LOG.warning("the engine does not report greedy texts: metrics that use them (LAMBADA's acc) are 0")
        results: dict[int, tuple[float, bool]] = {}
        for indices, answer in zip(by_context.values(), answers, strict=True):
            greedy = answer.greedy or (False,) * len(indices)
            results |= zip(indices, zip(answer.loglikelihoods, greedy, strict=True), strict=True)
        return self._cached("loglikelihood", requests, [results[index] for index in range(len(requests))])

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Return the log-likelihood (nats) of each text."""
        texts = [RollingRequest(request.args[0]) for request in requests]
        answers = self.engine.loglikelihood_rolling(texts, lambda _: None)
        return self._cached("loglikelihood_rolling", requests, [answer.loglikelihood for answer in answers])

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Return a text for each context. Repeats of a request have different seeds."""
        repeats: Counter[str] = Counter()
        converted = []
        for request in requests:
            context = request.args[0]
            settings = generation(request.args[1], f"task {request.task_name}")
            seed = draw_seed(self._seed, context, repeats[context]) if settings.sampling.temperature > 0 else 0
            repeats[context] += 1
            options = settings.sampling.options
            converted.append(GenerateRequest(context, settings.stop, settings.max_tokens, seed=seed, **options))
        answers = self.engine.generate_until(converted, lambda _: None)
        return self._cached("generate_until", requests, [answer.text for answer in answers])

    def _cached(self, kind: str, requests: Sequence[Instance], results: list[Any]) -> list[Any]:
        """Add results to lm-eval's cache (`use_cache`) and return them."""
        for request, result in zip(requests, results, strict=True):
            self.cache_hook.add_partial(kind, request.args, result)
        return results


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
