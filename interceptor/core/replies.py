"""Responses that the proxy makes itself, independent of the wire format: a status, fields and a body. Pure.

An error is converted to a response in the format that its client reads: one function per format.
"""

from __future__ import annotations

import msgspec

from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Field

__all__ = ["Reply", "no_preview", "no_route", "text_reply"]


class Reply(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A complete response. The codec adds the length and the connection fields."""

    status: int
    fields: tuple[Field, ...]
    body: bytes = b""
    reason: str = ""
    """Of an error, as for metrics."""
    rpc_status: int | None = None
    """Of an error, the status of gRPC that its cause means."""


def text_reply(error: ExchangeError) -> Reply:
    """One line of text for people."""
    fields = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff")]
    if error.retry_after is not None:
        fields.append((b"Retry-After", b"%d" % error.retry_after))
    return Reply(error.status, tuple(fields), f"weir: {error}\n".encode(), error.reason, error.rpc_status)


def no_route(host: bytes, path: bytes) -> ExchangeError:
    """No route matches. The message contains what was requested, and nothing about other routes."""
    return ExchangeError(f"no route for host {_printable(host)} and path {_printable(path)}", status=404, reason="no_route")


def no_preview(app: str, name: bytes) -> ExchangeError:
    """A request for a preview that is not there, of an application that answers such requests in this way. `name` is empty if
    what the request says is no name."""
    if not name:
        return ExchangeError(f"what the request says is no name of a preview of {app}", status=404, reason="no_preview")
    return ExchangeError(f"application {app} has no preview {_printable(name)}", status=404, reason="no_preview")


def _printable(value: bytes) -> str:
    """Text from a client, made safe for a log and a terminal."""
    text = value[:200].decode("ascii", "backslashreplace")
    return '"' + "".join(char if char.isprintable() and char != '"' else f"\\x{ord(char):02x}" for char in text) + '"'
