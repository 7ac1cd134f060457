"""The value of Weir-Keep-Awake, and both codecs: the field is read, and no client gets it."""

from __future__ import annotations

import pytest

from interceptor.core.keep_awake import MALFORMED, read_keep_awake
from interceptor.core.messages import may_trail
from interceptor.http1.response import parse_response
from interceptor.http2.core.header_rules import Head
from interceptor.http2.heads import read_response


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([b"20m"], 1200.0),
        ([b"1h30m"], 5400.0),
        ([b" 90 "], 90.0),
        ([b"0"], 0.0),
        ([b"0s"], 0.0),
        ([b"500ms"], 0.5),
        ([b""], MALFORMED),
        ([b"soon"], MALFORMED),
        ([b"-5"], MALFORMED),
        ([b"inf"], MALFORMED),
        ([b"nan"], MALFORMED),
        ([b"1e9"], MALFORMED),
        ([b"9" * 10_000], MALFORMED),
        ([b"\xff"], MALFORMED),
        ([b"\xd9\xa3"], MALFORMED),  # a digit of another script
        ([b"5", b"5"], MALFORMED),
        ([b"5, 6"], MALFORMED),
    ],
)
def test_values(values: list[bytes], seconds: float) -> None:
    assert read_keep_awake(values) == seconds


HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\n",
    b"HTTP/1.1 202 Accepted\r\n%bContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n%bContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: keep-alive, weir-keep-awake\r\nContent-Length: 2\r\n%b\r\n",
    b"HTTP/1.1 204 No Content\r\n%b\r\n",
    b"HTTP/1.0 200 OK\r\n%b\r\n",
    b"HTTP/1.1 100 Continue\r\n%b\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n%b\r\n",
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("line", [b"Weir-Keep-Awake: 20m\r\n", b"weir-keep-awake:20m\r\n", b"WEIR-KEEP-AWAKE:  20m\r\n"])
def test_http1_reads_it_and_does_not_pass_it_on(head: bytes, line: bytes) -> None:
    found = parse_response(head % line, b"GET")
    assert found.keep_awake == 1200.0
    assert b"keep-awake" not in found.encode(chunked=False, connection=None).lower()
    assert not [field for field in found.fields() if field[0] == b"weir-keep-awake"]
    without = parse_response(head % b"", b"GET")
    assert without.keep_awake is None
    assert found.encode(chunked=False, connection=None) == without.encode(chunked=False, connection=None)


def test_http1_with_two_of_them_is_passed_on_without() -> None:
    found = parse_response(HEADS[0] % b"Weir-Keep-Awake: 5\r\nWeir-Keep-Awake: 6\r\n", b"GET")
    assert found.keep_awake == MALFORMED
    assert b"keep-awake" not in found.encode(chunked=False, connection=None).lower()


def test_http2_reads_it_and_does_not_pass_it_on() -> None:
    head = Head(((b":status", b"200"), (b"weir-keep-awake", b"20m"), (b"x-a", b"1")), frozenset())
    head.status = 200
    for _ in range(2):  # the same head may come again
        found = read_response(head, b"GET", end=True)
        assert (found.keep_awake, list(found.fields())) == (1200.0, [(b"x-a", b"1")])
    plain = Head(((b":status", b"200"), (b"x-a", b"1")), frozenset())
    plain.status = 200
    assert read_response(plain, b"GET", end=True).keep_awake is None


def test_it_is_no_trailer() -> None:
    assert not may_trail(b"Weir-Keep-Awake")
