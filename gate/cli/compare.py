"""`gate compare`: two sample sets to a verdict, without a model."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from gate.cli import bisect as git_bisect
from gate.cli import options
from gate.cli.options import is_set

if TYPE_CHECKING:
    from gate.app.compare import CompareOptions
    from gate.report import Form
    from gate.report.candidates import AnyResult
    from gate.samples import ModelSamples

_FORMS: tuple[Form, ...] = ("json", "markdown", "html", "junit")


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("candidates", metavar="CANDIDATE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="Apply the policy of this gate.yml: its decision, distance and samples.seed, and the role and policy of each "
    "task. Options that are set replace its keys.",
)
@click.option(
    "--metric",
    help="Metric to compare if the files have several; acc_smooth and acc_norm_smooth need the log-likelihoods of the "
    "choices.",
)
@click.option(
    "--smoothing",
    type=float,
    help="acc_smooth, acc_norm_smooth: noise over which accuracy is averaged, in nats, above 0 and at most 0.5.  "
    "[default: 0.2]",
)
@click.option("--filter", "filter_name", help="Filter to compare if LM Evaluation Harness files have several.")
@click.option("--task", "tasks", multiple=True, help="Compare only this task; may be repeated.")
@click.option(
    "--lower-is-better",
    metavar="METRIC",
    multiple=True,
    help="Lower values of this metric are better: change its sign; may be repeated. Needed only where the name of the "
    "metric and the files do not tell.",
)
@click.option(
    "--higher-is-better",
    metavar="METRIC",
    multiple=True,
    help="Higher values of this metric are better; may be repeated.",
)
@click.option("--advisory", multiple=True, help="Report this task, but exclude it from the verdict; may be repeated.")
@click.option(
    "--slice",
    "slices",
    metavar="COLUMN",
    multiple=True,
    help="Also report each part of a task with one value of this column of the baseline's CSV, JSON, JSONL or Parquet "
    "file (for numbers: each quarter); may be repeated. Slices never decide.",
)
@click.option("--allow-partial", is_flag=True, help="Compare the items that both sides have, and say what is left out.")
@options.alpha
@options.rule
@click.option(
    "--margin",
    type=options.Number(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Tolerated drop (a proportion; 0.01 is one percentage point).",
)
@click.option(
    "--certify",
    type=options.Number(0, 1, min_open=True, max_open=True),
    help="PASS also requires proof that the mean drop is below this proportion.",
)
@options.power
@click.option(
    "--on-inconclusive",
    type=click.Choice(["pass", "fail"]),
    default="pass",
    show_default=True,
    help="Exit code of INCONCLUSIVE: 0 (pass) or 3 (fail).",
)
@click.option("--max-flip-rate", type=options.Number(0, 1), help="FAIL if a larger proportion of items flips.")
@click.option(
    "--max-truncated",
    type=options.Number(0, 1),
    help="FAIL if a larger proportion of the candidate's generated texts is stopped by its length.",
)
@click.option(
    "--max-broken",
    type=options.Number(0, 1),
    help="FAIL if a larger proportion of them is broken (truncated, empty, a loop, no answer found, open reasoning).",
)
@click.option("--max-kl", type=options.Number(0), help="FAIL if the mean KL divergence (nats) is larger.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the simulated p-values.")
@click.option("--json", help="Write result.json here; - for standard output.")
@click.option("--markdown", help="Write the Markdown report here; - for standard output.")
@click.option("--html", help="Write the HTML report here.")
@click.option("--junit", help="Write JUnit XML here.")
@git_bisect.option
@click.option("--explain", is_flag=True, help="Show how each task was paired: files, metric, direction, items.")
@click.option(
    "-q", "--quiet", is_flag=True, help="Print neither the worst flips nor the files that were read and left out."
)
@click.pass_context
def command(
    context: click.Context,
    /,
    baseline: Path,
    candidates: tuple[Path, ...],
    bisect: bool,
    explain: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Test whether the samples in CANDIDATE are worse than those in BASELINE.

    Several candidates give one table; alpha then limits the probability of any false FAIL of the tests among them.
    Each argument is a folder that `gate evaluate` wrote, a file or folder of LM Evaluation Harness samples_*.jsonl,
    an Inspect log, results of lighteval, HELM, OpenCompass, evalscope, promptfoo, DeepEval or NeMo Evaluator, verdicts
    of MT-Bench, AlpacaEval or Arena-Hard (FILE::MODEL), or a CSV, JSON, JSONL or Parquet file with the columns task,
    item_id, output, target, correct (or score).
    """
    from gate.app.compare import candidate_names, compare_samples
    from gate.app.report_files import Reports, refuse_overlaps
    from gate.app.sources import explain as pairing_lines
    from gate.app.sources import file_lines
    from gate.cli.console import Terminal
    from gate.common.files import write_text
    from gate.common.workflow_commands import disarm
    from gate.importers.arrow import start_without_pandas
    from gate.report.candidates import join_results
    from gate.report.files import report_files
    from gate.report.redact import secrets_of

    start_without_pandas()
    destinations = {form: options.pop(form) for form in _FORMS}
    # the other options have the names of the keyword arguments of `gate.compare`, which has the same defaults
    options = {name: value for name, value in options.items() if is_set(context, name)}
    files = {form: destination for form, destination in destinations.items() if destination is not None}
    reports_by_option = {f"--{form}": Path(name) for form, name in files.items() if name != "-"}
    refuse_overlaps(reports_by_option, [baseline, *candidates, *filter(None, [options.get("config")])])
    sides: dict[str, ModelSamples] = {}

    def on_read(side: str, samples: ModelSamples) -> None:
        sides[side] = samples
        for line in () if quiet else file_lines(side, samples):
            click.echo(disarm(line), err=True)

    names = candidate_names(candidates)
    sources = dict(zip(names, candidates, strict=True))
    line = _command_line(context)
    compared = compare_samples(baseline, sources, line, cast("CompareOptions", options), on_read)
    pairings = {name: pairing for name, (_, pairing) in compared.items()}
    secrets = secrets_of(os.environ)
    to_stdout = "-" in files.values()
    terminal = Terminal(quiet)
    result: AnyResult
    if len(names) == 1:
        result, _ = compared[names[0]]
        show = partial(terminal.result, result)
    else:
        result = join_results({name: one for name, (one, _) in compared.items()}, commands=[line])
        show = partial(terminal.candidates, result)

    def write(path: str, text: str) -> None:
        if path == "-":
            click.echo(text, nl=False)
        else:
            write_text(Path(path), text)

    reports = Reports(result)
    if not to_stdout:
        with reports.attempt("standard output"):
            show()
    for name in names if explain else ():
        for row in pairing_lines(pairings[name], sides["baseline"], sides[name]):
            click.echo(disarm(row), err=to_stdout)
    reports.write(report_files(files, result, pairings, secrets), write)
    reports.check()
    return git_bisect.exit_code(result, bisect)


def _command_line(context: click.Context) -> str:
    """Return the command line that reproduces this result, with the options that were set."""
    words = ["gate", "compare"]
    for parameter in context.command.params:
        value = context.params[parameter.name or ""]
        if isinstance(parameter, click.Argument):
            words += [str(path) for path in (value if isinstance(value, tuple) else (value,))]
        elif parameter.name not in (*_FORMS, "quiet", "explain", "bisect") and is_set(context, parameter.name or ""):
            for entry in value if isinstance(value, tuple) else (value,):
                words += [parameter.opts[-1]] + ([] if value is True else [str(entry)])
    return shlex.join(words)
