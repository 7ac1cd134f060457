"""Heads of HTTP/2 as requests and responses: what is refused, what is forwarded, and deadlines of gRPC."""

from __future__ import annotations

from itertools import product

import pytest

from interceptor.core.errors import BadRequest
from interceptor.core.grpc import GRPC, NO_CALL
from interceptor.core.messages import HTTP, HTTPS, NO_BODY, Fields, RequestEdit
from interceptor.core.sizes import MAX_TARGET_BYTES
from interceptor.http1.foreign import MAX_KEPT, encode_foreign_request
from interceptor.http2.core.header_rules import NO_NAMES, Head, Rules
from interceptor.http2.heads import UNKNOWN, StreamRequest, final_reply, read_kind, read_request, read_response
from tests.support.h2_memory import GET

PEER = b"192.0.2.1"
METHOD, SCHEME, PATH, AUTHORITY = GET
TOLD: Fields = (
    (b"x-forwarded-for", b"198.51.100.7"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"shop.test"),
    (b"forwarded", b"for=198.51.100.7"),
)
SOCKET: Fields = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), SCHEME, PATH, AUTHORITY)


def request(*fields: tuple[bytes, bytes], begin: Fields = GET, end: bool = True) -> StreamRequest:
    return read_request(Rules().request([*begin, *fields], NO_NAMES, connect=True, too_large=False), end=end)


def fields(found: StreamRequest, *, trusted: bool = False) -> dict[bytes, bytes]:
    return dict(found.fields(PEER, trusted=trusted))


