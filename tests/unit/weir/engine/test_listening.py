"""The kernel's tables of sockets."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import pytest

from weir.engine.listening import parse_table, read_table

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the tables are in the order of the machine")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = f"""{HEAD}   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 20 4 0 10 -1
"""
TCP6 = f"""{HEAD}   0: 00000000000000000000000001000000:0BB8 {"0" * 32}:0000 0A 0:0 00:0 0  0 0 4713 1 0 100 0 0 10 0
   1: {"0" * 32}:0BB9 {"0" * 32}:0000 0A 0:0 00:0 0  0 0 4714 1 0 100 0 0 10 0
"""


def test_only_what_listens() -> None:
    assert list(parse_table(TCP.splitlines()[1:])) == [("127.0.0.1", 8080, "4711")]
    assert list(parse_table(TCP6.splitlines()[1:])) == [("::1", 3000, "4713"), ("::", 3001, "4714")]
    assert list(parse_table(HEAD.splitlines()[1:])) == []


def test_many_connections_take_no_memory(tmp_path: Path) -> None:
    """What a thread has once needed for them all at once, the C library would keep for it."""
    (table := tmp_path / "tcp").write_text(TCP + f"{TCP.splitlines()[2]}\n" * 20_000)
    tracemalloc.start()
    try:
        assert list(read_table(table)) == [("127.0.0.1", 8080, "4711")]
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
