"""Distributions along generated texts: the baseline's own text is read by both models, in one pass each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gate.engines import Engine
from gate.evaluation.recording import Recording
from gate.evaluation.references import StoredDistributions, distribution_columns
from gate.tasks.positions import chosen_positions, text_seed
from gate.tasks.requests import Along, GenerateAnswer, GenerateRequest, Later, LoglikelihoodRequest

MOST_TOKENS = 2048
"""Tokens of a text that are stored and read again: 8 KB per text before compression."""


def follow_texts(
    texts: Mapping[int, tuple[GenerateRequest, GenerateAnswer]],
    item_ids: Sequence[str],
    engine: Engine,
    recording: Recording,
    references: StoredDistributions | None,
) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the columns of each text: its tokens, and distributions or divergences after its first token.

    Parameters
    ----------
    texts : mapping
        Request and answer by number of the row.
    item_ids : sequence of str
        By number of the row.
    references : StoredDistributions or None
        The baseline's text and distributions. None: the model is the baseline.
    """
    wanted: dict[int, LoglikelihoodRequest] = {}
    lengths: dict[int, int] = {}
    for number, (request, answer) in texts.items():
        if not answer.tokens:  # none, or the engine does not tell
            continue
        yield number, {"text_tokens": np.asarray(answer.tokens[:MOST_TOKENS], np.int32)}
        if references is None:
            ids, later = answer.tokens[:MOST_TOKENS], Later(recording.positions)
            lengths[number] = len(ids)
            if request.top and recording.positions > 1 and len(ids) > 1:
                last = chosen_positions(len(ids), recording.positions, text_seed(request.context))[-1]
                ids = ids[: last + 1]  # its chosen positions are the same
                wanted[number] = LoglikelihoodRequest(request.context, (), request.top, None, request.drawn, later, ids)
            continue
        stored = references.get(item_ids[number], ())[1:]
        ids = references.text_tokens(item_ids[number])
        lengths[number] = len(ids)
        if stored and len(ids) > stored[-1].position:
            ids = ids[: stored[-1].position + 1]
            wanted[number] = LoglikelihoodRequest(request.context, (), later=Later(references=stored), ids=ids)
    if not wanted:
        return
    answers = engine.loglikelihood(list(wanted.values()), lambda _: None)
    for number, scored in zip(wanted, answers, strict=True):
        if scored.along is None:
            continue
        own = texts[number][1]
        along = Along(lengths[number], scored.along.distributions, scored.along.divergences)
        yield number, distribution_columns(own.distribution, own.divergence, along)
