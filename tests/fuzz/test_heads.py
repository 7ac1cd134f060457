"""Random and mutated heads and chunked bodies end in our own errors; what is accepted means the same to a strict reader.

The generator is seeded: every run tries the same 200,000.
"""

from __future__ import annotations

import re
from collections import Counter
from random import Random

from interceptor.core.errors import BadRequest, BadResponse
from interceptor.http1.chunked import ChunkedReader, ChunkError
from interceptor.http1.fields import CHUNKED
from interceptor.http1.request import RequestHead, parse_request
from interceptor.http1.response import UNTIL_CLOSE, parse_response
from tests.fuzz.mutate import mutants, pieces
from tests.support.strict_reader import Message, read_request, read_response
from tests.wire.proxy_smuggling import CASES

REQUESTS = 120_000
RESPONSES = 100_000
BODIES = 60_000
assert REQUESTS + RESPONSES + BODIES >= 200_000

LENGTH_LIMIT = 4096
"""A body longer than this is not made up to read a head strictly; its length is only compared."""

GOOD = b"GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n"
BAD = b"GET /bad HTTP/1.1\r\nHost: a.test\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n"

REQUEST_SEEDS = [
    *(case.wire for case in CASES if len(case.wire) < 2000),
    b"GET /a/b;c=d?e=%20f HTTP/1.1\r\nHost: a.test:8080\r\nAccept: */*\r\nCookie: a=b; c=d\r\nX-A: b\r\n\r\n",
    b"PUT http://b.test:80/x HTTP/1.1\r\nhost: a.test\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nHOST: a.test\r\nX-Forwarded-Host: c.test\r\nConnection: x-a\r\nX-A: b\r\nContent-Length: 3\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: [::1]:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nX-A: 13\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\nUser-Agent: fuzz\r\n\r\n",
    b"GET /c?d HTTP/1.1\r\nAccept: */*\r\nHost: a.test\r\nX-A: b\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nContent-Type: a/b\r\nContent-Length: 200\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nContent-Length: 2\r\nCookie: a=b\r\n\r\n",
]

RESPONSE_SEEDS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nDate: today\r\nConnection: keep-alive\r\ncontent-length: 12\r\nServer: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nConnection: close, X-A\r\nX-A: b\r\n\r\n",
    b"HTTP/1.0 200\r\nServer: old\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"x\"\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 3\r\nProxy-Authenticate: x\r\n\r\n",
]  # fmt: skip

BODY_SEEDS = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b'a;b=c;d="e;f"\r\n0123456789\r\n000F;x\r\n0123456789abcde\r\n0\r\nX-A: b\r\nX-B:  c \r\n\r\nGET / HTTP/1.1\r\n',
    b"1\r\na\r\n1\r\nb\r\n1\r\n\n\r\n2\r\n\r\n\r\n0\r\nContent-Length: 5\r\nhost: x\r\nEtag: y\r\n\r\n",
    b"0;last\r\n\r\n0\r\n\r\n",
    *(case.wire.partition(b"\r\n\r\n")[2] for case in CASES if case.name.startswith("chunks") and len(case.wire) < 2000),
]


def whole_head(data: bytes) -> bytes:
    """Up to and with the first empty line, as a connection hands it over."""
    while data.startswith(b"\r\n"):
        data = data[2:]
    head, _, _ = (data + b"\r\n\r\n").partition(b"\r\n\r\n")
    return head + b"\r\n\r\n"


def strictly(head: RequestHead, wire: bytes) -> Message:
    """The encoded head as a strict reader takes it, with a body that suits it."""
    fill = b"0\r\n\r\n" if head.length == CHUNKED else b"x" * min(head.length, LENGTH_LIMIT)
    if head.length > LENGTH_LIMIT:
        wire = re.sub(rb"(?i)(?<=\r\n)content-length:[^\r]*", b"Content-Length: %d" % LENGTH_LIMIT, wire)
    found = read_request(wire + fill)
    assert found is not None
    message, rest = found
    assert rest == b""
    return message


