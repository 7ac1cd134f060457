"""Examples of parsed and encoded heads of requests and responses, in addition to the corpora of the wire tests."""

from __future__ import annotations

from contextlib import suppress

import pytest

from fleet.routing.context import Marks
from interceptor.core.errors import BadRequest, BadResponse
from interceptor.core.messages import NO_BODY
from interceptor.http1.fields import CHUNKED, connection_options, field_pairs, host_is_valid
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


@pytest.mark.parametrize("host", [b"Host: a.test", b"host:  a.test\t", b"Host:a.test"])
@pytest.mark.parametrize("connection", [b"Connection: keep-alive", b"connection: keep-alive", b"CONNECTION: Keep-Alive"])
@pytest.mark.parametrize("order", ["Hca", "Hac", "aHbc", "cH", "acHb", "Hc"])
def test_a_browsers_connection_field_ends_here_wherever_it_stands(host: bytes, connection: bytes, order: str) -> None:
    """Each order of fields by the fast path, for usual heads, and by the general one."""
    fields = {"H": host, "c": connection, "a": b"Accept: */*", "b": b"Cookie: a=b"}
    head = parse_request(request(b"GET /x?y HTTP/1.1", *(fields[each] for each in order)))
    assert (head.host, head.path, head.keep_alive, head.is_for_another) == (b"a.test", b"/x", True, False)
    assert (b"connection", b"keep-alive") in [(name, value.lower()) for name, value in head.match_fields()]
    line, *lines = head.encode(b"192.0.2.1", b"http").split(b"\r\n")
    assert line == b"GET /x?y HTTP/1.1"
    assert [each for each in lines if not each.startswith(b"Host:")] == [
        *(fields[each] for each in order if each in "ab"),
        b"X-Forwarded-For: 192.0.2.1",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: a.test",
        b"",
        b"",
    ]
    assert b"Host: a.test" in lines


PASSED = {b"uber-ctx-key", b"baggage", b"uber_ctx_key", b"bag_gage"}
MARKS = Marks(frozenset({b"uber-ctx-key", b"baggage"}), (b"\nuber-ctx-key:", b"\nbaggage:"), b"", usual=True)


