"""One term of leadership: owns everything that writes, from its start to its end. Nothing of a term is used after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec

from controller.advice import Adviser
from controller.autoscalers import SCALED_OBJECT
from controller.busy import Busyness
from controller.copies import NO_GRANTS
from controller.crds import HTTP_SCALED_OBJECTS
from controller.dependents import Dependents
from controller.events import EventRecorder
from controller.finding import Finding
from controller.interceptors import InterceptorSource
from controller.portleases.part import PortSystem, PortTerm
from controller.preview.desk import PreviewDesk
from controller.preview.grants import PreviewGrants
from controller.preview.releasing import Releaser
from controller.propagation import Propagation
from controller.publisher import Publisher
from controller.queue import WorkQueue
from controller.reachability_evidence import EvidenceReader, subject_of
from controller.reachability_reports import Reports
from controller.reachability_survey import Survey
from controller.reachability_tracker import Tracker
from controller.reconciler import Reconciler
from controller.resources import Key, Resource
from controller.selection import SURVEYED, reachable
from controller.status import BUSY, NOT_OBSERVED, REACHABLE
from controller.store import TableStore
from controller.suggestions import Suggestions
from controller.verify import Verifier
from controller.wakes import Wakes
from controller.wiring import Scaler
from controller.world import World
from fleet.defaults import MAX_PORTS_OF_FLEET, MAX_PORTS_OF_NAMESPACE
from fleet.discovery.busy import BusySource
from fleet.discovery.kubernetes.client import Api
from fleet.routing.table import RoutingTable
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Term", "TermDependencies"]

COLLECT_SECONDS = 0.05
"""Seconds for which answers of interceptors are collected, to be processed together."""


class TermDependencies(msgspec.Struct, frozen=True):
    """Objects that a term uses, and that exist before and after it."""

    api: Api
    world: World
    store: TableStore
    interceptors: InterceptorSource
    channels: ChannelFactory
    scaler: Scaler
    instance: str
    workers: int
    verify_timeout: float
    resync: float
    leads: Callable[[], bool]
    """Whether this process still holds the lease."""
    leases: BusySource
    """Those by which applications keep themselves awake."""
    wakes: Callable[[Suggestions], Wakes]
    """Makes what follows applications, for events and for suggestions."""
    last_wake: Callable[[str], str | None] = lambda app: None
    """The last wake of an application that this process has seen."""
    ports: PortSystem | None = None
    """Leases of ports; None where they are off."""
    max_ports: int = MAX_PORTS_OF_FLEET
    """Ports of all applications together."""
    port_quota: int = MAX_PORTS_OF_NAMESPACE
    """Of those of one namespace."""
    previews: Callable[[EventRecorder], PreviewDesk | Releaser | None] = lambda _: None
    """Makes what looks after Preview objects."""


class Term:
    """Create one and run it, within a running loop."""

    def __init__(self, dependencies: TermDependencies) -> None:
        self._dependencies = dependencies
        self._world = dependencies.world
        self.propagation = Propagation()
        self.ports = PortTerm(
            dependencies.ports,
            dependencies.max_ports,
            dependencies.port_quota,
            api=dependencies.api,
            world=dependencies.world,
            assembly=lambda: self.publisher.assembly,
            not_listening=self.propagation.not_listening,
            on_routes=self.on_routes,
            on_objects=self._on_objects,
            later=lambda key, seconds: self.queue.add(key, after=seconds),
            leads=dependencies.leads,
        )
        self.recorder = EventRecorder(dependencies.api, dependencies.instance)
        self.publisher = Publisher(
            dependencies.world.objects,
            dependencies.world.bodies,
            dependencies.store,
            self.propagation,
            authorities=dependencies.world.authorities,
            ports=self.ports.view,
            grants=lambda: NO_GRANTS if self._grants is None else self._grants.current,
            on_objects=self._on_assembled,
            on_published=self._on_published,
            leads=dependencies.leads,
        )
        self._previews = dependencies.previews(self.recorder)
        self._grants = PreviewGrants(self._previews.previews, self.on_routes) if isinstance(self._previews, PreviewDesk) else None
        self._busy = Busyness(
            lambda: dependencies.leases.current,
            on_app=self._on_app,
            later=lambda resource, seconds: self.queue.add(resource.key, after=seconds),
        )
        self._dependents = Dependents(self._table, self._is_active, self._on_app)
        self._suggestions = Suggestions(self._table, self._on_app)
        self._wakes = dependencies.wakes(self._suggestions)
        self.reconciler = Reconciler(
            dependencies.api,
            dependencies.world,
            self.propagation,
            dependencies.scaler,
            self.recorder,
            assembly=lambda: self.publisher.assembly,
            later=lambda key, seconds: self.queue.add(key, after=seconds),
            reachable=self._reachable,
            more=self._more,
            last_wake=dependencies.last_wake,
            ports=self.ports.facts,
        )
        self._adviser = Adviser(
            dependencies.world, dependencies.scaler, self.recorder, later=lambda key, seconds: self.queue.add(key, after=seconds)
        )
        subject, reader = partial(subject_of, dependencies.world), EvidenceReader(dependencies.api)
        self.tracker = Tracker(subject=subject, look=reader.look, on_finding=self._on_app)
        self._survey = Survey(subject=subject, look=reader.survey, on_finding=self._on_app)
        self._reports = Reports(dependencies.channels, watcher=dependencies.instance, on_message=self._on_report)
        self.queue: WorkQueue[Key] = WorkQueue(self._work, workers=dependencies.workers, name="reconcile")
        self._verifier = Verifier(
            self.propagation,
            dependencies.channels,
            timeout=dependencies.verify_timeout,
            recheck=dependencies.resync,
            on_answer=self._on_progress,
        )
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled."""
        tasks: list[asyncio.Task[None]] = []
        unsubscribe = self._dependencies.leases.subscribe(self._busy.on_leases)
        try:
            await self._world.known()
            await self.ports.known()
            self.recorder.start()
            self.queue.start()
            self.tracker.start()
            self._survey.start()
            self._wakes.start()
            if self._previews is not None:
                self._previews.start()
            self.on_interceptors()
            self.on_routes()
            self._on_objects(self._world.scaled_object_keys())
            tasks = [
                asyncio.create_task(self.publisher.run(), name="publish"),
                asyncio.create_task(self._report_progress(), name="propagation"),
                asyncio.create_task(self._look_again(), name="surroundings"),
                asyncio.create_task(self.ports.run(), name="ports"),
                *([asyncio.create_task(self._grants.run(), name="grants")] if self._grants is not None else ()),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            unsubscribe()
            await cancel_and_wait(*tasks)
            await self._wakes.close()
            if self._previews is not None:
                await self._previews.close()
            await self._verifier.close()
            await self._reports.close()
            await self.tracker.close()
            await self._survey.close()
            await self.queue.close()
            await self.recorder.close()

    async def _work(self, key: Key) -> None:
        if key.kind == SCALED_OBJECT.kind:
            self._adviser.look(key)
        else:
            self._survey.observe(key.app)
            failed = await self.ports.keep(key)
            await self.reconciler.reconcile(key)
            if failed is not None:
                raise failed

    # Called by the world.

    def on_object(self, key: Key) -> None:
        self.queue.add(key)
        self._wakes.look(key.app)
        if self._previews is not None:
            self._previews.look(key)

    def on_wake(self, app: str) -> None:
        """An application has woken: its status keeps that beyond this process."""
        namespace, _, name = app.partition("/")
        self.queue.add(Key(HTTP_SCALED_OBJECTS.kind, namespace, name))

    def on_routes(self) -> None:
        self.publisher.changed()

    def on_interceptors(self) -> None:
        interceptors = self._dependencies.interceptors.current
        if interceptors is not None:
            self.propagation.members(interceptors)
            self._verifier.members(interceptors)
            self._reports.members(interceptors)
            self._on_progress()

    def _reachable(self, resource: Resource) -> Finding | None:
        """The finding about requests to the object. A finding of a previous leader is checked again."""
        app = resource.key.app
        found = self.tracker.finding(app)
        before = resource.conditions.get(REACHABLE)
        if found is None and before is not None and before.status != "True" and before.reason not in NOT_OBSERVED | SURVEYED:
            self.tracker.adopt(app, Finding(before.status, before.reason, before.message))
        return reachable(found, self._survey.finding(app), before.reason if before is not None else "")

    def _more(self, resource: Resource) -> Mapping[str, Finding]:
        """Findings that only some objects have."""
        busy = self._busy.finding(resource)
        found = {} if busy is None else {BUSY: busy}
        return {**found, **self._dependents.findings(resource), **self._suggestions.findings(resource)}

    def _table(self) -> RoutingTable | None:
        assembly = self.publisher.assembly
        return None if assembly is None else assembly.table

    def _is_active(self, app: str) -> bool:
        """Whether KEDA has heard of demand for it."""
        return any(found.active for found in self._world.scaled_objects_for(app))

    # Called by the parts.

    def _on_report(self) -> None:
        demands = self._reports.demands
        self.tracker.observe(demands)
        self._wakes.on_demands(demands)
        self._busy.on_answers(self._reports.busy)

    def _on_app(self, app: str) -> None:
        self._on_objects(self._world.objects_of(app))

    def _on_objects(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.queue.add(key)

    def _on_assembled(self, keys: Iterable[Key]) -> None:
        self._on_objects(keys)
        self.ports.on_assembled()
        self._dependents.read()
        self._suggestions.read()

    def _on_published(self) -> None:
        self._verifier.wake()
        self._on_progress()

    def _on_progress(self) -> None:
        self._progress.set()

    async def _report_progress(self) -> None:
        while True:
            await self._progress.wait()
            await asyncio.sleep(COLLECT_SECONDS)
            self._progress.clear()
            for app in self.propagation.changed():
                self._on_objects(self._world.objects_of(app))

    async def _look_again(self) -> None:
        """Process what was not known at the start of the term once it is known."""
        await self._dependencies.interceptors.known()
        self.on_interceptors()
        synced = (self._world.services.synced, self._world.scaled_objects.synced)
        unread = [event for event in synced if not event.is_set()]
        await self._world.scaled_objects.tried()
        if self._world.scaled_objects.absent:
            self._on_all_objects()
        for event in unread:
            await event.wait()
            self._on_all_objects()
        await asyncio.Event().wait()

    def _on_all_objects(self) -> None:
        self._on_objects([resource.key for resource in self._world.objects()])
