"""The errors of an exchange. The type decides the response; nothing here does I/O."""

from __future__ import annotations

from typing import Final

from fleet import defaults

__all__ = [
    "CONNECT_TIMED_OUT",
    "BackendError",
    "BadRequest",
    "BadResponse",
    "ExchangeError",
    "SpeaksAnother",
    "SpeaksHttp2",
    "Unavailable",
]

CONNECT_TIMED_OUT: Final = "connect timed out"
"""Why a dial failed that took too long, for people."""


class ExchangeError(Exception):
    """An error that the proxy answers itself: `status` for the client, `reason` for metrics, the message for people."""

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
        self.rpc_status: int | None = None
        """The status of gRPC that the cause means, where that is known."""


class BadRequest(ExchangeError):
    """The client's message is invalid. The connection is closed after the response, because the following bytes cannot be
    trusted."""

    status = 400
    reason = "bad_request"


class BadResponse(ExchangeError):
    """The backend's response is invalid."""

    status = 502
    reason = "bad_response"


class SpeaksAnother(BadResponse):
    """The backend speaks another protocol than it is spoken to with."""


class SpeaksHttp2(SpeaksAnother):
    """The backend accepts only HTTP/2, but its appProtocol does not say so."""

    def __init__(self) -> None:
        super().__init__(defaults.SPEAKS_HTTP2)


class BackendError(ExchangeError):
    """No response could be obtained from a backend. `unprocessed` when the backend has said, or must have known, that it has done
    nothing with the request: then any request may be sent again. `declined` when it has ended this request alone, while its
    connection lives: then none may."""

    status = 502
    reason = "backend"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reason: str | None = None,
        retry_after: int | None = None,
        unprocessed: bool = False,
        declined: bool = False,
    ) -> None:
        super().__init__(message, status=status, reason=reason, retry_after=retry_after)
        self.unprocessed = unprocessed
        self.declined = declined


class Unavailable(ExchangeError):
    """The application cannot take the request now."""

    status = 503
    reason = "unavailable"