@pytest.mark.parametrize("mark", [b"Uber-Ctx-Key: f1", b"baggage: a=1,b=2", b"BAGGAGE:\tb=2 ", b"uber-ctx-key:"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    "others",
    [
        [],
        [b"Connection: keep-alive"],
        [b"Content-Length: 3"],
        [b"content-length: 3", b"connection: keep-alive"],
        [b"Content-Length: 03"],
        [b"Transfer-Encoding: chunked"],
        [b"X-Forwarded-For: 192.0.2.9"],
        [b"TE: trailers", b"Connection: TE"],
        [b"Connection: upgrade", b"Upgrade: websocket"],
        [b"Uber_Ctx_Key: f2", b"Bag_gage: f2"],
        [b"baggage: second", b"Uber-Ctx-Key: second", b"Content-Length: 3", b"Connection: keep-alive"],
    ],
    ids=lambda others: b" ".join(others).decode(),
)
@pytest.mark.parametrize("line", [b"POST /x HTTP/1.1", b"POST http://a.test/x HTTP/1.1", b"POST /x HTTP/1.0"])
def test_marks_of_a_preview_are_noticed_and_passed_on(line: bytes, others: list[bytes], mark: bytes, *, first: bool) -> None:
    """By the fast paths and the general one: each field once, with its value, in its order."""
    if line.endswith(b"1.0") and b"Transfer-Encoding: chunked" in others:
        return
    fields = [mark, b"Host: a.test", *others] if first else [b"Host: a.test", *others, mark]
    head = parse_request(request(line, *fields))
    assert head.may_have(MARKS)
    passed = [pair for pair in field_pairs(head.encode(b"192.0.2.1", b"http", trusted=True)) if pair[0] in PASSED]
    assert passed == [pair for pair in field_pairs(request(line, *fields)) if pair[0] in PASSED]


@pytest.mark.parametrize(
    "field",
    [b"Connection: keep-alive", b"Connection: close", b"Connection: x", b"Keep-Alive: 5", b"Host: b", b"TE: trailers"],
)
def test_a_second_connection_field_or_another_is_not_overlooked(field: bytes) -> None:
    wire = request(b"GET / HTTP/1.1", b"Host: a", b"Connection: keep-alive", b"X: y", field)
    if field.startswith(b"Host"):
        with pytest.raises(BadRequest, match="exactly one Host"):
            parse_request(wire)
        return
    head = parse_request(wire)
    assert head.keep_alive is (field != b"Connection: close")
    assert (b"X: y" in head.encode(b"p", b"http")) is (field != b"Connection: x")
    assert b"eep-" not in head.encode(b"p", b"http")


@pytest.mark.parametrize("field", [b"TE: trailers", b"Connection: keep-alive", b"Host_: a"])
def test_a_browsers_head_needs_a_host_too(field: bytes) -> None:
    with pytest.raises(BadRequest, match="exactly one Host"):
        parse_request(request(b"GET / HTTP/1.1", field, b"Connection: keep-alive"))


def test_keep_alive_says_something_in_http_1_0() -> None:
    heads = [parse_request(request(b"GET / HTTP/1.0", b"Host: a", *asks)) for asks in ((b"Connection: keep-alive",), ())]
    assert [(head.minor, head.keep_alive) for head in heads] == [(0, True), (0, False)]


def test_a_url_replaces_the_host_of_a_browsers_head_too() -> None:
    head = parse_request(request(b"GET http://b.test/x HTTP/1.1", b"Host: a.test", b"Connection: keep-alive", b"A: b"))
    assert head.encode(b"p", b"http").split(b"\r\n")[:3] == [b"GET /x HTTP/1.1", b"Host: b.test", b"A: b"]


@pytest.mark.parametrize("host", [b"Host: a.test", b"host:  a.test\t"])
@pytest.mark.parametrize("connection", [b"Connection: keep-alive", b"CONNECTION: Keep-Alive"])
@pytest.mark.parametrize("length", [b"Content-Length: 12", b"content-length:12", b"Content-Length: 12 ", b"Content-Length: 012"])
@pytest.mark.parametrize("order", ["Hal", "lH", "Halcb", "caHbl", "lcaH"])
def test_a_request_with_a_length_is_forwarded_with_it(host: bytes, connection: bytes, length: bytes, order: str) -> None:
    """Some by the fast path, for usual heads, the others by the general one."""
    fields = {"H": host, "c": connection, "a": b"Accept: */*", "b": b"Cookie: a=b", "l": length}
    head = parse_request(request(b"POST /x?y HTTP/1.1", *(fields[each] for each in order)))
    assert (head.host, head.path, head.keep_alive, head.length) == (b"a.test", b"/x", True, 12)
    line, *lines = head.encode(b"192.0.2.1", b"http").split(b"\r\n")
    assert line == b"POST /x?y HTTP/1.1"
    assert [each for each in lines if each[:5].lower() != b"host:" and each[:8].lower() != b"content-"] == [
        *(fields[each] for each in order if each in "ab"),
        b"X-Forwarded-For: 192.0.2.1",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: a.test",
        b"",
        b"",
    ]
    assert [int(each[15:]) for each in lines if each.lower().startswith(b"content-length:")] == [12]
    assert [each[5:].strip() for each in lines if each.lower().startswith(b"host:")] == [b"a.test"]
    assert b" 012" not in head.encode(b"192.0.2.1", b"http")


@pytest.mark.parametrize(
    "fields",
    [
        (b"Host: a", b"Content-Length: 1", b"Content-Length: 1"),
        (b"Host:", b"Content-Length: 1", b"Host: b"),
        (b"Host: a", b"Content-Length: 1", b"Host: a"),
        (b"Content-Length: 1", b"Connection: keep-alive"),
        (b"Host: a", b"Content-Length: 1_0"),
        (b"Host: a", b"Content-Length: +1"),
        (b"Host: a", b"Content-Length: 1", b"Content_Length: 2", b"Transfer-Encoding: chunked"),
        (b"Host: a", b"Content-Length: 1234567890123456789"),
    ],
)
def test_no_short_way_for_a_length_that_is_ambiguous(fields: tuple[bytes, ...]) -> None:
    with pytest.raises(BadRequest):
        parse_request(request(b"POST / HTTP/1.1", *fields))


def test_a_look_alike_of_a_length_is_not_forwarded_beside_it() -> None:
    head = parse_request(request(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 1", b"Content_Length: 2"))
    assert b"Content_Length" not in head.encode(b"p", b"http")
    assert b"Content-Length: 1\r\n" in head.encode(b"p", b"http")


def test_a_url_as_target_loses_nothing_of_a_request_with_a_length() -> None:
    head = parse_request(request(b"POST http://b.test/x HTTP/1.1", b"Host: a.test", b"Content-Length: 3", b"A: b"))
    assert head.encode(b"p", b"http").split(b"\r\n")[:3] == [b"POST /x HTTP/1.1", b"Host: b.test", b"A: b"]
    assert b"Content-Length: 3\r\n" in head.encode(b"p", b"http")


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
    """The parser is shared: a client's bytes must not change how the next client's bytes are parsed."""
    bad = request(b"GET / HTTP/1.1", b"Host: a", b"X: a\nY: b")
    firsts = [
        request(b"CONNECT / HTTP/1.1", b"Host: a"),
        request(b"CONNECT a:1 HTTP/1.1", b"Host: a"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Connection: upgrade", b"Upgrade: x"),
        request(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 99"),
        request(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Connection: close"),
        request(b"POST / HTTP/1.1", b"Host: a", b"Connection: keep-alive"),
        request(b"GET http://b HTTP/1.1", b"Host: a", b"Connection: keep-alive"),
        request(b"CONNECT a:1 HTTP/1.1", b"Host: a", b"Connection: keep-alive"),
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


def test_equal_responses_are_parsed_once() -> None:
    wire = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\n"
    head = parse_response(wire, b"GET")
    assert parse_response(bytes(bytearray(wire)), b"POST") is head
    assert parse_response(wire, b"HEAD").length == 0
    assert (parse_response(wire, b"GET").length, head.length) == (5, 5)


def test_a_response_without_a_date_gets_the_time_at_which_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    for second, date in ((0, b"Thu, 01 Jan 1970 00:00:00 GMT"), (1, b"Thu, 01 Jan 1970 00:00:01 GMT")):
        monkeypatch.setattr("interceptor.date.time", lambda second=second: float(second))
        head = parse_response(wire, b"GET")
        assert head.encode(chunked=False, connection=None) == wire[:-2] + b"Date: " + date + b"\r\n\r\n"


def test_few_responses_are_remembered_and_no_large_ones() -> None:
    long = b"HTTP/1.1 200 OK\r\nDate: x\r\nX: %b\r\nContent-Length: 5\r\n\r\n" % (b"a" * 500)
    assert parse_response(long, b"GET") is not parse_response(long, b"GET")
    wires = [b"HTTP/1.1 200 OK\r\nDate: x\r\nX: %d\r\nContent-Length: 5\r\n\r\n" % number for number in range(1000)]
    heads = [parse_response(wire, b"GET") for wire in wires]
    assert parse_response(wires[0], b"GET") is not heads[0]
    assert parse_response(wires[-1], b"GET") is heads[-1]


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


def test_a_deadline_of_grpc_web_is_known_and_passes_on_as_it_is_or_as_what_is_left_of_it() -> None:
    begin = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web\r\n"
    head = parse_request(begin + b"grpc-timeout: 5S\r\n\r\n")
    assert head.timeout == 5.0
    assert b"\r\nGrpc-Timeout: 5S\r\n" in head.encode(b"192.0.2.1", b"http")
    head.elapsed = 1.5
    assert b"\r\nGrpc-Timeout: 3500m\r\n" in head.encode(b"192.0.2.1", b"http")
    plain = parse_request(b"POST / HTTP/1.1\r\nHost: a\r\ngrpc-timeout: 5S\r\n\r\n")
    assert (plain.timeout, b"\r\nGrpc-Timeout: 5S\r\n" in plain.encode(b"192.0.2.1", b"http")) == (None, True)
