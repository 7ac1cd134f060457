"""One app of the engine: its triggers, the autoscaler's decision, and the replicas that are started and stopped to follow it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.discovery.sources import Backend, Trouble
from fleet.runtime.tasks import cancel_and_wait
from fleet.schedules.windows import Minimum
from protos.externalscaler import externalscaler_pb2 as pb
from weir.engine.appevents import AppEvents
from weir.engine.autoscaler import Autoscaler, Policy, Reading
from weir.engine.backoff import Backoff
from weir.engine.before import Before, Needs
from weir.engine.held import Held
from weir.engine.keda import KedaClient
from weir.engine.replica import Replica
from weir.engine.rollout import Rollout, Standing, plan, plan_alone
from weir.engine.schedule import ScheduleClock
from weir.engine.spec import AppSpec
from weir.engine.supervisor import ProcessContext, State
from weir.engine.triggers import Triggers

if TYPE_CHECKING:
    from protos.externalscaler.externalscaler_pb2_grpc import ExternalScalerAsyncStub

__all__ = ["App", "AtWork", "Publish"]

Publish = Callable[[str, tuple[Backend, ...], Trouble | None], None]
"""Called with the key of a route's target and its ready backends, or with the reason why there is none."""
AtWork = Callable[[str], Awaitable[Mapping[Backend, int] | None]]
"""For a target: the open exchanges at each backend that may get new requests or still has open ones. None when unknown."""

HOPELESS_AFTER = 3
"""When every replica has failed this often in a row, requests are refused at once, until a replica becomes ready."""
FIRST_LOOK, LONGEST_LOOK = 0.02, 0.25
"""Shortest and longest pause in seconds between two checks whether a draining replica still has open requests."""

_log = logging.getLogger(__name__)


