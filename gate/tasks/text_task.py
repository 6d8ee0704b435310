"""Tasks of kind `text`: the likelihood of given text, window by window."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gate.common.canonical import canonical_json, digest
from gate.config import SampleSettings, TaskSettings
from gate.config.texts import DEFAULT_WINDOW, LIKELIHOOD_METRIC
from gate.errors import TaskError
from gate.tasks.chat import Render
from gate.tasks.documents import Document, read_documents
from gate.tasks.requests import Answer, Request, RollingAnswer, RollingRequest
from gate.tasks.sampling import Sampling
from gate.tasks.task import Item, Scored, Task
from gate.tasks.templates import Template

_WHITE_SPACE = re.compile(r"\s+")
_DOCUMENT_FILES = {".jsonl", ".ndjson", ".csv", ".parquet"}


@dataclass(frozen=True)
class TextTask(Task):
    """See `Task`; an item is a window, its context the text before it, or a whole document.

    Attributes
    ----------
    whole : bool
        Whether items are whole documents. Their words are counted as in lm-eval, where white space at an end counts as
        one more.
    """

    whole: bool = False

    def requests(self, item: Item, repeat: int, render: Render) -> tuple[Request, ...]:  # noqa: ARG002
        """Return the single request of a window."""
        return (RollingRequest(item.prompt, item.context),)

    def score(self, item: Item, answers: Sequence[Answer]) -> Scored:
        """Return the log-likelihood per byte."""
        (answer,) = answers
        if not isinstance(answer, RollingAnswer):
            raise TypeError("a text task asks for log-likelihoods of texts")
        size = len(item.prompt.encode("utf-8"))
        words = len(_WHITE_SPACE.split(item.prompt) if self.whole else item.prompt.split())
        total = answer.loglikelihood
        return Scored(total / size, None, None, (total,), text_words=words, text_bytes=size)


def build_text_task(settings: TaskSettings, samples: SampleSettings, folder: Path) -> TextTask:
    """Build a text task from its file.

    Raises
    ------
    TaskError
        The file is missing or empty, or a document is not a text.
    """
    path = folder / str(settings.file)
    documents = path.suffix.lower() in _DOCUMENT_FILES
    window = settings.window or (None if documents and settings.stride is None else DEFAULT_WINDOW)
    stride = settings.stride or window
    limit = settings.limit or samples.limit
    try:
        template = Template(settings.prompt or "{{ text }}", "prompt")
        items: list[Item] = []
        for document in read_documents(path) if documents else [_text_file(path)]:
            text = template.text(document)
            if not text.strip():
                raise TaskError(f"{document.where}: the text is empty.", "Remove the document, or correct `prompt`.")
            for context, part in windows(text, window, stride) if window and stride else [("", text)]:
                items.append(_item(document, context, part, settings))
            if limit is not None and len(items) >= limit:
                break
    except TaskError as error:
        raise TaskError(f"task {settings.name}: {error.message}", error.hint) from error
    items = _numbered(items[:limit])
    facets = {
        "kind": "text",
        "metric": LIKELIHOOD_METRIC,
        "documents": f"{len(items)} items, sha256 {digest([item.item_id for item in items])[:16]}",
        "prompt": str(settings.prompt),
        "windows": canonical_json([window, stride]),
        "cluster": str(settings.cluster),
    }
    whole = not stride
    return TextTask(settings.name, settings, tuple(items), facets, Sampling(), LIKELIHOOD_METRIC, False, 0, whole=whole)


def windows(text: str, window: int, stride: int) -> Iterator[tuple[str, str]]:
    """Cut a text into parts of at most `stride` characters, each after up to `window - stride` characters of context.

    The parts make up the text; the last one may be half as long again, so that none is short. Parts and contexts begin
    at white space where there is any in the second half of their length, so that no word is cut.
    """
    start = 0
    while start < len(text):
        end = _boundary(text, start, start + stride)
        before = max(0, start - (window - stride))
        if before:
            before = next((place for place in range(before, start) if text[place].isspace()), start)
        yield text[before:start], text[start:end]
        start = end


def _boundary(text: str, start: int, end: int) -> int:
    if len(text) <= end + (end - start) // 2:
        return len(text)
    middle = (start + end) // 2
    return next((place for place in range(end, middle, -1) if text[place].isspace()), end)


def _text_file(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TaskError(f"the file {path} does not exist.", "Check `file:` in gate.yml.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} cannot be read: {error}", "Expected UTF-8 text, JSONL, CSV or Parquet.") from None
    return Document({"text": text}, path, 1, digest({"text": text}))


def _item(document: Document, context: str, part: str, settings: TaskSettings) -> Item:
    cluster = None
    if settings.cluster is not None:
        if settings.cluster not in document.fields:
            raise TaskError(f"{document.where}: the document lacks the cluster field {settings.cluster!r}.")
        cluster = str(document.fields[settings.cluster])
    return Item(
        item_id=digest([document.item_id, context, part]),
        prompt=part,
        context=context,
        messages=(),
        choices=(),
        target_index=None,
        targets=(),
        cluster=cluster,
    )


def _numbered(items: Sequence[Item]) -> list[Item]:
    """Number equal windows of a document by their order."""
    seen: dict[str, int] = {}
    numbered = []
    for item in items:
        seen[item.item_id] = count = seen.get(item.item_id, 0) + 1
        numbered.append(item if count == 1 else replace(item, item_id=f"{item.item_id}#{count}"))
    return numbered
