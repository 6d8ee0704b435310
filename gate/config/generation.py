"""How a task's texts are generated: the chat, sampling and reasoning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from gate.config.section import Section

Tag = Annotated[str, Field(min_length=1, max_length=100)]
_TRUNCATION = ("top_p", "top_k", "min_p")
_OWN_VARIABLES = (
    # arguments of apply_chat_template that the engine sets, or that change what it returns
    *("conversation", "messages", "chat_template", "tokenize", "add_generation_prompt", "continue_final_message"),
    *("padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    *("tokenizer_kwargs", "processor_kwargs"),
)


class SamplingSettings(Section):
    """How tokens are sampled. A key that is not set has the value of `samples`, or no effect."""

    temperature: float | None = Field(
        None, ge=0, le=10, description="Sampling temperature; 0 is greedy. Default: samples.temperature."
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="Sample from the likeliest tokens that together have this probability."
    )
    top_k: int | None = Field(None, ge=0, description="Sample from this number of likeliest tokens; 0 for all.")
    min_p: float | None = Field(
        None, ge=0, le=1, description="Sample from tokens with at least this share of the likeliest one's probability."
    )
    repetition_penalty: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Divide positive logits of tokens in the prompt and in the text by this number, and multiply "
        "negative ones; 1 has no effect.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        description="Seed, from which each answer's own is derived by item and repeat. Default: samples.seed.",
    )
    repeats: int | None = Field(
        None, ge=1, le=100, description="Answers per item; their mean is the item's score. Default: samples.repeats."
    )

    @model_validator(mode="after")
    def _consistent(self) -> SamplingSettings:
        if self.temperature == 0:
            check_greedy(self, self.repeats or 1)
        return self


def check_greedy(sampling: SamplingSettings | None, repeats: int) -> None:
    """Raise a ValueError if greedy decoding makes repeats or other settings useless."""
    if repeats > 1:
        raise ValueError(f"repeats: {repeats} at temperature 0: the {repeats} greedy answers to an item would be equal")
    useless = [name for name in _TRUNCATION if sampling is not None and getattr(sampling, name) is not None]
    if useless:
        raise ValueError(f"{', '.join(useless)}: no effect at temperature 0; set a temperature above 0")


class ReasoningSettings(Section):
    """The tags around a model's reasoning, which is not part of its answer."""

    start: Tag = Field("<think>", description="Text before the reasoning.")
    end: Tag = Field("</think>", description="Text after the reasoning.")

    @model_validator(mode="after")
    def _differ(self) -> ReasoningSettings:
        if self.start == self.end:
            raise ValueError("start and end must differ")
        return self


class ChatSettings(Section):
    """The keys of a task that say how its texts are asked for."""

    chat: bool = Field(
        False,
        description="generate_until: send the messages to the route /v1/chat/completions of a server, which applies "
        "its own chat template. The transformers engine applies the tokenizer's, as with `chat_template`.",
    )
    chat_template_kwargs: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Variables of the chat template, e.g. {enable_thinking: false}; needs chat_template or chat.",
    )
    reasoning: ReasoningSettings | Literal[False] | None = Field(
        None,
        description="generate_until: separate the text between these tags from the answer, which is scored without it; "
        "false leaves the text as it is. Default: <think> and </think> with `chat`, else false.",
    )
    sampling: SamplingSettings | None = Field(
        None, description="generate_until: how tokens are sampled, and how many answers per item."
    )
    turns: str | list[str] | None = Field(
        None,
        description="generate_until: Jinja2 expression for a list of user messages, or a list of templates, instead of "
        "`prompt`. The model answers each; its own answers stand in between. Needs chat or chat_template.",
    )
    score_turns: Literal["last", "each"] = Field(
        "last",
        description="last: only the last answer is scored. each: `answer` gives a list with one entry per turn, and "
        "the score is the mean over the turns.",
    )

    def check_chat(self, chat_template: bool, generates: bool) -> None:
        """Raise a ValueError if the keys do not fit together, or to the other settings of the task."""
        if self.chat_template_kwargs and not (self.chat or chat_template):
            raise ValueError("chat_template_kwargs need chat_template: true or chat: true")
        own = [name for name in self.chat_template_kwargs if name in _OWN_VARIABLES]
        if own:
            raise ValueError(f"chat_template_kwargs cannot set {', '.join(own)}, which the engine sets itself")
        if self.turns is not None and not (self.chat or chat_template):
            raise ValueError("turns need chat: true or chat_template: true")
        if self.score_turns == "each" and self.turns is None:
            raise ValueError("score_turns: each needs turns")
        excluded = [name for name in ("prompt", "fewshot") if self.turns is not None and name in self.model_fields_set]
        if excluded:
            raise ValueError(f"turns cannot be combined with {' and '.join(excluded)}: the turns are the prompts")
        if not generates:
            keys = [name for name in ("reasoning", "sampling", "turns") if getattr(self, name) is not None]
            if self.chat:
                raise ValueError(
                    "chat: true belongs to generate_until tasks, because a chat route returns no log-likelihoods of "
                    "choices; use chat_template: true"
                )
            if keys:
                raise ValueError(f"{', '.join(keys)}: only for generate_until tasks")

    @property
    def reasoning_tags(self) -> ReasoningSettings | None:
        """The tags by which reasoning is separated; None if it is not."""
        if self.reasoning is None:
            return ReasoningSettings() if self.chat else None
        return self.reasoning or None
