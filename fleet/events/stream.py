"""Adds events to a Redis stream, of bounded length."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fleet.events.event import Event, fields
from fleet.events.outlet import SinkError
from fleet.runtime.process import StartError

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisStream"]

REDIS_SECONDS: Final = 5.0


class RedisStream:
    """`url` is redis:// or rediss://, with a password if need be. `most` is about how many entries the stream keeps.
    Raises StartError for a URL with parameters that there are not."""

    def __init__(self, url: str, stream: str, *, most: int, timeout: float = REDIS_SECONDS) -> None:
        from redis import asyncio as redis  # noqa: PLC0415  # most have none

        try:
            self._client: Redis = redis.Redis.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                single_connection_client=False,
                health_check_interval=30,
            )
            # It connects nowhere yet, and knows every parameter of the URL.
            self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except (ValueError, TypeError) as error:
            raise StartError(f"events_redis: cannot be used: {error}") from error
        self._stream, self._most, self._timeout = stream, most, timeout
        self.name = f"redis stream {stream}"

    async def send(self, event: Event) -> None:
        """An event whose answer was lost may be there twice, with the same id."""
        from redis import exceptions as errors  # noqa: PLC0415

        try:
            # The client's own limits are for each of its reads.
            async with asyncio.timeout(2 * self._timeout):
                await self._client.xadd(self._stream, {**fields(event)}, maxlen=self._most, approximate=True)  # type: ignore[dict-item]
        except (errors.ConnectionError, errors.TimeoutError, OSError) as error:
            raise SinkError(f"{type(error).__name__} {error}") from error
        except errors.ResponseError as error:
            # WRONGTYPE: the key is no stream, which sending it again does not mend. Out of memory or read-only may pass.
            raise SinkError(str(error), lasting=str(error).startswith("WRONGTYPE")) from error
        except errors.RedisError as error:
            raise SinkError(str(error)) from error

    async def close(self) -> None:
        await self._client.aclose()
