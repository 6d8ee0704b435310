"""`gate compare`: two sample sets to a verdict, without a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from gate.cli import options

if TYPE_CHECKING:
    from gate.report import Form
    from gate.stats import Rule


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--metric", help="Metric to compare if the files have several.")
@click.option(
    "--filter", "filter_name", help="Filter to compare if LM Evaluation Harness files have several."
)
@click.option("--task", "tasks", multiple=True, help="Compare only this task; may be repeated.")
@click.option("--advisory", multiple=True, help="Report this task, but do not judge by it; may be repeated.")
@click.option(
    "--allow-partial", is_flag=True, help="Compare the items that both sides have, and say what is left out."
)
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
    "--max-flip-rate", type=options.Number(0, 1), help="FAIL if a larger proportion of items flips."
)
@click.option("--max-kl", type=options.Number(0), help="FAIL if the mean KL divergence (nats) is larger.")
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
    rule: Rule,
    margin: float,
    certify: float | None,
    power: float,
    on_inconclusive: Literal["pass", "fail"],
    max_flip_rate: float | None,
    max_kl: float | None,
    seed: int,
    json_path: str | None,
    markdown_path: str | None,
    html_path: str | None,
    junit_path: str | None,
    quiet: bool,
) -> int:
    """Compare the samples in BASELINE and CANDIDATE, and judge the candidate.

    Each is a folder that `gate evaluate` wrote, a file or folder of LM Evaluation Harness samples_*.jsonl, an
    Inspect log, NeMo Evaluator's results.jsonl, or a CSV, JSONL or Parquet file with the columns task, item_id,
    output, target, correct (or score).
    """
    from gate.app.compare import compare_samples
    from gate.app.policy import decision_settings
    from gate.cli.console import Terminal
    from gate.config import DistanceSettings
    from gate.files import write_text
    from gate.importers.arrow import start_without_pandas
    from gate.report import render
    from gate.report.redact import secrets_of

    start_without_pandas()
    comparison = compare_samples(
        baseline,
        candidate,
        decision_settings(
            {
                "alpha": alpha,
                "rule": rule,
                "margin": margin,
                "certify": certify,
                "power": power,
                "on_inconclusive": on_inconclusive,
            }
        ),
        DistanceSettings(max_flip_rate=max_flip_rate, max_kl=max_kl),
        metric=metric,
        filter_name=filter_name,
        tasks=tasks,
        advisory=advisory,
        allow_partial=allow_partial,
        seed=seed,
        command=_command_line(context),
    )
    result = comparison.result
    destinations: dict[Form, str | None] = {
        "json": json_path,
        "markdown": markdown_path,
        "html": html_path,
        "junit": junit_path,
    }
    secrets = secrets_of(os.environ)
    for form, destination in destinations.items():
        if destination == "-":
            click.echo(render(form, result, comparison.pairing, secrets), nl=False)
        elif destination is not None:
            write_text(Path(destination), render(form, result, comparison.pairing, secrets))
    if "-" not in destinations.values():
        Terminal(quiet).result(result)
    return result.exit_code


def _command_line(context: click.Context) -> str:
    """Return the command line that reproduces this result, with the options that were set."""
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
