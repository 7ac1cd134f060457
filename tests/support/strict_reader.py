"""A strict reader of HTTP/1.1 messages, for tests. It shares nothing with the proxy and repairs nothing.

It says what bytes mean to a peer that takes RFC 9112 at its word: how many messages, and which. Anything else is NotStrict.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Message", "NotStrict", "read_request", "read_requests", "read_response", "read_responses"]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) ([^\r\n]*)")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):([\t \x21-\x7e\x80-\xff]*)")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


class NotStrict(Exception):
    """The bytes break a rule."""


@dataclass
class Message:
    """One request or response. `method` and `target` are of a request, `status` of a response."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    phrase: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Names in lower case."""
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    framing: str = ""
    """"none", "length", "chunked" or "close"."""

    def all(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.fields if other == name]

    def get(self, name: bytes) -> bytes | None:
        """The only value of a field; None when there is none."""
        values = self.all(name)
        if len(values) > 1:
            raise NotStrict(f"{name!r} stands {len(values)} times")
        return values[0] if values else None


def read_request(data: bytes) -> tuple[Message, bytes] | None:
    """The first request and what follows; None when more bytes are needed."""
    parts = _head(data)
    if parts is None:
        return None
    line, fields, rest = parts
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise NotStrict(f"request line {line!r}")
    message = Message(method=match[1], target=match[2], fields=fields)
    if len(message.all(b"host")) != 1:
        raise NotStrict("not exactly one Host")
    return _with_body(message, rest, otherwise="none", closed=False)


def read_requests(data: bytes) -> tuple[list[Message], bytes]:
    """All whole requests, and the rest, which must be the beginning of another."""
    messages = []
    while data and (found := read_request(data)) is not None:
        message, data = found
        messages.append(message)
    return messages, data


def read_response(data: bytes, method: bytes = b"GET", *, closed: bool = False) -> tuple[Message, bytes] | None:
    """The first response; `closed` says that no more bytes will come."""
    parts = _head(data)
    if parts is None:
        return None
    line, fields, rest = parts
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise NotStrict(f"status line {line!r}")
    message = Message(status=int(match[1]), phrase=match[2], fields=fields)
    bodiless = message.status < 200 or message.status == 204
    if bodiless and (message.all(b"content-length") or message.all(b"transfer-encoding")):
        raise NotStrict(f"{message.status} with framing fields")
    if message.status < 200 or message.status in (204, 304) or method == b"HEAD":
        message.framing = "none"
        return message, rest
    return _with_body(message, rest, otherwise="close", closed=closed)


def read_responses(data: bytes, methods: list[bytes], *, closed: bool) -> list[Message]:
    """The final responses to requests of these methods; bytes left over are NotStrict."""
    messages: list[Message] = []
    for method in methods:
        while True:
            found = read_response(data, method, closed=closed)
            if found is None:
                if data:
                    raise NotStrict(f"an incomplete response {data[:80]!r}")
                return messages
            message, data = found
            if message.status >= 200 or message.status == 101:
                break
        messages.append(message)
    if data:
        raise NotStrict(f"bytes after the last response {data[:80]!r}")
    return messages


def _head(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes] | None:
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    line, *lines = head.split(b"\r\n")
    return line, [_field(text) for text in lines], rest


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise NotStrict(f"field {line!r}")
    return match[1].lower(), match[2].strip(b" \t")


def _with_body(message: Message, rest: bytes, *, otherwise: str, closed: bool) -> tuple[Message, bytes] | None:
    length, encoding = message.get(b"content-length"), message.get(b"transfer-encoding")
    if length is not None and encoding is not None:
        raise NotStrict("both Content-Length and Transfer-Encoding")
    if encoding is not None:
        if encoding != b"chunked":
            raise NotStrict(f"Transfer-Encoding {encoding!r}")
        message.framing = "chunked"
        return _chunks(message, rest)
    if length is not None:
        if re.fullmatch(rb"[0-9]{1,18}", length) is None:
            raise NotStrict(f"Content-Length {length!r}")
        message.framing = "length"
        if len(rest) < int(length):
            return None
        message.body = rest[: int(length)]
        return message, rest[int(length) :]
    message.framing = otherwise
    if otherwise == "none":
        return message, rest
    message.body = rest
    return (message, b"") if closed else None


def _chunks(message: Message, data: bytes) -> tuple[Message, bytes] | None:
    while True:
        line, separator, data = data.partition(b"\r\n")
        if not separator:
            return None
        if _SIZE.fullmatch(line) is None:
            raise NotStrict(f"chunk size {line!r}")
        size = int(line, 16)
        if not size:
            return _trailers(message, data)
        if len(data) < size + 2:
            return None
        if data[size : size + 2] != b"\r\n":
            raise NotStrict("no CR LF after a chunk")
        message.body += data[:size]
        data = data[size + 2 :]


def _trailers(message: Message, data: bytes) -> tuple[Message, bytes] | None:
    while True:
        line, separator, data = data.partition(b"\r\n")
        if not separator:
            return None
        if not line:
            return message, data
        message.trailers.append(_field(line))
