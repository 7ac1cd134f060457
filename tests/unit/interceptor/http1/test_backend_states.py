"""The state table of backend connections: a playbook for each transition, and the result of each input in each state."""

from __future__ import annotations

import pytest

from interceptor.http1.backend_states import NAMES, NEXT
from tests.support.backend_playbook import CHAT, SENT, BackendStage
from tests.support.codec_playbook import cells, events_of_exchange, play
from tests.support.strict import ways

WHOLE = (
    SENT
    + r"""
> feed HTTP/1.1 204 No Content\r\n\r\n
< answer 204 0 end reusable
"""
)
LENGTH = (
    SENT
    + r"""
> feed HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe
< answer 200 2
"""
)
CHUNKS = (
    SENT
    + r"""
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n
< answer 200 0
"""
)
UNTIL_CLOSE = (
    SENT
    + r"""
> feed HTTP/1.1 200 OK\r\n\r\nhe
< answer 200 2
"""
)
TUNNEL_END = (
    CHAT
    + """
> eof
< tunnel end
"""
)
LOST = "< closed\n< lost BackendError: the backend closed the connection before its response was complete"

TRANSITIONS = {
    ("IDLE", "IDLE"): WHOLE + "> release",
    ("IDLE", "HEAD"): SENT,
    ("IDLE", "CLOSED"): "> eof\n< closed\n< dropped",
    ("HEAD", "IDLE"): WHOLE,
    ("HEAD", "LENGTH"): LENGTH,
    ("HEAD", "CHUNKS"): CHUNKS,
    ("HEAD", "UNTIL_CLOSE"): UNTIL_CLOSE,
    ("HEAD", "TUNNEL"): CHAT,
    ("HEAD", "CLOSED"): SENT + "> eof\n" + LOST,
    ("LENGTH", "IDLE"): LENGTH + "> feed llo\n< data 3\n< end reusable",
    ("LENGTH", "CLOSED"): LENGTH + "> eof\n" + LOST,
    ("CHUNKS", "IDLE"): CHUNKS + "> feed 0\\r\\n\\r\\n\n< data 5\n< end reusable",
    ("CHUNKS", "CLOSED"): CHUNKS + "> eof\n" + LOST,
    ("UNTIL_CLOSE", "IDLE"): UNTIL_CLOSE + "> eof\n< end\n< reset\n< dropped",
    ("UNTIL_CLOSE", "CLOSED"): UNTIL_CLOSE + "> resets\n< lost ConnectionResetError: reset",
    ("TUNNEL", "TUNNEL_END"): TUNNEL_END,
    ("TUNNEL", "CLOSED"): CHAT + "> resets\n< tunnel lost ConnectionResetError",
    ("TUNNEL_END", "CLOSED"): TUNNEL_END + "> close_after_flush\n< closed",
}  # fmt: skip


@pytest.mark.parametrize(("way", "script"), TRANSITIONS.items(), ids=map("-".join, TRANSITIONS))
async def test_transitions(way: tuple[str, str], script: str) -> None:
    assert way in (await play(BackendStage(), script)).connection.went


def test_every_transition_of_the_table_has_a_playbook() -> None:
    assert set(TRANSITIONS) == ways(NEXT, NAMES)


BEGINNINGS = {
    "IDLE": "",
    "HEAD": SENT,
    "LENGTH": LENGTH,
    "CHUNKS": CHUNKS,
    "UNTIL_CLOSE": UNTIL_CLOSE,
    "TUNNEL": CHAT,
    "TUNNEL_END": TUNNEL_END,
    "CLOSED": "> eof\n< closed\n< dropped",
}
WHAT_COMES = """
            | feed x             | eof               | resets             | deadline_passes | fills_up          | abort  | close
IDLE        | CLOSED             | CLOSED            | CLOSED             | CLOSED          | IDLE              | CLOSED | CLOSED
HEAD        | CLOSED lost        | CLOSED lost       | CLOSED lost        | CLOSED          | HEAD pause        | CLOSED | CLOSED
LENGTH      | LENGTH data        | CLOSED lost       | CLOSED lost        | CLOSED          | LENGTH pause      | CLOSED | CLOSED
CHUNKS      | CLOSED lost        | CLOSED lost       | CLOSED lost        | CLOSED          | CHUNKS pause      | CLOSED | CLOSED
UNTIL_CLOSE | UNTIL_CLOSE data   | CLOSED end        | CLOSED lost        | CLOSED          | UNTIL_CLOSE pause | CLOSED | CLOSED
TUNNEL      | TUNNEL tunnel x    | TUNNEL_END tunnel end | CLOSED tunnel lost | CLOSED      | TUNNEL pause      | CLOSED | CLOSED
TUNNEL_END  | -                  | -                 | CLOSED tunnel lost | CLOSED          | TUNNEL_END pause  | CLOSED | CLOSED
CLOSED      | -                  | -                 | -                  | CLOSED          | CLOSED            | CLOSED | CLOSED
"""
"""The state after the input, and the events of the exchange. A dash marks an input that cannot occur."""


@pytest.mark.parametrize(("state", "comes", "expected"), cells(WHAT_COMES))
async def test_what_comes(state: str, comes: str, expected: str) -> None:
    stage = await play(BackendStage(), f"{BEGINNINGS[state]}\n= {state}\n")
    assert await events_of_exchange(stage, comes) == expected


WHAT_COMES_WHILE_FULL = """
            | takes_all           | write_fails reset   | close_after_flush
IDLE        | IDLE                | IDLE                | CLOSED
HEAD        | HEAD resume         | HEAD                | CLOSED
LENGTH      | LENGTH resume       | LENGTH              | CLOSED
CHUNKS      | CHUNKS resume       | CHUNKS              | CLOSED
UNTIL_CLOSE | UNTIL_CLOSE resume  | UNTIL_CLOSE         | CLOSED
TUNNEL      | TUNNEL resume       | TUNNEL              | CLOSED
TUNNEL_END  | TUNNEL_END resume   | TUNNEL_END          | CLOSED
"""


@pytest.mark.parametrize(("state", "comes", "expected"), cells(WHAT_COMES_WHILE_FULL))
async def test_what_comes_while_it_is_full(state: str, comes: str, expected: str) -> None:
    stage = await play(BackendStage(), f"{BEGINNINGS[state]}\n= {state}\n")
    await events_of_exchange(stage, "fills_up")
    assert stage.connection.congested
    assert await events_of_exchange(stage, comes) == expected


@pytest.mark.parametrize("state", sorted(set(BEGINNINGS) - {"TUNNEL"}))
async def test_only_a_tunnel_outlives_a_failed_write(state: str) -> None:
    stage = await play(BackendStage(), f"{BEGINNINGS[state]}\n= {state}\n")
    await play(stage, f"> write_fails reset\n< ends\n= {state}")
