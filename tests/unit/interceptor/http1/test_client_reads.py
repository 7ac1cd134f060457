"""How a client connection reads: how much at once, and when other connections get their turn."""

from __future__ import annotations

import math
import os

import pytest

from interceptor.transport.splice import MIN_SPLICED
from interceptor.transport.tcp import BODY_VIEW, BULK_VIEW, CHUNKS_VIEW, FULL_READ, HEAD_VIEW
from tests.support.client_playbook import CHAT, CHUNKED, GET, POST, ClientStage
from tests.support.codec_playbook import play


@pytest.mark.parametrize(("size", "waits"), [(FULL_READ - 1, False), (FULL_READ, True)])
async def test_after_a_full_read_the_others_have_their_turn(size: int, waits: bool) -> None:
    stage = await play(ClientStage(), CHAT)
    stage.transport.feed(b"x" * size)
    assert stage.transport.paused == waits
    await stage.settle()
    assert not stage.transport.paused


@pytest.mark.parametrize("served", [False, True])
async def test_a_tunnel_at_full_speed_reads_less_at_once_while_others_are_served(served: bool) -> None:
    stage = await play(ClientStage(), CHAT)
    stage.outbox.giving_way = math.inf if served else 0.0
    stage.transport.feed(b"x" * FULL_READ)
    assert len(stage.client.get_buffer(-1)) == len(CHUNKS_VIEW if served else BODY_VIEW)
    await stage.settle()
    if served:
        stage.transport.feed(b"x" * len(CHUNKS_VIEW))
        assert stage.transport.paused
        stage.outbox.giving_way = 0.0
        await stage.settle()
        stage.transport.feed(b"x" * len(CHUNKS_VIEW))
        assert len(stage.client.get_buffer(-1)) == len(BODY_VIEW)


@pytest.mark.skipif(not hasattr(os, "splice"), reason="nothing is spliced on this system")
async def test_a_large_body_may_go_past_the_process_to_its_end() -> None:
    size = 2 * MIN_SPLICED
    await play(
        ClientStage(),
        rf"""
> moves_on {size}
> feed POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n
< request POST / {size}
< begin
> feed more
< bulk 4 of {size - 4}
< body 0 end
= COMPLETE
""",
    )


LARGE = rf"""
> feed POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {2 * MIN_SPLICED}\r\n\r\n
< request POST / {2 * MIN_SPLICED}
< begin
"""


@pytest.mark.parametrize(
    ("script", "view"),
    [("", HEAD_VIEW), (GET, HEAD_VIEW), (POST, BODY_VIEW), (CHUNKED, CHUNKS_VIEW), (LARGE, BULK_VIEW), (CHAT, BODY_VIEW),
     (CHAT + "> leave 1\n< eof\n< guard off", CHUNKS_VIEW)],
    ids=["a head", "what comes early", "a body", "chunks", "a large body", "a tunnel", "what is dropped"],
)  # fmt: skip
async def test_how_much_is_read_at_once(script: str, view: memoryview) -> None:
    stage = await play(ClientStage(), script)
    assert len(stage.client.get_buffer(-1)) == len(view)
