"""Mutations of messages, the same on every run: bytes flipped, tokens put in, ranges doubled or cut, two messages spliced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

__all__ = ["inserted", "mutants", "pieces"]

TOKENS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"\t", b" ", b":", b";", b",", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xff",
    b"\r\n ", b"\r\n\t", b"Host: b.test\r\n", b"Content-Length: 5\r\n", b"Content-Length: 18446744073709551615\r\n",
    b"Transfer-Encoding: chunked\r\n", b"transfer-encoding : chunked\r\n", b"Connection: close, host\r\n", b"Connection: x-a\r\n",
    b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"CONNECT ", b"http://b.test/",
    b"0x", b"-1", b"+1", b"0\r\n\r\n", b"5\r\n", b"ffffffffffffffff", b"chunked", b"identity", b'"', b"\\", b"#", b"?", b"%00",
    b"*", b"204 ", b"304 ", b"101 ", b"100 ", b"X-Forwarded-For: x\r\n", b"TE: trailers\r\n", b"Keep-Alive: 5\r\n",
]  # fmt: skip


def _flip(rng: Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes((rng.randrange(256),)) + data[at + 1 :]


def _put(rng: Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _put_line(rng: Random, data: bytes, _other: bytes) -> bytes:
    """At the beginning of a line, where it is most likely to mean something."""
    at = data.find(b"\r\n", rng.randrange(len(data))) + 2
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _cut(rng: Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 12) :]


def _double(rng: Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data))
    end = at + rng.randrange(1, 40)
    return data[:end] + data[at:]


def _splice(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _case(rng: Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data))
    end = at + rng.randrange(1, 20)
    return data[:at] + data[at:end].swapcase() + data[end:]


def _noise(rng: Random, data: bytes, _other: bytes) -> bytes:
    return rng.randbytes(rng.randrange(1, len(data) + 1))


_WAYS: list[Callable[[Random, bytes, bytes], bytes]] = [_flip, _put, _put, _put_line, _put_line, _cut, _double, _splice, _case]


def mutants(seed: int, seeds: Sequence[bytes], count: int) -> Iterator[bytes]:
    """`count` byte strings, none of them empty."""
    rng = Random(seed)
    for turn in range(count):
        data = rng.choice(seeds)
        if turn % 50 == 0:
            data = _noise(rng, data, data)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            data = rng.choice(_WAYS)(rng, data, rng.choice(seeds)) or b"\r\n"
        yield data


def inserted(seeds: Sequence[bytes], what: Sequence[bytes]) -> Iterator[bytes]:
    """Each of the seeds with each of some byte strings put in at every place, and put there in place of a byte."""
    for data in seeds:
        for at in range(len(data)):
            for each in what:
                yield data[:at] + each + data[at:]
                yield data[:at] + each + data[at + 1 :]


def pieces(rng: Random, data: bytes) -> Iterator[bytes]:
    """The bytes in a few pieces cut anywhere."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(5)))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if start < end:
            yield data[start:end]
