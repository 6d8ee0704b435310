"""Errors of GitHub's API."""

from __future__ import annotations

from gate.errors import ExitCode, GateError


class GitHubError(GateError):
    """GitHub refused a request or could not be reached.

    Attributes
    ----------
    status : int or None
        HTTP status of the response; None without a response.
    ambiguous : bool
        Whether GitHub may have carried out the request although no usable response arrived.
    wait : float or None
        Seconds to wait before the next attempt (doubled each time if `grows`); None where retrying is useless.
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
