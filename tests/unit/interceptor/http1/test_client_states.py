"""The state table of client connections: a playbook for each transition, and the result of each input in each state."""

from __future__ import annotations

import pytest

from interceptor.http1.states import NAMES, NEXT
from tests.support.client_playbook import CHAT, CHUNKED, GET, OK, POST, ClientStage
from tests.support.codec_playbook import cells, events_of_exchange, play
from tests.support.strict import ways

EVICTED = "> early_limit 5" + GET + "> feed hello hello"
REFUSED_BODY = (
    POST
    + """
> reply 503
< out HTTP/1.1 503 Service Unavailable|Content-Length: 4|Connection: close||xxxx
< eof
"""
)
CUT = (
    CHAT
    + """
> stops_taking
> more hello
< out hello
< pause
> cut
"""
)

TRANSITIONS = {
    ("HEAD", "BODY"): POST,
    ("HEAD", "COMPLETE"): GET,
    ("HEAD", "DISCARD"): "> feed GET\\r\\n\n< refused malformed\n< out HTTP/1.1 400 ...\n< eof",
    ("HEAD", "CLOSED"): "> eof\n< closed",
    ("BODY", "COMPLETE"): POST + "> feed 1234567890\n< body 10 end",
    ("BODY", "DISCARD"): REFUSED_BODY,
    ("BODY", "CLOSED"): POST + "> eof\n< closed\n< lost",
    ("COMPLETE", "HEAD"): GET + OK,
    ("COMPLETE", "TUNNEL"): CHAT,
    ("COMPLETE", "DISCARD"): EVICTED,
    ("COMPLETE", "CLOSED"): GET + "> eof\n< closed\n< lost",
    ("TUNNEL", "DISCARD"): CHAT + "> leave 1\n< eof\n< guard off",
    ("TUNNEL", "CUT"): CUT,
    ("TUNNEL", "CLOSED"): CHAT + "> abort\n< reset\n< lost",
    ("DISCARD", "TUNNEL"): EVICTED + "\n> switch\n< guard on\n< reset\n< early 0\n< lost",
    ("DISCARD", "DISCARD"): EVICTED + "\n> reply 503\n< out HTTP/1.1 503 Service Unavailable|...\n< eof",
    ("DISCARD", "CLOSED"): REFUSED_BODY + "> at 3\n< closed",
    ("CUT", "CLOSED"): CUT + "> takes_all\n< reset",
}  # fmt: skip


@pytest.mark.parametrize(("way", "script"), TRANSITIONS.items(), ids=map("-".join, TRANSITIONS))
async def test_transitions(way: tuple[str, str], script: str) -> None:
    assert way in (await play(ClientStage(), script)).client.went


def test_every_transition_of_the_table_has_a_playbook() -> None:
    assert set(TRANSITIONS) == ways(NEXT, NAMES)


BEGINNINGS = {
    "HEAD": "",
    "BODY": POST,
    "BODY in chunks": CHUNKED,
    "COMPLETE": GET,
    "TUNNEL": CHAT,
    "DISCARD": REFUSED_BODY,
    "DISCARD evicted": EVICTED,
    "CUT": CUT,
    "CLOSED": "> eof\n< closed",
}
WHAT_COMES = """
                | feed x           | eof         | deadline_passes | hangs_up  | hangs_up gone | abort       | wind_down 5
HEAD            | HEAD             | CLOSED      | CLOSED          | HEAD      | HEAD          | CLOSED      | HEAD
BODY            | BODY body        | CLOSED lost | BODY deadline   | BODY      | BODY          | CLOSED lost | BODY
BODY in chunks  | DISCARD broken   | CLOSED lost | BODY deadline   | BODY      | BODY          | CLOSED lost | BODY
COMPLETE        | COMPLETE         | CLOSED lost | COMPLETE deadline | COMPLETE | COMPLETE     | CLOSED lost | COMPLETE
TUNNEL          | TUNNEL tunnel x  | TUNNEL tunnel end | TUNNEL deadline | TUNNEL | TUNNEL     | CLOSED lost | TUNNEL wind down
DISCARD         | DISCARD          | CLOSED      | CLOSED          | DISCARD   | DISCARD       | CLOSED      | DISCARD
DISCARD evicted | DISCARD          | CLOSED lost | DISCARD deadline | DISCARD  | DISCARD       | CLOSED lost | DISCARD
CUT             | CUT              | CUT         | CUT             | CUT       | CUT           | CLOSED      | CUT
CLOSED          | -                | -           | CLOSED          | CLOSED    | CLOSED        | CLOSED      | CLOSED
"""
"""The state after the input, and the events of the exchange. A dash marks an input that cannot occur. While a client is read, a
reported disconnect has no effect: the end of the stream is read after the data before it."""


@pytest.mark.parametrize(("state", "comes", "expected"), cells(WHAT_COMES))
async def test_what_comes(state: str, comes: str, expected: str) -> None:
    stage = await play(ClientStage(), f"{BEGINNINGS[state]}\n= {state.split(maxsplit=1)[0]}\n")
    assert await events_of_exchange(stage, comes) == expected


WHAT_COMES_WHILE_PAUSED = """
                | hangs_up       | hangs_up gone
BODY            | CLOSED lost    | CLOSED lost
COMPLETE        | CLOSED lost    | CLOSED lost
TUNNEL          | TUNNEL         | CLOSED lost
"""


@pytest.mark.parametrize(("state", "comes", "expected"), cells(WHAT_COMES_WHILE_PAUSED))
async def test_what_comes_while_it_is_not_read_from(state: str, comes: str, expected: str) -> None:
    stage = await play(ClientStage(), f"{BEGINNINGS[state]}\n= {state}\n> pauses\n< watch")
    assert await events_of_exchange(stage, comes) == expected


WHAT_COMES_WHILE_FULL = """
                | deadline_passes   | takes_all       | evict    | more x
HEAD            | HEAD              | HEAD            | DISCARD  | HEAD
BODY            | BODY deadline     | BODY resume     | -        | BODY
COMPLETE        | COMPLETE deadline | COMPLETE resume | DISCARD  | COMPLETE
TUNNEL          | TUNNEL deadline   | TUNNEL resume   | -        | TUNNEL
DISCARD evicted | DISCARD deadline  | DISCARD resume  | -        | DISCARD
"""


@pytest.mark.parametrize(("state", "comes", "expected"), cells(WHAT_COMES_WHILE_FULL))
async def test_what_comes_while_it_takes_nothing(state: str, comes: str, expected: str) -> None:
    stage = await play(ClientStage(), f"{BEGINNINGS[state]}\n= {state.split(maxsplit=1)[0]}\n> stops_taking")
    full = await events_of_exchange(stage, "more x")
    assert stage.client.congested
    assert full == (f"{state} pause" if state != "HEAD" else "HEAD").replace(" evicted", "")
    assert await events_of_exchange(stage, comes) == expected
