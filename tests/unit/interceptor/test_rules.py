"""What the rules of a route change about requests, as each codec writes them for backends of each protocol."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.routing.route import Rewrite, Route, Rule, Target
from interceptor.app.rules import Rules, rules_of
from interceptor.core.errors import BadRequest
from interceptor.core.messages import FieldEdit, Request, RequestEdit
from interceptor.http1.fields import field_pairs
from interceptor.http1.foreign import encode_foreign_request
from interceptor.http1.request import RequestHead, parse_request
from interceptor.http1.response import parse_response
from interceptor.http2.core.header_rules import NO_NAMES, Head
from interceptor.http2.core.header_rules import Rules as Validator
from interceptor.http2.heads import StreamRequest, read_request, read_response

PEER = b"192.0.2.1"
ORIGINAL = b"x-envoy-original-path"


def rules(*given: Rule) -> Rules[Any]:
    made: Rules[Any] | None = rules_of(Route("n/a", Target("n/a"), given))
    assert made is not None
    return made


def http1(target: bytes, *lines: bytes) -> RequestHead:
    return parse_request(b"\r\n".join((b"GET %b HTTP/1.1" % target, b"Host: a.test", *lines)) + b"\r\n\r\n")


def http2(target: bytes, *fields: tuple[bytes, bytes]) -> StreamRequest:
    pseudo = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", target), (b":authority", b"a.test"))
    return read_request(Validator().request([*pseudo, *fields], NO_NAMES, connect=True, too_large=False), end=True)


def onward(made: Rules[Any], head: Request) -> Request:
    treatment = made.find(head)
    assert treatment is not None
    edit = treatment.edit(head)
    return head if edit is None else head.edited(edit)


GRPC = rules(Rule(hosts=("a.test",), paths=("/grpc",), rewrite=Rewrite("/")), Rule(hosts=("a.test",)))


@pytest.mark.parametrize("lines", [(), (b"Connection: keep-alive",), (b"Content-Length: 0",), (b"X-Forwarded-For: 1.2.3.4",)])
def test_an_http1_request_is_rewritten(lines: tuple[bytes, ...]) -> None:
    head = http1(b"/grpc/s%2FM?a=%20/grpc/", *lines, b"X-Mine: 1")
    wire = onward(GRPC, head).encode(PEER, b"http")  # type: ignore[attr-defined]
    line, *_ = wire.split(b"\r\n")
    assert line == b"GET /s%2FM?a=%20/grpc/ HTTP/1.1"
    fields = dict(field_pairs(wire))
    assert (fields[b"host"], fields[b"x-mine"]) == (b"a.test", b"1")
    assert (fields[b"x-forwarded-prefix"], fields[ORIGINAL]) == (b"/grpc", b"/grpc/s%2FM?a=%20/grpc/")
    assert fields[b"x-forwarded-for"] == PEER
    assert wire.endswith(b"\r\n\r\n")
    assert (head.target, head.path) == (b"/grpc/s%2FM?a=%20/grpc/", b"/grpc/s%2FM")


def test_a_body_keeps_its_framing() -> None:
    chunked = parse_request(b"POST /grpc/x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert dict(field_pairs(onward(GRPC, chunked).encode(PEER, b"http")))[b"transfer-encoding"] == b"chunked"  # type: ignore[attr-defined]
    long = parse_request(b"POST /grpc/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 007\r\n\r\n")
    wire = onward(GRPC, long).encode(PEER, b"http")  # type: ignore[attr-defined]
    assert wire.count(b"Content-Length: 7\r\n") == wire.lower().count(b"content-length") == 1


def test_both_codecs_tell_each_other_the_same() -> None:
    one, other = onward(GRPC, http1(b"/grpc/x?q")), onward(GRPC, http2(b"/grpc/x?q"))
    for head in (one, other):
        assert head.target == b"/x?q"
        fields = dict(head.fields(PEER, trusted=False))
        assert (fields[b"x-forwarded-prefix"], fields[ORIGINAL]) == (b"/grpc", b"/grpc/x?q")
    wire = encode_foreign_request(other, PEER, trusted=False, authority=b"", body=None)
    assert wire.startswith(b"GET /x?q HTTP/1.1\r\nHost: a.test\r\n")
    assert b"x-envoy-original-path: /grpc/x?q\r\n" in wire


@pytest.mark.parametrize(
    "name", [b"X-Envoy-Original-Path", b"x_envoy_original_path", b"X-Forwarded-Prefix", b"X_Forwarded_Prefix"]
)
def test_clients_cannot_tell_of_other_prefixes(name: bytes) -> None:
    for head in (http1(b"/grpc/x", name + b": /evil"), http2(b"/grpc/x", (name.lower(), b"/evil"))):
        fields = onward(GRPC, head).fields(PEER, trusted=False)
        assert [value for _, value in fields if b"evil" in value] == []


def test_the_prefix_of_a_trusted_proxy_comes_first() -> None:
    for head in (http1(b"/grpc/x", b"X-Forwarded-Prefix: /outer"), http2(b"/grpc/x", (b"x-forwarded-prefix", b"/outer"))):
        fields = onward(GRPC, head).fields(PEER, trusted=True)
        assert [value for name, value in fields if name == b"x-forwarded-prefix"] == [b"/outer", b"/grpc"]


def test_a_prefix_that_is_replaced_is_not_told_as_one_taken_off() -> None:
    head = onward(rules(Rule(paths=("/api",), rewrite=Rewrite("/v1"))), http1(b"/api/x"))
    assert head.target == b"/v1/x"
    names = [name for name, _ in head.fields(PEER, trusted=False)]
    assert ORIGINAL in names
    assert b"x-forwarded-prefix" not in names


def test_requests_of_other_rules_stay() -> None:
    head = http1(b"/other")
    assert onward(GRPC, head) is head


def test_the_server_as_a_whole_has_no_prefix() -> None:
    head = parse_request(b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert onward(rules(Rule(rewrite=Rewrite("/v1"))), head).target == b"*"


def test_a_path_that_leads_out_is_refused() -> None:
    head = http1(b"/grpc/../admin")
    treatment = GRPC.find(head)
    assert treatment is not None
    with pytest.raises(BadRequest):
        treatment.edit(head)


def test_a_path_in_a_url_is_rewritten() -> None:
    head = parse_request(b"GET http://a.test/grpc/x?q HTTP/1.1\r\nHost: b.test\r\n\r\n")
    assert onward(GRPC, head).encode(PEER, b"http").startswith(b"GET /x?q HTTP/1.1\r\nHost: a.test\r\n")  # type: ignore[attr-defined]


EDIT = FieldEdit(dropped=frozenset({b"x-secret", b"server"}), added=((b"Server", b"ours"), (b"X-New", b"1")))


@pytest.mark.parametrize("end", [b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_fields_of_a_response_are_changed(end: bytes) -> None:
    wire = b"HTTP/1.1 200 OK\r\nServer: theirs\r\nX_Secret: 1\r\nx-secret: 2\r\nX-Kept: 3\r\n" + end + b"\r\n"
    head = parse_response(wire, b"GET").edited(EDIT)
    fields = head.fields()
    assert [value for name, value in fields if name == b"server"] == [b"ours"]
    assert (b"x-kept", b"3") in fields
    assert not [name for name, _ in fields if b"secret" in name]
    encoded = head.encode(chunked=False, connection=None, lines=b"X-Line: 4\r\n")
    assert encoded.startswith(b"HTTP/1.1 200 OK\r\n")
    assert encoded.endswith(b"X-New: 1\r\nX-Line: 4\r\n\r\n")
    assert encoded.count(b"\r\n\r\n") == 1


def test_fields_of_a_response_of_a_stream_are_changed() -> None:
    head = Head(((b":status", b"200"), (b"server", b"theirs"), (b"x_secret", b"1"), (b"x-kept", b"3")), NO_NAMES)
    head.status = 200
    assert read_response(head, b"GET", end=False).edited(EDIT).fields() == [
        (b"x-kept", b"3"),
        (b"server", b"ours"),
        (b"x-new", b"1"),
    ]


def test_a_rewritten_websocket_keeps_a_key_of_its_own() -> None:
    edit = RequestEdit(target=b"/x", added=((b"X-A", b"1"),))
    head = http2(b"/grpc/x")
    head.upgrade = b"websocket"
    fields = dict(head.edited(edit).fields(PEER, trusted=False))
    assert b"sec-websocket-key" in fields
    assert fields[b"x-a"] == b"1"
