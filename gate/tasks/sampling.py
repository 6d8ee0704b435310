"""How a task's texts are sampled, and what of it belongs to the task's fingerprint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gate.common.canonical import canonical_json
from gate.config import SampleSettings, TaskSettings
from gate.config.generation import check_greedy
from gate.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """Number of answers per item, temperature (0 decodes greedily) and seed of generated texts.

    `top_k`, `top_p`, `min_p` and `repetition_penalty`: see `gate.tasks.requests.GenerateRequest`.
    """

    repeats: int = 1
    temperature: float = 0.0
    seed: int = 0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @classmethod
    def of(cls, samples: SampleSettings, task: TaskSettings) -> Sampling:
        """Return the sampling of a task that generates text: its own settings, else those of `samples` in gate.yml.

        Raises
        ------
        ConfigError
            Greedy decoding makes repeats or other settings useless.
        """
        sampling = cls(samples.repeats, samples.temperature, samples.seed)
        if task.sampling is None:
            return sampling
        sampling = replace(sampling, **task.sampling.model_dump(exclude_none=True))
        if sampling.temperature == 0:
            try:
                check_greedy(task.sampling, sampling.repeats)
            except ValueError as error:
                raise ConfigError(
                    f"task {task.name}: sampling: {error}.", "Set sampling.temperature of the task above 0."
                ) from None
        return sampling

    @property
    def options(self) -> dict[str, Any]:
        """The fields of a `GenerateRequest`, without the seed."""
        names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        return {name: getattr(self, name) for name in names}

    @property
    def facets(self) -> dict[str, str]:
        """Facets of the task fingerprint; the seed counts only at a temperature above 0."""
        changed = [f"{name} {value:g}" for name, value in self.options.items() if value != getattr(Sampling, name)]
        others = [text for text in changed if not text.startswith("temperature")]
        facets = {"repeats": str(self.repeats), "temperature": ", ".join([f"{self.temperature:g}", *others])}
        return facets | ({"sampling_seed": str(self.seed)} if self.temperature > 0 else {})


def chat_facet(settings: TaskSettings) -> str:
    """Return the facet of a task's chat: whether there is one, its system message, route and template variables."""
    options: dict[str, object] = {"route": True} if settings.chat else {}
    if settings.chat_template_kwargs:
        options["template_kwargs"] = settings.chat_template_kwargs
    return canonical_json([settings.is_chat, settings.system, *([options] if options else [])])


def answer_facets(settings: TaskSettings) -> dict[str, str]:
    """Return the facets of how an answer is separated from reasoning, and of several turns; none without them."""
    facets = {}
    if settings.reasoning_tags is not None:
        facets["reasoning"] = canonical_json([settings.reasoning_tags.start, settings.reasoning_tags.end])
    if settings.turns is not None:
        facets["turns"] = canonical_json([settings.turns, settings.score_turns])
    return facets
