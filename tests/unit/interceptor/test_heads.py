"""Heads by example: what the parsers make of requests and responses, beyond what the corpora of the wire tests say."""

from __future__ import annotations

from contextlib import suppress

import pytest

from interceptor.core.errors import BadRequest, BadResponse
from interceptor.core.messages import NO_BODY
from interceptor.http1.fields import CHUNKED, connection_options, host_is_valid
from interceptor.http1.grammar import check_status_line
from interceptor.http1.partial import PartialHead
from interceptor.http1.request import parse_request
from interceptor.http1.response import UNTIL_CLOSE, parse_response


def request(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize(
    "host",
    [
        b"a.test",
        b"A-b_c.test.",
        b"a.test:8080",
        b"a.test:",
        b"[::1]",
        b"[2001:db8::1]:80",
        b"127.0.0.1:1",
        b"a%20b",
        b"x!$&'()*+;=~",
    ],
)
def test_hosts(host: bytes) -> None:
    assert host_is_valid(host)
    assert parse_request(request(b"GET / HTTP/1.1", b"Host: " + host)).host == host


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":80",
        b"a b",
        b"a,b",
        b"a@b",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a:b",
        b"a:1:2",
        b"::1",
        b"[::1",
        b"::1]",
        b"[g]",
        b"[::1]x",
        b"a\\b",
        b'"',
        b"<",
    ],
)
def test_hosts_that_are_none(host: bytes) -> None:
    assert not host_is_valid(host)
    with pytest.raises(BadRequest):
        parse_request(request(b"GET / HTTP/1.1", b"Host: " + host))


def test_the_path_is_the_target_without_its_query() -> None:
    paths = {
        b"/": b"/",
        b"/a/b;c?d?e": b"/a/b;c",
        b"/?": b"/",
        b"http://a.test": b"/",
        b"http://a.test?x": b"/",
        b"HTTPS://b/c?d": b"/c",
    }
    for target, path in paths.items():
        assert parse_request(request(b"GET " + target + b" HTTP/1.1", b"Host: a.test")).path == path


def test_a_url_for_a_target_names_the_host() -> None:
    head = parse_request(request(b"GET http://b.test:81/x?y HTTP/1.1", b"Host: a.test"))
    assert (head.host, head.target) == (b"b.test:81", b"/x?y")
    assert head.encode(b"p", b"http").startswith(b"GET /x?y HTTP/1.1\r\nHost: b.test:81\r\n")


def test_fields_for_routing_have_lower_case_names() -> None:
    head = parse_request(request(b"GET / HTTP/1.1", b"Host: a.test", b"X-Tenant:  one ", b"x-empty:"))
    assert {(b"x-tenant", b"one"), (b"x-empty", b""), (b"host", b"a.test")} <= set(head.match_fields())


def test_framing() -> None:
    def length(*fields: bytes) -> int:
        return parse_request(request(b"POST / HTTP/1.1", b"Host: a", *fields)).length

    assert length() == NO_BODY
    assert length(b"Content-Length: 0") == NO_BODY
    assert length(b"Content-Length: 12") == 12
    assert length(b"transfer-encoding: Chunked") == CHUNKED


def test_an_upgrade_is_kept_only_where_it_means_one_thing() -> None:
    def upgrade(*fields: bytes, version: bytes = b"1.1") -> bytes | None:
        return parse_request(request(b"GET / HTTP/" + version, b"Host: a", *fields)).upgrade

    asks = b"Connection: keep-alive, Upgrade"
    assert upgrade(asks, b"Upgrade: websocket") == b"websocket"
    assert upgrade(asks, b"Upgrade: a/1", b"Upgrade: b") == b"a/1, b"
    assert upgrade(b"Upgrade: websocket") is None
    assert upgrade(asks) is None
    assert upgrade(asks, b"Upgrade:") is None
    assert upgrade(asks, b"Upgrade: h2c") is None
    assert upgrade(asks, b"Upgrade: tcp", b"Content-Length: 1") == b"tcp"
    assert upgrade(asks, b"Upgrade: websocket", version=b"1.0") is None


