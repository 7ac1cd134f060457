"""A client connection: responses, ends, early bytes and tunnels. Every change of its state is checked against the table."""

from __future__ import annotations

import pytest

from interceptor.http1.intake import MAX_PIPELINED_BYTES
from interceptor.http1.large_reply import MAX_PART_BYTES
from tests.support.client_playbook import CHAT, GET, OK, POST, ClientStage
from tests.support.codec_playbook import play

HALF_CLOSED = {
    "during its request: it has left": GET + """
> eof
< closed
< lost
""",
    "on a route that answers it": """
> waits_for_half_closed
""" + GET + """
> eof
< watch half-closed
""" + OK + """
< closed
""",
    "on such a route, with a request sent ahead": """
> waits_for_half_closed
""" + GET + r"""
> feed GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n
> eof
< watch half-closed
""" + OK + """
< request GET /b 0
< begin
""" + OK + """
< closed
""",
    "before the end of its body: it has left all the same": """
> waits_for_half_closed
""" + POST + """
> eof
< closed
< lost
""",
    "between requests": GET + OK + """
> eof
< closed
""",
    "while it is not read from": GET + """
> pauses
< watch
> hangs_up
< guard on
< reset
< lost
""",
    "while it is not read from, on a route that answers it": """
> waits_for_half_closed
""" + GET + """
> pauses
< watch
> hangs_up
< watch half-closed
""",
    "in the turn of its answer, which still goes out": GET + """
> reply_and_eof 503
< out HTTP/1.1 503 Service Unavailable|Content-Length: 4||xxxx
< closed
""",
    "inside a tunnel": CHAT + """
> eof
< tunnel end
= TUNNEL
""",
}  # fmt: skip


@pytest.mark.parametrize("script", HALF_CLOSED.values(), ids=HALF_CLOSED.keys())
async def test_half_closed(script: str) -> None:
    await play(ClientStage(), script)


EARLY = {
    "a part of a head": """
> early_limit 5
> feed GET / HTTP
< refused slow_heads
< out HTTP/1.1 503 Service Unavailable|...
< eof
= DISCARD
""",
    "a request sent ahead: the answer under way is the last": """
> early_limit 5
""" + GET + r"""
> feed GET / HTTP/1.1
= DISCARD
> answer HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 5|Connection: close||hello
< eof
> at 3
< closed
""",
    "the first bytes of a tunnel: reset": """
> early_limit 5
""" + GET + """
> feed hello hello
= DISCARD
> switch
< guard on
< reset
< early 0
< lost
""",
    "bytes of a tunnel that came early": GET + """
> feed hello
> switch
< guard on
< early 5
< out HTTP/1.1 101 Switching Protocols|Connection: upgrade|Upgrade: chat||
""",
    "of a connection that ends: dropped at once": r"""
> feed GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET /b
< request GET / 0
< begin
> kept
< kept 6
> answer HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 5|Connection: close||hello
< eof
= DISCARD
> kept
< kept 0
""",
    "too many of them, on a connection that ends: the rest is read and dropped": rf"""
> feed GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n
< request GET / 0
< begin
> feed_bytes {MAX_PIPELINED_BYTES + 1}
< watch
> reading
< paused
> answer HTTP/1.1 204 No Content\r\n\r\n
< out HTTP/1.1 204 No Content|Connection: close||
< eof
> reading
< read
""",
    "too many of them: it is not read from": GET + f"""
> feed_bytes {MAX_PIPELINED_BYTES + 1}
< watch
""",
}  # fmt: skip


@pytest.mark.parametrize("script", EARLY.values(), ids=EARLY.keys())
async def test_early_bytes(script: str) -> None:
    await play(ClientStage(), script)


