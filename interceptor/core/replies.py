"""What the proxy itself answers, whatever the wire format: a status, fields and a body. Pure.

An error becomes a reply in the form that its client reads: one function per form.
"""

from __future__ import annotations

import msgspec

from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Field

__all__ = ["Reply", "no_route", "text_reply"]


class Reply(msgspec.Struct, frozen=True, gc=False, eq=False):
    """An answer that is whole. Its length, and what concerns the connection, are for the wire format to say."""

    status: int
    fields: tuple[Field, ...]
    body: bytes = b""


def text_reply(error: ExchangeError) -> Reply:
    """One line for people."""
    fields = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff")]
    if error.retry_after is not None:
        fields.append((b"Retry-After", b"%d" % error.retry_after))
    return Reply(error.status, tuple(fields), f"weir: {error}\n".encode())


def no_route(host: bytes, path: bytes) -> ExchangeError:
    """No route takes the request. Names what was asked for, and nothing of anybody else."""
    return ExchangeError(f"no route for host {_printable(host)} and path {_printable(path)}", status=404, reason="no_route")


def _printable(value: bytes) -> str:
    """What a client sent, fit for a log and a terminal."""
    text = value[:200].decode("ascii", "backslashreplace")
    return '"' + "".join(char if char.isprintable() and char != '"' else f"\\x{ord(char):02x}" for char in text) + '"'
