"""WebSockets over a stream to a backend: extended CONNECT in place of a GET with Upgrade (RFC 8441). Pure."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from hashlib import sha1
from typing import Final

from interceptor.core.messages import NO_BODY, SWITCHING_PROTOCOLS, Field, Fields, Request, Response

__all__ = ["ACCEPT", "KEY", "WEBSOCKET", "Switch", "Switched"]

WEBSOCKET: Final = b"websocket"
KEY: Final = b"sec-websocket-key"
ACCEPT: Final = b"sec-websocket-accept"
_OF_ALL: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server appends to every key (RFC 6455 1.3)."""


class Switched(Response, gc=False, eq=False):
    """The backend has agreed to the WebSocket, as a 101 response of HTTP/1."""

    head_fields: Fields = ()

    def fields(self) -> list[Field]:
        return list(self.head_fields)


class Switch:
    """The WebSocket that one request asks for."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def asked_by(cls, head: Request, fields: Sequence[Field]) -> Switch | None:
        """None if the request, with these fields, asks for no WebSocket. A client of HTTP/1 has sent exactly one key."""
        if head.upgrade is None or head.upgrade.lower() != WEBSOCKET:
            return None
        keys = [value for name, value in fields if name == KEY]
        return cls(keys[0]) if len(keys) == 1 else None

    @staticmethod
    def request(head: Request, scheme: bytes, authority: bytes, fields: Sequence[Field]) -> Fields:
        """The fields of the stream's head."""
        return (
            (b":method", b"CONNECT"),
            (b":protocol", WEBSOCKET),
            (b":scheme", scheme),
            (b":path", head.target),
            (b":authority", authority),
            *(field for field in fields if field[0] != KEY),
        )

    def response(self, response: Response) -> Switched | None:
        """The response to the client; None if the backend has not agreed. HTTP/1 proves there that its key was read, and HTTP/2
        knows no key."""
        if not 200 <= response.status < 300:
            return None
        accept = b2a_base64(sha1(self._key + _OF_ALL, usedforsecurity=False).digest(), newline=False)
        head_fields = (*(field for field in response.fields() if field[0] not in _NOT_FOR_CLIENTS), (ACCEPT, accept))
        return Switched(SWITCHING_PROTOCOLS, NO_BODY, upgrade=WEBSOCKET, head_fields=head_fields)


_NOT_FOR_CLIENTS: Final = frozenset({ACCEPT, b"content-length"})
