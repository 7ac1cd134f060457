"""Whatever the rules of HTTP/2 let through can be written as HTTP/1.1: an error there would end a connection with all its
streams, other clients' among them. And nothing that is written contradicts where the message ends.
"""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.core.errors import BadRequest
from interceptor.core.messages import BODILESS, NOT_IN_TRAILERS, Field, Fields
from interceptor.http1.foreign import encode_foreign_request, encode_foreign_response
from interceptor.http2.core.header_rules import NO_NAMES, Malformed, Rules
from interceptor.http2.heads import read_request, read_response
from tests.support.full import some

NAMES = sorted(NOT_IN_TRAILERS | {b"cookie", b"upgrade", b"date", b"grpc-timeout", b"a", b"content_length", b"link"})
VALUES = (
    b"0",
    b"5",
    b"05",
    b"trailers",
    b"chunked",
    b"100-continue",
    b"a.test",
    b"b.test",
    b"websocket",
    b"3",
    b"a b",
    b"\xff",
    b"",
)
STATUSES = (b"100", b"103", b"199", b"200", b"204", b"205", b"206", b"304", b"401", b"426", b"502", b"599")
METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS", b"TRACE")
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4)


def written_response(method: bytes, status: bytes, given: list[Field], *, end: bool) -> list[bytes] | None:
    """The lines of the head; None for one that the rules refuse."""
    try:
        head = Rules().response([(b":status", status), *given], NO_NAMES)
    except Malformed:
        return None
    if end and head.length > 0 and method != b"HEAD" and head.status not in BODILESS:
        return None  # by the session, which has the end of the stream before it
    found = read_response(head, method, end=end)
    return encode_foreign_response(found, (), chunked=False, connection=None, to_head=method == b"HEAD").lower().split(b"\r\n")


def check_response(method: bytes, status: bytes, given: list[Field], *, end: bool) -> None:
    lines = written_response(method, status, given, end=end)
    if lines is None:
        return
    assert lines[0].startswith(b"http/1.1 " + status)
    names = [line.partition(b":")[0] for line in lines[1:-2]]
    assert names.count(b"content-length") <= 1
    assert not {b"transfer-encoding", b"connection", b"upgrade", b"keep-alive", b"host"} & {*names}
    if int(status) < 200 or status == b"204":
        assert b"content-length" not in names


@pytest.mark.parametrize("status", STATUSES)
def test_every_field_of_a_response(status: bytes) -> None:
    for name, value, method, end in some(product(NAMES, VALUES, METHODS, (True, False)), share=7):
        check_response(method, status, [(name, value)], end=end)


@given(st.sampled_from(METHODS), st.sampled_from(STATUSES), FIELDS, st.booleans())
def test_any_fields_of_a_response(method: bytes, status: bytes, given: list[Field], end: bool) -> None:
    check_response(method, status, given, end=end)


@pytest.mark.parametrize("status", [b"103", b"204"])
def test_a_length_where_there_must_be_none_is_left_out(status: bytes) -> None:
    lines = written_response(b"GET", status, [(b"content-length", b"5"), (b"a", b"b")], end=status == b"204")
    assert lines is not None
    assert b"a: b" in lines
    assert not any(line.startswith(b"content-length") for line in lines)
    kept = written_response(b"GET", b"304", [(b"content-length", b"5")], end=True)
    assert kept is not None
    assert b"content-length: 5" in kept  # that of the response to a GET without conditions


def check_request(method: bytes, given: list[Field], *, end: bool) -> None:
    begin: Fields = ((b":method", method), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.test"))
    try:
        head = Rules().request([*begin, *given], NO_NAMES, connect=True, too_large=False)
        found = read_request(head, end=end)
    except (Malformed, BadRequest):
        return
    if end and head.length > 0:
        return  # refused by the session
    if found.hops == 0:
        return  # answered by the proxy
    wire = encode_foreign_request(found, b"192.0.2.1", trusted=True, authority=b"", body=None)
    names = [line.partition(b":")[0] for line in wire.lower().split(b"\r\n")[1:-2]]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert b"upgrade" not in names
    if found.length < 0:
        assert b"transfer-encoding" in names


@given(st.sampled_from(METHODS), FIELDS, st.booleans())
def test_any_fields_of_a_request(method: bytes, given: list[Field], end: bool) -> None:
    check_request(method, given, end=end)


@pytest.mark.parametrize("method", METHODS)
def test_every_field_of_a_request(method: bytes) -> None:
    for name, value, end in product(NAMES, VALUES, (True, False)):
        check_request(method, [(name, value)], end=end)
