"""Asks a judge about cases, and makes scores of its verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gate.common.jsonlines import clean_text
from gate.config import EngineSettings
from gate.config.judge import JudgeScorer
from gate.engines import Progress
from gate.engines.openai.client import Client
from gate.errors import ConfigError, EvaluationError
from gate.evaluation.judge_prompt import HIGHEST, LOWEST, Case, prompt_of, read_verdict
from gate.evaluation.judgements import Judgement, Judgements

_ROUTE = "v1/chat/completions"
_MOST_UNREADABLE = 0.5  # share of replies without a verdict from which the evaluation counts as broken


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Reply(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


@dataclass(frozen=True)
class Asked:
    """Judgements of cases.

    Attributes
    ----------
    verdicts : tuple of str or None
        Per case; None for a reply without a verdict.
    calls : int
        Requests that were sent; the other judgements were known.
    """

    verdicts: tuple[str | None, ...]
    calls: int

    @property
    def unreadable(self) -> int:
        """Number of replies without a verdict."""
        return self.verdicts.count(None)


def ask(cases: Sequence[Case], judge: JudgeScorer, path: Path, progress: Progress, task: str) -> Asked:
    """Return the judge's verdicts. Those that are on disk are read, the others are asked for and stored one by one.

    Parameters
    ----------
    path : Path
        File of judgements.
    progress : callable
        Called with the number of judgements finished since the last call.
    task : str
        For messages.

    Raises
    ------
    ConfigError
        More requests are needed than `max_calls` allows; none is sent.
    EvaluationError
        The server fails, or more than half of the replies have no verdict. Judgements that were made are kept.
    """
    keys = [case.key(judge) for case in cases]
    with Judgements(path) as judgements:
        missing = {key: case for key, case in zip(keys, cases, strict=True) if key not in judgements.known}
        if len(missing) > judge.max_calls:
            raise ConfigError(
                f"task {task}: the judge has to be asked {len(missing):,} times, and max_calls is {judge.max_calls:,}. "
                "Nothing was asked.",
                "Raise `max_calls` of the scorer, or set a `limit`.",
            )
        progress(len(cases) - len(missing))
        if missing:
            try:
                asyncio.run(_ask_all(missing, judge, judgements, progress))
            except EvaluationError as error:
                raise EvaluationError(f"task {task}: the judge: {error.message}", error.hint) from error
        found = [judgements.known[key] for key in keys]
    asked = Asked(tuple(judgement.verdict for judgement in found), len(missing))
    if asked.unreadable > _MOST_UNREADABLE * len(cases):
        example = next(judgement.reply for judgement in found if judgement.verdict is None)
        raise EvaluationError(
            f"task {task}: {asked.unreadable:,} of {len(cases):,} replies of the judge {judge.model} have no verdict, "
            f"for example {clean_text(example)[:200]!r}.",
            "Use a stronger judge, raise its max_tokens, or set `structured: true`.",
        )
    return asked


async def _ask_all(cases: dict[str, Case], judge: JudgeScorer, judgements: Judgements, progress: Progress) -> None:
    """Ask for all cases, `concurrency` at a time. The first error stops the others; what was answered is stored."""
    remaining = iter(cases.items())
    engine = EngineSettings(
        kind="openai",
        base_url=judge.base_url,
        api_key_env=judge.api_key_env,
        concurrency=judge.concurrency,
        timeout=judge.timeout,
    )

    async def work(client: Client) -> None:
        for key, case in remaining:
            judgements.add(await _ask_one(client, key, case, judge))
            progress(1)

    async with Client(engine) as client:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(judge.concurrency, len(cases))):
                    group.create_task(work(client))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None


async def _ask_one(client: Client, key: str, case: Case, judge: JudgeScorer) -> Judgement:
    prompt = prompt_of(case, judge)
    body: dict[str, Any] = {
        "model": judge.model,
        "messages": list(prompt.messages),
        "temperature": 0,
        "max_tokens": judge.max_tokens,
        **prompt.options,
    }
    raw = await client.request(_ROUTE, body)
    try:
        reply = _Reply.model_validate(raw)
        text = reply.choices[0].message.content or ""
    except (ValidationError, IndexError):
        raise EvaluationError(f"the server {client.address} answers /{_ROUTE} without a message.") from None
    usage = reply.usage or _Usage()
    return Judgement(
        key=key,
        model=judge.model,
        verdict=read_verdict(text, prompt.nonce, judge),
        reply=text,
        nonce=prompt.nonce,
        messages=list(prompt.messages),
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
    )


def preference(forward: str | None, swapped: str | None) -> int:
    """Return 1 if the second answer is preferred in both orders, -1 if the first is, else 0.

    `forward` is the verdict with the first answer as A, `swapped` that with the second answer as A.
    """
    if (forward, swapped) == ("B", "A"):
        return 1
    return -1 if (forward, swapped) == ("A", "B") else 0


def proportion(grade: str) -> float:
    """Return a grade as a proportion of the scale."""
    return (int(grade) - LOWEST) / (HIGHEST - LOWEST)
