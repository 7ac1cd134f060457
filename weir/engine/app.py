"""One app of the engine: KEDA's client, the autoscaler's decisions and the replicas that follow them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.discovery.sources import Backend
from fleet.runtime.tasks import cancel_and_wait
from protos.externalscaler import externalscaler_pb2 as pb
from weir.engine.autoscaler import Autoscaler, Policy, Reading
from weir.engine.keda import KedaClient
from weir.engine.replica import Replica
from weir.engine.rollout import Standing, plan
from weir.engine.spec import AppSpec
from weir.engine.supervisor import State, Yard

if TYPE_CHECKING:
    from protos.externalscaler.externalscaler_pb2_grpc import ExternalScalerAsyncStub

__all__ = ["App", "Publish"]

Publish = Callable[[str, tuple[Backend, ...]], None]
"""Takes the key of a route's target and its ready backends."""

_log = logging.getLogger(__name__)


class App:
    """Runs from `start` to `close`. Everything happens on the loop's thread."""

    def __init__(
        self,
        spec: AppSpec,
        directory: Path,
        stub: ExternalScalerAsyncStub,
        *,
        scaler_address: str,
        poll_interval: Callable[[], float],
        yard: Yard,
        publish: Publish,
    ) -> None:
        self.spec = spec
        self._base = directory
        self._yard, self._publish = yard, publish
        self._clock = asyncio.get_running_loop().time
        self._autoscaler = Autoscaler(_policy(spec), self._clock())
        self._replicas: list[Replica] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._closing = False
        self._drain = True
        self._client = KedaClient(
            stub,
            pb.ScaledObjectRef(
                name=spec.name,
                namespace=spec.namespace,
                scalerMetadata={"scalerAddress": scaler_address, "app": spec.key},
            ),
            poll_interval=poll_interval,
            asleep=lambda: self._autoscaler.desired == 0,
            on_active=self._activated,
            on_reading=self._read,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """All that exist, those that are ending included."""
        return tuple(self._replicas)

    @property
    def desired(self) -> int:
        return self._autoscaler.desired

    @property
    def joined(self) -> asyncio.Event:
        """Set once the scaler knows the app."""
        return self._client.joined

    def start(self) -> None:
        """Start the replicas that must always be there, and begin to ask the scaler."""
        self._task = self._yard.tasks.create_task(self._client.run(), name=f"app {self.spec.key}")
        self._reconcile()

    def update(self, spec: AppSpec) -> None:
        """Take what the file says now. Replicas that would be the same live on, others are replaced one for one."""
        self.spec = spec
        self._autoscaler.configure(_policy(spec))
        self._reconcile()

    def end_is_near(self) -> None:
        """Components are about to end, so that what they fail to answer is no news."""
        self._client.quiet = True

    async def close(self, *, drain: bool) -> None:
        """Stop asking, then end every replica. Without drain when nothing can reach them any more."""
        self._closing = True
        self._drain = drain
        await cancel_and_wait(self._task)
        for replica in self._replicas:
            self._retire(replica, asyncio.create_task)
        self._publish_ready()
        if self._ending:
            await asyncio.gather(*self._ending)

    def _activated(self) -> None:
        before = self.desired
        if self._autoscaler.pushed(self._clock()) != before:
            self._told(before, "requests are waiting")
            self._reconcile()

    def _read(self, reading: Reading) -> None:
        before = self.desired
        if self._autoscaler.polled(reading, self._clock()) != before:
            self._told(before, _because(reading))
            self._reconcile()

    def _told(self, before: int, why: str) -> None:
        _log.info("%s: %d -> %d replicas: %s", self.spec.key, before, self.desired, why)

    def _reconcile(self) -> None:
        standing = {replica.number: replica for replica in self._replicas if replica.state is not State.DRAINING}
        rollout = plan([self._standing(replica) for replica in standing.values()], self.desired)
        for _ in range(rollout.start):
            self._start_replica()
        for number in rollout.retire:
            self._retire(standing[number], self._yard.tasks.create_task)
        if rollout.retire:
            self._publish_ready()

    def _standing(self, replica: Replica) -> Standing:
        current = replica.spec.same_process(self.spec)
        return Standing(number=replica.number, ready=replica.state is State.READY, current=current)

    def _start_replica(self) -> None:
        used = {replica.number for replica in self._replicas}
        number = next(number for number in range(1, len(used) + 2) if number not in used)
        directory = self.spec.directory(self._base)
        replica = Replica(self.spec, number, directory, yard=self._yard, on_change=self._changed)
        self._replicas.append(replica)
        replica.start()

    def _retire(self, replica: Replica, create_task: Callable[..., asyncio.Task[None]]) -> None:
        if replica.state is State.DRAINING:
            return
        replica.withdraw()
        task = create_task(self._retired(replica), name=f"end of {self.spec.key} {replica.number}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _retired(self, replica: Replica) -> None:
        await replica.end(self.spec.drain if self._drain else 0.0)
        self._replicas.remove(replica)

    def _changed(self) -> None:
        self._publish_ready()
        if not self._closing:
            self._reconcile()

    def _publish_ready(self) -> None:
        self._publish(self.spec.key, tuple(r.backend for r in self._replicas if r.backend is not None))


def _policy(spec: AppSpec) -> Policy:
    return Policy(minimum=spec.min, maximum=spec.max, cooldown=spec.cooldown, scale_down_window=spec.scale_down_window)


def _because(reading: Reading) -> str:
    if not reading.active:
        return "no requests"
    return ", ".join(f"{metric.value:g} for a target of {metric.target:g}" for metric in reading.metrics)
