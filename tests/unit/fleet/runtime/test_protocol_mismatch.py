"""Clients with another protocol than the port's are logged once per protocol."""

from __future__ import annotations

import logging
import ssl
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fleet.runtime.protocol_mismatch import QUIET_SECONDS, ProtocolMismatches, foreign_protocol

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def client_hello() -> bytes:
    """The first bytes of OpenSSL."""
    sent = ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return sent.read()


def _transport(peer: object = ("192.0.2.7", 1234), own: object = ("127.0.0.1", 8080)) -> Any:
    return SimpleNamespace(get_extra_info=lambda name: peer if name == "peername" else own)


def test_what_clients_begin_with() -> None:
    assert foreign_protocol(client_hello()) == "TLS"
    assert foreign_protocol(client_hello()[:1]) == "TLS"
    assert foreign_protocol(PREFACE) == "HTTP/2"
    assert [
        foreign_protocol(begin) for begin in (b"", b"GET / HTTP/1.1\r\n", b"PRI / HTTP/1.1\r\n", b"\x16\x16", b"SSH-2.0-x")
    ] == [None] * 5


def test_each_protocol_is_reported_once_in_a_while_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    mismatches = ProtocolMismatches("requests", clock=lambda: now[0])
    hello = client_hello()
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            mismatches.note(hello, _transport())
            mismatches.note(PREFACE, _transport())
            mismatches.note(b"nonsense", _transport())
        first = [record.getMessage() for record in caplog.records]
        now[0] = QUIET_SECONDS
        mismatches.note(PREFACE, _transport())
        last = caplog.records[-1].getMessage()
    assert len(first) == 2
    assert first[0].startswith(
        "a client at 192.0.2.7 speaks TLS to the port for requests (8080), which speaks plain HTTP/1.1: use http://"
    )
    assert "speaks HTTP/2 to the port" in first[1]
    assert len(caplog.records) == 3
    assert last.endswith("; 49 more since this was last said")


@pytest.mark.parametrize("transport", [None, _transport(None, None), _transport("", "/path"), _transport(("::1", 1, 0, 0))])
def test_a_connection_that_has_lost_its_ends_is_reported_too(transport: Any, caplog: pytest.LogCaptureFixture) -> None:
    ProtocolMismatches("requests").note(PREFACE, cast("Any", transport))
    assert len([record for record in caplog.records if record.name == "fleet.runtime.protocol_mismatch"]) == 1
