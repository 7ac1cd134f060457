"""Processes of the engine in tests: programs for them to run, and replicas without an application around them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil

from weir.engine.child import Launch
from weir.engine.ports import Ports
from weir.engine.reaper_handle import ReaperHandle
from weir.engine.replica import Replica
from weir.engine.spec import AppSpec
from weir.engine.supervisor import ProcessContext, State

__all__ = ["GRACEFUL", "SERVE", "Stage", "gone", "launch", "python"]

SERVE = """
import os, socket
host = os.environ.get("LISTEN", "127.0.0.1")
s = socket.create_server((host, int(os.environ["PORT"])), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
print("serving", flush=True)
while True:
    s.accept()[0].close()
"""
GRACEFUL = (
    "import pathlib, signal, sys, time; "
    # It takes a while to end well, as applications do.
    'signal.signal(signal.SIGTERM, lambda *a: (time.sleep(0.3), pathlib.Path("done").touch(), sys.exit(0))); '
    'print("ready", flush=True); signal.pause()'
)


def launch(tmp_path: Path, script: str, **env: str) -> Launch:
    return Launch(["/bin/sh", "-c", script], env=env, cwd=tmp_path)


def python(script: str) -> list[str]:
    return [sys.executable, "-S", "-c", script]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Stage:
    """Replicas with a context of the test's own."""

    def __init__(self, reaper: ReaperHandle, tasks: asyncio.TaskGroup, directory: Path) -> None:
        self.lines: list[tuple[str, str]] = []
        self.states: list[State] = []
        self.directory = directory
        self.context = ProcessContext(
            reaper=reaper, ports=Ports(), tell=lambda name, lines: self.lines.extend((name, line) for line in lines), tasks=tasks
        )

    def replica(self, **spec: object) -> Replica:
        app = AppSpec.model_validate({"name": "web", "hosts": ["web"], **spec})
        replica = Replica(app, 1, self.directory, context=self.context, on_change=lambda: self.states.append(replica.state))
        return replica
