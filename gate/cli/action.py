"""`gate action`: the container action's entry point, from GitHub's inputs to its outputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, chdir, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gate.config import LoadedConfig
    from gate.github.effective import Effective
    from gate.github.inputs import Inputs
    from gate.report import Result


@click.command()
def command() -> int:
    """Run the gate as GitHub Actions asks: inputs from INPUT_ variables, outputs, summary, annotations, comment.

    Exits with the verdict's code whatever becomes of the comment. `docs/action.md` lists the inputs.
    """
    return run_action(os.environ)


def run_action(environment: Mapping[str, str]) -> int:
    """Do the action's job.

    Parameters
    ----------
    environment : mapping of str to str
        The runner's.

    Raises
    ------
    GateError
        Whatever keeps it from a verdict; the outputs, an annotation and the summary say so, too.
    """
    from gate.errors import ExitCode, GateError

    try:
        return _run(environment)
    except GateError as error:
        _tell(environment, error.exit_code, str(error))
        raise
    except Exception as error:
        _tell(environment, ExitCode.EVALUATION, f"{type(error).__name__}: this is a bug in quantgate.")
        raise


def _run(environment: Mapping[str, str]) -> int:
    from gate.app.run import run
    from gate.cli.console import Terminal
    from gate.doctor import hub_cache
    from gate.github import check_context, group, marker, on_github
    from gate.github.effective import effective
    from gate.github.inputs import read_inputs
    from gate.github.outputs import as_seen_outside, verdict_outputs

    _mask(environment)
    inputs, changed = read_inputs(environment)
    marker(inputs.name)  # what publishing would refuse must not cost an evaluation
    if inputs.status_context is not None:
        check_context(inputs.status_context)
    with chdir(_folder(inputs)):
        settings = effective(inputs, changed, Path())
        loaded = settings.loaded
        log = ExitStack()  # the evaluation is folded in the log, the verdict is not

        class FoldedEvaluation(Terminal):
            def result(self, result: Result) -> None:
                log.close()
                super().result(result)

        try:
            if on_github(environment):
                log.enter_context(group("Evaluation"))
            result = run(
                loaded,
                force_baseline=inputs.force_baseline,
                command=_again(inputs, changed),
                reporter=FoldedEvaluation(),
            )
        finally:
            log.close()
            caches = [hub_cache(environment), *_caches(environment)]
            _give_to_owner(environment.get("GITHUB_WORKSPACE"), [*_written(loaded), *caches])
            _give_to_owner(environment.get("HOME"), caches)
        report, file = loaded.config.report.markdown, loaded.config.report.json_path
        _write(
            environment,
            verdict_outputs(
                result,
                None if file is None else as_seen_outside(loaded.folder / file, environment),
                None if report is None else as_seen_outside(loaded.folder / report, environment),
            ),
        )
        _publish(result, settings, inputs, environment)
    return result.exit_code


def _publish(result: Result, settings: Effective, inputs: Inputs, environment: Mapping[str, str]) -> None:
    """Publish; whatever goes wrong here, the verdict stands."""
    from gate.github import publish

    try:
        published = publish(
            result,
            config_path=settings.path,
            task_lines=settings.task_lines,
            name=inputs.name,
            comment=inputs.comment,
            status_context=inputs.status_context,
            summary=inputs.summary,
            annotations=inputs.annotations,
            token=inputs.github_token,
            environment=environment,
        )
    except Exception as error:
        _say(f"warning: publishing failed ({type(error).__name__}: {error}); the verdict stands.")
        return
    _write(environment, {"comment-url": published.comment_url or ""})


def _folder(inputs: Inputs) -> Path:
    from gate.errors import ConfigError

    folder = Path(inputs.working_directory)
    if not folder.is_dir():
        raise ConfigError(
            f"input working-directory: {folder} is no folder here.",
            "It starts from the workspace; is there a checkout step before this one?",
        )
    return folder


def _again(inputs: Inputs, changed: Mapping[str, str]) -> list[str]:
    """Return the command that gives this result again on any machine."""
    if not changed:
        return ["gate", "run", "--config", inputs.config or "gate.yml"]
    given = dict(changed) | ({"config": inputs.config} if inputs.config else {})
    return ["env", *(f"INPUT_{name.upper()}={text}" for name, text in given.items()), "gate", "action"]


def _mask(environment: Mapping[str, str]) -> None:
    """Have the runner hide the token, should anything ever print it; elsewhere the command would show it."""
    token = environment.get("INPUT_GITHUB-TOKEN", "").strip()
    if token and environment.get("GITHUB_ACTIONS") == "true":
        escaped = token.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        click.echo(f"::add-mask::{escaped}")


def _tell(environment: Mapping[str, str], code: int, message: str) -> None:
    """Say in the outputs, an annotation, the summary and the commit status that there is no verdict; never raises."""
    from gate.errors import ExitCode
    from gate.github import annotation, on_github
    from gate.github.outputs import error_outputs
    from gate.report.escape import markdown

    _write(environment, error_outputs(ExitCode(code)))
    if not on_github(environment):
        return
    click.echo(annotation("error", message, "quantgate: no verdict"))
    file = environment.get("GITHUB_STEP_SUMMARY")
    if file:
        lines = "".join(f"- {markdown(line, 1000)}\n" for line in message.splitlines() if line.strip())
        text = f"\n## quantgate: no verdict\n\nThis says nothing about the model; the job fails.\n\n{lines}"
        with suppress(OSError), Path(file).open("a", encoding="utf-8") as handle:
            handle.write(text)
    _status(environment)


def _status(environment: Mapping[str, str]) -> None:
    from gate.github.inputs import UNSET
    from gate.github.publish import publish_no_verdict

    # as the runner gave them: the inputs may be what is wrong
    name, token = (environment.get(f"INPUT_{one}", "").strip() for one in ("STATUS-CONTEXT", "GITHUB-TOKEN"))
    if not token or name in ("", UNSET):
        return
    try:
        publish_no_verdict(name, token, environment)
    except Exception as error:
        _say(f"warning: the commit status was not set to error ({type(error).__name__}: {error}).")


def _write(environment: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    from gate.github.outputs import write_outputs

    try:
        write_outputs(environment, outputs)
    except OSError as error:
        _say(f"warning: the outputs cannot be written ({error}); the verdict stands.")


def _say(text: str) -> None:
    from gate.report.escape import log_line

    click.echo(log_line(text, 2000), err=True)


def _written(loaded: LoadedConfig) -> list[Path]:
    settings = loaded.config
    names = [name for name in settings.report.model_dump().values() if isinstance(name, str)]
    if "://" not in settings.samples.store:
        names.append(settings.samples.store)
    return [loaded.folder / name for name in names]


def _caches(environment: Mapping[str, str]) -> list[Path]:
    """Return where huggingface_hub and the mirrors of remote stores keep files, beside the hub's cache of models."""
    below = environment.get("XDG_CACHE_HOME") or "~/.cache"
    hub = environment.get("HF_HOME") or f"{below}/huggingface"
    mirrors = f"{environment.get('GATE_CACHE') or below}/quantgate"
    return [Path(hub).expanduser(), Path(mirrors).expanduser()]


def _give_to_owner(root: str | None, paths: Iterable[Path]) -> None:
    """Give root's files below a folder of the runner's to its owner: the runner cannot delete root's.

    GitHub runs container actions as root in a workspace and a home of the runner's user.
    """
    if not root or not hasattr(os, "getuid") or os.getuid() != 0:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: links in a circle
        top = Path(root).resolve()
        owner = top.stat()
        if owner.st_uid == 0:
            return
        for path in (path.resolve() for path in paths):  # a link in the workspace may lead anywhere
            # and the folders above that were made on the way
            above = [one for one in path.parents if one.is_relative_to(top)]
            for one in [*path.rglob("*"), path, *above] if above else []:
                with suppress(OSError):
                    if one.lstat().st_uid == 0:
                        os.chown(one, owner.st_uid, owner.st_gid, follow_symlinks=False)
