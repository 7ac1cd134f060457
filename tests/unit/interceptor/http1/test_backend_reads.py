"""How a backend connection reads: how much at once, when others get their turn, and what is reset after a response."""

from __future__ import annotations

import os

import pytest

from interceptor.core.deadlines import FLUSH_SECONDS
from interceptor.core.sizes import MAX_RESPONSE_HEAD
from interceptor.transport.splice import MIN_SPLICED
from interceptor.transport.tcp import BODY_VIEW, BULK_VIEW, CHUNKS_VIEW, HEAD_VIEW
from tests.support.backend_playbook import CHAT, SENT, BackendStage
from tests.support.codec_playbook import play

CHUNKED = (
    SENT
    + r"""
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n
< answer 200 0
"""
)
UNTIL_CLOSE = (
    SENT
    + r"""
> feed HTTP/1.1 200 OK\r\n\r\n
< answer 200 0
"""
)
LARGE = (
    SENT
    + rf"""
> feed HTTP/1.1 200 OK\r\nContent-Length: {2 * MIN_SPLICED}\r\n\r\n
< answer 200 0
"""
)
FOREIGN = r"""
> foreign GET 0  end
< out GET / HTTP/1.1|...
= HEAD
"""
MANY_CHUNKS = r"1\r\nx\r\n" * 40


@pytest.mark.parametrize(
    ("script", "view"),
    [
        ("", BODY_VIEW), (SENT, BODY_VIEW), (UNTIL_CLOSE, CHUNKS_VIEW), (CHAT, CHUNKS_VIEW),
        (CHUNKED, CHUNKS_VIEW), (LARGE, BULK_VIEW),
        (LARGE + f"> moves_on -1\n> feed x\n< bulk 1 of {2 * MIN_SPLICED - 1}", CHUNKS_VIEW),
        (CHUNKED + "> feed 0\\r\\n\\r\\n\n< data 5\n< end reusable", BODY_VIEW),
    ],
    ids=["nothing", "a head", "a body", "a tunnel", "chunks", "a large body", "not spliced", "what comes after chunks"],
)  # fmt: skip
async def test_how_much_is_read_at_once(script: str, view: memoryview) -> None:
    stage = await play(BackendStage(), script)
    assert len(stage.connection.get_buffer(-1)) == len(view)


@pytest.mark.parametrize(
    ("answer", "view"),
    [
        ("", HEAD_VIEW),
        (r"\r\n\r\n", CHUNKS_VIEW),
        (r"\r\nContent-Length: 5\r\n\r\n", BODY_VIEW),
        (rf"\r\nContent-Length: {2 * MIN_SPLICED}\r\n\r\n", BULK_VIEW),
        (r"\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS_VIEW),
    ],
    ids=["a head", "a body", "a body with a length", "a large body", "chunks"],
)
async def test_little_is_read_with_the_head_for_a_stream_that_may_have_no_window(answer: str, view: memoryview) -> None:
    stage = await play(BackendStage(), FOREIGN)
    stage.feed(rf"HTTP/1.1 200 OK{answer}")
    assert len(stage.connection.get_buffer(-1)) == len(view)


@pytest.mark.parametrize("script", [UNTIL_CLOSE, CHAT], ids=["a body", "a tunnel"])
@pytest.mark.parametrize(("size", "waits"), [(len(CHUNKS_VIEW) - 1, False), (len(CHUNKS_VIEW), True)])
async def test_after_a_full_read_the_others_have_their_turn(script: str, size: int, waits: bool) -> None:
    stage = await play(BackendStage(), script)
    stage.transport.feed(b"x" * size)
    assert stage.transport.paused == waits
    await stage.settle()
    assert not stage.transport.paused


@pytest.mark.skipif(not hasattr(os, "splice"), reason="nothing is spliced on this system")
async def test_a_large_body_may_go_past_the_process_to_its_end() -> None:
    script = f"> moves_on {2 * MIN_SPLICED}\n> feed x\n< bulk 1 of {2 * MIN_SPLICED - 1}\n< end reusable\n= IDLE"
    await play(BackendStage(), LARGE + script)


TURNS = {
    "after the head": CHUNKED + rf"""
> feed {MANY_CHUNKS}0\r\n\r\n
< data 96
< data 96
< data 53
< end reusable
= IDLE
""",
    "with the head": SENT + rf"""
> feed HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{MANY_CHUNKS}0\r\n\r\n
< answer 200 96
< data 96
< data 53
< end reusable
= IDLE
""",
    "with the head, to an exchange that ends between them": SENT + rf"""
> feed_and_abort HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{MANY_CHUNKS}0\r\n\r\n
< answer 200 96
< reset
= CLOSED
""",
}  # fmt: skip


@pytest.mark.parametrize("script", TURNS.values(), ids=TURNS.keys())
async def test_between_many_chunks_the_others_have_their_turn(script: str) -> None:
    await play(BackendStage(), script)


async def test_a_head_in_pieces_with_much_of_its_body() -> None:
    size = 2 * MAX_RESPONSE_HEAD
    await play(
        BackendStage(),
        SENT + rf"""
> feed HTTP/1.1 200 OK\r\nContent-Length: {size + 1}\r\n
> feed \r\n{"x" * size}
< answer 200 {size}
= LENGTH
""",
    )  # fmt: skip


async def test_the_bound_on_interim_responses_is_of_one_request() -> None:
    interim = "> feed HTTP/1.1 103 Early Hints\\r\\n\\r\\n\n< interim 103\n" * 25
    final = "> feed HTTP/1.1 204 No Content\\r\\n\\r\\n\n< answer 204 0 end reusable\n> release\n"
    await play(BackendStage(), (SENT + interim + final) * 2)


async def test_the_end_of_a_rest_is_no_loss() -> None:
    stage = await play(
        BackendStage(),
        SENT + r"""
> feed HTTP/1.1 204 No Content\r\n\r\n
< answer 204 0 end reusable
> release
> limit 60
> eof
< closed
< dropped
""",
    )  # fmt: skip
    assert len(stage.deadlines) == 0


async def test_a_client_that_was_slow_to_the_end_does_not_keep_the_next_one_from_its_answer() -> None:
    stage = await play(BackendStage(), SENT + "> feed HTTP/1.1 204 No Content\\r\\n\\r\\n\n< answer 204 0 end reusable")
    stage.connection.pause_reading()
    await play(stage, "> reading\n< paused\n> release\n> reading\n< read")


@pytest.mark.parametrize("slow", [False, True])
async def test_parting_has_a_limit_where_something_is_left(slow: bool) -> None:
    stage = await play(BackendStage(), CHAT + ("> stops_taking\n> write a\n< out a\n< pause" if slow else ""))
    stage.now = 7.0
    stage.close_after_flush()
    assert len(stage.deadlines) == slow
    assert (stage.connection.deadline == stage.now + FLUSH_SECONDS) == slow
    await stage.settle()
    assert len(stage.deadlines) == 0
