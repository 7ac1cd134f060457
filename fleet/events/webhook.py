"""Sends events to a webhook: one POST each, with a token and a signature where they are set. Redirects are not followed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable
from typing import Final

import httpx

from fleet.events.event import Event, Message
from fleet.events.outlet import SinkError

__all__ = ["Webhook", "signature"]

TIMEOUT_SECONDS: Final = 10.0
_AGAIN: Final = frozenset((408, 425, 429))
"""Statuses below 500 by which a receiver asks for it later."""


class Webhook:
    """`encode` makes the message; `token` and `key` are secrets, or empty."""

    def __init__(
        self,
        url: str,
        *,
        encode: Callable[[Event], Message],
        wall: Callable[[], float],
        token: str = "",
        key: str = "",
        ca: str = "",
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Raises OSError for a `ca` that cannot be read."""
        parsed = httpx.URL(url)
        self.name = f"{parsed.scheme}://{parsed.netloc.decode().rpartition('@')[2]}"
        self._url, self._encode, self._wall, self._key, self._timeout = url, encode, wall, key.encode(), timeout
        head = {"user-agent": "weir"} | ({"authorization": f"Bearer {token}"} if token else {})
        trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if ca else True
        # Proxies and trust of the environment are for other programs; what is read of an answer is its head.
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False, verify=trust, headers=head)

    async def send(self, event: Event) -> None:
        head, body = self._encode(event)
        if self._key:
            at = str(int(self._wall()))
            head |= {
                "webhook-id": event.id,
                "webhook-timestamp": at,
                "webhook-signature": signature(self._key, event.id, at, body),
            }
        try:
            # The client's own limits are for each of its reads, and interim answers (1xx) begin them anew.
            async with asyncio.timeout(self._timeout):
                async with self._client.stream("POST", self._url, headers=head, content=body) as answer:
                    status, after = answer.status_code, answer.headers.get("retry-after", "")
        except TimeoutError as error:
            raise SinkError(f"no answer within {self._timeout:g} s") from error
        except httpx.HTTPError as error:
            raise SinkError(f"{type(error).__name__} {error}".strip()) from error
        if status // 100 == 2:
            return
        retry_after = float(after) if after.isdecimal() and len(after) < 6 else None
        what = f"the answer is {status}" + (", and redirects are not followed" if status // 100 == 3 else "")
        raise SinkError(what, lasting=status < 500 and status not in _AGAIN, retry_after=retry_after)

    async def close(self) -> None:
        await self._client.aclose()


def signature(key: bytes, event_id: str, timestamp: str, body: bytes) -> str:
    """As Standard Webhooks has it: "v1," and the HMAC-SHA256 of id, timestamp and body in base64."""
    signed = hmac.new(key, b".".join((event_id.encode(), timestamp.encode(), body)), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"
