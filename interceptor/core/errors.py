"""What can go wrong with an exchange. The type decides the answer; nothing here does I/O."""

from __future__ import annotations

__all__ = ["BackendError", "BadRequest", "BadResponse", "ExchangeError", "Unavailable"]


class ExchangeError(Exception):
    """An exchange that the proxy itself answers: `status` for the client, `reason` for metrics, the message for people."""

    status = 500
    reason = "internal"

    def __init__(
        self, message: str, *, status: int | None = None, reason: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        if reason is not None:
            self.reason = reason
        self.retry_after = retry_after


class BadRequest(ExchangeError):
    """The client's message breaks a rule. The connection ends with the answer: what follows cannot be trusted."""

    status = 400
    reason = "bad_request"


class BadResponse(ExchangeError):
    """The backend answered, and its answer breaks a rule."""

    status = 502
    reason = "bad_response"


class BackendError(ExchangeError):
    """No answer could be had from a backend."""

    status = 502
    reason = "backend"


class Unavailable(ExchangeError):
    """The application cannot take the request now."""

    status = 503
    reason = "unavailable"
