"""A client connection: requests, bodies and time limits. Every change of its state is checked against the table."""

from __future__ import annotations

import os

import pytest

from interceptor.core.sizes import MAX_REQUEST_HEAD
from interceptor.http1.partial import MAX_EMPTY_LINES
from interceptor.transport.splice import MIN_SPLICED
from tests.support.client_playbook import CHAT, CHUNKED, GET, OK, POST, ClientStage
from tests.support.codec_playbook import bytes_of, play

MANY_CHUNKS = r"1\r\nx\r\n" * 40

REQUESTS = {
    "whole": GET + OK + "= HEAD",
    "two, one after the other": GET + OK + GET + OK,
    "in two pieces": r"""
> feed GET /a HTT
= HEAD
> feed P/1.1\r\nHost: a.test\r\n\r\n
< request GET /a 0
< begin
""",
    "after empty lines": r"""
> feed \r\n\r\nGET /a HTTP/1.1\r\nHost: a.test\r\n\r\n
< request GET /a 0
< begin
""",
    "sent ahead": r"""
> feed GET /a HTTP/1.1\r\nHost: a.test\r\n\r\nGET /b HTTP/1.1\r\nHost: a.test\r\n\r\n
< request GET /a 0
< begin
""" + OK + r"""
< request GET /b 0
< begin
= COMPLETE
""" + OK,
    "a part of one sent ahead": r"""
> feed GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n
< request GET /a 0
< begin
> feed GET /b HTTP/1.1\r\n
""" + OK + r"""
= HEAD
> feed Host: a.test\r\n\r\n
< request GET /b 0
< begin
""",
    "of HTTP/1.0": r"""
> feed GET / HTTP/1.0\r\nHost: a.test\r\n\r\n
< request GET / 0
< begin
> answer HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 5|Connection: close||hello
< closed
= CLOSED
""",
    "of HTTP/1.0 that asks for more": r"""
> feed GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n
< request GET / 0
< begin
> answer HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 5|Connection: keep-alive||hello
= HEAD
""",
    "that is the last": r"""
> feed GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n
< request GET / 0
< begin
> answer HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 5|Connection: close||hello
< closed
""",
    "while the proxy drains": GET + r"""
> drain
> answer HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 5|Connection: close||hello
< closed
""",
    "that is not forwarded any further": r"""
> feed OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n
< refused max_forwards
< out HTTP/1.1 200 OK|Content-Length: 0|Connection: close||
< eof
= DISCARD
""",
    "whose client is found gone while it is not read from": GET + """
> hangs_up gone
> pauses
< watch
> hangs_up gone
< guard on
< reset
< lost
""",
}  # fmt: skip


@pytest.mark.parametrize("script", REQUESTS.values(), ids=REQUESTS.keys())
async def test_requests(script: str) -> None:
    await play(ClientStage(), script)


BODIES = {
    "with its head": r"""
> feed POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello
< request POST / 5
< body 5 end
< begin
= COMPLETE
""",
    "by length": POST + """
> feed 12345
< body 5
> feed 67890
< body 5 end
= COMPLETE
""",
    "by length, and a request sent ahead": POST + r"""
> feed 1234567890GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n
< body 10 end
""" + OK + r"""
< request GET /a 0
< begin
""",
    "in chunks": CHUNKED + r"""
> feed 5\r\nhello\r\n
< body 10
> feed 0\r\n\r\n
< body 5 end
= COMPLETE
""",
    "in chunks, and a request sent ahead": CHUNKED + r"""
> feed 5\r\nhello\r\n0\r\n\r\nGET /a HTTP/1.1\r\nHost: a.test\r\n\r\n
< body 15 end
""" + OK + r"""
< request GET /a 0
< begin
""",
    "in many chunks: others have their turn between": CHUNKED + rf"""
> feed {MANY_CHUNKS}0\r\n\r\n
< body 96
< body 96
< body 53 end
= COMPLETE
""",
    "in broken chunks: answered and closed": CHUNKED + r"""
> feed five\r\n
< broken
< refused framing
< out HTTP/1.1 400 Bad Request|...
< eof
= DISCARD
""",
    "in broken chunks after an answer has begun: reset": CHUNKED + r"""
> answer HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 10|Connection: close||hello
> feed five\r\n
< broken
< guard on
< reset
""",
    "whose answer comes before its end": POST + r"""
> answer HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n
< out HTTP/1.1 413 Content Too Large|Content-Length: 0|Connection: close||
< eof
= DISCARD
> feed 12345
> at 3
< closed
""",
}  # fmt: skip


