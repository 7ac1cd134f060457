"""The command, environment and directory of a replica's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from weir.engine.ports import Ports
from weir.engine.replica import Replica
from weir.engine.spec import AppSpec
from weir.engine.supervisor import ProcessContext


def test_the_port_is_put_into_the_values_of_env() -> None:
    spec = AppSpec(
        name="a", hosts=["a"], command=cast("Any", "x"), env={"URL": "http://x:${PORT}/", "ADDRESS": ":$PORT", "PLAIN": "$POR"}
    )
    nothing = cast("Any", None)
    context = ProcessContext(reaper=nothing, ports=Ports(), tell=nothing, tasks=nothing)
    launch, probe = Replica(spec, 1, Path("."), context=context, on_change=lambda: None)._launch()
    port = probe.port
    assert launch.env == {"URL": f"http://x:{port}/", "ADDRESS": f":{port}", "PLAIN": "$POR", "PORT": str(port)}
