"""The state directory: the files by which the engine configures interceptors and scaler.

The components get everything from these files, whether they run in the engine's process or not.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from fleet.demand.busy import Leases
from fleet.discovery.busy import write_busy
from fleet.discovery.files import write_backends, write_members, write_routes
from fleet.discovery.sources import Backend, Member, Trouble
from fleet.routing.table import RoutingTable
from fleet.runtime.process import StartError

__all__ = ["Component", "StateDirectory"]


@dataclass(frozen=True, slots=True)
class Component:
    """A running component, for tests that kill it and for people who look for it."""

    name: str
    kind: str
    """ "interceptor" or "scaler"."""
    pid: int
    diagnostics_port: int
    proxy_port: int | None = None
    proxy_tls_port: int | None = None
    """Only with certificates."""
    rpc_port: int | None = None
    port: int | None = None
    """The ExternalScaler's port, for the scaler."""


class StateDirectory:
    """Writes each file as a whole, and only when its content changes. Raises StartError when the directory is in use or not
    writable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _locked(path)
        self._backends: dict[str, tuple[Backend, ...]] = {}
        self._troubles: dict[str, Trouble] = {}
        self._notes: dict[str, str] = {}
        self._pending: asyncio.Handle | None = None
        self._write_backends()
        self.write_members(())
        self.write_busy({})
        self.write_components(())

    def close(self) -> None:
        """Release the lock of the directory. The files stay."""
        if self._pending is not None:
            self._pending.cancel()
        self._lock.close()

    @property
    def routes_uri(self) -> str:
        return f"file:{self.path / 'routes.json'}"

    @property
    def backends_uri(self) -> str:
        return f"file:{self.path / 'backends.json'}"

    @property
    def members_uri(self) -> str:
        return f"file:{self.path / 'members.json'}"

    @property
    def busy_uri(self) -> str:
        return f"file:{self.path / 'busy.json'}"

    def write_busy(self, leases: Leases) -> None:
        write_busy(self.path / "busy.json", leases)

    def write_table(self, table: RoutingTable) -> None:
        write_routes(self.path / "routes.json", table)

    def publish(self, key: str, backends: tuple[Backend, ...], trouble: Trouble | None) -> None:
        """Set the ready backends of a target, or the reason why it has none. Changes in one turn of the event loop are written
        together."""
        if self._backends.get(key, ()) == backends and self._troubles.get(key) == trouble:
            return
        self._backends.pop(key, None)
        self._troubles.pop(key, None)
        if backends:
            self._backends[key] = backends
        if trouble is not None:
            self._troubles[key] = trouble
        self._write_soon()

    def note(self, app: str, text: str) -> None:
        """Set what the list of apps says of one; "" for nothing."""
        if self._notes.get(app, "") != text:
            self._notes.pop(app, None)
            if text:
                self._notes[app] = text
            self._write_soon()

    def _write_soon(self) -> None:
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_soon(self._write_backends)

    def write_members(self, members: Iterable[Member]) -> None:
        write_members(self.path / "members.json", members)

    def write_components(self, components: Iterable[Component]) -> None:
        path = self.path / "components.json"
        fresh = path.with_name(".components.json")
        fresh.write_text(json.dumps([asdict(component) for component in components], indent=2) + "\n")
        fresh.replace(path)

    def _write_backends(self) -> None:
        self._pending = None
        write_backends(self.path / "backends.json", self._backends, self._troubles, self._notes)


def _locked(path: Path) -> BinaryIO:
    """Create the directory and lock it against other engines; the lock lasts as long as the process."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StartError(f"{path}: another engine keeps its state there") from error
    except OSError as error:
        raise StartError(f"{path}: {error.strerror or error}") from error
    return lock
