"""How a client connection reads: how much at once, and when other connections get their turn."""

from __future__ import annotations

import os

import pytest

from interceptor.transport.splice import MIN_SPLICED
from interceptor.transport.tcp import BODY_VIEW, BULK_VIEW, CHUNKS_VIEW, HEAD_VIEW
from tests.support.client_playbook import CHAT, CHUNKED, GET, POST, ClientStage
from tests.support.codec_playbook import play


@pytest.mark.parametrize(("size", "waits"), [(len(CHUNKS_VIEW) - 1, False), (len(CHUNKS_VIEW), True)])
async def test_after_a_full_read_the_others_have_their_turn(size: int, waits: bool) -> None:
    stage = await play(ClientStage(), CHAT)
    stage.transport.feed(b"x" * size)
    assert stage.transport.paused == waits
    await stage.settle()
    assert not stage.transport.paused


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
    [("", HEAD_VIEW), (GET, HEAD_VIEW), (POST, BODY_VIEW), (CHUNKED, CHUNKS_VIEW), (LARGE, BULK_VIEW),
     (LARGE + f"> moves_on -1\n> feed x\n< bulk 1 of {2 * MIN_SPLICED - 1}", CHUNKS_VIEW), (CHAT, CHUNKS_VIEW),
     (CHAT + "> leave 1\n< eof\n< guard off", CHUNKS_VIEW)],
    ids=["a head", "what comes early", "a body", "chunks", "a large body", "not spliced", "a tunnel", "what is dropped"],
)  # fmt: skip
async def test_how_much_is_read_at_once(script: str, view: memoryview) -> None:
    stage = await play(ClientStage(), script)
    assert len(stage.client.get_buffer(-1)) == len(view)
