"""The connection of one process to an API server in memory, which can be cut at any request, or with its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from fleet.discovery.kubernetes.client import Api, ApiError, Query
from tests.support.memory_api import MemoryApi

__all__ = ["Line"]


class Line(Api):
    """Counts the requests of one process, and can lose one, its answer, or the process."""

    def __init__(self, server: MemoryApi) -> None:
        super().__init__(_never)
        self.server = server
        self.count = 0
        self.fail_at, self.lose_at, self.kill_at, self.kill_after = 0, 0, 0, 0
        """Numbers of requests: refused; done, and the answer lost; never sent, or done, and the process ends."""
        self.dead = asyncio.Event()
        self.gone = False

    async def get(self, path: str, query: Query = ()) -> bytes:
        return await self._counted(self.server.get(path, query))

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        return await self._counted(self.server.request(method, path, **options))

    async def until_killed(self, work: Any, others: Callable[[], Collection[asyncio.Future[Any]]] = tuple) -> bool:
        """Run work until it ends (False) or the process is killed (True). `others` are its tasks beside that."""
        task = asyncio.ensure_future(work)
        dead = asyncio.ensure_future(self.dead.wait())
        await asyncio.wait((task, dead), return_when=asyncio.FIRST_COMPLETED)
        killed = not task.done()
        self.gone = True  # what would be cleaned up now is not: a process that is killed does nothing any more
        left = (task, dead, *others())
        for one in left:
            one.cancel()
        ended, *_ = await asyncio.gather(*left, return_exceptions=True)
        if not killed and isinstance(ended, Exception) and not isinstance(ended, ApiError):
            raise ended
        return killed

    async def _counted(self, sent: Any) -> bytes:
        if self.gone:
            sent.close()
            raise asyncio.CancelledError
        self.count += 1
        number = self.count
        if self.dead.is_set() or number == self.kill_at:
            sent.close()
            self.dead.set()
            await asyncio.Event().wait()
        if number == self.fail_at:
            sent.close()
            raise ApiError("the API server is overloaded", status=500)
        try:
            answer: bytes = await sent
        finally:
            if number == self.lose_at:
                raise ApiError("the connection was lost")
            if number == self.kill_after:
                self.dead.set()
                await asyncio.Event().wait()
        return answer


async def _never() -> Any:
    raise AssertionError("nothing leaves the process")
