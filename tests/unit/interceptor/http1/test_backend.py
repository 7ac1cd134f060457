"""A backend connection, as the backend and the exchange see it."""

from __future__ import annotations

import os

import pytest

from interceptor.core.sizes import MAX_RESPONSE_HEAD
from interceptor.transport.splice import MIN_SPLICED
from tests.support.backend_playbook import CHAT, SENT, BackendStage
from tests.support.codec_playbook import bytes_of, play

ANSWERS = {
    "whole": SENT + r"""
> feed HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
< answer 200 5 end reusable
> release
= IDLE
""",
    "in chunks with trailers, for a client that takes none": r"""
> request GET 1.0
< out GET / HTTP/1.1|...
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nHost: b\r\nSum: 1\r\n\r\n
< answer 200 5
< end reusable sum=1
""",
    "in chunks with trailers that come later": r"""
> request GET 1.0
< out GET / HTTP/1.1|...
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n
< answer 200 0
> feed 5\r\nhello\r\n0\r\nSum: 1\r\n\r\n
< data 5
< end reusable sum=1
""",
    "without a body": SENT + r"""
> feed HTTP/1.1 204 No Content\r\n\r\n
< answer 204 0 end reusable
""",
    "that ends its connection": SENT + r"""
> feed HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello
< answer 200 5 end
< reset
< dropped
""",
    "in parts": SENT + r"""
> feed HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n
< answer 200 0
= LENGTH
> feed he
< data 2
> feed llo
< data 3
< end reusable
= IDLE
""",
    "with bytes after its body": SENT + r"""
> feed HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello
< answer 200 2 end
< reset
< dropped
""",
    "with bytes after a body in parts": SENT + r"""
> feed HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe
< answer 200 2
> feed llo again
< data 3
< end
< reset
< dropped
""",
    "in chunks": SENT + r"""
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n
< answer 200 0
= CHUNKS
> feed 5\r\nhello\r\n
< data 10
> feed 0\r\n\r\n
< data 5
< end reusable
= IDLE
""",
    "in chunks, at once": SENT + r"""
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n
< answer 200 15 end reusable
= IDLE
""",
    "in chunks, for a client that knows none": r"""
> request GET 1.0
< out GET / HTTP/1.1|...
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n
< answer 200 5 end reusable
""",
    "in broken chunks": SENT + r"""
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n
< answer 200 10
> feed five\r\n
< reset
< lost BadResponse: a malformed chunk size
= CLOSED
""",
    "until the end of the connection": SENT + r"""
> feed HTTP/1.1 200 OK\r\n\r\nhe
< answer 200 2
= UNTIL_CLOSE
> feed llo
< data 3
> eof
< end
< reset
< dropped
""",
    "cut short": SENT + r"""
> feed HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe
< answer 200 2
> eof
< closed
< lost BackendError: the backend closed the connection before its response was complete
= CLOSED
""",
    "not given": SENT + r"""
> resets
< lost ConnectionResetError: reset
""",
    "to HEAD": r"""
> request HEAD
< out HEAD / HTTP/1.1|...
> feed HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n
< answer 200 0 end reusable
""",
}  # fmt: skip


