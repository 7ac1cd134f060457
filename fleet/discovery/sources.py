"""The interfaces of discovery, and their values. Implementations decide where the values come from.

Callbacks run on the event loop's thread, must not block, and get a value only after it was parsed and validated. When a file or
object is invalid, the last good value is kept, and the log says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, Protocol

import msgspec

from fleet.routing.table import RoutingTable

__all__ = [
    "NO_ADDRESS",
    "REFUSED_ADDRESS",
    "Alias",
    "Backend",
    "BackendSource",
    "Member",
    "MemberSource",
    "RouteSource",
    "SourceError",
    "Trouble",
    "Unsubscribe",
]

NO_ADDRESS: Final = "NoAddress"
REFUSED_ADDRESS: Final = "RefusedAddress"
"""Kinds of trouble of targets outside of discovery, as a condition's reason says them: the name has no address, or none that is
allowed."""

Unsubscribe = Callable[[], None]


class SourceError(Exception):
    """A source could not be read, or its data is invalid. The message is one line for an operator."""


class Backend(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One ready address of an application; or its Service's address, once for each ready pod behind it."""

    host: str
    """An IP address."""
    port: int
    app_protocol: str | None = None
    """The appProtocol of the Service's port, such as "kubernetes.io/h2c"; None when it has none."""
    behind: str = ""
    """When `host` is a Service's address: the name of one ready pod behind it. The Service chooses which pod gets a
    connection; listing the address once per pod makes the sum of the per-backend limits right."""
    outside: bool = False
    """Whether it is an address that discovery does not know: looked up, or written."""


class Trouble(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a target has no ready backend, if that is known."""

    reason: str
    """For people, one line, safe for a terminal: "ended with exit code 1: no such table"."""
    hopeless: bool = False
    """Whether it has failed so often that requests should be refused instead of held."""
    kind: str = ""
    """One word for programs, where there is one."""


class Alias(msgspec.Struct, frozen=True):
    """Where the requests of a Service go that is only another name for something outside of discovery."""

    key: str
    """Of that target."""
    app_protocol: str | None = None
    """The appProtocol of the Service's port."""


class Member(msgspec.Struct, frozen=True):
    """One interceptor as a scaler sees it: its name, and "host:port" of its RPC server."""

    name: str
    address: str


class RouteSource(Protocol):
    """Where the routing table comes from."""

    @property
    def current(self) -> RoutingTable | None:
        """The last good table; None before the first."""

    def subscribe(self, on_change: Callable[[RoutingTable], None]) -> Unsubscribe: ...

    async def start(self) -> None:
        """Read once and keep watching. A failed first read is logged and repeated, not raised."""

    async def refresh(self) -> None:
        """Read now, independent of the watch. Raises SourceError, and then keeps the last good table."""

    async def close(self) -> None: ...


class BackendSource(Protocol):
    """The ready backends of each target, by `Target.key`."""

    def get(self, key: str) -> tuple[Backend, ...]:
        """The ready backends, in no order; empty when there are none or the key is unknown."""

    def trouble(self, key: str) -> Trouble | None:
        """Why there is no ready backend, if that is known."""

    def note(self, app: str) -> str:
        """What is to be said to people of an application; "" for nothing."""

    def missing(self, key: str) -> tuple[str, str] | None:
        """Why a wanted target cannot have backends in the current configuration: a reason for metrics, and a message for
        people. None when it can have some, or while that is unknown."""

    def alias(self, key: str) -> Alias | None:
        """Where a target leads outside of discovery, when its Service is of type ExternalName. The subscribers are told the key
        when that changes."""

    @property
    def synced(self) -> bool:
        """Whether the targets wanted at first were looked up; before that, "no backend" may mean "not known yet"."""

    def want(self, keys: Collection[str]) -> None:
        """Set the wanted targets; others need not be followed any more."""

    def subscribe(self, on_change: Callable[[str], None]) -> Unsubscribe:
        """Call `on_change` with the key of each target whose backends changed."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class MemberSource(Protocol):
    """Where the list of interceptors comes from."""

    @property
    def current(self) -> tuple[Member, ...] | None:
        """None before the first successful read."""

    def subscribe(self, on_change: Callable[[tuple[Member, ...]], None]) -> Unsubscribe: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...