class App:
    """One app, from `start` to `close`. All methods run on the event loop's thread."""

    def __init__(
        self,
        spec: AppSpec,
        directory: Path,
        stub: ExternalScalerAsyncStub,
        *,
        scaler_address: str,
        poll_interval: Callable[[], float],
        context: ProcessContext,
        publish: Publish,
        at_work: AtWork,
        needs: Needs,
    ) -> None:
        self.spec = spec
        self.trouble = ""
        """Why a replica, or what runs before them, failed last. Cleared when one is ready or when the app's spec changes."""
        self.before = Before(spec, directory, context, needs, on_change=self._before_changed)
        self.held = Held(self._is_ready, self._trouble, self._held_changed)
        self._base = directory
        self._context, self._publish, self._at_work = context, publish, at_work
        self._clock = asyncio.get_running_loop().time
        self._autoscaler = Autoscaler(_policy(spec, held=False), self._clock())
        self.last_used: float | None = None
        """When there was demand for it last, in seconds since 1970; None if there was none since the engine has it."""
        self.schedule = ScheduleClock(self._scheduled)
        self._replicas: list[Replica] = []
        self._events = AppEvents(spec.key, context.events, context.suggestions)
        self._events.see(self._replicas, self.desired)
        self._ending: set[asyncio.Task[None]] = set()
        self._retiring_task: asyncio.Task[None] | None = None
        self._closing = False
        self._drain = True
        self._generation = 0

        def client(app: str, on_reading: Callable[[Reading], None]) -> KedaClient:
            metadata = {"scalerAddress": scaler_address, "app": app}
            return KedaClient(
                stub,
                pb.ScaledObjectRef(name=spec.name, namespace=spec.namespace, scalerMetadata=metadata),
                poll_interval=poll_interval,
                asleep=lambda: self._autoscaler.desired == 0,
                on_active=self._activated,
                on_reading=on_reading,
            )

        self._triggers = Triggers(spec.key, client, on_reading=self._read, create_task=context.tasks.create_task)

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """All existing replicas, including those that are ending."""
        return tuple(self._replicas)

    @property
    def desired(self) -> int:
        return self._autoscaler.desired

    @property
    def joined(self) -> asyncio.Event:
        """Set once the scaler has returned metrics for the app."""
        return self._triggers.joined

    def start(self) -> None:
        """Start the minimum number of replicas, and begin to poll the scaler."""
        self._triggers.start()
        self.schedule.follow([each.schedule() for each in self.spec.schedule])
        self._reconcile()

    def follow(self, others: Iterable[str]) -> None:
        """Set the apps whose requests it gets too, which then wake and scale it as its own do."""
        if not self._closing:
            self._triggers.follow(others)

    def update(self, spec: AppSpec) -> None:
        """Apply a changed spec. Replicas whose process would be the same keep running; others are replaced one by one."""
        if not spec.same_process(self.spec):
            self.trouble = ""
        self.spec = spec
        self.before.define(spec, self._generation)
        self._autoscaler.configure(_policy(spec, held=bool(self.held.by)))
        self.schedule.follow([each.schedule() for each in self.spec.schedule])
        self._reconcile()
        self._publish_ready()

    def wake(self) -> None:
        """Scale to at least one replica, as if a request had come."""
        self._ordered(self._autoscaler.pushed(self._clock()) if not self.desired else self.desired, "woken by hand")

    def sleep(self) -> None:
        """Scale to the minimum until the next request. Replicas finish their open requests within the drain timeout."""
        self._ordered(self._autoscaler.sleep(), "put to sleep by hand")

    def restart(self) -> None:
        """Replace every process by a new one, one by one, as after a change of the command."""
        self._generation += 1
        self.before.define(self.spec, self._generation)
        _log.info("%s: restarted by hand", self.spec.key)
        self._reconcile()

    def _ordered(self, desired: int, why: str) -> None:
        _log.info("%s: %d replicas: %s", self.spec.key, desired, why)
        self._reconcile()

    def expect_shutdown(self) -> None:
        """The components are about to stop: from now on do not log failed calls to the scaler."""
        self._triggers.hush()

    async def close(self, *, drain: bool) -> None:
        """Stop polling, then end every replica. Without `drain`, for when requests can no longer reach the replicas, end them
        at once."""
        self._closing = True
        self._drain = drain
        self.schedule.stop()
        await cancel_and_wait(*self._triggers.stop(), self._retiring_task)
        for replica in self._replicas:
            self._retire(replica, asyncio.create_task)
        self._publish_ready()
        await asyncio.gather(self.before.close(), *self._ending)

    def _activated(self) -> None:
        self.last_used = time.time()
        before = self.desired
        if self._autoscaler.pushed(self._clock()) != before:
            self._log_change(before, "requests are waiting")
            self._reconcile(asked=True)

    def _read(self, reading: Reading) -> None:
        if reading.active:
            self.last_used = time.time()
        before = self.desired
        if self._autoscaler.polled(reading, self._clock()) != before:
            self._log_change(before, _because(reading))
            self._reconcile(asked=True)

    def _scheduled(self, minimum: Minimum) -> None:
        before = self.desired
        if self._autoscaler.scheduled(minimum.replicas, self._clock()) != before:
            self._log_change(before, self.schedule.reason)
            self._reconcile()

    def _log_change(self, before: int, why: str) -> None:
        _log.info("%s: %d -> %d replicas: %s", self.spec.key, before, self.desired, why)

    def _reconcile(self, *, asked: bool = False) -> None:
        self._events.see(self._replicas, self.desired, self.before.refusal, asked=asked)
        rollout = self._plan({})
        for _ in range(rollout.start if rollout.start and self.before.passed() else 0):
            self._start_replica()
        if rollout.retire and self._retiring_task is None:
            name = f"fewer replicas of {self.spec.key}"
            self._retiring_task = task = self._context.tasks.create_task(self._retire_surplus(), name=name)
            task.add_done_callback(self._surplus_retired)

    async def _retire_surplus(self) -> None:
        """Retire surplus replicas: idle ones before those with open requests."""
        work = await self._at_work(self.spec.key)
        retire = self._plan(work or {}).retire
        for replica in [replica for replica in self._replicas if replica.number in retire]:
            self._retire(replica, self._context.tasks.create_task)
        if retire:
            self._publish_ready()

    def _surplus_retired(self, task: asyncio.Task[None]) -> None:
        self._retiring_task = None
        if not self._closing and not task.cancelled() and task.exception() is None:
            self._reconcile()  # desired state or replicas may have changed while it ran

    def _plan(self, work: Mapping[Backend, int]) -> Rollout:
        def is_current(replica: Replica) -> bool:
            return replica.spec.same_process(self.spec) and replica.generation == self._generation

        live = [replica for replica in self._replicas if replica.state is not State.DRAINING]
        busy = self._context.busy.replicas().get(self.spec.key, frozenset())
        standings = [_standing(replica, work, current=is_current(replica), busy=busy) for replica in live]
        if self.spec.port is None:
            return plan(standings, self.desired)
        return plan_alone(standings, self.desired, ending=len(live) < len(self._replicas))

    def _start_replica(self) -> None:
        used = {replica.number for replica in self._replicas}
        number = next(number for number in range(1, len(used) + 2) if number not in used)
        directory = self.spec.directory(self._base)
        replica = Replica(self.spec, number, directory, context=self._context, on_change=self._changed)
        replica.generation = self._generation
        self._replicas.append(replica)
        replica.start()

    def _retire(self, replica: Replica, create_task: Callable[..., asyncio.Task[None]]) -> None:
        if replica.state is State.DRAINING:
            return
        backend = replica.backend
        replica.withdraw()
        task = create_task(self._retired(replica, backend), name=f"end of {self.spec.key} {replica.number}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _retired(self, replica: Replica, backend: Backend | None) -> None:
        if self._drain and backend is not None:
            await replica.end(partial(_drained, self._at_work, self.spec, replica.number, backend))
        else:
            await replica.end()
        self._replicas.remove(replica)
        if not self._closing:
            self._events.see(self._replicas, self.desired, self.before.refusal)
        if self.spec.port is not None and not self._closing:
            self._reconcile()  # a replacement may have been waiting for the fixed port

    def _changed(self) -> None:
        problems = [replica.reason for replica in self._replicas if replica.state is State.FAILED]
        if self._is_ready():
            self.trouble = ""
        elif problems:
            self.trouble = problems[-1]
        self._publish_ready()
        if not self._closing:
            self._reconcile()

    def _before_changed(self) -> None:
        if self.before.refusal:
            self.trouble = self.before.refusal
            if all(replica.state is State.DRAINING for replica in self._replicas):
                self._autoscaler.sleep()  # to the next request, or to the next attempt if it has a minimum
        self._publish_ready()
        if not self._closing:
            self._reconcile()

    def _held_changed(self) -> None:
        if self._closing:
            return
        before = self.desired
        if before:
            self._autoscaler.pushed(self._clock())  # its cooldown begins when nobody holds it any more
        if self._autoscaler.configure(_policy(self.spec, held=bool(self.held.by))) != before:
            self._log_change(before, f"needed by what runs before {self.held.by}")
            self._reconcile()

    def _is_ready(self) -> bool:
        return any(replica.state is State.READY for replica in self._replicas)

    def _publish_ready(self) -> None:
        backends = tuple(replica.backend for replica in self._replicas if replica.backend is not None)
        self._publish(self.spec.key, backends, None if backends else self._trouble())

    def _trouble(self) -> Trouble | None:
        """Why the app has no ready replica; None while it has one or none has failed."""
        if (trouble := self.before.trouble) is not None:
            return trouble
        live = [replica for replica in self._replicas if replica.state is not State.DRAINING]
        worst = max(live, key=lambda replica: (bool(replica.reason), replica.failures), default=None)
        if worst is None:  # no replica exists: report the last failure until the next request starts one
            return Trouble(self.trouble, hopeless=False) if self.trouble else None
        if not worst.reason:
            return None
        return Trouble(worst.reason, hopeless=all(replica.failures >= HOPELESS_AFTER for replica in live))


def _standing(replica: Replica, work: Mapping[Backend, int], *, current: bool, busy: Collection[int]) -> Standing:
    backend = replica.backend
    return Standing(
        number=replica.number,
        ready=replica.state is State.READY,
        current=current,
        in_flight=(0 if backend is None else work.get(backend, 0)) + (replica.number in busy),
    )


async def _drained(at_work: AtWork, spec: AppSpec, number: int, backend: Backend) -> None:
    """Wait until no interceptor sends new requests to the replica and all open ones have ended, or until the drain timeout."""
    pauses = Backoff(FIRST_LOOK, LONGEST_LOOK)
    left: Mapping[Backend, int] | None = None
    try:
        async with asyncio.timeout(spec.drain):
            while (left := await at_work(spec.key)) is None or backend in left:  # noqa: ASYNC110  no event exists
                await asyncio.sleep(pauses.pause())
    except TimeoutError:
        count = "an unknown number of" if left is None else left.get(backend, 0)
        _log.warning("%s: replica %d: ends with %s requests in hand after %g s", spec.key, number, count, spec.drain)


def _policy(spec: AppSpec, *, held: bool) -> Policy:
    """`held`: it has a replica, whatever is asked of it."""
    most = spec.max if spec.port is None else 1  # with a fixed port only one process can listen
    least = max(spec.min, int(held))
    return Policy(
        minimum=min(least, most), maximum=min(spec.max, most), cooldown=spec.cooldown, scale_down_window=spec.scale_down_window
    )


def _because(reading: Reading) -> str:
    if not reading.active:
        return "no requests"
    return ", ".join(f"{metric.value:g} for a target of {metric.target:g}" for metric in reading.metrics)