@pytest.mark.parametrize("script", ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers(script: str) -> None:
    await play(BackendStage(), script)


INTERIM = {
    "one": SENT + r"""
> feed HTTP/1.1 100 Continue\r\n\r\n
< interim 100
= HEAD
""",
    "several, and the final one": SENT + r"""
> feed HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n
< interim 100
< interim 103
< answer 204 0 end reusable
""",
    "one, and a part of the next": SENT + r"""
> feed HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 10
< interim 103
> feed 3 Early Hints\r\n\r\n
< interim 103
""",
    "a broken second one": SENT + r"""
> feed HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\nno field\r\n\r\n
< interim 103
< reset
< lost BadResponse: malformed response: ...
""",
    "a switch that was asked for": CHAT,
    "a switch to something else": r"""
> request GET chat
< out GET / HTTP/1.1|...
> feed HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n
< reset
< lost BadResponse: the backend switched protocols unasked
""",
    "a switch that was not asked for": SENT + r"""
> feed HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n
< reset
< lost BadResponse: the backend switched protocols unasked
""",
}  # fmt: skip


@pytest.mark.parametrize("script", INTERIM.values(), ids=INTERIM.keys())
async def test_interim_responses(script: str) -> None:
    await play(BackendStage(), script)


async def test_interim_responses_have_a_bound() -> None:
    stage = await play(BackendStage(), SENT)
    for _ in range(50):
        stage.feed(r"HTTP/1.1 103 Early Hints\r\n\r\n")
    await stage.settle()
    assert 30 <= stage.outputs.count("interim 103") < 45
    assert stage.outputs[-2:] == ["reset", "lost BadResponse: too many interim responses"]


LATE = r"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
REQUEST_TIMEOUTS = {
    "of a connection that rested: the request is lost": SENT + rf"""
> retries_it
> feed {LATE}Content-Length: 0\r\n\r\n
< may retry?
< reset
< lost BackendError: the backend closed the connection while it was idle
= CLOSED
""",
    "whose body is yet to come": SENT + rf"""
> retries_it
> feed {LATE}Content-Length: 5\r\n\r\n
< may retry?
< reset
< lost BackendError: the backend closed the connection while it was idle
""",
    "after an interim response": SENT + rf"""
> retries_it
> feed HTTP/1.1 100 Continue\r\n\r\n{LATE}\r\n
< interim 100
< may retry?
< reset
< lost BackendError: the backend closed the connection while it was idle
""",
    "that a request which may not be sent again is answered with": SENT + rf"""
> feed {LATE}Content-Length: 0\r\n\r\n
< may retry?
< answer 408 0 end
< reset
< dropped
""",
    "that keeps its connection is meant": SENT + r"""
> retries_it
> feed HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n
< answer 408 0 end reusable
""",
    "another answer that ends its connection": SENT + r"""
> retries_it
> feed HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n
< answer 503 0 end
< reset
< dropped
""",
}  # fmt: skip


@pytest.mark.parametrize("script", REQUEST_TIMEOUTS.values(), ids=REQUEST_TIMEOUTS.keys())
async def test_408(script: str) -> None:
    await play(BackendStage(), script)


BROKEN = {
    "another protocol": ("SSH-2.0-OpenSSH_9.6\\r\\n", "the status line does not begin with a version"),
    "a line without CR": ("HTTP/1.1 200 OK\\n", "a line of the head ends without CR LF"),
    "an ambiguous length": (
        "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nContent-Length: 6\\r\\n\\r\\n", "Content-Length",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "why"), BROKEN.values(), ids=BROKEN.keys())
async def test_malformed_answers(data: str, why: str) -> None:
    stage = await play(BackendStage(), SENT)
    stage.feed(data)
    await stage.settle()
    reset, lost = stage.outputs
    assert reset == "reset"
    assert lost.startswith("lost BadResponse: ")
    assert why in lost
    assert stage.state() == "CLOSED"


@pytest.mark.parametrize("size", [1000, MAX_RESPONSE_HEAD])
async def test_a_head_that_is_too_long(size: int) -> None:
    stage = await play(BackendStage(), SENT)
    stage.feed(r"HTTP/1.1 200 OK\r\n")
    while not stage.outputs:
        stage.feed(f"X-Field: {'x' * size}\\r\\n")
        await stage.settle()
    assert stage.outputs[0] == "reset"
    assert stage.outputs[1].startswith("lost BadResponse: ")


@pytest.mark.parametrize("answer", [
    r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    r"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
])  # fmt: skip
async def test_an_answer_cut_at_every_byte(answer: str) -> None:
    data = bytes_of(answer)
    for at in range(1, len(data)):
        stage = await play(BackendStage(), SENT)
        stage.transport.feed(data[:at])
        stage.transport.feed(data[at:])
        await stage.settle()
        told = " ".join(stage.outputs)
        assert told.count("answer 200") == 1
        assert told.count("interim 103") == answer.count("103 Early")
        assert sum(int(size) for size in _sizes(stage.outputs)) == (15 if "chunked" in answer else 5)
        assert told.endswith("end reusable"), at
        assert stage.state() == "IDLE"


def _sizes(told: list[str]) -> list[str]:
    return [line.split()[1 if line.startswith("data") else 2] for line in told if line.startswith(("data", "answer"))]


@pytest.mark.skipif(not hasattr(os, "splice"), reason="nothing is spliced on this system")
async def test_a_large_body_goes_past_the_process_until_little_is_left() -> None:
    left = 2 * MIN_SPLICED
    await play(
        BackendStage(),
        SENT + rf"""
> moves_on {MIN_SPLICED}
> feed HTTP/1.1 200 OK\r\nContent-Length: {left + 4}\r\n\r\n1234
< answer 200 4
> feed more
< bulk 4 of {left - 4}
> feed_bytes {MIN_SPLICED - 5}
< data {MIN_SPLICED - 5}
> feed x
< data 1
< end reusable
""",
    )  # fmt: skip


RESTS = {
    "bytes that nobody asked for": r"""
> feed HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n
< dropped
< closed
= CLOSED
""",
    "its end": """
> eof
< closed
< dropped
""",
    "too long a rest": """
> limit 60
> at 59
> at 61
< dropped
< closed
""",
    "a slow last client": SENT + r"""
> feed HTTP/1.1 204 No Content\r\n\r\n
< answer 204 0 end reusable
> release
> limit 60
> request
< out GET / HTTP/1.1|...
> at 61
= HEAD
""",
}  # fmt: skip


@pytest.mark.parametrize("script", RESTS.values(), ids=RESTS.keys())
async def test_at_rest(script: str) -> None:
    await play(BackendStage(), script)


TUNNELS = {
    "bytes pass": CHAT + """
> feed hello
< tunnel hello
""",
    "the backend ends its side": CHAT + """
> eof
< tunnel end
= TUNNEL_END
""",
    "a reset": CHAT + """
> resets
< tunnel lost ConnectionResetError
""",
    "a reset that a write meets is told after what came before it": CHAT + """
> write_fails reset
< outlived
> feed last words
< tunnel last words
> eof
< closed
< tunnel lost BackendError
""",
    "a write that fails otherwise": CHAT + """
> write_fails
< outlived
> eof
< tunnel end
""",
    "a backend that takes no more": CHAT + """
> stops_taking
> write a
< out a
< pause
> takes_all
< resume
""",
    "parting with what it takes slowly": CHAT + """
> stops_taking
> write a
< out a
< pause
> close_after_flush
< closed
""",
}  # fmt: skip


@pytest.mark.parametrize("script", TUNNELS.values(), ids=TUNNELS.keys())
async def test_tunnels(script: str) -> None:
    await play(BackendStage(), script)


async def test_outside_a_tunnel_a_failed_write_ends_it() -> None:
    await play(BackendStage(), SENT + "> write_fails reset\n< ends")


CHALLENGE = r"WWW-Authenticate: Negotiate abc\r\n"
REQUEST = "> request\n< out GET / HTTP/1.1|...\n"
PERSONAL = {
    "neither request nor response authenticates the connection": REQUEST + r"""
> feed HTTP/1.1 103 Early Hints\r\n\r\n
< interim 103
> feed HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=a\r\nContent-Length: 0\r\n\r\n
< answer 401 0 end reusable
> personal
< shared
""",
    "credentials of each request": """
> request GET Bearer
< out GET / HTTP/1.1|...
> personal
< shared
""",
    "credentials of the connection": """
> request GET NTLM
< out GET / HTTP/1.1|...
> personal
< personal
""",
    "a challenge": REQUEST + rf"""
> feed HTTP/1.1 401 Unauthorized\r\n{CHALLENGE}Content-Length: 0\r\n\r\n
< answer 401 0 end reusable
> personal
< personal
""",
    "a challenge in an interim response": REQUEST + rf"""
> feed HTTP/1.1 103 Early Hints\r\n{CHALLENGE}\r\n
< interim 103
> personal
< personal
""",
    "a challenge in the first of two interim responses": REQUEST + rf"""
> feed HTTP/1.1 103 Early Hints\r\n{CHALLENGE}\r\nHTTP/1.1 103 Early Hints\r\n\r\n
< interim 103
< interim 103
> feed HTTP/1.1 204 No Content\r\n\r\n
< answer 204 0 end reusable
> personal
< personal
""",
    "a challenge in the second of two interim responses": REQUEST + rf"""
> feed HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n{CHALLENGE}\r\n
< interim 103
< interim 103
> personal
< personal
""",
}  # fmt: skip


@pytest.mark.parametrize("script", PERSONAL.values(), ids=PERSONAL.keys())
async def test_a_connection_that_is_authenticated_is_personal(script: str) -> None:
    await play(BackendStage(), script)
