"""A GET request to a diagnostics page of a component on this machine."""

from __future__ import annotations

import asyncio

from fleet.runtime.address import join_address

__all__ = ["PageError", "get_page"]

TIMEOUT = 1.0
"""Seconds for an answer. Pages are made from memory, so an answer normally takes milliseconds."""
MAX_BYTES = 64 << 20


class PageError(Exception):
    """The page did not answer, or not with status 200. The message is one line."""


async def get_page(host: str, port: int, path: str) -> bytes:
    """Return the response body of GET `path`. Raises PageError."""
    address = join_address(host, port)
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await _all(reader)).partition(b"\r\n\r\n")
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError) as error:
        raise PageError(f"{address}{path}: {str(error) or 'no answer'}") from error
    if head.split(None, 2)[1:2] != [b"200"]:
        raise PageError(f"{address}{path}: {head[:100]!r}")
    return body


async def _all(reader: asyncio.StreamReader) -> bytes:
    parts, total = list[bytes](), 0
    while part := await reader.read(1 << 16):
        parts.append(part)
        total += len(part)
        if total > MAX_BYTES:
            raise OSError("the answer is too long")
    return b"".join(parts)
