"""The choice of the dialer for connections and probes, by the `appProtocol` of the backend's port."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fleet.discovery.sources import Backend
from interceptor.backends.dialers import Dialers


class Named:
    """A dialer that returns its name instead of connections and requests."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def connect(self, endpoint: object) -> Any:
        return self.name

    def probe(self, endpoint: object, path: str) -> Any:
        return f"{self.name} {path}"


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [(None, "usual"), ("", "usual"), ("http", "usual"), ("mesh.example/own", "usual"), ("lines", "lines"), ("LINES", "lines")],
)
async def test_the_protocol_of_the_port_chooses(protocol: str | None, expected: str) -> None:
    dialers = Dialers(Named("usual"), {"lines": Named("lines")})
    endpoint: Any = SimpleNamespace(backend=Backend("192.0.2.1", 80, protocol))
    connection: object = await dialers.connect(endpoint)
    request: object = dialers.probe(endpoint, "/ready")
    assert (connection, request) == (expected, f"{expected} /ready")
