"""What GitHub says no to."""

from __future__ import annotations

from gate.errors import ExitCode, GateError


class GitHubError(GateError):
    """GitHub refused a request, or could not be reached.

    Attributes
    ----------
    status : int or None
        HTTP status of the answer; None without one.
    ambiguous : bool
        The request may have been carried out although no good answer came.
    wait : float or None
        Seconds after which it may be tried again (doubled each time where `grows`); None: trying again is no use.
    """

    exit_code = ExitCode.EVALUATION

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        status: int | None = None,
        ambiguous: bool = False,
        wait: float | None = None,
        grows: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.ambiguous = ambiguous
        self.wait = wait
        self.grows = grows