def test_what_a_request_says() -> None:
    found = request((b"content-length", b"5"), begin=((b":method", b"POST"), SCHEME, (b":path", b"/a?b=c"), AUTHORITY), end=False)
    assert (found.method, found.target, found.path, found.host, found.length) == (b"POST", b"/a?b=c", b"/a", AUTHORITY[1], 5)
    assert request(end=False).length == UNKNOWN
    assert request().length == NO_BODY
    assert request((b"authorization", b"NTLM abc")).personal
    assert not request((b"authorization", b"Bearer abc")).personal
    assert request((b"expect", b"100-continue"), end=False).expects_continue
    assert not request((b"expect", b"100-continue")).expects_continue


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        (((b":method", b"CONNECT"), AUTHORITY), 501),
        ((METHOD, SCHEME, PATH), 400),
        ((METHOD, SCHEME, (b":path", b"/" + b"a" * MAX_TARGET_BYTES), AUTHORITY), 414),
    ],
    ids=["CONNECT", "no host", "a long target"],
)
def test_what_is_refused(begin: Fields, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        request(begin=begin)
    assert refused.value.status == status


def test_a_head_that_was_too_large_is_a_431() -> None:
    head = Head(GET, NO_NAMES)
    head.too_large = True
    with pytest.raises(BadRequest) as refused:
        read_request(head, end=True)
    assert refused.value.status == 431


def test_what_a_client_says_of_others_is_believed_of_proxies_only() -> None:
    plain = fields(request(*TOLD))
    assert plain == {b"x-forwarded-for": PEER, b"x-forwarded-proto": b"http", b"x-forwarded-host": AUTHORITY[1]}
    believed = fields(request(*TOLD), trusted=True)
    assert believed[b"x-forwarded-for"] == b"198.51.100.7, " + PEER
    assert (believed[b"x-forwarded-proto"], believed[b"x-forwarded-host"]) == (b"https", b"shop.test")
    assert believed[b"forwarded"] == b"for=198.51.100.7"


@pytest.mark.parametrize("name", [b"x_forwarded_for", b"x-forwarded_host", b"content_length", b"transfer_encoding"])
def test_names_that_look_like_others_to_some_backends_are_not_forwarded(name: bytes) -> None:
    assert name not in fields(request((name, b"1")), trusted=True)
    assert fields(request((b"my_name", b"1")))[b"my_name"] == b"1"


def test_a_head_that_comes_again_is_not_worked_out_again() -> None:
    found = request((b"a", b"b"))
    first = found.forwarded(PEER, trusted=False)
    assert found.forwarded(PEER, trusted=False) is first
    assert found.forwarded(PEER, trusted=True) is not first
    assert dict(found.forwarded(b"192.0.2.2", trusted=False))[b"x-forwarded-for"] == b"192.0.2.2"


def test_a_websocket_gets_a_key_of_its_own_each_time() -> None:
    keys = set()
    for _ in range(2):
        found = request((b"sec-websocket-version", b"13"), (b"sec-websocket-key", b"the client's"), begin=SOCKET, end=False)
        wire = encode_foreign_request(found, PEER, trusted=False, authority=b"", body=None)
        assert wire.startswith(b"GET / HTTP/1.1\r\n")
        assert b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" in wire
        assert wire.count(b"sec-websocket-key: ") == 1
        keys.add(fields(found)[b"sec-websocket-key"])
    assert len(keys) == 2
    assert all(len(key) == 24 for key in keys)


@pytest.mark.parametrize(
    ("status", "length", "method", "end", "expected"),
    [
        (200, b"5", b"GET", False, 5),
        (200, b"", b"GET", False, UNKNOWN),
        (200, b"", b"GET", True, NO_BODY),
        (200, b"5", b"HEAD", True, NO_BODY),
        (204, b"", b"GET", True, NO_BODY),
        (103, b"", b"GET", False, NO_BODY),
    ],
)
def test_the_length_of_a_response(status: int, length: bytes, method: bytes, end: bool, expected: int) -> None:
    told = ((b"content-length", length),) if length else ()
    head = Rules().response([(b":status", b"%d" % status), *told], NO_NAMES)
    assert read_response(head, method, end=end).length == expected


def test_a_backend_does_not_say_that_it_was_a_cold_start() -> None:
    head = Rules().response([(b":status", b"200"), (b"x-keda-http-cold-start", b"true"), (b"a", b"b")], NO_NAMES)
    assert [*read_response(head, b"GET", end=True).fields()] == [(b"a", b"b")]


def test_a_deadline_passes_on_as_it_is_or_as_what_is_left_of_it() -> None:
    grpc = (b"content-type", b"application/grpc")
    found = request(grpc, (b"grpc-timeout", b"5S"))
    assert (found.timeout, fields(found)[b"grpc-timeout"]) == (5.0, b"5S")
    found.elapsed = 1.5
    assert fields(found)[b"grpc-timeout"] == b"3500m"
    assert fields(found)[b"content-type"] == b"application/grpc"
    found.elapsed = 9.0
    assert fields(found)[b"grpc-timeout"] == b"1m"
    for others in ((b"grpc-timeout", b"5S"),), (grpc, (b"grpc-timeout", b"5")), (grpc,):  # no call, malformed, none
        assert request(*others).timeout is None
    assert fields(request(grpc, (b"grpc-timeout", b"5")))[b"grpc-timeout"] == b"5"  # for the backend to judge


def test_a_head_that_is_refused_has_a_kind_all_the_same() -> None:
    found = Rules().request([*GET, (b"content-type", b"application/grpc")], NO_NAMES, connect=True, too_large=True)
    assert (read_kind(found), read_kind(Head(GET, NO_NAMES))) == (GRPC, NO_CALL)


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "in the head"])
def test_a_deadline_goes_to_the_backend_however_it_came(*, apart: bool) -> None:
    """Apart from the head, if it was taken out of it, and else as one of its fields."""
    grpc, timeout = (b"content-type", b"application/grpc"), (b"grpc-timeout", b"5S")
    head = Rules().request([*GET, grpc, *(() if apart else (timeout,))], NO_NAMES, connect=True, too_large=False)

    def found(value: bytes = b"5S") -> StreamRequest:
        return read_request(head, end=False, deadline=value if apart else b"")

    def sent(asked: StreamRequest) -> tuple[set[tuple[bytes, bytes]], bytes]:
        """Over a stream: the fields, and the deadline that is not among them."""
        lasting = asked.for_stream(HTTP, PEER, trusted=False)
        return (set(asked.fields(PEER, trusted=False)) | set(GET), b"") if lasting is None else (set(lasting[0]), lasting[1])

    assert (found().timeout, found().match_fields().count(timeout)) == (5.0, 1)
    assert fields(found()) == fields(request(grpc, timeout))
    same, deadline = sent(found())
    assert (same - {timeout}, deadline if apart else (timeout in same)) == (
        {*GET, *fields(request(grpc)).items()},
        b"5S" if apart else True,
    )
    assert sent(found())[0] == same
    waited = found()
    waited.elapsed = 1.5
    assert fields(waited)[b"grpc-timeout"] == b"3500m"
    same, deadline = sent(waited)
    assert (deadline or dict(same)[b"grpc-timeout"]) == b"3500m"
    edited: StreamRequest = waited.edited(RequestEdit(target=b"/b", dropped=frozenset({b"te"})))
    assert edited.for_stream(HTTP, PEER, trusted=False) is None
    assert fields(edited)[b"grpc-timeout"] == b"3500m"
    if apart:
        assert (found(b"7S").timeout, sent(found(b"7S"))[1]) == (7.0, b"7S")


