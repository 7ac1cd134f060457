"""What the proxy itself answers: a status and one line for people. Pure."""

from __future__ import annotations

from http import HTTPStatus

from interceptor.errors import ExchangeError

__all__ = ["encode_reply", "no_route"]


def no_route(host: bytes, path: bytes) -> ExchangeError:
    """No route takes the request. Names what was asked for, and nothing of anybody else."""
    return ExchangeError(f"no route for host {_printable(host)} and path {_printable(path)}", status=404, reason="no_route")


def encode_reply(error: ExchangeError, *, method: bytes, close: bool) -> bytes:
    """The answer's bytes. A HEAD request gets no body."""
    body = f"weir: {error}\n".encode()
    lines = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "Content-Type: text/plain; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
    ]
    if error.retry_after is not None:
        lines.append(f"Retry-After: {error.retry_after}")
    if close:
        lines.append("Connection: close")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head if method == b"HEAD" else head + body


def _printable(value: bytes) -> str:
    """What a client sent, fit for a log and a terminal."""
    text = value[:200].decode("ascii", "backslashreplace")
    return '"' + "".join(char if char.isprintable() and char != '"' else f"\\x{ord(char):02x}" for char in text) + '"'
