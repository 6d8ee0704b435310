"""Accepted regressions: the verdict without known regressions, beside the verdict on all items.

Items that are accepted because they regressed were chosen by the outcome. The p-value of the other items is then
larger than that of a new set would be, so it can only excuse: a run fails if both the test on all items and the test
without the accepted ones reject. Its false-positive rate is at most that of the test on all items, for any choice of
items. The price is power: a loss on accepted items is not seen. Proofs (`certify`), intervals, detectable drops and
the alpha that is spent are those of all items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import numpy.typing as npt

from gate.config import DecisionSettings, TaskPolicy
from gate.config.accept import AcceptSettings
from gate.decision.accepted import Acceptance, AcceptedEntry
from gate.decision.candidates import Entrant
from gate.decision.decide import exit_code_of
from gate.decision.requirements import all_proven
from gate.decision.result import Decision, Verdict
from gate.decision.rows import NO_POLICY, part_of
from gate.decision.wording import count, p_equation, points, size
from gate.samples import PairedTask

LARGEST_SHARE = 0.1
"""Largest share of the items of a task that can be accepted."""
_MOST_NAMED = 10
Again = Callable[[Mapping[str, Entrant], Mapping[str, TaskPolicy]], Mapping[str, Decision]]


def with_accepted(
    decisions: Mapping[str, Decision],
    entrants: Mapping[str, Entrant],
    accepted: Sequence[AcceptSettings],
    settings: DecisionSettings,
    policies: Mapping[str, TaskPolicy],
    again: Again,
    today: date,
) -> dict[str, Decision]:
    """Return the decisions with the accepted regressions taken into account.

    Parameters
    ----------
    decisions : mapping of str to Decision
        On all items, by candidate.
    entrants : mapping of str to Entrant
        The candidates.
    policies : mapping of str to TaskPolicy
        What is required of single tasks.
    again : callable
        Decides once more on other pairs and policies.
    today : date
        Entries that expired before this day do not count.
    """
    entries = {name: [_entry(one, entrant.pairs, today) for one in accepted] for name, entrant in entrants.items()}
    entries = {name: _limited(found, entrants[name].pairs) for name, found in entries.items()}
    counting = {name: [one for one in found if one.state == "counts"] for name, found in entries.items()}
    rest: Mapping[str, Decision] = {}
    if any(counting.values()):
        reduced = {
            name: replace(entrant, pairs=[_without(pair, counting[name]) for pair in entrant.pairs])
            for name, entrant in entrants.items()
        }
        rest = again(reduced, _tolerant(policies, settings, accepted, today))
    return {
        name: _combined(decision, rest.get(name) if counting[name] else None, entries[name], settings)
        for name, decision in decisions.items()
    }


def _entry(accepted: AcceptSettings, pairs: Sequence[PairedTask], today: date) -> AcceptedEntry:
    """Return what an entry meets in this run."""
    pair = next((one for one in pairs if one.task == accepted.task), None)
    rows = np.array([], dtype=np.int64) if pair is None else _rows(pair, accepted.items)
    worse = 0 if pair is None else int(np.count_nonzero((pair.candidate_score < pair.baseline_score)[rows]))
    found = [] if pair is None else pair.baseline.column("item_id").take(rows).to_pylist()
    entry = AcceptedEntry(
        task=accepted.task,
        items=found,
        regressions=worse,
        missing=len(set(accepted.items) - set(found)),
        drop=accepted.drop,
        reason=accepted.reason,
        expires=accepted.expires.isoformat(),
        state="counts",
    )
    if accepted.expires < today:
        return entry.model_copy(update={"state": "expired"})
    if pair is None:
        return entry.model_copy(update={"state": "no such task"})
    if accepted.drop is None and not found:
        return entry.model_copy(update={"state": "no such item"})
    return entry


def _rows(pair: PairedTask, items: Sequence[str]) -> npt.NDArray[np.int64]:
    wanted = set(items)
    names = pair.baseline.column("item_id").to_pylist()
    return np.array([row for row, name in enumerate(names) if name in wanted], dtype=np.int64)


def _limited(entries: Sequence[AcceptedEntry], pairs: Sequence[PairedTask]) -> list[AcceptedEntry]:
    """Return the entries; those of a task with too many accepted items do not count."""
    sizes = {pair.task: pair.n for pair in pairs}
    named: dict[str, set[str]] = {}
    for entry in entries:
        if entry.state == "counts":
            named.setdefault(entry.task, set()).update(entry.items)
    excessive = {task for task, items in named.items() if len(items) > LARGEST_SHARE * sizes[task]}
    return [
        entry.model_copy(update={"state": "too many items"})
        if entry.state == "counts" and entry.task in excessive and entry.items
        else entry
        for entry in entries
    ]


def _without(pair: PairedTask, entries: Sequence[AcceptedEntry]) -> PairedTask:
    """Return a task without its accepted items; equal prompts and names stay joined."""
    items = [item for entry in entries if entry.task == pair.task for item in entry.items]
    if not items:
        return pair
    rows = np.setdiff1d(np.arange(pair.n), _rows(pair, items))
    kept = part_of(pair, pair.task, rows)
    return replace(
        kept,
        prompts=None if pair.prompts is None else pair.prompts[rows],
        names=None if pair.names is None else pair.names[rows],
    )


def _tolerant(
    policies: Mapping[str, TaskPolicy], settings: DecisionSettings, accepted: Sequence[AcceptSettings], today: date
) -> dict[str, TaskPolicy]:
    """Return the policies with the accepted drops as margins, where they are larger."""
    changed = dict(policies)
    for one in accepted:
        if one.drop is None or one.expires < today:
            continue
        policy = changed.get(one.task, NO_POLICY)
        margin = settings.margin if policy.margin is None else policy.margin
        changed[one.task] = policy.model_copy(update={"margin": max(margin, one.drop)})
    return changed


def _combined(
    decision: Decision, rest: Decision | None, entries: Sequence[AcceptedEntry], settings: DecisionSettings
) -> Decision:
    """Return the decision on all items, excused where the decision without the accepted regressions is no FAIL."""
    counting = [entry for entry in entries if entry.state == "counts"]
    accepted = Acceptance(
        entries=list(entries),
        p_value=None if rest is None else rest.p_value,
        verdict_of_all=decision.verdict,
        hidden=_hidden(decision, counting),
    )
    if rest is None or decision.verdict != "FAIL" or rest.verdict == "FAIL":
        reasons = [*decision.reasons, *_says(decision, accepted)]
        return decision.model_copy(update={"accepted": accepted, "reasons": reasons})
    blocking = [finding for finding in (*decision.validity, *rest.validity) if finding.blocks]
    proven = all_proven(decision.certification, decision.gating)
    verdict: Verdict = "INCONCLUSIVE" if blocking or not proven else "PASS"
    head = (
        "No significant drop beyond the accepted regressions: "
        f"{p_equation(rest.p_value, rest.p_is_bound)} without them, alpha = {decision.alpha:g}."
    )
    if blocking:
        head += f" {blocking[0].message}"
    elif not proven:
        head += " But the data do not prove what `certify` requires, which is of all items."
    reasons = [head, *(f"On all items: {text}" for text in decision.reasons[:1]), *decision.reasons[1:]]
    return decision.model_copy(
        update={
            "verdict": verdict,
            "exit_code": exit_code_of(verdict, settings, bool(blocking)),
            "accepted": accepted,
            "reasons": [*reasons, *_says(decision, accepted)],
        }
    )


def _hidden(decision: Decision, entries: Sequence[AcceptedEntry]) -> float:
    """Return the largest mean drop over the gating items that the accepted items can hide."""
    gating = {task.task for task in decision.gating}
    items = {(entry.task, item) for entry in entries if entry.task in gating for item in entry.items}
    return len(items) / decision.items


def _says(decision: Decision, accepted: Acceptance) -> list[str]:
    """Return the sentences about accepted regressions."""
    lines = [_line(entry) for entry in accepted.entries]
    if accepted.p_value is None:
        return lines
    if decision.verdict == "FAIL" and accepted.p_value <= decision.alpha:
        lines.insert(0, f"Accepted regressions do not explain it: {p_equation(accepted.p_value)} without them.")
    elif decision.verdict != "FAIL":
        lines.insert(
            0, f"Without the accepted regressions, {p_equation(accepted.p_value)}; the verdict is that of all items."
        )
    if accepted.hidden:
        lines.append(
            f"Accepted items are chosen after their outcome is known. They can hide a mean drop of up to "
            f"{points(accepted.hidden)} points; the p-value without them is not that of a new set of items."
        )
    return lines


def _line(entry: AcceptedEntry) -> str:
    what = f"a drop of up to {size(entry.drop)}" if entry.drop is not None else _items(entry)
    lost = f" ({count(entry.missing, 'item')} not in this run)" if entry.missing else ""
    text = f"on {entry.task}, {what}{lost}: {entry.reason}"
    if entry.state == "counts":
        return f"Accepted until {entry.expires} {text}"
    if entry.state == "expired":
        return f"Expired on {entry.expires}, so it does not count: {text}"
    if entry.state == "too many items":
        return f"Not accepted, because it is more than {LARGEST_SHARE:.0%} of the items of the task: {text}"
    return f"Not accepted, because the run has {entry.state}: {text}"


def _items(entry: AcceptedEntry) -> str:
    named = ", ".join(entry.items[:_MOST_NAMED]) + (", ..." if len(entry.items) > _MOST_NAMED else "")
    listed = f" ({named})" if named else ""
    return f"{count(len(entry.items), 'item')}{listed}, {entry.regressions:,} of them regressed"
