"""Write report files. A file that cannot be written does not change the verdict; it is an error at the very end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gate.common.files import same_file
from gate.errors import ConfigError, EvaluationError, ExitCode, GateError, first_line
from gate.report.candidates import AnyResult
from gate.report.files import ReportFile


class ReportError(EvaluationError):
    """The verdict stands, but not every report was written.

    Its exit code is that of the verdict; 4 where the verdict's would be 0.

    Attributes
    ----------
    result : Result or CandidatesResult
        The verdict.
    problems : list of (str, str)
        Path of each report that was not written, and the reason.
    """

    def __init__(self, result: AnyResult, problems: Sequence[tuple[str, str]]) -> None:
        listed = "".join(f"\n  - {name}: {reason}" for name, reason in problems)
        super().__init__(
            f"the verdict {result.verdict} stands, but not every report was written:{listed}",
            "Remove the cause and run the same command again.",
        )
        self.result = result
        self.problems = list(problems)
        if result.exit_code:
            self.exit_code = ExitCode(result.exit_code)


def refuse_overlaps(written: Mapping[str, Path], read: Sequence[Path]) -> None:
    """Raise a ConfigError if a report would replace another one, or a file that is read.

    `written` are the paths of the reports, by the key or option that names them.
    """
    for number, (key, path) in enumerate(written.items()):
        for other in read:
            if same_file(path, other):
                raise ConfigError(f"{key}: the report would replace {other}, which is read.", "Choose another path.")
        for before, earlier in list(written.items())[:number]:
            if same_file(path, earlier) and not path.is_char_device():
                raise ConfigError(f"{before} and {key} name the same file, {path}.", "Choose another path.")


class Reports:
    """Writes the reports of one result, and keeps the errors until `check`; `earlier` is one of the same result."""

    def __init__(self, result: AnyResult, earlier: ReportError | None = None) -> None:
        self._result = result
        self._problems = [] if earlier is None else list(earlier.problems)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Keep an error of the block as the reason why the report `name` is missing."""
        try:
            yield
        except GateError as error:
            self._problems.append((name, error.message))
        except Exception as error:  # a report shows texts of models; none may cost the verdict
            self._problems.append((name, f"{type(error).__name__}: {first_line(error)}"))

    def write(self, files: Iterable[ReportFile], write: Callable[[str, str], None]) -> None:
        """Render each file and pass its path and text to `write`."""
        for file in files:
            with self.attempt(file.path):
                write(file.path, file.text())

    def check(self) -> None:
        """Raise a ReportError if a report is missing."""
        if self._problems:
            raise ReportError(self._result, self._problems)
