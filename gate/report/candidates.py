"""The result of several candidates against one baseline: the results of the single ones, and the verdict over all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import Field, JsonValue

from gate import __version__
from gate.config.section import CandidateName
from gate.decision.result import Verdict
from gate.decision.section import ResultSection
from gate.errors import ExitCode, GateError
from gate.report.result import Result, json_text, read_data, to_json, validated

if TYPE_CHECKING:
    import pandas as pd


class CandidateResult(ResultSection):
    """One of several candidates."""

    name: CandidateName = Field(description="Unique among the candidates.")
    result: Result = Field(description="As for one candidate; `p_value` is adjusted over the candidates.")

    @property
    def weights_bytes(self) -> int | None:
        """Size of the weights on disk; None if unknown."""
        size = self.result.candidate.get("weights_bytes")
        return size if isinstance(size, int) and size > 0 else None

    @property
    def seconds(self) -> float | None:
        """Seconds of work on all tasks, or None if unknown. Comparable only between equal machines and tasks."""
        return self._sum_over_sets("seconds")

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens, read and generated, per second of work; None if unknown."""
        seconds, tokens = self.seconds, self._sum_over_sets("tokens")
        return tokens / seconds if seconds and tokens else None

    def _sum_over_sets(self, fact: str) -> float | None:
        sets = self.result.candidate.get("sets")
        values = [facts.get(fact) if isinstance(facts, dict) else None for facts in _values(sets)]
        known = [value for value in values if isinstance(value, int | float)]
        return float(sum(known)) if known and len(known) == len(values) else None


class Unevaluated(ResultSection):
    """A candidate without a verdict."""

    name: CandidateName
    error: str = Field(description="Why it could not be evaluated.")


class CandidatesResult(ResultSection):
    """Everything that a report on several candidates shows: result.json where there are several."""

    schema_version: Literal[1] = 1
    kind: Literal["candidates"] = "candidates"
    verdict: Verdict = Field(
        description="FAIL if any candidate fails, else INCONCLUSIVE if any is inconclusive, else PASS; of the "
        "candidates that were evaluated."
    )
    exit_code: int = Field(description="4 if a candidate could not be evaluated, else that of the worst verdict.")
    alpha: float = Field(description="Largest probability of any false FAIL of the tests among the candidates.")
    p_value: float = Field(description="Smallest p-value of a candidate, adjusted over the candidates.")
    candidates: list[CandidateResult] = Field(min_length=1, description="In the order of gate.yml or the command.")
    unevaluated: list[Unevaluated] = Field(default_factory=list)
    provenance: dict[str, JsonValue]

    @property
    def blocks(self) -> bool:
        """Whether the job fails."""
        return self.exit_code != 0

    @property
    def baseline(self) -> dict[str, JsonValue]:
        """Facts about the baseline."""
        return self.candidates[0].result.baseline

    @property
    def failed(self) -> list[CandidateResult]:
        """Candidates whose verdict is FAIL."""
        return [candidate for candidate in self.candidates if candidate.result.verdict == "FAIL"]

    @property
    def seconds(self) -> float | None:
        """Duration of the run; None if unknown."""
        seconds = self.provenance.get("seconds")
        return seconds if isinstance(seconds, int | float) else None

    def __getitem__(self, name: str) -> Result:
        """Return the result of a candidate."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate.result
        raise KeyError(name)

    def to_pandas(self) -> pd.DataFrame:
        """Return the candidates as a data frame.

        Returns
        -------
        pandas.DataFrame
            One row per candidate, indexed by its name: verdict, p_value (adjusted over the candidates), p_alone, drop
            and flip_rate (proportions), weights_bytes, seconds and tokens_per_second (missing where unknown).
        """
        import pandas as pd

        rows = [
            {
                "candidate": candidate.name,
                "verdict": candidate.result.verdict,
                "p_value": candidate.result.p_value,
                "p_alone": candidate.result.p_alone,
                "drop": candidate.result.drop,
                "flip_rate": candidate.result.flip_rate,
                "weights_bytes": candidate.weights_bytes,
                "seconds": candidate.seconds,
                "tokens_per_second": candidate.tokens_per_second,
            }
            for candidate in self.candidates
        ]
        return pd.DataFrame(rows).set_index("candidate")


AnyResult: TypeAlias = Result | CandidatesResult
"""The result of one candidate, or of several."""


def join_results(
    results: Mapping[str, Result],
    unevaluated: Mapping[str, GateError] | None = None,
    commands: Sequence[str] = (),
    seconds: float | None = None,
) -> CandidatesResult:
    """Join the results of several candidates, of which at least one was evaluated."""
    verdicts = {result.verdict for result in results.values()}
    verdict: Verdict = "FAIL" if "FAIL" in verdicts else "INCONCLUSIVE" if "INCONCLUSIVE" in verdicts else "PASS"
    blocked = [result.exit_code for result in results.values() if result.verdict == verdict]
    return CandidatesResult(
        verdict=verdict,
        exit_code=int(ExitCode.EVALUATION) if unevaluated else max(blocked),
        alpha=max(result.alpha for result in results.values()),
        p_value=min(result.p_value for result in results.values()),
        candidates=[CandidateResult(name=name, result=result) for name, result in results.items()],
        unevaluated=[Unevaluated(name=name, error=str(error)) for name, error in (unevaluated or {}).items()],
        provenance={
            "quantgate": __version__,
            "reproduce": list(commands),
            **({} if seconds is None else {"seconds": seconds}),
        },
    )


def read_any_result(path: Path) -> AnyResult:
    """Read the result.json of one or of several candidates; errors as for `gate.report.read_result`."""
    data = read_data(path)
    if data.get("kind") == "candidates":
        return validated(CandidatesResult, data, path)
    return validated(Result, data, path)


def any_to_json(result: AnyResult) -> str:
    """Return the text of result.json of one or of several candidates."""
    return candidates_json(result) if isinstance(result, CandidatesResult) else to_json(result)


def candidates_json(result: CandidatesResult) -> str:
    """Return the text of result.json for several candidates."""
    head = {"schema_version": result.schema_version, "kind": result.kind}
    data = {**head, **result.model_dump(mode="json", by_alias=True)}
    return json_text(data)


def _values(sets: JsonValue) -> list[JsonValue]:
    return list(sets.values()) if isinstance(sets, dict) else []
