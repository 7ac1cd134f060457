import asyncio
from contextlib import suppress

import pytest

from controller.leader import LEASES, Leader
from fleet.discovery.kubernetes.client import ApiError
from tests.support.memory_api import MemoryApi

PATH = LEASES.path("weir-system", "weir-controller")


class Candidate:
    """A controller with leader election only. Leases of 0.3 s, to keep the test short."""

    def __init__(self, api: MemoryApi, name: str) -> None:
        self.api = api
        self.leading = asyncio.Event()
        self.idle = asyncio.Event()
        self.leader = Leader(api, "weir-system", "weir-controller", identity=name, duration=0.3, lead=self._lead)
        self.task = asyncio.create_task(self.leader.run())

    async def _lead(self) -> None:
        self.leading.set()
        self.idle.clear()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading.clear()
            self.idle.set()

    async def asks(self, times: int) -> None:
        """Wait until it has asked for the lease so many times more."""
        more = asyncio.Semaphore(0)

        def asked(method: str, path: str) -> None:
            if asyncio.current_task() is self.task:
                more.release()

        self.api.refuse = asked
        for _ in range(times):
            await more.acquire()

    async def end(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


def holder(api: MemoryApi) -> str:
    return str(api.objects[PATH]["spec"]["holderIdentity"])


async def test_one_leads_and_hands_over() -> None:
    api = MemoryApi()
    async with asyncio.timeout(60):
        first = Candidate(api, "first")
        await first.leading.wait()
        second = Candidate(api, "second")
        await second.asks(5)
        assert not second.leading.is_set()
        await first.end()
        assert holder(api) in ("", "second")
        assert not first.leading.is_set()
        await second.leading.wait()
        assert api.objects[PATH]["spec"]["leaseTransitions"] >= 1
        await second.end()
        assert holder(api) == ""


async def test_one_that_cannot_renew_stops_and_another_follows() -> None:
    api = MemoryApi()
    async with asyncio.timeout(60):
        first = Candidate(api, "first")
        await first.leading.wait()
        api.refuse = lambda method, path: ApiError("away") if asyncio.current_task() is first.task else None
        second = Candidate(api, "second")
        await first.idle.wait()
        await second.leading.wait()
        assert holder(api) == "second"
        await first.asks(3)
        assert not first.leading.is_set()
        await second.end()
        await first.leading.wait()
        await first.end()


async def test_work_that_ends_by_itself_ends_the_leader() -> None:
    api = MemoryApi()

    async def fail() -> None:
        raise ArithmeticError

    leader = Leader(api, "weir-system", "weir-controller", identity="me", duration=0.3, lead=fail)
    with pytest.raises(ArithmeticError):
        await asyncio.wait_for(leader.run(), 60)
    assert holder(api) == ""
