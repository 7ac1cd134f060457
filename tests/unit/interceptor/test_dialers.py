"""The choice of the dialer for connections and probes: by what the route says, or else the `appProtocol` of the port."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.protocols import HTTP1, HTTP2, PROTOCOLS, Spoken
from fleet.routing.target import Target, TargetTls
from interceptor.backends.dialers import Dialers
from interceptor.backends.endpoint import Endpoint

EVERY = [Spoken(protocol, tls=tls) for protocol in (HTTP1, HTTP2) for tls in (False, True)]


class Named:
    """A dialer that returns its name instead of connections and requests."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def connect(self, endpoint: object) -> Any:
        return self.name

    def probe(self, endpoint: object, path: str) -> Any:
        return f"{self.name} {path}"


DIALERS = Dialers({spoken: Named(str(spoken)) for spoken in EVERY})


async def chosen(port: str | None, target: Target) -> str:
    owner: Any = SimpleNamespace(connects=target.connects)
    endpoint = Endpoint(Backend("192.0.2.1", 80, port), owner)
    connection: object = await DIALERS.connect(endpoint)
    request: object = DIALERS.probe(endpoint, "/ready")
    assert request == f"{connection} /ready"
    return str(connection)


@pytest.mark.parametrize(
    ("port", "said", "tls", "expected"),
    [
        (None, None, None, "HTTP/1.1"),
        ("", None, None, "HTTP/1.1"),
        ("mesh.example/own", None, None, "HTTP/1.1"),
        ("kubernetes.io/h2c", None, None, "HTTP/2"),
        ("GRPC", None, None, "HTTP/2"),
        ("https", None, None, "HTTP/1.1 over TLS"),
        ("h2", None, None, "HTTP/2 over TLS"),
        ("h2c", "http", None, "HTTP/1.1"),
        ("https", "h2c", None, "HTTP/2"),
        (None, "grpcs", None, "HTTP/2 over TLS"),
        (None, None, TargetTls(), "HTTP/1.1 over TLS"),
        ("http", None, TargetTls(), "HTTP/1.1 over TLS"),
        ("tcp", None, TargetTls(), "HTTP/1.1 over TLS"),
        ("h2c", None, TargetTls(), "HTTP/2 over TLS"),
        ("h2", "http", TargetTls(), "HTTP/1.1 over TLS"),
        ("http", "grpc", TargetTls(), "HTTP/2 over TLS"),
    ],
)
async def test_the_route_chooses_and_else_the_port(
    port: str | None, said: str | None, tls: TargetTls | None, expected: str
) -> None:
    assert await chosen(port, Target("n/a", app_protocol=said, tls=tls)) == expected


@pytest.mark.parametrize("word", PROTOCOLS)
async def test_every_word_means_the_same_to_a_route_and_at_a_port(word: str) -> None:
    assert await chosen(word, Target("n/a")) == await chosen("tcp", Target("n/a", app_protocol=word)) == str(PROTOCOLS[word])
