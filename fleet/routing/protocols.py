"""The words for what a backend speaks: those of `appProtocol` at a Service's port, and of routes. Pure.

The one list of them: what chooses a protocol, checks a word or describes one reads it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from fleet.routing.declare import Kind
from fleet.routing.faults import Fail

__all__ = ["APP_PROTOCOL", "DATAGRAMS", "HTTP1", "HTTP2", "PROTOCOLS", "STREAM", "Spoken", "is_known", "spoken"]

HTTP1: Final = "HTTP/1.1"
HTTP2: Final = "HTTP/2"
STREAM: Final = "a stream"
DATAGRAMS: Final = "datagrams"
"""Bytes that are passed on as they are: of TCP and UDP ports. These words cannot be written, neither in a route nor at a port."""


class Spoken(NamedTuple):
    """How a backend is spoken to."""

    protocol: str = HTTP1
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.protocol} over TLS" if self.tls else self.protocol


PROTOCOLS: Final[Mapping[str, Spoken]] = MappingProxyType(
    {
        **dict.fromkeys(("http", "http1", "http/1.1", "kubernetes.io/ws", "ws", "grpc-web"), Spoken(HTTP1)),
        **dict.fromkeys(("kubernetes.io/h2c", "h2c", "http2", "grpc"), Spoken(HTTP2)),
        **dict.fromkeys(("https", "kubernetes.io/wss", "wss"), Spoken(HTTP1, tls=True)),
        **dict.fromkeys(("h2", "grpcs"), Spoken(HTTP2, tls=True)),
    }
)
"""By word, in lower case. Those with a prefix are Kubernetes' own; the others are in use."""


def is_known(word: str) -> bool:
    """Whether it is one of the words; case does not matter, as usual for a port's."""
    return word.lower() in PROTOCOLS


def spoken(word: str | None) -> Spoken:
    """What a word means. Without one, or with an unknown one, HTTP/1.1 without TLS: a port's `appProtocol` is free text, and most
    values ("tcp", a mesh's own) say nothing about HTTP. The controller reports unknown ones in the status."""
    if word is None:
        return _USUAL
    return _AS_THEY_ARE.get(word) or PROTOCOLS.get(word.lower(), _USUAL)


_USUAL: Final = Spoken()
_AS_THEY_ARE: Final[Mapping[str, Spoken]] = MappingProxyType({word: Spoken(word) for word in (STREAM, DATAGRAMS)})


def _app_protocol(word: str, field: str, fail: Fail) -> None:
    # A route says what is meant, so that a word that nobody knows is a mistake, unlike that of a port.
    if word not in PROTOCOLS:
        raise fail(field, f"{word[:60]!r} is not one of {', '.join(PROTOCOLS)}")


APP_PROTOCOL: Final = Kind(_app_protocol)