@pytest.mark.parametrize("script", BODIES.values(), ids=BODIES.keys())
async def test_bodies(script: str) -> None:
    await play(ClientStage(), script)


@pytest.mark.skipif(not hasattr(os, "splice"), reason="nothing is spliced on this system")
async def test_a_large_body_goes_past_the_process_until_little_is_left() -> None:
    size = 2 * MIN_SPLICED
    await play(
        ClientStage(),
        rf"""
> moves_on {MIN_SPLICED}
> feed POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n1234
< request POST / {size}
< body 4
< begin
> feed more
< bulk 4 of {size - 8}
> feed_bytes {MIN_SPLICED - 9}
< body {MIN_SPLICED - 9}
> feed x
< body 1 end
= COMPLETE
""",
    )


@pytest.mark.parametrize("request_", [
    r"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n",
    r"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    r"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
])  # fmt: skip
async def test_a_request_cut_at_every_byte(request_: str) -> None:
    data = bytes_of(request_)
    for at in range(1, len(data)):
        stage = ClientStage()
        stage.transport.feed(data[:at])
        stage.transport.feed(data[at:])
        await stage.settle()
        kinds = [line.split()[0] for line in stage.outputs]
        assert sorted(set(kinds)) == sorted({"request", "begin", *(["body"] if "POST" in request_ else [])}), at
        assert kinds.count("request") == kinds.count("begin") == 1
        assert sum(int(line.split()[1]) for line in stage.outputs if line.startswith("body")) == (
            15 if "chunked" in request_ else 5 if "POST" in request_ else 0
        )
        assert stage.state() == "COMPLETE"


