"""What a file of apps may say of when a started process is ready. Values only."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from weir.engine.fields import Command, Model, PositiveSeconds, RequestPath, fault

__all__ = ["ReadinessSpec"]


class ReadinessSpec(Model):
    """When a started process may take requests: its port accepts connections, a path answers 200 to 399, or its port takes
    datagrams; and a command ends with exit code 0, if there is one."""

    tcp: Literal[True] | None = None
    udp: Literal[True] | None = None
    """Of an app with nothing but UDP ports this needs not be said. It is sent datagrams without content."""
    path: RequestPath | None = None
    command: Command = ()
    """Run when the port is open, and again until it ends with exit code 0, such as pg_isready -p $PORT."""
    timeout: PositiveSeconds = 60.0
    interval: PositiveSeconds = 0.1
    """Longest pause between two probes. The first come every few milliseconds, so that cold starts are quick."""

    @model_validator(mode="after")
    def _one_probe(self) -> ReadinessSpec:
        if self.tcp and self.path:
            raise fault("path", "say tcp or path, not both", "tcp")
        if self.command and self.path:
            raise fault("command", "say path or command, not both", "path")
        if self.udp and (self.tcp or self.path):
            raise fault("udp", "say udp, or tcp or path, not both", "tcp", "path")
        return self

    def is_udp(self, *, usual: bool) -> bool:
        """Whether datagrams decide; `usual` is what holds where nothing is said."""
        return bool(self.udp) or (usual and not self.tcp and not self.path)
