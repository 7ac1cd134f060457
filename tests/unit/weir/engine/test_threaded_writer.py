"""Output that nobody reads must not stop the write_end."""

from __future__ import annotations

import os
import time

from weir.engine.threaded_writer import PATIENCE, PIECE, ROOM, ThreadedWriter


def _read(descriptor: int, until: bytes) -> bytes:
    data = b""
    while until not in data:
        data += os.read(descriptor, 65536)
    return data


def test_text_arrives_in_order() -> None:
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end)
    for number in range(100):
        writer.write(f"{number}\n")
    assert _read(reader, b"99\n").decode().split() == [str(number) for number in range(100)]
    writer.close()
    os.close(reader)
    os.close(write_end)


def test_what_waits_is_written_at_the_end() -> None:
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end)
    writer.write("last words")
    writer.close()
    os.close(write_end)
    assert os.read(reader, 100) == b"last words"
    os.close(reader)


def test_a_reader_that_stops_costs_lines_and_no_time() -> None:
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end, limit=100_000)
    for _ in range(10_000):  # would block for ever if the writer waited for the reader
        writer.write("x" * 99 + "\n")
    assert b"lines were lost here" in _read(reader, b"nobody read them")
    writer.write("again\n")
    _read(reader, b"again\n")
    writer.close()
    os.close(reader)
    os.close(write_end)


def test_there_is_room_while_a_reader_keeps_up_and_when_it_has_stopped() -> None:
    reader, write_end = os.pipe()
    now = [0.0]
    writer = ThreadedWriter(write_end, clock=lambda: now[0])
    now[0] = 100.0  # a long pause without output is not an error
    assert writer.has_room()
    writer.write("x" * 2 * ROOM + "\n")
    assert not writer.has_room()
    now[0] += PATIENCE + 0.1
    while writer.waiting > 2 * ROOM - PIECE:  # the pipe takes some even if nobody reads
        time.sleep(0)
    now[0] += PATIENCE + 0.1
    assert writer.has_room()
    _read(reader, b"\n")
    while writer.waiting:
        time.sleep(0)
    writer.write("x" * 2 * ROOM)
    assert not writer.has_room()
    os.close(reader)
    writer.close()
    os.close(write_end)


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, write_end = os.pipe()
    writer = ThreadedWriter(write_end)
    os.close(reader)
    writer.write("x")
    writer.close()
    writer.write("y")
    os.close(write_end)
