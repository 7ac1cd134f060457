"""The node agent: registers the only Node, binds every pod to it, and starts and ends pods as the API server says."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import httpx

from tests.cluster.api import Api, ApiError, Object, namespaced
from tests.cluster.network import NODE_ADDRESS
from tests.cluster.node.container import timestamp
from tests.cluster.node.kubelet import KUBELET_PORT
from tests.cluster.node.pod import Node, RunningPod
from tests.cluster.node.spec import NODE

__all__ = ["Agent", "keep_following", "keep_running"]

RETRY = 0.2
OVER = {"Succeeded", "Failed"}
log = logging.getLogger("node")


class Agent:
    """Owns the tasks of all pods."""

    def __init__(self, node: Node, group: asyncio.TaskGroup) -> None:
        self._node, self._group = node, group
        self._pods: dict[str, RunningPod] = {}
        self._binding = set[str]()

    async def register(self) -> None:
        conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": timestamp()}]
        capacity = {"cpu": "64", "memory": "64Gi", "pods": "5000"}
        status = {
            "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            "conditions": conditions,
            "capacity": capacity,
            "allocatable": capacity,
        }
        labels = {"kubernetes.io/hostname": NODE}
        await self._node.api.create(namespaced("nodes"), {"metadata": {"name": NODE, "labels": labels}})
        await self._node.api.merge(namespaced("nodes", name=NODE) + "/status", {"status": status})
        await self._node.api.merge(namespaced("nodes", name=NODE), {"spec": {"taints": None}})

    async def run(self) -> None:
        path = namespaced("pods")
        while True:
            try:
                listed = await self._node.api.get(path)
                self._listed(listed["items"])
                async for kind, pod in self._node.api.watch(path, listed["metadata"]["resourceVersion"]):
                    if kind == "DELETED":
                        self._gone(pod["metadata"]["uid"])
                    elif kind != "BOOKMARK":
                        self._seen(pod)
            except (httpx.HTTPError, ApiError) as error:
                log.info("pods: %r; listing again", error)
                await asyncio.sleep(RETRY)

    def address_of(self, namespace: str, name: str) -> str | None:
        """The address of a pod that runs here."""
        path = namespaced("pods", namespace, name)
        return next((pod.address for pod in self._pods.values() if pod.path == path), None)

    async def keep_spare_networks(self) -> None:
        """For ever, as long as networks can be made."""
        while True:
            await asyncio.to_thread(self._node.sandboxes.fill)
            await asyncio.sleep(0.5)

    def _listed(self, pods: list[Object]) -> None:
        for uid in self._pods.keys() - {pod["metadata"]["uid"] for pod in pods}:
            self._gone(uid)
        for pod in pods:
            self._seen(pod)

    def _seen(self, pod: Object) -> None:
        uid, running = pod["metadata"]["uid"], self._pods.get(pod["metadata"]["uid"])
        if "deletionTimestamp" in pod["metadata"]:
            if running is not None:
                running.terminate(float(pod["metadata"].get("deletionGracePeriodSeconds", 30)))
            elif uid not in self._binding:
                self._group.create_task(self._delete(pod))
        elif running is None and uid not in self._binding and pod.get("status", {}).get("phase") not in OVER:
            self._binding.add(uid)
            self._group.create_task(self._take(pod), name=f"start of {pod['metadata']['name']}")

    def _gone(self, uid: str) -> None:
        if uid in self._pods:
            self._pods[uid].abandon()

    async def _take(self, pod: Object) -> None:
        """Bind and start a pod, without waiting for the API server to report the binding."""
        uid = pod["metadata"]["uid"]
        self._node.tell("seen", pod, "", 0)
        try:
            if not pod["spec"].get("nodeName"):
                await self._bind(pod)
        except (httpx.HTTPError, ApiError) as error:
            log.info("binding of %s: %r", pod["metadata"]["name"], error)
            await asyncio.sleep(RETRY)
            self._binding.discard(uid)
            return
        self._node.tell("bound", pod, "", 0)
        try:
            self._pods[uid] = running = RunningPod(self._node, pod, lambda: self._forget(uid))
            self._binding.discard(uid)
            await running.run()
        except* Exception:
            log.exception("pod %s; once more", pod["metadata"]["name"])
            failed = True
        else:
            failed = False
        self._binding.discard(uid)
        if failed:
            await asyncio.sleep(RETRY)
            await self._look_at(pod)

    async def _look_at(self, pod: Object) -> None:
        """Begin with the pod anew if it is still there; there may be no other event about it."""
        metadata = pod["metadata"]
        try:
            found = await self._node.api.find(namespaced("pods", metadata["namespace"], metadata["name"]))
        except (httpx.HTTPError, ApiError) as error:
            log.info("look at %s: %r", metadata["name"], error)
            return
        if found is not None and found["metadata"]["uid"] == metadata["uid"]:
            self._seen(found)

    async def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
            "target": target,
        }
        await self._node.api.create(namespaced("pods", metadata["namespace"], metadata["name"]) + "/binding", body)

    async def _delete(self, pod: Object) -> None:
        """Delete the object of a pod that was never started here."""
        metadata = pod["metadata"]
        path = namespaced("pods", metadata["namespace"], metadata["name"])
        try:
            await self._node.api.delete(path, {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}})
        except (httpx.HTTPError, ApiError) as error:
            log.info("deletion of %s: %r", metadata["name"], error)

    def _forget(self, uid: str) -> None:
        self._pods.pop(uid, None)


async def keep_running(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do one of the works of the node for ever, again after any error: without it no later test can pass."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("%s; again", what)
        await asyncio.sleep(RETRY)


async def keep_following(api: Api, path: str, seen: Callable[[Object, bool], None], cleared: Callable[[], None]) -> None:
    """Follows a collection for ever; cleared() is called before the objects of every new list."""
    while True:
        try:
            await api.follow(path, seen, cleared)
        except (httpx.HTTPError, ApiError) as error:
            log.info("%s: %r; listing again", path, error)
            await asyncio.sleep(RETRY)
