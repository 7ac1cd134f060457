"""Output that nobody reads must not stop the writer."""

from __future__ import annotations

import os
import time

from weir.engine.outlet import PATIENCE, PIECE, ROOM, Outlet


def _read(descriptor: int, until: bytes) -> bytes:
    data = b""
    while until not in data:
        data += os.read(descriptor, 65536)
    return data


def test_text_arrives_in_order() -> None:
    reader, writer = os.pipe()
    outlet = Outlet(writer)
    for number in range(100):
        outlet.write(f"{number}\n")
    assert _read(reader, b"99\n").decode().split() == [str(number) for number in range(100)]
    outlet.close()
    os.close(reader)
    os.close(writer)


def test_what_waits_is_written_at_the_end() -> None:
    reader, writer = os.pipe()
    outlet = Outlet(writer)
    outlet.write("last words")
    outlet.close()
    os.close(writer)
    assert os.read(reader, 100) == b"last words"
    os.close(reader)


def test_a_reader_that_stops_costs_lines_and_no_time() -> None:
    reader, writer = os.pipe()
    outlet = Outlet(writer, limit=100_000)
    for _ in range(10_000):  # for ever, where one waited for the reader
        outlet.write("x" * 99 + "\n")
    assert b"lines were lost here" in _read(reader, b"nobody read them")
    outlet.write("again\n")
    _read(reader, b"again\n")
    outlet.close()
    os.close(reader)
    os.close(writer)


def test_there_is_room_while_a_reader_keeps_up_and_when_it_has_stopped() -> None:
    reader, writer = os.pipe()
    now = [0.0]
    outlet = Outlet(writer, clock=lambda: now[0])
    now[0] = 100.0  # of silence are nobody's fault
    assert outlet.has_room()
    outlet.write("x" * 2 * ROOM + "\n")
    assert not outlet.has_room()
    now[0] += PATIENCE + 0.1
    while outlet.waiting > 2 * ROOM - PIECE:  # the pipe takes some, whoever reads
        time.sleep(0)
    now[0] += PATIENCE + 0.1
    assert outlet.has_room()
    _read(reader, b"\n")
    while outlet.waiting:
        time.sleep(0)
    outlet.write("x" * 2 * ROOM)
    assert not outlet.has_room()
    os.close(reader)
    outlet.close()
    os.close(writer)


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    outlet = Outlet(writer)
    os.close(reader)
    outlet.write("x")
    outlet.close()
    outlet.write("y")
    os.close(writer)
