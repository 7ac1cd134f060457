"""The part of a request's body that is buffered: until there is a connection, and in case the request is sent again. Pure."""

from __future__ import annotations

from typing import Final

from interceptor.core.messages import Fields

__all__ = ["MAX_EARLY_BYTES", "MAX_REPLAY_BYTES", "RequestBody"]

MAX_REPLAY_BYTES: Final = 64 * 1024
"""Maximum size of a request body that is kept so that the request can be sent again."""
MAX_EARLY_BYTES: Final = 16 * 1024
"""Bytes of a request body that are read before there is a backend connection; then reading from the client is paused."""


class RequestBody:
    """Created with the first part. `parts` is None once bytes were sent without being kept (here, or by an exchange that relays
    the body in bulk), so that the request cannot be sent again."""

    __slots__ = ("parts", "size", "trailers")

    def __init__(self, data: bytes | memoryview) -> None:
        self.parts: list[bytes] | None = [bytes(data)] if data else []
        self.trailers: Fields = ()
        self.size = len(data)
        """Bytes kept so far; not reduced when parts are dropped."""

    def keep(self, data: bytes | memoryview) -> None:
        """Buffer a part until there is a connection."""
        if data and self.parts is not None:
            self.parts.append(bytes(data))
            self.size += len(data)

    def keep_for_replay(self, data: bytes | memoryview, *, again: bool) -> None:
        """Keep a copy of a part that was sent, unless the request may not be sent `again` or its body is too large."""
        if self.parts is None:
            return
        if again and self.size + len(data) <= MAX_REPLAY_BYTES:
            self.keep(data)
        else:
            self.parts = None
