"""The command, environment and directory of a replica's process."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.ports import unbound_port
from weir.engine.ports import NoPortError, Ports
from weir.engine.replica import Replica
from weir.engine.spec import AppSpec
from weir.engine.supervisor import ProcessContext

UDP_PORT = {"port": 5300, "protocol": "UDP"}


def test_the_port_is_put_into_the_values_of_env() -> None:
    spec = AppSpec(
        name="a", hosts=["a"], command=cast("Any", "x"), env={"URL": "http://x:${PORT}/", "ADDRESS": ":$PORT", "PLAIN": "$POR"}
    )
    nothing = cast("Any", None)
    context = ProcessContext(reaper=nothing, ports=Ports(), tell=nothing, tasks=nothing)
    launch, probe = Replica(spec, 1, Path("."), context=context, on_change=lambda: None)._launch()
    port = probe.port
    assert launch.env == {"URL": f"http://x:{port}/", "ADDRESS": f":{port}", "PLAIN": "$POR", "PORT": str(port)}


@pytest.mark.parametrize(
    ("fields", "by_datagrams"),
    [
        ({"ports": [UDP_PORT]}, True),
        ({"ports": [UDP_PORT], "readiness": {"tcp": True}}, False),
        ({"ports": [UDP_PORT], "readiness": {"path": "/up"}}, False),
        ({"ports": [UDP_PORT, {"port": 53}]}, False),
        ({"ports": [UDP_PORT, {"port": 53}], "readiness": {"udp": True}}, True),
        ({"ports": [UDP_PORT], "hosts": ["a"]}, False),
        ({"hosts": ["a"]}, False),
    ],
)
def test_an_app_of_udp_ports_alone_is_ready_when_it_takes_datagrams(fields: dict[str, Any], by_datagrams: bool) -> None:
    spec = AppSpec.model_validate({"name": "a", "command": "x", **fields})
    nothing = cast("Any", None)
    context = ProcessContext(reaper=nothing, ports=Ports(), tell=nothing, tasks=nothing)
    assert Replica(spec, 1, Path("."), context=context, on_change=lambda: None)._launch()[1].datagrams is by_datagrams


def test_a_fixed_port_must_be_free_for_datagrams_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", number := unbound_port()))
        ports = Ports()
        with pytest.raises(NoPortError, match="in use already"):
            ports.claim(number, datagrams=True)
        assert ports.claim(number) == number
