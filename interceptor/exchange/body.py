"""What came of a request's body before it could go on, and what is kept of it in case the request is sent again. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_EARLY_BYTES", "MAX_REPLAY_BYTES", "RequestBody"]

MAX_REPLAY_BYTES: Final = 64 * 1024
"""A request body kept so that the request can be sent again."""
MAX_EARLY_BYTES: Final = 16 * 1024
"""A request body read before there is a connection for it; then the client is not read from."""


class RequestBody:
    """Made with the first part that comes. `parts` is None once some of it was let go, so that it cannot be sent again: here, or
    by an exchange whose body passes by in bulk."""

    __slots__ = ("parts", "size")

    def __init__(self, data: bytes | memoryview) -> None:
        self.parts: list[bytes] | None = [bytes(data)] if data else []
        self.size = len(data)
        """Bytes that are kept, or were."""

    def keep(self, data: bytes | memoryview) -> None:
        """A part that waits for its connection."""
        if data and self.parts is not None:
            self.parts.append(bytes(data))
            self.size += len(data)

    def keep_for_replay(self, data: bytes | memoryview, *, idempotent: bool) -> None:
        """A part that has gone on: only a request that may be sent twice, and is not large, needs its body twice."""
        if self.parts is None:
            return
        if idempotent and self.size + len(data) <= MAX_REPLAY_BYTES:
            self.keep(data)
        else:
            self.parts = None
