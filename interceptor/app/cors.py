"""Requests from pages of other origins (CORS): the answer to a preflight, and the fields of other responses. Pure.

A browser asks by OPTIONS before it sends a request that a form could not (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fleet.routing import cors as routes
from interceptor.core.messages import Field, Fields, Request, Response
from interceptor.core.replies import Reply

__all__ = ["Cors"]

METHODS: Final = ("GET", "HEAD", "POST")
SENT: Final = ("content-type", "x-grpc-web", "x-user-agent", "grpc-timeout", "connect-protocol-version", "connect-timeout-ms")
READ: Final = ("grpc-status", "grpc-message", "grpc-status-details-bin")
"""What clients of gRPC-Web and Connect send and read."""
ORIGIN: Final = b"access-control-allow-origin"
OPTIONS: Final = b"OPTIONS"
_HOST: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-._"
_REFUSED: Final = Reply(
    403,
    ((b"Content-Type", b"text/plain; charset=utf-8"), (b"Vary", b"Origin")),
    b"weir: pages of this origin may not use the application\n",
)


class Cors:
    """Created anew with each version of a route."""

    __slots__ = ("_any", "_below", "_common", "_names", "_preflight")

    def __init__(self, cors: routes.Cors) -> None:
        self._any = "*" in cors.allow_origins
        self._names = frozenset(origin.encode() for origin in cors.allow_origins)
        self._below = tuple(
            tuple(part.encode() for part in origin.split("*")) for origin in cors.allow_origins if "://*" in origin
        )
        """What comes before and after the wildcard."""
        credentials = ((b"Access-Control-Allow-Credentials", b"true"),) if cors.allow_credentials else ()
        exposed = _list(cors.expose_headers or READ)
        self._common: Fields = (*credentials, (b"Access-Control-Expose-Headers", exposed))
        age = () if cors.max_age is None else ((b"Access-Control-Max-Age", b"%d" % cors.max_age),)
        self._preflight: Fields = (
            (b"Access-Control-Allow-Methods", _list(cors.allow_methods or METHODS)),
            (b"Access-Control-Allow-Headers", _list(cors.allow_headers or SENT)),
            *credentials,
            *age,
        )

    def preflight(self, head: Request) -> Reply | None:
        """The answer, if the request is a preflight."""
        if head.method != OPTIONS:
            return None
        fields = head.match_fields()
        origin = _value(fields, b"origin")
        if not origin or not _value(fields, b"access-control-request-method"):
            return None
        allowed = self._allowed(origin)
        return Reply(204, (*allowed, *self._preflight)) if allowed else _REFUSED

    def fields(self, head: Request, present: Iterable[Field] = ()) -> Fields:
        """Those to add to a response to a request; none if those that it has `present` decide it already."""
        if any(name.lower() == ORIGIN for name, _ in present):
            return ()
        origin = _value(head.match_fields(), b"origin")
        allowed = self._allowed(origin) if origin else ()
        if allowed:
            return (*allowed, *self._common)
        return () if self._any else ((b"Vary", b"Origin"),)

    def of_response(self, head: Request, response: Response) -> Fields:
        """The same for a response of a backend, which may know CORS itself."""
        return self.fields(head, response.fields())

    def of_reply(self, head: Request, reply: Reply) -> Reply:
        """The same for a response of the proxy's own."""
        added = () if reply is _REFUSED else self.fields(head, reply.fields)
        return Reply(reply.status, (*reply.fields, *added), reply.body, reply.reason) if added else reply

    def _allowed(self, origin: bytes) -> Fields:
        """The fields that name the origin; none if it is not allowed."""
        if self._any:
            return ((b"Access-Control-Allow-Origin", b"*"),)
        if origin in self._names or any(_is_below(origin, before, after) for before, after in self._below):
            return (b"Access-Control-Allow-Origin", origin), (b"Vary", b"Origin")
        return ()


def _is_below(origin: bytes, before: bytes, after: bytes) -> bool:
    """Whether something of a host's name stands in place of the wildcard, and nothing else."""
    if not origin.startswith(before) or not origin.endswith(after):
        return False
    middle = origin[len(before) : len(origin) - len(after)]
    return bool(middle) and not middle.translate(None, _HOST)


def _list(values: Iterable[str]) -> bytes:
    return ", ".join(values).encode()


def _value(fields: Iterable[Field], name: bytes) -> bytes:
    return next((value for each, value in fields if each == name), b"")
