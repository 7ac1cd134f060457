"""What the calls of the API work with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from time import time

import msgspec

from controller.admin.apps import Apps
from controller.admin.authentication import Authenticator, Caller
from controller.admin.authorization import Authorizer
from controller.admin.demand import Demand
from controller.admin.limits import Buckets
from controller.admin.logs import Logs
from controller.admin.objects import Json, Live
from controller.admin.problems import Refused
from controller.admin.sse import Streams
from controller.admin.views import Surroundings
from controller.resources import Resource
from controller.world import SCALED_OBJECTS
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["Context", "Sight"]

BURST_SECONDS = 5.0
"""Seconds' worth of requests that a user may send at once."""

_log = logging.getLogger(__name__)


class Sight(msgspec.Struct, frozen=True):
    """What this process sees of applications, "namespace/name", without asking the API server."""

    resource: Callable[[str], Resource | None]
    """The HTTPScaledObject as it is watched."""
    demand: Callable[[str], Awaitable[Demand]]
    last_wake: Callable[[str], str | None]
    wall: Callable[[], float] = time
    """Seconds since the epoch."""


class Context:
    """`namespaces` are those that the controller watches; empty for all."""

    def __init__(
        self,
        api: Api,
        apps: Apps,
        sight: Sight,
        *,
        audiences: tuple[str, ...],
        namespaces: Collection[str],
        domain: str,
        url: str,
        rate: float,
        kedahttp_namespace: str = "",
    ) -> None:
        self.apps = apps
        self.sight = sight
        self.streams = Streams()
        self.logs = Logs(api)
        self.authenticator = Authenticator(api, audiences)
        self.rates = Buckets(rate, rate * BURST_SECONDS)
        self.clock = asyncio.get_running_loop().time
        self.domain = domain
        self.kedahttp_namespace = kedahttp_namespace
        self.url = url
        self._authorizer = Authorizer(api)
        self._namespaces = frozenset(namespaces)
        self._api = api

    async def permit(self, caller: Caller, action: str, namespace: str, name: str = "") -> None:
        """Raises Refused when the caller may not, or when this controller does not serve the namespace."""
        await self._authorizer.check(caller, action, namespace, name)
        self.check_served(namespace)

    def check_served(self, namespace: str) -> None:
        """Raises Refused when this controller does not serve the namespace."""
        if self._namespaces and namespace not in self._namespaces:
            raise Refused(403, "not-served", f"this controller does not serve namespace {namespace}")

    async def around(self, live: Live) -> Surroundings:
        """What is known of an application beside its objects."""
        if live.owner is None:
            return Surroundings()
        metadata = live.owner["metadata"]
        app = f"{metadata['namespace']}/{metadata['name']}"
        scaled_object, demand = await asyncio.gather(self.scaled_object(live), self.sight.demand(app))
        return Surroundings(scaled_object, demand, self.sight.last_wake(app), self.sight.wall())

    async def scaled_object(self, live: Live) -> Json | None:
        """The ScaledObject of an application. What it adds is worth less than the answer: without KEDA there is none."""
        if live.owner is None:
            return None
        metadata = live.owner["metadata"]
        query = [("fieldSelector", f"metadata.name={metadata['name']}")]
        try:
            listed = msgspec.json.decode(await self._api.get(SCALED_OBJECTS.path(metadata["namespace"]), query))
        except ApiError as error:
            _log.debug("the ScaledObject of %s/%s is not read: %s", metadata["namespace"], metadata["name"], error)
            return None
        found: list[Json] = listed.get("items") or []
        return next((item for item in found if live.owns(item)), None)
