"""Places for something of which there is little, such as memory for helm: bounded in all, and for each user, so that nobody has
all of them. Who comes later waits for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controller.admin.problems import Refused

__all__ = ["HelmPlaces"]


class HelmPlaces:
    """`most` at once, and `most_of_user` of one user. A call waits for `seconds`, of its own user's places first."""

    def __init__(self, most: int, most_of_user: int) -> None:
        self._free = asyncio.Semaphore(most)
        self._most_of_user = most_of_user
        self._users: dict[str, tuple[asyncio.Semaphore, int]] = {}
        """Of each user who has a place, or waits for one: those that are free, and how many calls use it."""

    @asynccontextmanager
    async def take(self, user: str, seconds: float, what: str) -> AsyncIterator[None]:
        """Raises Refused: 503 when there is none in time."""
        own, calls = self._users.get(user, (asyncio.Semaphore(self._most_of_user), 0))
        self._users[user] = own, calls + 1
        try:
            until = asyncio.get_running_loop().time() + seconds
            async with (
                _held(own, until, f"{what} too often at once, by {user}"),
                _held(self._free, until, f"{what} too often at once"),
            ):
                yield
        finally:
            own, calls = self._users[user]
            if calls > 1:
                self._users[user] = own, calls - 1
            else:
                del self._users[user]


@asynccontextmanager
async def _held(semaphore: asyncio.Semaphore, until: float, why: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(until):
            await semaphore.acquire()
    except TimeoutError as error:
        raise Refused(503, "too-many", why, headers={"Retry-After": "10"}) from error
    try:
        yield
    finally:
        semaphore.release()