def check_forwarded(head: RequestHead) -> None:
    wire = head.encode(b"192.0.2.1", b"http", trusted=True, authority=b"192.0.2.9:80")
    message = strictly(head, wire)
    assert (message.method, message.target, message.get(b"host")) == (head.method, head.target, head.host or b"192.0.2.9:80")
    assert message.framing == ("chunked" if head.length == CHUNKED else message.framing)
    assert (message.get(b"transfer-encoding") is not None) == (head.length == CHUNKED)
    assert int(message.get(b"content-length") or b"0") == (0 if head.length == CHUNKED else min(head.length, LENGTH_LIMIT))
    assert message.all(b"x-forwarded-for")[-1].endswith(b"192.0.2.1")
    assert len(message.all(b"x-forwarded-for")) == len(message.all(b"x-forwarded-proto")) == 1
    assert message.get(b"te") in (None, b"trailers")
    assert message.all(b"connection") in ([], [b"TE"], [b"upgrade"], [b"TE, upgrade"])
    assert not {b"keep-alive", b"proxy-connection", b"http2-settings"} & {name for name, _ in message.fields}
    assert message.get(b"upgrade") == head.upgrade
    again = parse_request(wire)
    assert (again.method, again.target, again.path, again.host) == (
        head.method,
        head.target,
        head.path,
        head.host or b"192.0.2.9:80",
    )
    assert (again.length, again.minor, again.keep_alive, again.upgrade) == (head.length, 1, True, head.upgrade)
    assert again.expects_continue == head.expects_continue


def test_requests() -> None:
    """Between any two, a good and a bad one: what was parsed before must not matter."""
    outcomes: Counter[int] = Counter()
    for turn, data in enumerate(mutants(1, REQUEST_SEEDS, REQUESTS)):
        try:
            head = parse_request(whole_head(data))
        except BadRequest as error:
            outcomes[error.status] += 1
        else:
            outcomes[200] += 1
            check_forwarded(head)
        if turn % 2:
            assert parse_request(GOOD).path == b"/good"
            continue
        try:
            parse_request(BAD)
        except BadRequest:
            continue
        raise AssertionError(f"after {data!r} a bad head was taken")
    assert outcomes[200] > REQUESTS / 20
    assert set(outcomes) <= {200, 400, 414, 417, 431, 501, 505}


def check_answer(data: bytes, method: bytes) -> None:
    head = parse_response(data, method)
    assert 100 <= head.status <= 999
    chunked = head.length == CHUNKED
    wire = head.encode(chunked=chunked, connection=b"upgrade" if head.status == 101 else None)
    if head.length > LENGTH_LIMIT:
        return
    body = b"0\r\n\r\n" if chunked else b"x" * max(head.length, 0)
    found = read_response(wire + body, method, closed=True)
    assert found is not None
    message, rest = found
    assert rest == b""
    assert message.status == head.status
    assert len(message.body) == max(head.length, 0)
    assert message.framing == {CHUNKED: "chunked", UNTIL_CLOSE: "close"}.get(head.length, message.framing)
    assert not {b"keep-alive", b"proxy-connection"} & {name for name, _ in message.fields}


def test_responses() -> None:
    taken = 0
    for turn, data in enumerate(mutants(2, RESPONSE_SEEDS, RESPONSES)):
        try:
            check_answer(whole_head(data), (b"GET", b"HEAD", b"POST")[turn % 3])
        except BadResponse:
            continue
        taken += 1
    assert taken > RESPONSES / 20


def read_body(parts: list[bytes], *, plain: bool = False) -> tuple[bytes, bytes] | None:
    """What goes on and what follows; None when the end has not come. Raises ChunkError."""
    reader = ChunkedReader(plain=plain)
    out = b""
    for at, part in enumerate(parts):
        out += reader.feed(part)
        if reader.done:
            return out, reader.rest + b"".join(parts[at + 1 :])
    return None


def test_chunked_bodies() -> None:
    """Read whole and in pieces alike; what goes on is a strict body of the same content, and so is what follows."""
    rng = Random(3)
    done = 0
    for data in mutants(3, BODY_SEEDS, BODIES):
        try:
            whole = read_body([data])
        except ChunkError:
            whole = None
        try:
            split = read_body(list(pieces(rng, data)))
        except ChunkError:
            split = None
        assert whole == split, data
        if whole is None:
            continue
        done += 1
        wire, rest = whole
        plain = read_body([data], plain=True)
        found = read_request(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
        assert found is not None
        message, left = found
        assert (plain, left) == ((message.body, rest), b"")
    assert done > BODIES / 50
