"""What discovery offers the planes. Implementations say where the values come from; these types say what they are.

Callbacks run on the event loop's thread, must not block, and see a value only after it was parsed and found good:
a bad file or object keeps the last good value and is told in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from fleet.routing.table import RoutingTable

__all__ = ["Backend", "BackendSource", "Member", "MemberSource", "RouteSource", "SourceError", "Trouble", "Unsubscribe"]

Unsubscribe = Callable[[], None]


class SourceError(Exception):
    """A source could not be read, or what was read is wrong. The message is one line for an operator."""


class Backend(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One ready address of an application; or the address of its Service, once for each ready pod behind it."""

    host: str
    """An IP address."""
    port: int
    app_protocol: str | None = None
    """What is spoken there, where it is said (`appProtocol` of a Service's port, as "kubernetes.io/h2c")."""
    behind: str = ""
    """At the address of a Service: one of its ready pods. Which of them has a connection is for the Service to choose, but so
    many are there: what one may be given is right in sum."""


class Trouble(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a target has no ready backend, where that is known."""

    reason: str
    """For people, one line, fit for a terminal: "ended with exit code 1: no such table"."""
    hopeless: bool = False
    """Whether it failed so often that requests should be refused instead of being held."""


class Member(msgspec.Struct, frozen=True):
    """One interceptor as a scaler sees it: its name, and "host:port" of its RPC server."""

    name: str
    address: str


class RouteSource(Protocol):
    """The routing table."""

    @property
    def current(self) -> RoutingTable | None:
        """The last good table; None before the first."""

    def subscribe(self, on_change: Callable[[RoutingTable], None]) -> Unsubscribe: ...

    async def start(self) -> None:
        """Read once and keep watching. A first read that fails is logged and tried again, not raised."""

    async def refresh(self) -> None:
        """Read now, whatever the watch has told. Raises SourceError and keeps the last good table."""

    async def close(self) -> None: ...


class BackendSource(Protocol):
    """The ready backends of each target, under `Target.key`."""

    def get(self, key: str) -> tuple[Backend, ...]:
        """The ready backends, without order; empty when there is none or the key is not known."""

    def trouble(self, key: str) -> Trouble | None:
        """Why there is no ready backend, if somebody has told."""

    def missing(self, key: str) -> tuple[str, str] | None:
        """Why a target that is wanted can have no backends as things are: a reason as for metrics, and words for people.
        None when there may be some, now or later, and as long as that is not known."""

    @property
    def synced(self) -> bool:
        """Whether what was wanted at first has been looked for: before, "none" may mean "not known yet"."""

    def want(self, keys: Collection[str]) -> None:
        """These are the targets that are asked for; others need not be followed any more."""

    def subscribe(self, on_change: Callable[[str], None]) -> Unsubscribe:
        """Call with the key of every target whose backends changed."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class MemberSource(Protocol):
    """The interceptors of the fleet."""

    @property
    def current(self) -> tuple[Member, ...] | None:
        """None before the first good read."""

    def subscribe(self, on_change: Callable[[tuple[Member, ...]], None]) -> Unsubscribe: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...