def test_fields_that_are_the_same_each_time_are_those_of_one_client_and_scheme() -> None:
    head = Rules().request([*GET, (b"a", b"b")], NO_NAMES, connect=True, too_large=False)

    def sent(peer: bytes, via: bytes, scheme: bytes) -> dict[bytes, bytes]:
        asked = read_request(head, end=True)
        asked.scheme = scheme
        lasting = asked.for_stream(via, peer, trusted=False)
        assert lasting is not None
        return dict(lasting[0])

    for peer in (PEER, b"192.0.2.9"):
        for via in (HTTP, HTTPS):
            for scheme in (HTTP, HTTPS):
                fields = sent(peer, via, scheme)
                assert (fields[b":scheme"], fields[b"x-forwarded-for"], fields[b"x-forwarded-proto"]) == (via, peer, scheme)
    for begin in (SOCKET, ((b":method", b"TRACE"), *GET[1:])):
        special = Rules().request([*begin, (b"max-forwards", b"3")], NO_NAMES, connect=True, too_large=False)
        assert read_request(special, end=True).for_stream(HTTP, PEER, trusted=False) is None


def test_the_encoding_of_a_head_that_comes_again_is_kept_for_the_same_client_only() -> None:
    """Whatever it depends on beside the head changes it; a fresh head, of which nothing is kept, is encoded alike."""
    fields = [*GET, (b"expect", b"100-continue"), (b"x-forwarded-for", b"198.51.100.7")]
    head = Rules().request(fields, NO_NAMES, connect=True, too_large=False)

    def encoded(head: Head, peer: bytes, scheme: bytes, body: int | None, *, end: bool, trusted: bool, goes_on: bool) -> bytes:
        asked = read_request(head, end=end)
        asked.scheme = scheme
        asked.expects_continue = asked.expects_continue and not goes_on
        return encode_foreign_request(asked, peer, trusted=trusted, authority=b"192.0.2.2", body=body)

    wires = set()
    for (peer, scheme, body), (end, trusted, goes_on) in product(
        product((PEER, b"192.0.2.9"), (HTTP, HTTPS), (None, 3)), product((False, True), repeat=3)
    ):
        length = None if end else body
        fresh = Rules().request(fields, NO_NAMES, connect=True, too_large=False)
        expected = encoded(fresh, peer, scheme, length, end=end, trusted=trusted, goes_on=goes_on)
        for _ in range(2):
            assert encoded(head, peer, scheme, length, end=end, trusted=trusted, goes_on=goes_on) == expected
        wires.add(expected)
    assert len(wires) == 2 * 2 * 2 * (1 + 2 * 2)
    assert read_request(head, end=True).encoded is not None
    assert read_request(head, end=True).edited(RequestEdit(target=b"/b")).encoded is None


def test_a_long_head_is_not_kept() -> None:
    found = request((b"long", b"l" * MAX_KEPT))
    encode_foreign_request(found, PEER, trusted=False, authority=b"a", body=None)
    assert found.encoded is not None
    assert found.encoded.wire == b""


def counted(method: bytes, *hops: bytes) -> StreamRequest:
    begin = ((b":method", method), SCHEME, (b":path", b"/a?b"), AUTHORITY)
    secrets = ((b"cookie", b"secret"), (b"authorization", b"secret"), (b"a", b"b"))
    return request(*((b"max-forwards", each) for each in hops), *secrets, begin=begin)


def test_max_forwards_counts_down_where_it_applies() -> None:
    for method in b"TRACE", b"OPTIONS":
        assert counted(method, b"3").hops == 3
        assert fields(counted(method, b"3"))[b"max-forwards"] == b"2"
        assert (counted(method).hops, counted(method, b"-1").hops, counted(method, b"1" * 19).hops) == (None, None, None)
        assert fields(counted(method, b"x"))[b"max-forwards"] == b"x"
    assert counted(b"GET", b"3").hops is None
    assert fields(counted(b"GET", b"3"))[b"max-forwards"] == b"3"


def test_the_last_hop_answers() -> None:
    assert counted(b"OPTIONS", b"0").hops == 0
    options = final_reply(counted(b"OPTIONS", b"0"))
    assert (options.status, options.fields, options.body) == (200, (), b"")
    trace = final_reply(counted(b"TRACE", b"0"))
    assert (trace.status, trace.fields) == (200, ((b"content-type", b"message/http"),))
    assert trace.body == b"TRACE /a?b HTTP/2\r\nhost: %b\r\nmax-forwards: 0\r\na: b\r\n\r\n" % AUTHORITY[1]
