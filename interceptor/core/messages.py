"""Requests and responses as values, in HTTP's own terms (RFC 9110). What a version of HTTP writes, its codec adds in a subclass.

A codec may keep a message as it came, and pass it on without looking at each field: so these values give their fields only when
they are asked for them.
"""

from __future__ import annotations

import msgspec

from fleet.routing.match import METHOD

__all__ = ["CONTINUE", "IDEMPOTENT", "NO_BODY", "REQUEST_TIMEOUT", "Field", "Fields", "Request", "Response"]

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})
"""Methods of which sending a request twice does what sending it once does (9.2.2)."""
CONTINUE, REQUEST_TIMEOUT = 100, 408
NO_BODY = 0

Field = tuple[bytes, bytes]
"""Name and value."""
Fields = tuple[Field, ...]
"""What is added to a message. Codecs may keep what they make of one, so there should not be many different ones."""


class Request(msgspec.Struct, gc=False, eq=False):
    """A request without its body."""

    method: bytes
    target: bytes
    """As it came, but for a URL: then its path and query."""
    path: bytes
    """The target without its query."""
    host: bytes
    """The authority that it is for; empty only where its version of HTTP lets it name none."""
    length: int = NO_BODY
    """Of the body: bytes, NO_BODY, or below 0 where only its end tells."""
    upgrade: bytes | None = None
    """The protocols that its client would rather speak."""
    expects_continue: bool = False
    personal: bool = False
    """Whether it authenticates the connection that it goes on by, so that no other client may get that one."""

    @property
    def idempotent(self) -> bool:
        return self.method in IDEMPOTENT

    @property
    def size(self) -> int:
        """Bytes that are kept for it while it waits."""
        raise NotImplementedError

    @property
    def is_for_another(self) -> bool:
        """Whether it says that it was forwarded: then others' requests come by the same connection."""
        raise NotImplementedError

    def match_fields(self) -> list[tuple[bytes, bytes]]:
        """All fields with lower-case names."""
        raise NotImplementedError

    def routing_fields(self, *, headers: bool, method: bool) -> list[tuple[bytes, bytes]]:
        """What a routing table looks at beside host and path."""
        fields = self.match_fields() if headers else []
        if method:
            fields.append((METHOD, self.method))
        return fields


class Response(msgspec.Struct, gc=False, eq=False):
    """A response without its body."""

    status: int
    length: int
    """Of the body: bytes, NO_BODY, or below 0 where only its end tells."""
    keep_alive: bool = True
    """Whether the backend takes further requests by the connection that this came by."""
    upgrade: bytes | None = None
    """What the backend switches to (101), or asks the client to (426)."""
    personal: bool = False
    """Whether it authenticates the connection that it came by, so that no other client may get that one."""