REFUSED = {
    "malformed": (r"GET / HTTP/1.1\r\nHost: a.test\r\nno field\r\n\r\n", 400, "malformed"),
    "malformed from its first byte": ("\\x16\\x03\\x01", 400, "malformed"),
    "without Host": (r"GET / HTTP/1.1\r\n\r\n", 400, "host"),
    "framed in two ways": (
        r"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "framing",
    ),
    "a long request line": (f"GET /{'a' * MAX_REQUEST_HEAD}", 414, "too_large"),
    "long fields": (rf"GET / HTTP/1.1\r\nX: {'a' * MAX_REQUEST_HEAD}", 431, "too_large"),
    "many fields": (r"GET / HTTP/1.1\r\n" + r"X: a\r\n" * 300, 431, "too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "status", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_broken_head_is_answered_and_what_follows_dropped(data: str, status: int, reason: str) -> None:
    stage = ClientStage()
    stage.feed(data)
    await stage.settle()
    refused, out, eof = sorted(stage.outputs, key=_order)
    assert refused == f"refused {reason}"
    assert out.startswith(f"out HTTP/1.1 {status} ")
    assert "|Connection: close||" in out
    assert eof == "eof"
    stage.outputs.clear()
    await play(stage, "= DISCARD\n> feed GET / HTTP/1.1\n> at 1\n> at 3\n< closed\n= CLOSED")


def _order(line: str) -> int:
    return ("refused", "out", "eof").index(line.split(maxsplit=1)[0])


LIMITS = {
    "a head that comes slowly": """
> feed GET / HT
> at 9
> at 11
< refused slow_head
< out HTTP/1.1 408 Request Timeout|...
< eof
> at 14
< closed
""",
    "nothing": """
> at 9
> at 11
< closed
""",
    "a rest": GET + OK + """
> at 59
> at 61
< closed
""",
    "a slow head after a rest": GET + OK + r"""
> at 20
> feed G
> at 29
> at 31
< refused slow_head
< out HTTP/1.1 408 Request Timeout|...
< eof
""",
    "the exchange's": GET + """
> at 11
< deadline
""",
    "a tunnel's": CHAT + """
> at 11
< deadline
""",
    "an answer that is not taken": GET + """
> stops_taking
""" + OK + """
< watch
= HEAD
> at 61
> stuck 61
> at 125
< guard on
< reset
""",
    "an answer that is taken slowly": GET + """
> stops_taking
""" + OK + """
< watch
> stuck 1
> at 61
> at 100
> takes_all
> at 159
> at 161
< closed
""",
}  # fmt: skip


@pytest.mark.parametrize("script", LIMITS.values(), ids=LIMITS.keys())
async def test_limits(script: str) -> None:
    await play(ClientStage(), script)


async def test_a_slow_head_after_a_rest_with_a_short_limit() -> None:
    """The limit of a head is earlier than the next regular check of deadlines."""
    stage = ClientStage()
    stage.head_timeout = 2.0
    await play(
        stage,
        GET + OK + """
> at 20
> feed G
> at 21.9
> at 22.2
< refused slow_head
< out HTTP/1.1 408 Request Timeout|...
< eof
""",
    )  # fmt: skip


async def test_what_the_host_knows_of_a_connection() -> None:
    stage = ClientStage()
    assert stage.open == [stage.client]
    assert len(stage.deadlines) == 1
    await play(stage, GET + "> pauses\n< watch\n> resumes\n> eof\n< closed\n< lost\n= CLOSED")
    assert (stage.open, len(stage.deadlines), stage.watched) == ([], 0, set())


@pytest.mark.parametrize(
    ("data", "noted"),
    [
        (r"SSH-2.0-OpenSSH_9.6\r\n\r\n", 1),
        (r"\x16\x03\x01", 1),
        (r"GET / HTTP/1.1\r\nHost: a.test\r\nno field\r\n\r\n", 1),
        (r"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 0),
        (r"GET / HTTP/1.1\r\nHost: a.test\r\n", 0),
    ],
)
async def test_a_client_of_another_protocol_is_noted(data: str, noted: int) -> None:
    stage = ClientStage()
    stage.feed(data)
    await stage.settle()
    assert stage.strange == [bytes_of(data)] * noted


async def test_what_is_malformed_only_later_is_no_other_protocol() -> None:
    stage = ClientStage()
    stage.feed(r"GET / HTTP/1.1\r\n")
    stage.feed(r"no field\r\n")
    assert (stage.state(), stage.strange) == ("DISCARD", [])


@pytest.mark.parametrize(("lines", "begins"), [(MAX_EMPTY_LINES, True), (MAX_EMPTY_LINES + 1, False)])
async def test_empty_lines_before_a_request_have_a_bound(lines: int, begins: bool) -> None:
    stage = ClientStage()
    stage.feed(r"\r\n" * lines + r"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    await stage.settle()
    assert stage.state() == ("COMPLETE" if begins else "DISCARD")


async def test_a_rest_is_not_ended_while_there_is_something_to_read() -> None:
    request = r"> feed GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    await play(ClientStage(unread=True), f"> at 11\n> at 20\n= HEAD\n{request}\n< request GET / 0\n< begin")


async def test_a_short_rest() -> None:
    """Its limit is earlier than the next regular check of deadlines."""
    stage = ClientStage()
    stage.keep_alive_timeout = 2.0
    await play(stage, GET + OK + "> at 1.9\n> at 2.2\n< closed")


OWN = {
    "the client leaves between requests": "> has_own_backend\n> eof\n< closed\n< own closed",
    "the client leaves during a request": GET + "> has_own_backend\n> abort\n< guard on\n< reset\n< own closed\n< lost",
    "the connection stays open": GET + "> has_own_backend" + OK + "= HEAD",
}


@pytest.mark.parametrize("script", OWN.values(), ids=OWN.keys())
async def test_a_clients_own_connection_to_a_backend_is_closed_with_it(script: str) -> None:
    stage = await play(ClientStage(), script)
    assert (stage.client.own_backend is None) == (stage.state() == "CLOSED")
