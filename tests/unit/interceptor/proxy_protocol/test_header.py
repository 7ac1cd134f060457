"""Headers of the PROXY protocol: what is one, in whatever pieces it comes, and that nothing after it is taken."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.proxy_protocol.header import LONGEST_V1, LONGEST_V2, HeaderError, HeaderReader

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
REST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n" * 300
"""What follows a header, longer than any."""
V4 = bytes([203, 0, 113, 7, 10, 0, 0, 1]) + (51234).to_bytes(2, "big") + (8080).to_bytes(2, "big")
V6 = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::1").packed + bytes(4)


def v2(family: int, body: bytes, *, command: int = 0x21, size: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(body) if size is None else size).to_bytes(2, "big") + body


def read(wire: bytes, most: int = 1 << 16) -> tuple[HeaderReader, int]:
    """Feed as a connection does: never more than is wanted, in pieces of at most `most` bytes. Returns also what was taken."""
    reader, taken = HeaderReader(), 0
    while not reader.done:
        piece = wire[taken : taken + min(most, reader.wants)]
        assert piece, "more is wanted than there is"
        reader.feed(piece)
        taken += len(piece)
    return reader, taken


GOOD = {
    b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 8080\r\n": "203.0.113.7",
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n": "0.0.0.0",
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": "255.255.255.255",
    b"PROXY TCP6 2001:db8::7 ::1 51234 443\r\n": "2001:db8::7",
    b"PROXY TCP6 :: :: 1 1\r\n": "::",
    b"PROXY TCP6 " + b" ".join([b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2) + b" 65535 65535\r\n": (
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    ),
    b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:10.0.0.1 51234 443\r\n": str(IPv6Address("::ffff:203.0.113.7")),
    b"PROXY UNKNOWN\r\n": "",
    b"PROXY UNKNOWN ffff::1 whatever it is 65535 65535\r\n": "",
    b"PROXY UNKNOWN " + b"x" * (LONGEST_V1 - 16) + b"\r\n": "",
    v2(0x11, V4): "203.0.113.7",
    v2(0x21, V6): "2001:db8::7",
    v2(0x11, V4 + b"\x03\x00\x04abcd" + b"\x04\x00\x00"): "203.0.113.7",
    v2(0x11, V4 + b"\x21\xff\xff" + b"x" * (LONGEST_V2 - 16 - 12 - 3)): "203.0.113.7",
    v2(0x31, b"/run/client.sock".ljust(108, b"\0") * 2): "",
    v2(0x00, b""): "",
    v2(0x00, b"anything"): "",
    v2(0x00, b"", command=0x20): "",
    v2(0x11, V4, command=0x20): "",
    v2(0xFF, b"1", command=0x20): "",
}
BAD = {
    "HTTP": b"GET / HTTP/1.1\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n",
    "TLS": bytes.fromhex("16030100a5010000a10303"),
    "small letters": b"proxy TCP4 ",
    "a method": b"PROXY / HTTP/1.1\r\n",
    "another family": b"PROXY TCP5 1.1.1.1 2.2.2.2 1 1\r\n",
    "UDP": b"PROXY UDP4 1.1.1.1 2.2.2.2 1 1\r\n",
    "a family that goes on": b"PROXY UNKNOWNS 1 2\r\n",
    "no family": b"PROXY  1.1.1.1 2.2.2.2 1 1\r\n",
    "no addresses": b"PROXY TCP4\r\n     ",
    "two blanks": b"PROXY TCP4  1.1.1.1 2.2.2.2 1 1\r\n",
    "a blank at the end": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 1 \r\n",
    "a tab": b"PROXY TCP4 1.1.1.1\t2.2.2.2 1 1\r\n",
    "one address": b"PROXY TCP4 1.1.1.1 80 80\r\n       ",
    "five words": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 1 1\r\n",
    "an address with a zero": b"PROXY TCP4 1.1.1.01 2.2.2.2 1 1\r\n",
    "an address out of range": b"PROXY TCP4 1.1.1.256 2.2.2.2 1 1\r\n",
    "a destination that is none": b"PROXY TCP4 1.1.1.1 2.2.2 1 1\r\n ",
    "IPv6 for IPv4": b"PROXY TCP4 2001:db8::1 ::1 1 1\r\n",
    "IPv4 for IPv6": b"PROXY TCP6 1.1.1.1 2.2.2.2 1 1\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
    "brackets": b"PROXY TCP6 [::1] ::1 1 1\r\n",
    "a name": b"PROXY TCP4 localhost 2.2.2.2 1 1\r\n",
    "port 65536": b"PROXY TCP4 1.1.1.1 2.2.2.2 65536 1\r\n",
    "a port with a zero": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 080\r\n",
    "a port that is none": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 a\r\n",
    "no port": b"PROXY TCP4 111.111.111.111 222.222.222.222\r\n",
    "only LF": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 1\n",
    "LF after UNKNOWN": b"PROXY UNKNOWN\n\n",
    "LF within": b"PROXY UNKNOWN 1\n2\r\n",
    "CR within": b"PROXY UNKNOWN 1\r2\r\n",
    "CR within addresses": b"PROXY TCP4 1.1.1.1\r 2.2.2.2 1 1\r\n",
    "two CRs": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 1\r\r\n",
    "a line that is too long": b"PROXY UNKNOWN " + b"x" * 200,
    "digits without end": b"PROXY TCP4 " + b"1" * 200,
    "a port without end": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 " + b"1" * 200,
    "a broken signature": SIGNATURE[:-1] + b"\r" + bytes(8),
    "version 1 in the second form": v2(0x11, V4, command=0x11),
    "version 3": v2(0x11, V4, command=0x31),
    "another command": v2(0x11, V4, command=0x22),
    "datagrams": v2(0x12, V4),
    "datagrams over IPv6": v2(0x22, V6),
    "datagrams over Unix sockets": v2(0x32, bytes(216)),
    "an unknown transport": v2(0x10, V4),
    "an unknown family": v2(0x41, V4),
    "too short for IPv4": v2(0x11, V4[:-1]),
    "too short for IPv6": v2(0x21, V6[:-1]),
    "too short for Unix": v2(0x31, bytes(215)),
    "too long": v2(0x11, V4, size=LONGEST_V2 - 15),
    "as long as can be": v2(0x11, V4, size=65535),
    "a long one that says nothing": v2(0x00, b"", size=LONGEST_V2 - 15, command=0x20),
}


@pytest.mark.parametrize(("wire", "source"), GOOD.items(), ids=[str(wire[:40]) for wire in GOOD])
@pytest.mark.parametrize("most", [1, 2, 3, 7, 1 << 16])
def test_headers(wire: bytes, source: str, most: int) -> None:
    reader, taken = read(wire + REST, most)
    assert reader.source == source
    assert taken == len(wire), "what follows belongs to somebody else"
    assert reader.wants == 0


@pytest.mark.parametrize("wire", BAD.values(), ids=BAD)
@pytest.mark.parametrize("most", [1, 5, 1 << 16])
def test_what_is_none(wire: bytes, most: int) -> None:
    with pytest.raises(HeaderError):
        read(wire, most)


@pytest.mark.parametrize("begin", [b"G", b"\x16", b"\n", b"\r\r", b"PROXIE", b"\r\n\r\n\r"])
def test_other_protocols_are_refused_at_their_first_bytes(begin: bytes) -> None:
    """Nothing is waited for that could not help."""
    with pytest.raises(HeaderError, match="without the header"):
        HeaderReader().feed(begin)


def test_an_unknown_kind_of_addresses_is_refused_before_they_come() -> None:
    with pytest.raises(HeaderError, match="0x41"):
        read(v2(0x41, b"", size=12))


@pytest.mark.parametrize("wire", GOOD)
def test_few_reads_are_enough(wire: bytes) -> None:
    """Each read costs a turn of the event loop. A line of UNKNOWN has no length that could be known before."""
    reader, taken, reads = HeaderReader(), 0, 0
    while not reader.done:
        piece = wire[taken : taken + reader.wants]
        reader.feed(piece)
        taken, reads = taken + len(piece), reads + 1
    assert reads <= (60 if b"UNKNOWN" in wire else 25)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """A header or our own error, and never a byte more than the longest header."""
    for begin in (b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21"):
        try:
            _, taken = read(begin + data + b"\r\n" + bytes(1 << 16))
        except HeaderError:
            continue
        assert taken <= LONGEST_V2


@given(
    st.one_of(
        st.tuples(st.just(4), st.ip_addresses(v=4), st.ip_addresses(v=4)),
        st.tuples(st.just(6), st.ip_addresses(v=6), st.ip_addresses(v=6)),
    ),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_any_addresses_in_any_pieces(
    addresses: tuple[int, IPv4Address | IPv6Address, IPv4Address | IPv6Address], from_port: int, to_port: int, sizes: list[int]
) -> None:
    family, source, destination = addresses
    line = f"PROXY TCP{family} {source} {destination} {from_port} {to_port}\r\n".encode()
    ports = from_port.to_bytes(2, "big") + to_port.to_bytes(2, "big")
    for wire in (line, v2(0x11 if family == 4 else 0x21, source.packed + destination.packed + ports)):
        reader, taken = HeaderReader(), 0
        for turn in range(1000):
            piece = (wire + REST)[taken : taken + min(reader.wants, sizes[turn % len(sizes)])]
            reader.feed(piece)
            taken += len(piece)
            if reader.done:
                break
        assert (reader.source, taken) == (str(source), len(wire))
