"""Output that nobody reads must not stop the writer."""

from __future__ import annotations

import os

from weir.engine.outlet import Outlet


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
    assert b"writes were lost here" in _read(reader, b"nobody read them")
    outlet.write("again\n")
    _read(reader, b"again\n")
    outlet.close()
    os.close(reader)
    os.close(writer)


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    outlet = Outlet(writer)
    os.close(reader)
    outlet.write("x")
    outlet.close()
    outlet.write("y")
    os.close(writer)
