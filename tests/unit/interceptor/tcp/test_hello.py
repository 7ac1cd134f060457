"""The ClientHello of real clients and of hostile ones, in whatever pieces it comes."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.tcp.hello import LONGEST_HELLO, HelloError, HelloReader


def hello(name: str | None = "a.example.test", alpn: list[str] | None = None) -> bytes:
    """What OpenSSL's client sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def fed(data: bytes, sizes: Iterator[int] | None = None) -> HelloReader:
    reader, at = HelloReader(), 0
    while at < len(data) and not reader.done:
        at += next(sizes) if sizes is not None else len(data)
        reader.feed(data[:at])
    return reader


def records(body: bytes, size: int) -> bytes:
    """The handshake in records of this size."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def test_name_and_protocols() -> None:
    reader = fed(hello("A.Example.Test", ["h2", "mqtt"]))
    assert (reader.done, reader.is_tls, reader.name, reader.alpn) == (True, True, "a.example.test", ("h2", "mqtt"))


def test_without_either() -> None:
    reader = fed(hello(None))
    assert (reader.done, reader.name, reader.alpn) == (True, "", ())


@given(size=st.integers(1, 40))
def test_pieces_and_records_say_the_same(size: int) -> None:
    whole = hello("a.test", ["x"])
    body = whole[5:]
    for data in (whole, records(body, size)):
        reader = fed(data, iter(lambda: size, 0))
        assert (reader.done, reader.name, reader.alpn) == (True, "a.test", ("x",))


def test_what_is_no_tls() -> None:
    reader = fed(b"GET / HTTP/1.1\r\n")
    assert (reader.done, reader.is_tls) == (True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x04\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        records(b"\x02\x00\x00\x04abcd", 100),
        records(b"\x01\x00\x00\x04abcd", 100),
        records(b"\x01\xff\xff\xff" + bytes(100), 50),
        records(b"\x01\x00\x3f\xf0" + bytes(LONGEST_HELLO - 20), 1000),
        records(b"\x01\x00\x00\x2a" + bytes(34) + b"\x00\x00\x02\x00\x00\x01\x00\xff"[:8], 100),
        b"\x16\x03\x01\x00\x02\x01\x00\x17\x03\x03\x00\x01a",
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(HelloError):
        fed(data)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for whole in (data, b"\x16\x03\x01" + data, records(b"\x01" + len(data).to_bytes(3, "big") + data, 64)):
        try:
            fed(whole)
        except HelloError:
            continue