ANSWERS = {
    "in parts": GET + r"""
> answer HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 10||hello
> more world
< out world
> done
= HEAD
""",
    "in chunks": GET + r"""
> answer HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n
< out HTTP/1.1 200 OK|Transfer-Encoding: chunked||
> more 0\r\n\r\n
< out 0||
> done
= HEAD
""",
    "that ends with its connection: until then its end is a reset": GET + r"""
> answer HTTP/1.1 200 OK\r\n\r\n
< guard on
< out HTTP/1.1 200 OK|Connection: close||
> more hello
< out hello
> done
< guard off
< closed
""",
    "cut short": GET + r"""
> answer HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 10||hello
> abort
< guard on
< reset
< lost
""",
    "an interim response": GET + r"""
> interim HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n
< out HTTP/1.1 103 Early Hints|Link: </a>||
""",
    "no interim response for HTTP/1.0": r"""
> feed GET / HTTP/1.0\r\nHost: a.test\r\n\r\n
< request GET / 0
< begin
> interim HTTP/1.1 103 Early Hints\r\n\r\n
""",
    "of the proxy's own": GET + """
> reply 503
< out HTTP/1.1 503 Service Unavailable|Content-Length: 4||xxxx
= HEAD
""",
    "of the proxy's own, before the end of the request": POST + """
> reply 503
< out HTTP/1.1 503 Service Unavailable|Content-Length: 4|Connection: close||xxxx
< eof
= DISCARD
""",
    "a large one of the proxy's own, as it is taken": GET + f"""
> stops_taking
> reply 404 {MAX_PART_BYTES + 1}
< out HTTP/1.1 404 Not Found|Content-Length: {MAX_PART_BYTES + 1}||
< out {MAX_PART_BYTES} bytes
> takes_all
< out x
= HEAD
""",
    "to a client that is slow to take it": GET + r"""
> stops_taking
> answer HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 10||hello
< pause
> takes_all
< resume
""",
    "not taken: there is no other before that": GET + """
> stops_taking
""" + OK + r"""
< watch
> feed GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n
> takes_all
< request GET /b 0
< begin
""",
    "in parts, not taken: there is no other before that": GET + r"""
> stops_taking
> answer HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 10||hello
< pause
> more world
< out world
> done
< watch
= HEAD
> feed GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n
> takes_all
< request GET /b 0
< begin
""",
    "the last one, taken slowly": r"""
> feed GET / HTTP/1.0\r\nHost: a.test\r\n\r\n
< request GET / 0
< begin
> stops_taking
> answer HTTP/1.1 200 OK\r\n\r\n
< guard on
< out HTTP/1.1 200 OK|Connection: close||
< pause
> done
< eof
= DISCARD
> takes_all
< guard off
> at 3
< closed
""",
}  # fmt: skip


@pytest.mark.parametrize("script", ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers(script: str) -> None:
    await play(ClientStage(), script)


TUNNELS = {
    "bytes pass": CHAT + """
> feed hello
< tunnel hello
> more world
< out world
""",
    "the backend is through, and so is the client": CHAT + """
> leave 0
< guard off
< closed
""",
    "the backend is through, and the client is not": CHAT + """
> leave 10
< eof
< guard off
= DISCARD
> feed goodbye
> at 1
> at 3
< closed
""",
    "the backend is lost": CHAT + """
> cut
< reset
""",
    "the backend is lost, and the client slow": CHAT + """
> stops_taking
> more hello
< out hello
< pause
> cut
= CUT
> at 61
> takes_all
< reset
""",
    "the backend is lost while it accepts nothing: its client is read again, and its end delays no reset": CHAT + """
> stops_taking
> more hello
< out hello
< pause
> pauses
< watch
> cut
= CUT
> reading
< read
> eof
= CUT
> takes_all
< reset
""",
    "the backend is lost, and the client takes nothing": CHAT + """
> stops_taking
> more hello
< out hello
< pause
> cut
= CUT
> stuck 61
> at 61
< reset
""",
    "the backend is lost in the turn in which it agreed: that still goes out": GET + """
> switch_and_cut
< guard on
< early 0
< out HTTP/1.1 101 Switching Protocols|Connection: upgrade|Upgrade: chat||
< reset
""",
    "of a client that was not read from": GET + """
> pauses
< watch
> switch
< guard on
< early 0
< out HTTP/1.1 101 Switching Protocols|Connection: upgrade|Upgrade: chat||
> reading
< read
""",
    "the proxy ends": CHAT + """
> wind_down 5
< wind down 5
""",
    "outside of one the proxy's end changes nothing": GET + """
> wind_down 5
= COMPLETE
""",
    "the client leaves": CHAT + """
> abort
< reset
< lost
""",
}  # fmt: skip


@pytest.mark.parametrize("script", TUNNELS.values(), ids=TUNNELS.keys())
async def test_tunnels(script: str) -> None:
    await play(ClientStage(), script)


async def test_what_counts_as_idle() -> None:
    stage = ClientStage()
    client = stage.client
    assert client.idle
    assert not client.begun
    stage.feed("G")
    assert client.begun
    assert not client.idle
    stage.feed(r"ET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert not client.idle
    assert not client.begun
