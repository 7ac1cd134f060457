"""What becomes of an event that a receiver does not take: it is sent again, or dropped and counted; the next one follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fleet.events import outlet
from fleet.events.event import Event
from fleet.events.outlet import FIRST_PAUSE_SECONDS, MAX_AGE_SECONDS, Outlet, SinkError
from tests.support.waiting import until

BORN = 1000.0


def event(name: str, time: float = BORN) -> Event:
    return Event(name, "/weir", "wake", "shop/web", time, {})


class Receiver:
    """Raises what a test says for an event, as often as it is asked."""

    name = "here"

    def __init__(self, *, trouble: dict[str, Exception] | None = None) -> None:
        self.trouble = trouble or {}
        self.asked: list[str] = []
        self.taken: list[str] = []
        self.closed = False

    async def send(self, event: Event) -> None:
        self.asked.append(event.id)
        if (error := self.trouble.get(event.id)) is not None:
            raise error
        self.taken.append(event.id)

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def delivering(
    receiver: Receiver, *, wall: Callable[[], float] = lambda: BORN, pauses: list[float] | None = None
) -> AsyncIterator[Outlet]:
    async def sleep(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)
        await asyncio.sleep(0)

    made = Outlet(receiver, wall=wall, sleep=sleep)
    made.start()
    try:
        yield made
    finally:
        await made.close()


async def test_one_that_is_too_old_is_not_sent() -> None:
    receiver = Receiver()
    async with delivering(receiver, wall=lambda: BORN + MAX_AGE_SECONDS) as made:
        made.publish(event("old", BORN - 1))
        made.publish(event("young"))
        await until(lambda: receiver.taken)
        assert (receiver.asked, made.dropped) == (["young"], {"expired": 1})


async def test_one_that_is_tried_again_and_again_becomes_too_old() -> None:
    now, pauses = [BORN], list[float]()
    receiver = Receiver(trouble={"first": SinkError("busy", retry_after=20)})
    async with delivering(receiver, wall=lambda: now[0], pauses=pauses) as made:
        made.publish(event("first"))
        await until(lambda: made.retries >= 3)
        assert min(pauses) >= 20, "as the receiver has asked"
        made.publish(event("second"))
        now[0] += MAX_AGE_SECONDS + 1
        await until(lambda: made.dropped["expired"])
        made.publish(event("third", now[0]))
        await until(lambda: receiver.taken)
        assert (receiver.taken, made.dropped) == (["third"], {"expired": 2})


async def test_a_defect_costs_one_event(caplog: pytest.LogCaptureFixture) -> None:
    pauses: list[float] = []
    receiver = Receiver(trouble={"bad": ZeroDivisionError("a defect")})
    async with delivering(receiver, pauses=pauses) as made:
        for name in ("bad", "good", "bad", "better"):
            made.publish(event(name))
        await until(lambda: made.sent == 2)
        assert (receiver.taken, made.dropped) == (["good", "better"], {"refused": 2})
        assert len(pauses) == 2, "a receiver that is broken for all of them costs no processor"
        assert all(pause >= FIRST_PAUSE_SECONDS / 2 for pause in pauses)
    assert "an event is dropped" in caplog.text


async def test_the_end_does_not_wait_for_a_receiver_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "LAST_SECONDS", 0.05)
    receiver = Receiver(trouble={"first": SinkError("down")})
    async with delivering(receiver) as made:
        made.publish(event("first"))
        made.publish(event("second"))
        await until(lambda: made.retries)
    assert (receiver.taken, made.dropped, receiver.closed) == ([], {"ended": 2}, True)
