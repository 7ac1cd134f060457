"""One pod on the node: its network, volumes and containers, its status in the API server, and its end."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.cluster.api import Api, ApiError, Object, namespaced
from tests.cluster.network import NODE_ADDRESS, Sandbox, Sandboxes
from tests.cluster.node.container import Container, Start, timestamp
from tests.cluster.node.spec import Key, SpecError, Terms, command_line, environment
from tests.cluster.node.volumes import make_volumes, mount_script, mounts, read_keys, referenced

__all__ = ["Node", "RunningPod"]

RETRY = 0.2
"""Seconds between attempts to write a status while the API server cannot be reached."""


IMAGE_ENV = {
    "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": str(Path(__file__).parents[3]),
    "HOME": "/tmp",
}
"""Variables that images set: PATH has the commands of the virtual environment, which run the code of this checkout."""


@dataclass(frozen=True, slots=True)
class Node:
    """State that all pods of the node share."""

    api: Api
    sandboxes: Sandboxes
    images: Mapping[str, Sequence[str]]
    cwd: Path
    directory: Path

    def tell(self, event: str, pod: Object, container: str, pid: int) -> None:
        """Write one line for the tests: the time, the event, and the pod."""
        metadata = pod["metadata"]
        line = {
            "time": time.time(), "event": event, "namespace": metadata["namespace"], "pod": metadata["name"],
            "app": metadata.get("labels", {}).get("app", ""), "container": container, "pid": pid,
        }  # fmt: skip
        with (self.directory / "events.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


class RunningPod:
    """run() returns when the pod ends; terminate() ends it with a grace period, abandon() at once."""

    def __init__(self, node: Node, pod: Object, forget: Callable[[], None]) -> None:
        self._node, self._pod, self._forget = node, pod, forget
        self._sandbox: Sandbox = node.sandboxes.take()
        self._changed, self._turn = asyncio.Event(), asyncio.Event()
        self._since, self._ready_since = timestamp(), timestamp()
        self._ready = False
        self._ending: asyncio.Task[None] | None = None
        self._containers = [self._container(spec) for spec in pod["spec"]["containers"]]

    @property
    def path(self) -> str:
        metadata = self._pod["metadata"]
        return namespaced("pods", metadata["namespace"], metadata["name"])

    @property
    def address(self) -> str:
        return self._sandbox.address

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                reporter = group.create_task(self._report())
                await self._start(group)
                await self._until_over()
                reporter.cancel()
            await self._tell_over()
        finally:
            for container in self._containers:
                container.kill()
            self._node.sandboxes.offer(self._sandbox)
            self._forget()

    def terminate(self, grace: float) -> None:
        """A second call has no effect: the grace period of the first one applies."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(grace), name=f"end of {self.path}")
            self._turn.set()

    def abandon(self) -> None:
        """End at once: the pod's object has been deleted already."""
        self.terminate(0.0)
        for container in self._containers:
            container.kill()

    async def _start(self, group: asyncio.TaskGroup) -> None:
        starts = await self._until_prepared()
        policy = self._pod["spec"].get("restartPolicy", "Always")
        for container, start in zip(self._containers, starts, strict=False):
            group.create_task(container.run(start, policy), name=f"{self.path}/{container.name}")

    async def _until_prepared(self) -> list[Start]:
        """Wait for objects that the pod refers to, which may be created after it."""
        while self._ending is None:
            try:
                return await self._prepare()
            except (SpecError, ApiError, httpx.HTTPError) as error:
                for container in self._containers:
                    container.refuse(getattr(error, "reason", "CreateContainerError"), str(error))
            await asyncio.sleep(RETRY)
        return []

    async def _prepare(self) -> list[Start]:
        keys = referenced(self._pod)
        values = await read_keys(self._node.api, self._pod["metadata"]["namespace"], keys) if keys else {}

        def lookup(key: Key) -> Mapping[str, str] | None:
            return values.get(key)

        terms = Terms(self._pod, self._sandbox.address, lookup)
        directory = self._node.directory / "pods" / self._pod["metadata"]["namespace"] / self._pod["metadata"]["name"]
        directory.mkdir(parents=True, exist_ok=True)
        volumes = await make_volumes(self._node.api, terms, directory / "volumes")
        return [self._command(container.spec, terms, volumes, directory) for container in self._containers]

    def _command(self, spec: Object, terms: Terms, volumes: Mapping[str, Path], directory: Path) -> Start:
        values = environment(spec, terms)
        argv = command_line(spec, self._node.images, values)
        read_only = bool(spec.get("securityContext", {}).get("readOnlyRootFilesystem"))
        wanted = mounts(spec, volumes)
        if wanted or read_only:
            script = mount_script(wanted, read_only_root=read_only)
            argv = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script, "sh", *argv]
        log = directory / f"{spec['name']}.log"
        return Start([*self._sandbox.enter, *argv], {**IMAGE_ENV, **values}, self._node.cwd, log)

    async def _until_over(self) -> None:
        """Wait until the pod was terminated, or its containers have ended for good."""
        while self._ending is None and not self._over():
            await self._turn.wait()
            self._turn.clear()
        if self._ending is not None:
            await self._ending

    def _over(self) -> bool:
        never = self._pod["spec"].get("restartPolicy", "Always") != "Always"
        return never and all("terminated" in container.state for container in self._containers)

    async def _end(self, grace: float) -> None:
        self._node.tell("terminating", self._pod, "", 0)
        await asyncio.gather(*(container.end(grace) for container in self._containers))

    async def _tell_over(self) -> None:
        await self._until_told(self.path + "/status", {"status": self._status()})
        self._node.tell("deleted", self._pod, "", 0)
        if self._ending is not None:
            uid = self._pod["metadata"]["uid"]
            await self._node.api.delete(self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})

    async def _report(self) -> None:
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._until_told(self.path + "/status", {"status": self._status()})

    async def _until_told(self, path: str, body: Object) -> None:
        while True:
            try:
                await self._node.api.merge(path, body)
            except httpx.HTTPError:
                await asyncio.sleep(RETRY)
            except ApiError as error:
                if error.status in {404, 409}:
                    return
                await asyncio.sleep(RETRY)
            else:
                return

    def _container(self, spec: Object) -> Container:
        def told(event: str, pid: int) -> None:
            self._node.tell(event, self._pod, spec["name"], pid)

        def changed() -> None:
            self._changed.set()
            self._turn.set()

        return Container(spec, self._sandbox.address, changed=changed, told=told)

    def _status(self) -> Object:
        ready = bool(self._containers) and all(container.ready for container in self._containers)
        if ready != self._ready:
            self._ready, self._ready_since = ready, timestamp()
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": self._since},
            {"type": "Initialized", "status": "True", "lastTransitionTime": self._since},
            {"type": "ContainersReady", "status": str(ready), "lastTransitionTime": self._ready_since},
            {"type": "Ready", "status": str(ready), "lastTransitionTime": self._ready_since},
        ]
        return {
            "phase": self._phase(),
            "conditions": conditions,
            "hostIP": NODE_ADDRESS,
            "podIP": self._sandbox.address,
            "podIPs": [{"ip": self._sandbox.address}],
            "startTime": self._since,
            "containerStatuses": [_container_status(container) for container in self._containers],
        }

    def _phase(self) -> str:
        states = [container.state for container in self._containers]
        if self._over() or (self._ending is not None and all("terminated" in state for state in states)):
            failed = any(state["terminated"]["exitCode"] for state in states)
            return "Failed" if failed else "Succeeded"
        return "Pending" if any(state.get("waiting", {}).get("reason") == "ContainerCreating" for state in states) else "Running"


def _container_status(container: Container) -> Object:
    return {
        "name": container.name,
        "image": container.spec["image"],
        "imageID": container.spec["image"],
        "ready": container.ready,
        "started": container.started,
        "restartCount": container.restarts,
        "state": container.state,
        "lastState": container.last_state,
    }
