"""Mutated answers of servers: every evaluation completes, or ends in a short time with an error that is no verdict."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from support.evaluations import choice_task, text_task
from support.fake_vllm import NAME, FakeVllm
from support.mutant_server import Kind, Mutant, serve
from support.opened import silent
from support.served import open_served

from gate.errors import ExitCode, GateError
from gate.evaluation.answer import answer_items
from gate.evaluation.recording import Recording
from gate.tasks.chat import Message
from gate.tasks.requests import Distribution, GenerateRequest, LoglikelihoodRequest, RollingRequest

CASES = 8
"""Servers of each kind in the normal suite; the exhaustive test has 1,000 of both together."""
SECONDS = 20.0
REFERENCE = Distribution((3, 5, 7), (-0.5, -1.5, -2.5), 0.1)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> FakeVllm:
    model = FakeVllm(tiny_model)
    model.load()
    return model


@pytest.fixture(autouse=True)
def two_attempts_without_waiting(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    stamina.set_testing(True, attempts=2)
    with caplog.at_level(logging.CRITICAL):
        yield
    stamina.set_testing(False)


def use(url: str, baseline: Path | None, folder: Path) -> None:
    """Use every function of the engine, and build the rows of two tasks from its answers."""
    engine = open_served(url, NAME, baseline, {"timeout": 5, "concurrency": 2})
    choices, texts = choice_task(folder), text_task(folder)
    for task in (choices, texts):
        table = answer_items(task, task.items[:8], engine, silent, None, Recording(3))
        assert table.num_rows == 8
        assert all(math.isfinite(score) for score in table["score"].to_pylist() if score is not None)
    for answer in engine.loglikelihood([LoglikelihoodRequest("a", ("b", " cat"), reference=REFERENCE)], silent):
        assert answer.divergence is None or math.isfinite(answer.divergence.kl)
    for text in engine.generate_until([GenerateRequest("a", (), 2, reference=REFERENCE)], silent):
        assert text.divergence is None or math.isfinite(text.divergence.kl)
    engine.loglikelihood_rolling([RollingRequest("the cat runs")], silent)
    engine.render_chat([Message("user", "x")])


def _checked(error: GateError) -> str:
    """Return the class of an error, whose message is short and whose exit code is no verdict's."""
    assert error.exit_code in (ExitCode.USAGE, ExitCode.EVALUATION)
    assert len(str(error)) < 3000
    return type(error).__name__


def check(kind: Kind, seed: int, model: FakeVllm, baseline: Path, folder: Path) -> str:
    """Use one mutated server; return "complete", or the class of the error."""
    mutant = Mutant(model, kind, seed, rate=(1.0, 0.1, 0.02, 0.005)[seed % 4])
    started = time.process_time()  # of client and server; the machine may be busy
    with serve(mutant) as url:
        try:
            use(url, baseline if seed % 3 else None, folder)
        except GateError as error:
            return _checked(error)
        except BaseException as error:
            error.add_note(f"{kind}, seed {seed}: " + "\n".join(mutant.log[-5:]))
            raise
        finally:
            assert time.process_time() - started < SECONDS, f"{kind}, seed {seed}: " + "\n".join(mutant.log[-5:])
    return "complete"


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_mutated_answers_give_results_or_errors(kind: Kind, model: FakeVllm, tiny_model: Path, tmp_path: Path) -> None:
    outcomes = [check(kind, seed, model, tiny_model, tmp_path) for seed in range(CASES)]
    assert outcomes.count("EvaluationError") > CASES // 4
    assert outcomes.count("complete") > 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_a_thousand_mutated_servers(kind: Kind, model: FakeVllm, tiny_model: Path, tmp_path: Path) -> None:
    outcomes = [check(kind, seed, model, tiny_model, tmp_path) for seed in range(1000, 1500)]
    print({name: outcomes.count(name) for name in set(outcomes)})
