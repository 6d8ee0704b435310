"""The scorer `judge`: another model that compares or grades the texts."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gate.config.section import Section


class JudgeScorer(Section):
    """A preference or a grade by another model, behind a server with an OpenAI-compatible chat route.

    Texts are judged once both models have answered, by `gate run` and by `gate compare --config`.
    """

    kind: Literal["judge"]
    mode: Literal["pairwise", "grade"] = Field(
        "pairwise",
        description="pairwise: the judge compares both answers, once in each order; a preference counts only if it is "
        "the same in both. grade: the judge grades each answer from 1 to 10.",
    )
    base_url: str = Field(
        pattern=r"^https?://", description="Address of the judge's server, e.g. http://localhost:8000/v1."
    )
    model: str = Field(min_length=1, description="Name of the judge in requests.")
    api_key_env: str | None = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds the API key; null sends no key.",
    )
    rubric: str = Field("", description="What makes an answer good, in your words; part of the judge's instructions.")
    template: str | None = Field(
        None,
        min_length=1,
        description="Jinja2 template of the judge's user message, with the variables question, reference (may be "
        "empty), and answer_a and answer_b (pairwise) or answer (grade). Each comes between its delimiters.",
    )
    structured: bool = Field(
        False,
        description="Ask the server for a reply by a JSON Schema (response_format). The judge then fails to give a "
        "verdict only if max_tokens cuts it off. vLLM, SGLang, llama.cpp and OpenAI support it.",
    )
    max_tokens: int = Field(1024, ge=1, le=32768, description="Longest reply of the judge, in tokens.")
    max_calls: int = Field(
        10_000,
        ge=1,
        description="Largest number of requests of one run for this task. If more are needed, none is sent.",
    )
    concurrency: int = Field(8, ge=1, le=1024, description="Number of concurrent requests.")
    timeout: float = Field(300.0, gt=0, description="Time limit of one request, in seconds.")

    @property
    def metric(self) -> str:
        """The name of the metric."""
        return f"judge_{self.mode}"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that can change a verdict: not where the server is, nor how it is asked."""
        return self.model_dump(include={"mode", "model", "rubric", "template", "structured", "max_tokens"})
