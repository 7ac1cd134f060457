"""The lines of a child process, however its bytes are split: escape sequences are removed even if split."""

from __future__ import annotations

import random

import pytest

from tests.support.acting import ACTING, SURROGATES, acting
from tests.support.atonce import AtOnce
from weir.engine.lines import MAX_LINE, Lines

EVERYTHING = "".join(f"<{char}>" for char in sorted(ACTING - SURROGATES - {"\n"})).encode()
SEQUENCES = [
    b"\xc2\x9b2J",
    b"\x1b[2J",
    b"\x1b]0;title\x07",
    b"\x1b]0;title\x1b\\",
    b"\xc2\x9d0;x\xc2\x9c",
    b"\x1bPq\x1b\\",
    "\u202eabc".encode(),
]


def told(*chunks: bytes) -> list[str]:
    lines: list[str] = []
    reader = Lines(lines.extend, AtOnce())
    for chunk in chunks:
        reader.data_received(chunk)
    reader.connection_lost(None)
    return lines


def test_the_smallest_input() -> None:
    assert told(b"\xc2\x9b2J\n") == ["2J"]


@pytest.mark.parametrize("data", [EVERYTHING, *(b"a" + sequence + b"b\x1b[31mc" for sequence in SEQUENCES)])
def test_it_makes_no_difference_where_reads_cut(data: bytes) -> None:
    (whole,) = told(data)
    assert not acting(whole, colours=True)
    cuts = range(1, len(data)) if len(data) < 100 else range(1, len(data), 7)
    for cut in cuts:
        assert told(data[:cut], data[cut:]) == [whole]
    assert told(*(bytes([byte]) for byte in data)) == [whole]


@pytest.mark.parametrize("sequence", [*SEQUENCES, b"\x1b[31mred"])
def test_nor_where_a_line_without_end_is_cut_into_pieces(sequence: bytes) -> None:
    for before in range(MAX_LINE - len(sequence) - 1, MAX_LINE + 1):
        pieces = told(b"x" * before + sequence + b"y" * 10)
        assert len(pieces) == 2
        for piece in pieces:
            assert not acting(piece, colours=True)
        assert not acting("".join(pieces), colours=True)


def test_any_bytes_at_all() -> None:
    numbers = random.Random(3)
    parts = [
        *SEQUENCES,
        b"\x1b",
        b"\x1b[",
        b"31m",
        b"m",
        b"\xc2",
        b"\x9b",
        b"\xe2\x80",
        b"\xae",
        b"\r",
        b"\n",
        b"x",
        bytes(range(256)),
    ]
    for _ in range(500):
        data = b"".join(numbers.choices(parts, k=30))
        cut = numbers.randrange(len(data))
        lines = told(data[:cut], data[cut:])
        assert lines == told(data)
        for line in lines:
            assert not acting(line, colours=True)
            assert line.rpartition("\x1b")[2].partition("m")[0].strip("[0;") == "" or "\x1b" not in line