def test_what_was_parsed_before_does_not_matter() -> None:
    """The parser is shared: nothing that one client sends may change how the next one's bytes are read."""
    bad = request(b"GET / HTTP/1.1", b"Host: a", b"X: a\nY: b")
    firsts = [
        request(b"CONNECT / HTTP/1.1", b"Host: a"),
        request(b"CONNECT a:1 HTTP/1.1", b"Host: a"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Connection: upgrade", b"Upgrade: x"),
        request(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 99"),
        request(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Connection: close"),
        request(b"GET / HTTP/1.0", b"Host: a"),
        request(b"GET / HTTP/0.9", b"Host: a"),
        request(b"PRI * HTTP/2.0"),
        request(b"GET #a HTTP/1.1", b"Host: a"),
        request(b"GET / HTTP/1.1", b"Host: a b"),
        bad,
        b"\x00\r\n\r\n",
    ]
    good = request(b"GET /good HTTP/1.1", b"Host: a")
    for first in firsts:
        for second in (good, bad):
            with suppress(BadRequest):
                parse_request(first)
            if second is good:
                assert parse_request(good).path == b"/good", first
            else:
                with pytest.raises(BadRequest):
                    parse_request(bad)


def test_idempotent_methods() -> None:
    methods = {b"GET": True, b"HEAD": True, b"PUT": True, b"DELETE": True, b"OPTIONS": True, b"POST": False, b"PATCH": False}
    for method, idempotent in methods.items():
        assert parse_request(request(method + b" / HTTP/1.1", b"Host: a")).idempotent is idempotent


def test_lengths_of_responses() -> None:
    def length(line: bytes, *fields: bytes, method: bytes = b"GET") -> int:
        return parse_response(request(line, *fields), method).length

    assert length(b"HTTP/1.1 200 OK", b"Content-Length: 7") == 7
    assert length(b"HTTP/1.1 200 OK", b"Content-Length: 7", method=b"HEAD") == NO_BODY
    assert length(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked") == CHUNKED
    assert length(b"HTTP/1.1 200 OK") == UNTIL_CLOSE
    assert length(b"HTTP/1.1 204 No Content", b"Content-Length: 7") == NO_BODY
    assert length(b"HTTP/1.1 304 Not Modified", b"Content-Length: 7") == NO_BODY
    assert length(b"HTTP/1.1 103 Early Hints") == NO_BODY


def test_whether_a_backend_keeps_its_connection() -> None:
    def keeps(version: bytes, *fields: bytes) -> bool:
        return parse_response(request(b"HTTP/" + version + b" 200 OK", b"Content-Length: 0", *fields), b"GET").keep_alive

    assert keeps(b"1.1")
    assert keeps(b"1.1", b"Connection: keep-alive")
    assert not keeps(b"1.1", b"Connection: x, Close")
    assert not keeps(b"1.1", b"Connection: keep-alive", b"Connection: close")
    assert not keeps(b"1.0")
    assert keeps(b"1.0", b"Connection: Keep-Alive")


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 000 X",
        b"HTTP/1.1 200 OK\rX: y",
        b"HTTP/1.1 099 X",
        b"HTTP/1.1 20 X",
        b"HTTP/1.10 200 X",
        b"HTTP/2.0 200 X",
        b"ICY 200 X",
    ],
)
def test_status_lines_that_are_none(line: bytes) -> None:
    with pytest.raises(BadResponse):
        parse_response(request(line, b"Content-Length: 0"), b"GET")


def test_a_response_without_a_phrase() -> None:
    for line in (b"HTTP/1.1 200", b"HTTP/1.1 200 "):
        assert parse_response(request(line), b"GET").encode(chunked=False, connection=b"close").startswith(b"HTTP/1.1 200 \r\n")


def test_connection_options() -> None:
    assert connection_options([b"Close , X-a", b"\tKeep-Alive"]) == {b"close", b"x-a", b"keep-alive"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 404 Nicht da \xe4\t!", b"HTTP/1.1 404 Nicht da \xe4\t!"),
        (b"HTTP/1.1 404 \x1b[31mred", b"HTTP/1.1 404 "),
        (b"HTTP/1.1 200 a\x00b", b"HTTP/1.1 200 "),
        (b"HTTP/1.1 500 a\x7fb", b"HTTP/1.1 500 "),
        (b"HTTP/1.0 200 \x08", b"HTTP/1.1 200 "),
    ],
)
@pytest.mark.parametrize(
    "fields", [b"Content-Length: 0\r\nDate: x\r\n", b"X: 1\r\nContent-Length: 0\r\nServer: a\r\ndate: x\r\n"]
)
def test_reason_phrases_carry_no_control_characters(line: bytes, expected: bytes, fields: bytes) -> None:
    head = parse_response(line + b"\r\n" + fields + b"\r\n", b"GET")
    wire = head.encode(chunked=False, connection=None)
    assert wire.split(b"\r\n")[0] == expected
    assert sorted(wire.split(b"\r\n")[1:]) == sorted((fields + b"\r\n").split(b"\r\n"))


def test_names_with_underscores_pass_but_for_those_that_look_like_the_proxys_own() -> None:
    fields = b"api_key: 1\r\nX_Mine: 2\r\nX_Forwarded_For: 6.6.6.6\r\nx-forwarded_proto: https\r\nContent_Length: 5\r\n"
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    assert head.length == 0
    assert head.encode(b"1.2.3.4", b"http").split(b"\r\n") == [
        b"GET / HTTP/1.1",
        b"Host: a",
        b"api_key: 1",
        b"X_Mine: 2",
        b"X-Forwarded-For: 1.2.3.4",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: a",
        b"",
        b"",
    ]


def test_answers_pass_names_with_underscores() -> None:
    wire = b"HTTP/1.1 200 OK\r\nDate: x\r\nX_Mine: 1\r\nContent_Length: 3\r\nContent-Length: 0\r\n\r\n"
    assert parse_response(wire, b"GET").encode(chunked=False, connection=None) == wire


@pytest.mark.parametrize("field", [b"Connection: ", b"TE: ", b"Connection: upgrade\r\nUpgrade: "])
@pytest.mark.parametrize("element", [b",", b"x,"])
def test_lists_that_are_looked_at_are_bounded(field: bytes, element: bytes) -> None:
    with pytest.raises(BadRequest, match="elements"):
        parse_request(request(b"GET / HTTP/1.1", b"Host: a", field + element * 300))
    with pytest.raises(BadRequest, match="elements"):
        parse_request(request(b"GET / HTTP/1.1", b"Host: a", *[field + b"x"] * 100, field + element * 200))
    assert parse_request(request(b"GET / HTTP/1.1", b"Host: a", field + element * 200)).host == b"a"


@pytest.mark.parametrize("field", [b"Connection: ", b"WWW-Authenticate: ", b"Upgrade: "])
def test_lists_of_answers_are_bounded(field: bytes) -> None:
    with pytest.raises(BadResponse, match="elements"):
        parse_response(request(b"HTTP/1.1 101 x", field + b"," * 300), b"GET")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 a\x01b\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 204 \x1b[31m\r\nX: y\r\n\r\n"])
def test_reason_phrases_mean_nothing_in_pieces_either(head: bytes) -> None:
    partial = PartialHead(check_status_line, delimiter=b"/", most_fields=9, beginning=b"HTTP/1.")
    assert [partial.add(head[at : at + 1]) for at in range(len(head))][-1] == len(head)
    assert parse_response(partial.take(), b"GET").encode(chunked=False, connection=None).startswith(head[:13] + b"\r\n")


def test_a_date_that_does_not_go_on_is_made_up() -> None:
    wire = parse_response(request(b"HTTP/1.1 200 OK", b"Connection: date", b"Date: x", b"Content-Length: 0"), b"GET").encode(
        chunked=False, connection=None
    )
    assert wire.count(b"Date: ") == 1
    assert b"Date: x" not in wire
