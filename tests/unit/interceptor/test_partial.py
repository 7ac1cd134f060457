"""Heads that arrive in pieces: complete at the same byte for any pieces, refused at the first invalid byte, in linear time."""

from __future__ import annotations

import pytest

from interceptor.http1.grammar import GrammarError, check_request_line, check_status_line
from interceptor.http1.partial import MAX_EMPTY_LINES, PartialHead, TooManyFields

REQUEST = b"POST /a?b HTTP/1.1\r\nHost: a.test\r\nX-A:\r\nX-B:\tc \xe4\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 Ja \xe4\r\nContent-Length: 0\r\n\r\n"


def of_request(*, most_fields: int = 256) -> PartialHead:
    return PartialHead(check_request_line, delimiter=b" ", most_fields=most_fields)


def of_response() -> PartialHead:
    return PartialHead(check_status_line, delimiter=b"/", most_fields=1024, beginning=b"HTTP/1.")


def told_at(partial: PartialHead, data: bytes) -> int:
    """After how many bytes, fed one by one, a head was refused; 0 if it may still become valid."""
    for at in range(len(data)):
        try:
            partial.add(data[at : at + 1])
        except GrammarError:
            return at + 1
    return 0


@pytest.mark.parametrize(("make", "head"), [(of_request, REQUEST), (of_response, RESPONSE)])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_head_is_whole_at_its_end(make: type, head: bytes, step: int) -> None:
    partial = make()
    stream = head + b"rest"
    for at in range(0, len(stream), step):
        length = partial.add(stream[at : at + step])
        if length:
            assert length == len(head)
            assert partial.take() == stream[: at + step]
            return
        assert at + step < len(head)
    raise AssertionError("never whole")


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b"\x16\x03\x01", 1),  # TLS
        (b"\x00", 1),
        (b"(GET / HTTP/1.1", 1),
        (b" GET / HTTP/1.1", 1),
        (b"GET\t/ HTTP/1.1", 4),
        (b"GET /\x01", 6),
        (b"GET / HTTP/1.1\nHost: a", 15),
        (b"GET / HTTP/1.1\rH", 16),
        (b"GET /metrics\nX: HTTP/1.1", 13),
        (b"GET /\r\n", 7),
        (b"GET / HTTP/1.1\r\n Host: a", 17),
        (b"GET / HTTP/1.1\r\n:", 17),
        (b"GET / HTTP/1.1\r\nHost : a", 21),
        (b"GET / HTTP/1.1\r\nX: a\x7f", 21),
        (b"GET / HTTP/1.1\r\nX: a\n", 21),
        (b"GET / HTTP/1.1\r\nX: a\r\r", 22),
        (b"GET / HTTP/1.1\r\nX\r\n", 19),
        (b"\n", 1),
        (b"\r\n\n", 3),
        (b"\rG", 2),
    ],
)
def test_what_can_no_longer_become_a_request_is_reported_at_once(data: bytes, at: int) -> None:
    assert told_at(of_request(), data) == at
    with pytest.raises(GrammarError):
        of_request().add(data)


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b"220 smtp", 1),
        (b"SSH-2.0", 1),
        (b"HTTP/2 200", 6),
        (b"HTTP/1.1 200 OK\nServer: x\n\nhello", 16),
        (b"HTTP/1.1 20 OK\r\n", 16),
        (b"HTTP/1.x 200 OK\r\n", 17),
        (b"HTTP/1.1 200 OK\r\nX: a\nY: b", 22),
        (b"\r\nHTTP/1.1 200 OK", 1),
        (b"HTTP/1.1 200 OK\r\n\tX: a", 18),
    ],
)
def test_what_can_no_longer_become_a_response_is_reported_at_once(data: bytes, at: int) -> None:
    assert told_at(of_response(), data) == at
    with pytest.raises(GrammarError):
        of_response().add(data)


@pytest.mark.parametrize("data", [REQUEST[:-2], b"\r\n\r\nGET / HTTP/1.1\r\n", b"\r", b"GE", b"GET / HTTP/1.1\r\nHost: a\r"])
def test_what_may_still_become_a_request_is_waited_for(data: bytes) -> None:
    assert told_at(of_request(), data) == 0
    assert of_request().add(data) == 0


def test_some_empty_lines_are_passed_over() -> None:
    for step in (1, 2, 3, 100):
        partial, stream, length = of_request(), b"\r\n" * MAX_EMPTY_LINES + REQUEST, 0
        for at in range(0, len(stream), step):
            length = partial.add(stream[at : at + step])
        assert partial.take()[:length] == REQUEST
    with pytest.raises(GrammarError, match="empty lines"):
        of_request().add(b"\r\n" * (MAX_EMPTY_LINES + 1))


def test_fields_are_bounded() -> None:
    partial = of_request(most_fields=3)
    partial.add(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 3)
    with pytest.raises(TooManyFields):
        partial.add(b"a:\r\n")


class Counting(bytearray):
    """Counts the bytes that are copied or searched."""

    looked_at = 0

    def find(self, sub: object, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        found = super().find(sub, start)  # type: ignore[arg-type]
        Counting.looked_at += (found if found >= 0 else len(self)) - start
        return found

    def __getitem__(self, key: object) -> object:  # type: ignore[override]
        got = super().__getitem__(key)  # type: ignore[call-overload]
        Counting.looked_at += len(got) if isinstance(got, bytearray) else 1
        return got


@pytest.mark.parametrize("line", [b"X" * 8000, b"X: " + b"y" * 8000, b"GET /" + b"a" * 8000])
def test_bytes_that_come_one_by_one_are_looked_at_a_few_times_each(line: bytes) -> None:
    partial = of_request()
    partial._data = Counting()
    data = line if line.startswith(b"GET") else b"GET / HTTP/1.1\r\n" + line
    Counting.looked_at = 0
    assert told_at(partial, data) == 0
    assert Counting.looked_at <= 8 * len(data)
