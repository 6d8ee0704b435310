"""Whether a candidate's chat template gives the baseline's prompts, before the candidate is evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.compute as pc

from gate.app.models import LocatedModel
from gate.app.suite import Suite
from gate.common.canonical import text_digest
from gate.engines import Engine, ModelIdentity, fetch
from gate.errors import GateError, ModelError
from gate.samples.differences import where_texts_part
from gate.store import SampleSet
from gate.tasks import Message, Task
from gate.tasks.requests import prompt_of

_HINT = (
    "Set candidate.tokenizer: baseline, which uses the baseline's tokenizer and chat template for both models, or copy "
    "its chat_template.jinja and tokenizer_config.json into the candidate's folder."
)


def check_prompts(
    suite: Suite,
    candidate: ModelIdentity,
    engine: Engine,
    baseline: LocatedModel | None,
    reference: Sequence[SampleSet],
) -> None:
    """Refuse a candidate whose chat template renders another prompt than the baseline's for the first item of a task.

    Parameters
    ----------
    engine : Engine
        The loaded candidate.
    baseline : LocatedModel or None
        Its tokenizer renders the baseline's prompt for the message.
    reference : sequence of SampleSet
        The baseline's sets, one per task.

    Raises
    ------
    ModelError
        A prompt differs; the message shows where.
    """
    for task, sample_set in zip(suite.tasks, reference, strict=True):
        rendered: dict[str, Sequence[Message]] = {}
        prompt = _first_prompt(task, engine, rendered)
        if not rendered or prompt is None:
            continue
        stored = _stored_hash(task, sample_set)
        if stored is not None and text_digest(prompt) != stored:
            raise ModelError(
                f"candidate {candidate.name}: its chat template does not give the baseline's prompts: task "
                f"{task.name}, item {task.items[0].item_id[:12]}: "
                f"{_difference(suite, task, baseline, rendered, prompt)}.",
                _HINT,
            )


def _first_prompt(task: Task, engine: Engine, rendered: dict[str, Sequence[Message]]) -> str | None:
    """Return the prompt of a task's first item, and add the messages that the chat template renders to `rendered`."""

    def render(messages: Sequence[Message]) -> str:
        text = engine.render_chat(messages, task.chat_format)
        rendered[text] = messages
        return text

    return prompt_of(task.requests(task.items[0], 0, render)[0])


def _stored_hash(task: Task, sample_set: SampleSet) -> str | None:
    for table in sample_set.tables():
        rows = table.filter(pc.equal(table.column("item_id"), task.items[0].item_id))
        if rows.num_rows:
            stored: str | None = rows.column("prompt_hash")[0].as_py()
            return stored
    return None


def _difference(
    suite: Suite, task: Task, baseline: LocatedModel | None, rendered: dict[str, Sequence[Message]], prompt: str
) -> str:
    """Return where the rendered texts begin to differ; the baseline's tokenizer renders its text, if it loads."""
    text, messages = next(iter(rendered.items()))
    if baseline is None or baseline.source.served:
        return f"the candidate has {prompt[:80]!r}"
    from gate.engines.tokens.load import load_tokenizer
    from gate.engines.tokens.tokenizer import render_chat

    try:
        source = fetch(baseline.source, baseline.engine, suite.loaded.folder, None)
        own = render_chat(load_tokenizer(source, baseline.engine), messages, baseline.identity.name, task.chat_format)
    except GateError:
        return f"the candidate has {prompt[:80]!r}"
    return where_texts_part(own, text)
