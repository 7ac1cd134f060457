"""One call of gRPC-Web, whose backend speaks gRPC: fields and content of both messages are translated. Pure.

The frames of messages are the same in both. What differs: the content-type, trailers, and base64 in text mode
(https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from interceptor.core.grpc import GRPC, INTERNAL, WEB_TEXT, kind_of, kind_of_fields
from interceptor.core.messages import Field, Fields, Response
from interceptor.grpcweb.text import TextDecoder, encode_text

__all__ = ["WebCall", "WebResponse", "trailers_frame", "web_content_type"]

UNKNOWN_LENGTH: Final = -1
OK: Final = 200
PREFIX: Final = 5
"""Bytes before each message: a flag, and its length."""
TRAILERS: Final = 0x80
"""Flag of the frame that holds the trailers."""
_WEB: Final = b"application/grpc-web"
_TEXT: Final = b"application/grpc-web-text"
_GRPC: Final = b"application/grpc"
_NOT_FOR_BACKENDS: Final = frozenset({b"accept", b"content-length", b"content-type", b"te", b"x-grpc-web"})
_OF_HEAD: Final = frozenset(
    b"alt-svc cache-control content-type date grpc-accept-encoding grpc-encoding server set-cookie vary via".split()
)
"""Of a response that consists of trailers only: fields of HTTP, which stay in its head."""
_NO_STATUS: Final[Fields] = (
    (b"grpc-status", b"%d" % INTERNAL),
    (b"grpc-message", b"the backend ended its response without a status"),
)


class WebResponse(Response, gc=False, eq=False):
    """A response whose fields were translated."""

    head_fields: tuple[Field, ...] = ()

    def fields(self) -> list[Field]:
        return list(self.head_fields)


class WebCall:
    """Of one attempt: a request that is sent again is translated again."""

    __slots__ = ("_content_type", "_decoder", "_text", "_translates", "_whole")

    def __init__(self, fields: Iterable[Field]) -> None:
        """`fields` of the request, with names in lower case."""
        fields = list(fields)
        self._content_type = _value(fields, b"content-type")
        self._text = is_text(fields)
        """Whether the response is to be in base64."""
        self._decoder = TextDecoder() if kind_of(self._content_type) == WEB_TEXT else None
        self._translates = False
        """Whether the response is one of gRPC. Others go on as they are."""
        self._whole = True
        """Whether what came of the response is whole messages, as far as that is known: each came by itself."""

    # -- the request ----------------------------------------------------------------------------------------------

    def request_fields(self, fields: Iterable[Field]) -> list[Field]:
        """Those for the backend."""
        kept = [field for field in fields if field[0] not in _NOT_FOR_BACKENDS]
        return [*kept, (b"content-type", _GRPC + _suffix(self._content_type)), (b"te", b"trailers")]

    def content(self, data: bytes | memoryview) -> bytes | memoryview:
        """More of the request's content. Raises ValueError."""
        return data if self._decoder is None else self._decoder.feed(data)

    def finish(self) -> None:
        """The request is complete. Raises ValueError if it is not."""
        if self._decoder is not None:
            self._decoder.finish()

    # -- the response ---------------------------------------------------------------------------------------------

    def head(self, response: Response, *, end: bool) -> tuple[Response, bytes]:
        """The head, and the content that goes with it; `end` if nothing follows: then the fields are trailers as well."""
        fields = response.fields()
        kind = _value(fields, b"content-type")
        self._translates = response.status == OK and kind_of(kind) == GRPC
        if not self._translates:
            return response, b""
        content_type = web_content_type(_suffix(kind) or _suffix(self._content_type), text=self._text)
        kept = [field for field in fields if field[0] not in (b"content-type", b"content-length")]
        if not end:
            return WebResponse(
                response.status, UNKNOWN_LENGTH, head_fields=(*kept, content_type), keep_awake=response.keep_awake
            ), b""
        frame = self._encoded(trailers_frame(field for field in kept if not _is_of_head(field[0])))
        head_fields = (*(field for field in kept if _is_of_head(field[0])), content_type, (b"content-length", b"%d" % len(frame)))
        return WebResponse(response.status, len(frame), head_fields=head_fields, keep_awake=response.keep_awake), frame

    def data(self, data: bytes | memoryview) -> bytes | memoryview:
        """More of the response's content."""
        if self._whole:
            self._whole = len(data) == PREFIX + int.from_bytes(data[1:PREFIX])
        return self._encoded(data) if self._translates else data

    def ending(self, status: Fields) -> bytes:
        """The last of a response that is cut short; empty if it may be inside a message, of which it would become a part."""
        return self._encoded(trailers_frame(status)) if self._translates and self._whole else b""

    def tail(self, trailers: Fields) -> tuple[bytes, Fields]:
        """The last of the content, and the trailers that follow it."""
        if not self._translates:
            return b"", trailers
        return bytes(self._encoded(trailers_frame(trailers or _NO_STATUS))), ()

    def _encoded(self, data: bytes | memoryview) -> bytes:
        return encode_text(data) if self._text else bytes(data)


def is_text(fields: Iterable[Field]) -> bool:
    """Whether a response to a request with these fields is in base64: as it accepts, or else as it is itself."""
    fields = list(fields)
    accepted = _value(fields, b"accept").lower()
    if _WEB in accepted:
        return _TEXT in accepted
    return kind_of_fields(fields) == WEB_TEXT


def web_content_type(suffix: bytes, *, text: bool) -> Field:
    return (b"content-type", (_TEXT if text else _WEB) + suffix)


def trailers_frame(fields: Iterable[Field]) -> bytes:
    """The frame that ends a response."""
    block = b"".join(b"%b: %b\r\n" % field for field in fields)
    return bytes((TRAILERS,)) + len(block).to_bytes(4) + block


def _is_of_head(name: bytes) -> bool:
    return name in _OF_HEAD or name.startswith(b"access-control-")


def _suffix(content_type: bytes) -> bytes:
    """What follows the name of the protocol, such as "+proto"."""
    for name in (_TEXT, _WEB, _GRPC):
        if content_type[: len(name)].lower() == name:
            return content_type[len(name) :]
    return b""


def _value(fields: Iterable[Field], name: bytes) -> bytes:
    return next((value for each, value in fields if each == name), b"")
