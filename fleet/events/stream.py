"""Adds events to a Redis stream, of bounded length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fleet.events.event import Event, fields
from fleet.events.outlet import SinkError

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisStream"]

REDIS_SECONDS: Final = 5.0


class RedisStream:
    """`url` is redis:// or rediss://, with a password if need be. `most` is about how many entries the stream keeps."""

    def __init__(self, url: str, stream: str, *, most: int, timeout: float = REDIS_SECONDS) -> None:
        from redis import asyncio as redis  # noqa: PLC0415  # most have none

        self._client: Redis = redis.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, single_connection_client=False, health_check_interval=30
        )
        self._stream, self._most = stream, most
        self.name = f"redis stream {stream}"

    async def send(self, event: Event) -> None:
        """An event whose answer was lost may be there twice, with the same id."""
        from redis import exceptions as errors  # noqa: PLC0415

        try:
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
