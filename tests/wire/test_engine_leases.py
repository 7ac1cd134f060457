"""Ports that a file of apps leases, beside sockets that have them."""

from __future__ import annotations

import socket

from fleet.routing.port import TCP, UDP
from weir.engine.leases import LocalLeases


def test_a_port_in_use_is_passed_over() -> None:
    wanted = LocalLeases("here").take("default", "a", TCP, ())
    with socket.create_server(("127.0.0.1", wanted)):
        assert LocalLeases("here").take("default", "a", TCP, ()) != wanted
    datagrams = LocalLeases("here").take("default", "a", UDP, ())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.bind(("127.0.0.1", datagrams))
        assert LocalLeases("here").take("default", "a", UDP, ()) != datagrams
