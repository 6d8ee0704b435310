"""`gate compare`: two sample sets to a verdict, without a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gate.cli import options

if TYPE_CHECKING:
    from gate.report import Form
    from gate.samples import ModelSamples


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--metric", help="Metric to compare, where the files have several.")
@click.option(
    "--filter", "filter_name", help="Filter to compare, where LM Evaluation Harness files have several."
)
@click.option("--task", "tasks", multiple=True, help="Compare only this task; may be given several times.")
@click.option("--advisory", multiple=True, help="Report this task but do not judge by it; may be repeated.")
@click.option("--allow-partial", is_flag=True, help="Compare what both sides have, and say what is left out.")
@options.alpha
@options.rule
@click.option("--margin", type=options.Number(0, 1), default=0.0, show_default=True, help="Tolerated drop.")
@click.option(
    "--certify",
    type=options.Number(0, 1, min_open=True, max_open=True),
    help="PASS must prove that the drop is below this proportion.",
)
@options.power
@click.option("--on-inconclusive", type=click.Choice(["pass", "fail"]), default="pass", show_default=True)
@click.option(
    "--max-flip-rate", type=options.Number(0, 1), help="FAIL where a larger proportion of answers flips."
)
@click.option("--max-kl", type=options.Number(0), help="FAIL where the mean KL divergence (nats) is larger.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "json_path", help="Write result.json here; - for standard output.")
@click.option("--markdown", "markdown_path", help="Write the Markdown report here; - for standard output.")
@click.option("--html", "html_path", help="Write the HTML report here.")
@click.option("--junit", "junit_path", help="Write JUnit XML here.")
@click.option("-q", "--quiet", is_flag=True, help="Print the verdict and the table only.")
@click.pass_context
def command(
    context: click.Context,
    baseline: Path,
    candidate: Path,
    metric: str | None,
    filter_name: str | None,
    tasks: tuple[str, ...],
    advisory: tuple[str, ...],
    allow_partial: bool,
    alpha: float,
    rule: str,
    margin: float,
    certify: float | None,
    power: float,
    on_inconclusive: str,
    max_flip_rate: float | None,
    max_kl: float | None,
    seed: int,
    json_path: str | None,
    markdown_path: str | None,
    html_path: str | None,
    junit_path: str | None,
    quiet: bool,
) -> int:
    """Compare the samples in BASELINE and CANDIDATE and judge the candidate.

    Each may be a folder that `gate evaluate` wrote, a file or folder of LM Evaluation Harness samples_*.jsonl, an
    Inspect log, NeMo Evaluator's results.jsonl, or a CSV, JSONL or Parquet file with the columns task, item_id,
    output, target, correct (or score).
    """
    from gate.cli.console import Screen
    from gate.config import DecisionSettings, DistanceSettings
    from gate.decision import decide
    from gate.errors import ConfigError
    from gate.files import write_text
    from gate.report import build_result, print_result, render
    from gate.report.redact import secrets_of
    from gate.samples import pair

    sides = [read_side(path, metric, filter_name) for path in (baseline, candidate)]
    unknown = sorted({*tasks, *advisory} - {name for side in sides for name in side.tasks})
    if unknown:
        known = ", ".join(sorted(sides[0].tasks))
        raise ConfigError(f"no such task in the files: {', '.join(unknown)}; they have: {known}.")
    settings = DecisionSettings.model_validate(
        {
            "alpha": alpha,
            "rule": rule,
            "margin": margin,
            "certify": certify,
            "power": power,
            "on_inconclusive": on_inconclusive,
        }
    )
    pairing = pair(sides[0], sides[1], list(tasks) or None, allow_partial)
    decision = decide(
        pairing.tasks,
        settings,
        DistanceSettings(max_flip_rate=max_flip_rate, max_kl=max_kl),
        dict.fromkeys(advisory, "advisory"),
        seed,
    )
    result = build_result(decision, pairing, sides[0], sides[1], settings, seed, [_again(context)])
    screen = Screen(quiet)
    places: dict[Form, str | None] = {
        "json": json_path,
        "markdown": markdown_path,
        "html": html_path,
        "junit": junit_path,
    }
    secrets = secrets_of(os.environ)
    for form, place in places.items():
        if place == "-":
            click.echo(render(form, result, pairing, secrets), nl=False)
        elif place is not None:
            write_text(Path(place), render(form, result, pairing, secrets))
    if "-" not in places.values():
        print_result(result, screen.out, flips=0 if quiet else 5)
    return result.exit_code


def read_side(path: Path, metric: str | None, filter_name: str | None) -> ModelSamples:
    """Read our own sample sets, or files of other tools, by what is there."""
    from gate.importers import read_foreign
    from gate.store import read_sets

    own = read_sets(path) if path.is_dir() else None
    return own if own is not None else read_foreign(path, metric=metric, filter_name=filter_name)


def _again(context: click.Context) -> str:
    """Return the command line that gives this result again, with the options that were set."""
    import shlex

    words = ["gate", "compare"]
    for parameter in context.command.params:
        value = context.params[parameter.name or ""]
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.name not in (
            "json_path",
            "markdown_path",
            "html_path",
            "junit_path",
            "quiet",
        ):
            if value in (None, (), False) or value == parameter.default:
                continue
            for one in value if isinstance(value, tuple) else (value,):
                words += [parameter.opts[-1]] + ([] if value is True else [str(one)])
    return shlex.join(words)
