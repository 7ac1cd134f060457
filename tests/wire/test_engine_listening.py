"""Sockets on which a process listens, as the kernel tells."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from weir.engine.listening import listening


@pytest.mark.skipif(sys.platform != "linux" or sys.byteorder != "little", reason="the tables of Linux, in this order of bytes")
def test_of_a_process() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.socket() as idle,
    ):
        idle.bind(("127.0.0.1", 0))
        found = listening([os.getpid(), 2**22 + 1])
        assert {four.getsockname()[:2], six.getsockname()[:2]} <= set(found)
        assert idle.getsockname() not in found
    assert listening([]) == []
