"""Messages of other protocols, encoded as HTTP/1.1."""

from __future__ import annotations

import pytest

from interceptor.core.messages import Field
from interceptor.http1.foreign import chunk, encode_foreign_request, encode_foreign_response, last_chunk
from interceptor.http1.request import parse_request
from interceptor.http1.response import parse_response
from tests.support.codec_playbook import ForeignRequest, ForeignResponse


def _request(target: bytes = b"/p", host: bytes = b"a.test", length: int = 0, **more: object) -> ForeignRequest:
    return ForeignRequest(b"POST", target, target, host, length, **more)  # type: ignore[arg-type]


def _encode(head: ForeignRequest, body: int | None = None) -> bytes:
    return encode_foreign_request(head, b"192.0.2.1", trusted=False, authority=b"10.0.0.1:80", body=body)


@pytest.mark.parametrize(
    ("head", "body", "lines"),
    [
        (_request(), None, [b"Host: a.test"]),
        (_request(host=b""), None, [b"Host: 10.0.0.1:80"]),
        (_request(length=-1), None, [b"Host: a.test", b"Transfer-Encoding: chunked"]),
        (_request(length=-1), 5, [b"Host: a.test", b"Content-Length: 5"]),
        (_request(own=((b"te", b"trailers"),)), None, [b"Host: a.test", b"te: trailers"]),
        (_request(length=5, own=((b"content-length", b"5"),)), None, [b"Host: a.test", b"content-length: 5"]),
        (_request(expects_continue=True, length=-1), None,
         [b"Host: a.test", b"Transfer-Encoding: chunked", b"Expect: 100-continue"]),
        (_request(upgrade=b"websocket"), None, [b"Host: a.test", b"Upgrade: websocket", b"Connection: upgrade"]),
    ],
)  # fmt: skip
def test_a_request(head: ForeignRequest, body: int | None, lines: list[bytes]) -> None:
    wire = _encode(head, body)
    assert wire == b"\r\n".join((b"POST /p HTTP/1.1", *lines, b"", b""))
    parse_request(wire)


DATE = b"Thu, 26 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("head", "chunked", "connection", "lines"),
    [
        (ForeignResponse(200, 0), False, None, [b"200 OK", b"date: " + DATE, b"x: y", b"Content-Length: 0"]),
        (ForeignResponse(204, 0), False, None, [b"204 No Content", b"date: " + DATE, b"x: y"]),
        (ForeignResponse(200, -2), False, b"close", [b"200 OK", b"date: " + DATE, b"x: y", b"Connection: close"]),
        (ForeignResponse(299, -2), True, None, [b"299 ", b"date: " + DATE, b"x: y", b"Transfer-Encoding: chunked"]),
    ],
)
def test_a_response(head: ForeignResponse, chunked: bool, connection: bytes | None, lines: list[bytes]) -> None:
    head.own = ((b"date", DATE),)
    wire = encode_foreign_response(head, ((b"x", b"y"),), chunked=chunked, connection=connection)
    assert wire == b"HTTP/1.1 " + b"\r\n".join((*lines, b"", b""))
    assert parse_response(wire, b"GET").status == head.status


def test_an_interim_response_has_no_date_and_no_length() -> None:
    assert (
        encode_foreign_response(ForeignResponse(103, 0), (), chunked=False, connection=None)
        == b"HTTP/1.1 103 Early Hints\r\n\r\n"
    )


def test_a_response_without_a_date_gets_one() -> None:
    assert b"\r\nDate: " in encode_foreign_response(ForeignResponse(200, 0), (), chunked=False, connection=None)


@pytest.mark.parametrize("bad", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b"])
def test_what_another_codec_lets_through_by_mistake_does_not_become_a_line(bad: bytes) -> None:
    for head in (
        _request(target=b"/" + bad),
        _request(host=bad),
        _request(upgrade=bad),
        _request(own=((b"x", bad),)),
        _request(own=((bad, b"x"),)),
    ):
        with pytest.raises(ValueError, match=r"not a field|request (line|target)"):
            _encode(head)
    with pytest.raises(ValueError, match=r"not a field|request (line|target)"):
        encode_foreign_response(ForeignResponse(200, 0, own=((b"x", bad),)), (), chunked=False, connection=None)
    assert last_chunk([(b"x", bad), (b"y", b"1")]) == b"0\r\ny: 1\r\n\r\n"


@pytest.mark.parametrize(
    "field",
    [
        (b"content-length", b"4"),
        (b"Content-Length", b"+5"),
        (b"content-length", b"0" * 18 + b"5000"),  # its beginning is 5
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"host", b"b.test"),
        (b"upgrade", b"x"),
        (b"a:b", b"x"),
        (b"a\t", b"x"),
        (b"", b"x"),
    ],
)
def test_no_field_contradicts_the_framing(field: Field) -> None:
    with pytest.raises(ValueError, match=r"not a field|content-length|another codec"):
        _encode(_request(length=5, own=(field,)))
    with pytest.raises(ValueError, match=r"not a field|content-length|another codec"):
        encode_foreign_response(ForeignResponse(200, 5, own=(field,)), (), chunked=False, connection=None)


def test_the_length_of_a_response_without_content_says_nothing() -> None:
    told = ((b"content-length", b"9"), (b"date", DATE))
    head = ForeignResponse(200, -2, own=told)
    assert b"content-length: 9\r\n" in encode_foreign_response(head, (), chunked=False, connection=None, to_head=True)
    assert b"content-length: 9\r\n" in encode_foreign_response(
        ForeignResponse(304, 0, own=told), (), chunked=False, connection=None
    )
    empty = encode_foreign_response(ForeignResponse(200, 0), (), chunked=False, connection=None, to_head=True)
    assert b"ength" not in empty


@pytest.mark.parametrize("status", [0, 99, 600, 1000])
def test_what_is_no_status_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        encode_foreign_response(ForeignResponse(status, 0), (), chunked=False, connection=None)


def test_chunks() -> None:
    assert chunk(b"x" * 16) == b"10\r\n" + b"x" * 16 + b"\r\n"
    assert chunk(memoryview(b"ab")) == b"2\r\nab\r\n"
    assert chunk(b"") == b""
    assert last_chunk(()) == b"0\r\n\r\n"
    assert last_chunk([(b"sum", b"1")]) == b"0\r\nsum: 1\r\n\r\n"
