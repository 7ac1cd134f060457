"""Requests of HTTP/1.1 as bytes."""

from __future__ import annotations

__all__ = ["get", "post"]


def get(target: bytes = b"/", *fields: bytes, method: bytes = b"GET", host: bytes = b"a.test", version: bytes = b"1.1") -> bytes:
    """A request without a body."""
    return b"\r\n".join([method + b" " + target + b" HTTP/" + version, b"Host: " + host, *fields]) + b"\r\n\r\n"


def post(body: bytes, target: bytes = b"/", *fields: bytes, method: bytes = b"POST", chunked: bool = False) -> bytes:
    """A request with a body: one chunk, or a length."""
    if chunked:
        wire = (b"%x\r\n" % len(body) + body + b"\r\n" if body else b"") + b"0\r\n\r\n"
        return get(target, b"Transfer-Encoding: chunked", *fields, method=method) + wire
    return get(target, b"Content-Length: %d" % len(body), *fields, method=method) + body
