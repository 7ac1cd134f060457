"""Services of the cluster: address translations and DNS names, updated when Services or EndpointSlices change."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.network import Endpoint, ServicePort, write_services
from tests.cluster.node.agent import keep_following

__all__ = ["Services"]

COALESCE = 0.02
"""Seconds from a change to the update of the translations, so that several changes need one write."""

Key = tuple[str, str]
"""Namespace and name."""


class Services:
    """run() follows the objects and writes translations; lookup(namespace, name) is used by DNS."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, Object] = {}
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("services", self._services))
            group.create_task(self._follow("endpointslices", self._slices))
            group.create_task(self._write())

    def lookup(self, namespace: str, name: str) -> list[str] | str:
        """The Service's address, the addresses of all ready endpoints if it is headless, or the name in its ExternalName; empty
        if there is no such Service."""
        service = self._services.get((namespace, name))
        if service is None:
            return []
        if service["spec"].get("type") == "ExternalName":
            return str(service["spec"]["externalName"])
        address = service["spec"].get("clusterIP")
        if address not in {None, "", "None"}:
            return [address]
        slices = self._of_service().get((namespace, name), [])
        publish = bool(service["spec"].get("publishNotReadyAddresses"))
        return sorted({address for item in slices for address in _addresses(item["endpoints"] or (), publish=publish)})

    async def _follow(self, resource: str, into: dict[Key, Object]) -> None:
        def seen(item: Object, exists: bool) -> None:
            key = (item["metadata"]["namespace"], item["metadata"]["name"])
            if exists:
                into[key] = item
            else:
                into.pop(key, None)
            self._dirty.set()

        await keep_following(self._api, namespaced(resource), seen, into.clear)

    async def _write(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(COALESCE)
            self._dirty.clear()
            await asyncio.to_thread(write_services, self._table())

    def _table(self) -> dict[ServicePort, list[Endpoint]]:
        slices = self._of_service()
        table: dict[ServicePort, list[Endpoint]] = {}
        for key, service in self._services.items():
            address = service["spec"].get("clusterIP")
            if address in {None, "", "None"}:
                continue
            for port in service["spec"].get("ports", ()):
                protocol = port.get("protocol", "TCP").lower()
                table[ServicePort(address, protocol, port["port"])] = _endpoints(slices.get(key, ()), port.get("name", ""))
        return table

    def _of_service(self) -> dict[Key, list[Object]]:
        grouped: dict[Key, list[Object]] = defaultdict(list)
        for (namespace, _), item in self._slices.items():
            name = item["metadata"].get("labels", {}).get("kubernetes.io/service-name")
            if name and item["addressType"] == "IPv4":
                grouped[namespace, name].append(item)
        return grouped


def _endpoints(slices: Iterable[Object], port_name: str) -> list[Endpoint]:
    """Ready endpoints; terminating ones that still serve only if there is no other, as on a real node."""
    ready, serving = [], []
    for item in slices:
        ports = [port["port"] for port in item.get("ports") or () if (port.get("name") or "") == port_name]
        for endpoint in item["endpoints"] or ():
            conditions = endpoint.get("conditions", {})
            found = [Endpoint(address, port) for address in endpoint["addresses"] for port in ports]
            if conditions.get("ready", True):
                ready += found
            elif conditions.get("serving") and conditions.get("terminating"):
                serving += found
    return sorted(ready or serving, key=str)


def _addresses(endpoints: Iterable[Object], *, publish: bool) -> list[str]:
    wanted = [endpoint for endpoint in endpoints if publish or endpoint.get("conditions", {}).get("ready", True)]
    return [address for endpoint in wanted for address in endpoint["addresses"]]
