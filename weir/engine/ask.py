"""One question to a page of a component's diagnostics, on this machine."""

from __future__ import annotations

import asyncio

from fleet.runtime.address import join_address

__all__ = ["AskError", "ask"]

TIMEOUT = 1.0
"""Seconds for an answer: pages come from memory."""
MAX_BYTES = 64 << 20


class AskError(Exception):
    """There was no answer, or none that is 200. One line."""


async def ask(host: str, port: int, path: str) -> bytes:
    """The body of the answer to GET `path`. Raises AskError."""
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
        raise AskError(f"{address}{path}: {str(error) or 'no answer'}") from error
    if head.split(None, 2)[1:2] != [b"200"]:
        raise AskError(f"{address}{path}: {head[:100]!r}")
    return body


async def _all(reader: asyncio.StreamReader) -> bytes:
    parts, total = list[bytes](), 0
    while part := await reader.read(1 << 16):
        parts.append(part)
        total += len(part)
        if total > MAX_BYTES:
            raise OSError("the answer is too long")
    return b"".join(parts)
