"""Whatever a peer sends costs time that grows with its length, and not faster (see tests/unit/test_linear_inputs.py)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from interceptor.http2.core.block_reader import BlockReader
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import PREFACE, ConnectionFault, frame, settings, window_update
from interceptor.http2.core.header_rules import Malformed
from tests.support.growth import STEP, count, grows
from tests.support.h2_memory import OK, POST, Peer, data, headers

MOST_COUNTED = 10
COUNTED = (2048, 2048 * STEP)
TIMED = (4096, 32768, 262144)
"""Bytes. The longest is one read."""

BLOCKS: dict[str, Callable[[int], bytes]] = {
    "indexed fields": lambda n: b"\x82" * n,
    "entries of the table": lambda n: b"\x40\x01a\x01b" + b"\xbe" * n,
    "literals": lambda n: b"\x00\x01a\x01b" * (n // 5),
    "empty literals": lambda n: b"\x00\x00\x00" * (n // 3),
    "additions to the table": lambda n: b"\x40\x01a\x01b" * (n // 5),
    "additions that are larger than the table": lambda n: (b"\x40\x01a\x7f\xff\x1f" + bytes(4222)) * (n // 4228 + 1),
    "Huffman's code": lambda n: (b"\x00\x01a\xfd" + b"\x18" * 125) * (n // 129 + 1),
    "cookies": lambda n: b"\x82\x86\x84" + b"\x60\x01a" + b"\xbe" * n,
    "names that must not be indexed": lambda n: b"".join(b"\x10\x04%04d\x00" % at for at in range(n // 7)),
    "sizes of the table": lambda n: b"\x20" * n,
    "one integer": lambda n: b"\xff" + b"\x80" * n,
}
WIRES: dict[str, Callable[[int], bytes]] = {
    "DATA of one byte": lambda n: headers(1, POST, end=False) + data(1, b"x") * (n // 10),
    "empty DATA": lambda n: headers(1, POST, end=False) + data(1, b"") * (n // 9),
    "requests": lambda n: b"".join(frame(1, 5, 2 * at + 1, b"\x82\x86\x84") for at in range(n // 12)),
    "unknown frames": lambda n: frame(0xEE, 0, 0, b"") * (n // 9),
    "PING": lambda n: frame(6, 0, 0, bytes(8)) * (n // 17),
    "SETTINGS": lambda n: settings({4: 1, 3: 2}) * (n // 21),
    "windows": lambda n: (headers(1, POST, end=False) + window_update(1, 1) + window_update(0, 1)) * (n // 26),
}


def read_block(block: bytes) -> None:
    reader = BlockReader(Config(list_size=1 << 24, fields=1 << 20))
    with suppress(ConnectionFault, Malformed):
        reader.request(block)


def read_wire(wire: bytes) -> None:
    peer = Peer()
    peer.feed(wire)


def read_bytes(wire: bytes) -> None:
    peer = Peer(begun=False)
    for at in range(len(wire)):
        peer.feed(wire[at : at + 1])


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
def test_blocks(make: Callable[[int], bytes]) -> None:
    few, many = (count(partial(read_block, make(size))) for size in COUNTED)
    assert many <= MOST_COUNTED * few
    assert grows(lambda size: partial(read_block, make(size)), TIMED) is None


@pytest.mark.parametrize("make", WIRES.values(), ids=WIRES)
def test_frames(make: Callable[[int], bytes]) -> None:
    assert grows(lambda size: partial(read_wire, make(size)), TIMED) is None


def test_one_frame_byte_by_byte() -> None:
    def make(size: int) -> Callable[[], None]:
        wire = PREFACE + settings({}) + headers(1, POST, end=False) + data(1, bytes(size))
        return lambda: read_bytes(wire)

    assert grows(make, (256, 2048, 16384)) is None


def test_an_answer_whose_reader_opens_its_window_a_byte_at_a_time() -> None:
    def make(size: int) -> Callable[[], None]:
        peer = Peer()
        peer.feed(settings({4: 0}) + headers(1))
        peer.session.send_headers(peer.streams[1], OK)
        peer.session.send_data(peer.streams[1], bytes(1 << 20))

        def work() -> None:
            for _ in range(size):
                peer.now += 100
                peer.feed(window_update(1, 1))
                peer.wire()

        return work

    assert grows(make, (32, 256, 2048)) is None
