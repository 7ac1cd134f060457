"""A listener for playbooks: its socket and servers record calls, and connections exist only in the playbook."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import Any

import pytest

from interceptor.listener import BACKLOG, Listener
from tests.support.manual_loop import ManualLoop, TimeStage

__all__ = ["ListenerStage"]

PORT = 4711


class _Socket:
    """A listening socket, with a queue of connections that were not accepted yet."""

    def __init__(self, stage: ListenerStage) -> None:
        self._stage = stage
        self.queue: list[str] = []

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.1", PORT

    def dup(self) -> str:
        return "copy"

    def accept(self) -> tuple[Any, tuple[str, int]]:
        if not self.queue:
            raise BlockingIOError
        name = self.queue.pop(0)
        return SimpleNamespace(name=name, setblocking=lambda flag: self._stage.note(f"{name} blocks: {flag}")), ("", 0)

    def close(self) -> None:
        self._stage.note("socket closed")


class ListenerStage(TimeStage):
    """The event loop as a listener uses it: creates servers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loop: ManualLoop) -> None:
        super().__init__(loop)
        self.socket = _Socket(self)
        self.failures = 0
        self.left: set[str] = set()
        monkeypatch.setattr("interceptor.listener.bound", self._bound)
        monkeypatch.setattr(loop, "create_server", self._create_server)
        monkeypatch.setattr(loop, "connect_accepted_socket", self._connect)
        self.listener = Listener(asyncio.BufferedProtocol, "192.0.2.1", 0, self.clock)

    def note(self, what: str) -> None:
        self.outputs.append(what)

    def _bound(self, host: str, port: int, purpose: str) -> _Socket:
        self.note(f"bound to {host}:{port} for {purpose}")
        return self.socket

    async def _create_server(self, factory: Any, *, sock: object, backlog: int) -> Any:
        assert (factory, sock, backlog) == (asyncio.BufferedProtocol, "copy", BACKLOG)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        self.note("server opened")
        return SimpleNamespace(close=lambda: self.note("server closed"))

    async def _connect(self, factory: Any, connection: Any) -> None:
        assert factory is asyncio.BufferedProtocol
        await asyncio.sleep(0)
        if connection.name in self.left:
            raise ConnectionResetError
        self.note(f"{connection.name} taken in")

    # -- verbs of playbooks ---------------------------------------------------------------------------------------

    def starts(self) -> None:
        """Start in a task, because it may have to wait."""
        self._starting = self.loop.create_task(self.listener.start())

    def pause(self) -> None:
        self.listener.pause()

    def resume(self) -> None:
        self.listener.resume()

    def resume_for_nothing(self) -> None:
        """A resume that must not start anything."""
        self.listener.resume()
        assert not [task for task in asyncio.all_tasks(self.loop) if task.get_name() == "listener"]

    def resume_twice(self) -> None:
        """Both in one turn of the event loop."""
        self.listener.resume()
        self.listener.resume()

    def resume_and_pause(self) -> None:
        self.listener.resume()
        self.listener.pause()

    async def close(self) -> None:
        await self.listener.close()

    async def resume_and_close(self) -> None:
        """Close before the server is created."""
        self.listener.resume()
        await self.listener.close()

    def no_files(self, times: str) -> None:
        """Creating a server fails this many times."""
        self.failures = int(times)

    def queue(self, *names: str) -> None:
        """These connections wait in the queue; "a-" has been closed by its client."""
        self.socket.queue.extend(name.rstrip("-") for name in names)
        self.left |= {name.rstrip("-") for name in names if name.endswith("-")}

    def port(self) -> None:
        self.note(f"port {self.listener.port}{' started' if self.listener.started else ''}")

    async def end(self) -> None:
        self.outputs.clear()
        await self.listener.close()
