"""Our engines as a model of LM Evaluation Harness: `python -m gate.engines.harness --model quantgate ...`.

The arguments are those of the command `lm_eval`, which has no way to find models of other packages by itself. From
Python, importing this module is enough: `lm_eval.simple_evaluate(model="quantgate", ...)` then knows the name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval.models  # noqa: F401 - lm-eval registers its own models only where there are none yet
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from gate.config import EngineSettings, ModelSettings
from gate.engines import (
    Engine,
    GenerateRequest,
    LoglikelihoodRequest,
    RollingRequest,
    fetch,
    locate,
    open_engine,
)
from gate.tasks import Message
from gate.tasks.harness.generation import Generation, generation
from gate.tasks.requests import draw_seed

_LOG = logging.getLogger(__name__)


@register_model("quantgate")
class QuantgateLM(LM):  # type: ignore[misc]  # lm_eval is not typed
    """Answers lm-eval's requests with one of our engines.

    Parameters
    ----------
    pretrained : str
        A folder, or a name on the hub.
    device : str, optional
        auto, cpu, cuda, ...; default auto.
    batch_size, max_batch_size : ignored
        Batches are filled by tokens: see `max_batch_tokens`.
    seed : int
        Of sampled texts.
    **arguments
        Keys of `baseline:` (revision, dtype, tokenizer, gguf_file, allow_pickle) and of `engine:` (max_batch_tokens,
        pad_to_multiple_of, attn_implementation, trust_remote_code, kind, base_url, ...) in gate.yml.

    Raises
    ------
    ModelError, EvaluationError
        The model cannot be loaded.
    pydantic.ValidationError
        An argument that is not such a key.
    """

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        batch_size: object = None,  # noqa: ARG002 - lm-eval gives it to every model
        max_batch_size: object = None,  # noqa: ARG002
        seed: int = 0,
        **arguments: Any,
    ) -> None:
        super().__init__()
        own = {key: arguments.pop(key) for key in ModelSettings.model_fields if key in arguments}
        model = ModelSettings(model=pretrained, **own)
        settings = EngineSettings(device=device or "auto", **arguments)
        here = Path.cwd()
        self.engine: Engine = open_engine(
            fetch(locate(model, here, settings), settings, here, None), settings
        )
        self._seed = seed

    @property
    def tokenizer_name(self) -> str:
        """SHA-256 of the tokenizer's behaviour: what lm-eval's cache of rendered requests is keyed by."""
        return self.engine.runtime.tokenizer

    def apply_chat_template(
        self,
        chat_history: Sequence[Mapping[str, str]],
        add_generation_prompt: bool = True,  # noqa: ARG002 - False where the last turn is the assistant's
    ) -> str:
        """Return the prompt that the tokenizer's chat template makes."""
        return self.engine.render_chat(tuple(Message(turn["role"], turn["content"]) for turn in chat_history))

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Return log-likelihood (nats) and whether it is the greedy text, of each continuation."""
        by_context: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            by_context.setdefault(request.args[0], []).append(place)
        asked = [
            LoglikelihoodRequest(context, tuple(requests[place].args[1] for place in places))
            for context, places in by_context.items()
        ]
        found: dict[int, tuple[float, bool]] = {}
        for places, answer in zip(
            by_context.values(), self.engine.loglikelihood(asked, _silent), strict=True
        ):
            if not answer.greedy:
                _LOG.warning(
                    "this engine cannot tell greedy texts: metrics that ask for them (LAMBADA's acc) are 0"
                )
            greedy = answer.greedy or (False,) * len(places)
            found |= zip(places, zip(answer.loglikelihoods, greedy, strict=True), strict=True)
        return self._kept("loglikelihood", requests, [found[place] for place in range(len(requests))])

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Return the log-likelihood (nats) of each text."""
        asked = [RollingRequest(request.args[0]) for request in requests]
        answers = self.engine.loglikelihood_rolling(asked, _silent)
        return self._kept("loglikelihood_rolling", requests, [answer.loglikelihood for answer in answers])

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Return a text for each context; repeats of a request differ in their seeds."""
        groups: dict[Generation, list[int]] = {}
        for place, request in enumerate(requests):
            groups.setdefault(generation(request.args[1], f"task {request.task_name}"), []).append(place)
        count: dict[str, int] = {}
        texts: dict[int, str] = {}
        for how, places in groups.items():
            asked = []
            for place in places:
                context = requests[place].args[0]
                repeat = count[context] = count.get(context, -1) + 1
                seed = draw_seed(self._seed, context, repeat) if how.temperature > 0 else 0
                asked.append(GenerateRequest(context, how.stop, how.max_tokens, how.temperature, seed))
            answers = self.engine.generate_until(asked, _silent)
            texts |= zip(places, (answer.text for answer in answers), strict=True)
        return self._kept("generate_until", requests, [texts[place] for place in range(len(requests))])

    def _kept(self, kind: str, requests: Sequence[Instance], answers: list[Any]) -> list[Any]:
        """Hand answers to lm-eval's cache (`use_cache`) and return them."""
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial(kind, request.args, answer)
        return answers


def _silent(_: int) -> None:
    """Take progress and say nothing."""


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
