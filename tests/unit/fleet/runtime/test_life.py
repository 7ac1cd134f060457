"""Start and close of a component, in memory: started steps are closed in reverse order, whatever fails."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence

import pytest

from fleet.runtime.life import Component, Step, live
from fleet.runtime.process import StartError

NAMES = ("first", "second", "third")


class Played(Component):
    """Records steps, and fails or waits where a test says so."""

    def __init__(self, acts: dict[str, Callable[[], object]] | None = None) -> None:
        super().__init__()
        self.recorded: list[str] = []
        self.acts = acts or {}
        self.starts = 0

    def _steps(self) -> Sequence[Step]:
        self.starts += 1
        return [*map(self._step, NAMES), Step("only to start", lambda: None), Step("only to close", close=lambda: None)]

    async def drain(self) -> None:
        await self._do("drain")

    async def ended(self) -> None:
        await self._do("ended")
        await super().ended()

    def _step(self, name: str) -> Step:
        return Step(name, lambda: self._do(f"start {name}"), lambda: self._do(f"close {name}"))

    async def _do(self, what: str) -> None:
        self.recorded.append(what)
        act = self.acts.get(what)
        if act is not None:
            waiting = act()
            if isinstance(waiting, asyncio.Event):
                await waiting.wait()
        await asyncio.sleep(0)


STARTED = [f"start {name}" for name in NAMES]
CLOSED = [f"close {name}" for name in reversed(NAMES)]


def failing(error: BaseException) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def signalled() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def for_ever() -> asyncio.Event:
    return asyncio.Event()


async def came_to(component: Played, what: str) -> None:
    while what not in component.recorded:  # noqa: ASYNC110 -- every step gives others a turn
        await asyncio.sleep(0)


async def test_steps_start_in_order_and_close_in_reverse() -> None:
    component = Played()
    await component.start()
    assert component.recorded == STARTED
    await component.close()
    assert component.recorded == STARTED + CLOSED


@pytest.mark.parametrize("number", range(len(NAMES)))
async def test_a_start_that_fails_is_undone(number: int) -> None:
    """Also the step that failed, because it may be half started."""
    component = Played({STARTED[number]: failing(StartError("a port in use"))})
    with pytest.raises(StartError, match="a port in use"):
        await component.start()
    undone = STARTED[: number + 1] + CLOSED[len(NAMES) - 1 - number :]
    assert component.recorded == undone
    await component.close()
    assert component.recorded == undone


@pytest.mark.parametrize("number", range(len(NAMES)))
async def test_a_start_that_is_cancelled_is_undone(number: int) -> None:
    component = Played({STARTED[number]: for_ever})
    task = asyncio.create_task(component.start())
    await came_to(component, STARTED[number])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert component.recorded == STARTED[: number + 1] + CLOSED[len(NAMES) - 1 - number :]


async def test_what_cannot_be_undone_does_not_hide_why_the_start_failed(caplog: pytest.LogCaptureFixture) -> None:
    component = Played({"start second": failing(StartError("a port in use")), "close second": failing(OSError("stuck"))})
    with pytest.raises(StartError, match="a port in use"):
        await component.start()
    assert component.recorded[-2:] == ["close second", "close first"]
    assert [record.getMessage() for record in caplog.records] == ["played: second could not be closed"]


async def test_close_is_idempotent() -> None:
    component = Played()
    await component.close()
    await component.start()
    await component.close()
    await component.close()
    assert component.recorded == STARTED + CLOSED


async def test_two_that_close_both_wait_for_the_end() -> None:
    component = Played()
    await component.start()
    first, second = asyncio.create_task(component.close()), asyncio.create_task(component.close())
    await second
    assert component.recorded == STARTED + CLOSED
    await first
    assert component.recorded == STARTED + CLOSED


async def test_a_step_that_cannot_be_closed_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    component = Played({"close third": failing(OSError("stuck")), "close second": failing(ValueError("odd"))})
    await component.start()
    with pytest.raises(OSError, match="stuck"):
        await component.close()
    assert component.recorded == STARTED + CLOSED
    told = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert told == [(logging.ERROR, f"played: {name} could not be closed") for name in ("third", "second")]
    await component.close()
    assert component.recorded == STARTED + CLOSED


async def test_a_close_that_is_cancelled_closes_the_others() -> None:
    component = Played({"close third": for_ever})
    await component.start()
    task = asyncio.create_task(component.close())
    await came_to(component, "close third")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert component.recorded == STARTED + CLOSED


async def test_it_is_drained_before_it_is_closed() -> None:
    component = Played({"drain": failing(OSError("stuck"))})
    await component.start()
    with pytest.raises(OSError, match="stuck"):
        await component.end()
    assert component.recorded == [*STARTED, "drain", *CLOSED]


async def test_a_life_until_a_signal() -> None:
    component = Played({"ended": signalled})
    await live(lambda: component)
    assert component.recorded == [*STARTED, "ended", "drain", *CLOSED]


async def test_a_signal_during_the_start() -> None:
    """The rest of the start is cancelled, and nothing is drained."""

    def act() -> asyncio.Event:
        signalled()
        return for_ever()

    component = Played({"start second": act})
    await live(lambda: component)
    assert component.recorded == ["start first", "start second", "close second", "close first"]


async def test_a_start_that_fails_ends_the_life() -> None:
    component = Played({"start second": failing(StartError("a port in use"))})
    with pytest.raises(StartError):
        await live(lambda: component)
    assert component.recorded == ["start first", "start second", "close second", "close first"]


async def test_an_end_of_its_own_is_reported() -> None:
    component = Played({"ended": failing(RuntimeError("a fault of ours"))})
    with pytest.raises(RuntimeError, match="a fault of ours"):
        await live(lambda: component)
    assert component.recorded == [*STARTED, "ended", *CLOSED]


async def test_a_life_that_is_cancelled_ends_in_order() -> None:
    component = Played()
    task = asyncio.create_task(live(lambda: component))
    await came_to(component, "ended")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert component.recorded == [*STARTED, "ended", *CLOSED]
    assert component.starts == 1
