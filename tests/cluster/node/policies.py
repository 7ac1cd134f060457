"""Network policies: which sources may reach which ports of which pods, updated when policies, pods or namespaces change.

Only ingress rules with label selectors are supported, as in our manifests; any other policy is an error. The node itself, where
the API server and KEDA run here, can reach every pod, as in a cluster.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.network import Opening, write_policies
from tests.cluster.node.agent import keep_following
from tests.cluster.node.spec import SpecError, port_number

__all__ = ["Policies", "openings"]

COALESCE = 0.02
"""Seconds from a change to the update of the rules, so that several changes need one write."""


def openings(policies: Iterable[Object], pods: Iterable[Object], namespaces: Iterable[Object]) -> dict[str, frozenset[Opening]]:
    """The openings of each pod that a policy selects, by its address. Other pods are not restricted."""
    labels = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in namespaces}
    running = [pod for pod in pods if pod.get("status", {}).get("podIP")]
    found: dict[str, frozenset[Opening]] = {}
    for policy in policies:
        home, spec = policy["metadata"]["namespace"], policy["spec"]
        if "Ingress" not in spec["policyTypes"]:
            continue
        for pod in running:
            if pod["metadata"]["namespace"] == home and _selects(spec["podSelector"], pod["metadata"].get("labels", {})):
                opened = {opening for rule in spec.get("ingress", ()) for opening in _opened(rule, pod, home, running, labels)}
                address = pod["status"]["podIP"]
                found[address] = found.get(address, frozenset()) | opened
    return found


def _opened(
    rule: Object, target: Object, home: str, pods: Iterable[Object], labels: Mapping[str, Mapping[str, str]]
) -> Iterable[Opening]:
    sources: frozenset[str] | None = None
    if rule.get("from"):
        met = (pod for pod in pods if any(_is_peer(peer, pod, home, labels) for peer in rule["from"]))
        sources = frozenset(pod["status"]["podIP"] for pod in met)
    for port in rule.get("ports", ()):
        number = _port(port["port"], target)
        if number is not None:
            yield Opening(sources, number)
    if not rule.get("ports"):
        yield Opening(sources, None)


def _is_peer(peer: Object, pod: Object, home: str, labels: Mapping[str, Mapping[str, str]]) -> bool:
    if not peer.keys() <= {"podSelector", "namespaceSelector"}:
        raise SpecError(f"policies by {sorted(peer)} are not known here")
    namespace, where = pod["metadata"]["namespace"], peer.get("namespaceSelector")
    near = namespace == home if where is None else _selects(where, labels.get(namespace, {}))
    return near and _selects(peer.get("podSelector", {}), pod["metadata"].get("labels", {}))


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    if not selector.keys() <= {"matchLabels"}:
        raise SpecError(f"selectors with {sorted(selector)} are not known here")
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def _port(port: int | str, pod: Object) -> int | None:
    """The port number; None for a name that the pod does not have, so that the rule opens nothing."""
    for container in pod["spec"]["containers"]:
        with contextlib.suppress(SpecError):
            return port_number(container, port)
    return None


class Policies:
    """run() follows the objects and writes the rules."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._objects: dict[str, dict[str, Object]] = {"networkpolicies": {}, "pods": {}, "namespaces": {}}
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for resource, objects in self._objects.items():
                group.create_task(self._follow(resource, objects))
            group.create_task(self._write())

    async def _follow(self, resource: str, into: dict[str, Object]) -> None:
        def seen(item: Object, exists: bool) -> None:
            if exists:
                into[item["metadata"]["uid"]] = item
            else:
                into.pop(item["metadata"]["uid"], None)
            self._dirty.set()

        await keep_following(self._api, namespaced(resource), seen, into.clear)

    async def _write(self) -> None:
        written: dict[str, frozenset[Opening]] = {}
        while True:
            await self._dirty.wait()
            await asyncio.sleep(COALESCE)
            self._dirty.clear()
            policies, pods, namespaces = (objects.values() for objects in self._objects.values())
            wanted = openings(policies, pods, namespaces)
            if wanted != written:
                await asyncio.to_thread(write_policies, wanted)
                written = wanted
