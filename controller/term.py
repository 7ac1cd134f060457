"""One term of leadership: everything that writes, from its beginning to its end. Nothing of a term outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from controller.advice import Adviser
from controller.autoscalers import SCALED_OBJECT
from controller.events import EventRecorder
from controller.finding import Finding
from controller.interceptors import InterceptorSource
from controller.propagation import Propagation
from controller.publisher import Publisher
from controller.queue import WorkQueue
from controller.reachability_evidence import Looker, subject_of
from controller.reachability_reports import Reports
from controller.reachability_survey import Survey
from controller.reachability_tracker import Tracker
from controller.reconciler import Reconciler
from controller.resources import Key, Resource
from controller.selection import SURVEYED, reachable
from controller.status import NOT_OBSERVED, REACHABLE
from controller.store import TableStore
from controller.verify import Verifier
from controller.wiring import Scaler
from controller.world import World
from fleet.discovery.kubernetes.client import Api
from fleet.runtime.channels import ChannelFactory
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Means", "Term"]

NEWS_SECONDS = 0.05
"""Answers of interceptors that come together are looked at together."""


class Means(msgspec.Struct, frozen=True):
    """What a term works with; it was there before and stays after."""

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
    """Whether nobody else may lead by now."""


class Term:
    """Make one and run it, within a running loop."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._world = means.world
        self.propagation = Propagation()
        self.recorder = EventRecorder(means.api, means.instance)
        self.publisher = Publisher(
            means.world.objects,
            means.world.bodies,
            means.store,
            self.propagation,
            on_objects=self._on_objects,
            on_published=self._on_published,
            leads=means.leads,
        )
        self.reconciler = Reconciler(
            means.api,
            means.world,
            self.propagation,
            means.scaler,
            self.recorder,
            assembly=lambda: self.publisher.assembly,
            later=lambda key, seconds: self.queue.add(key, after=seconds),
            reachable=self._reachable,
        )
        self._adviser = Adviser(
            means.world, means.scaler, self.recorder, later=lambda key, seconds: self.queue.add(key, after=seconds)
        )
        subject, looker = partial(subject_of, means.world), Looker(means.api)
        self.tracker = Tracker(subject=subject, look=looker.look, on_finding=self._on_app)
        self._survey = Survey(subject=subject, look=looker.survey, on_finding=self._on_app)
        self._reports = Reports(means.channels, watcher=means.instance, on_news=lambda: self.tracker.heed(self._reports.demands))
        self.queue: WorkQueue[Key] = WorkQueue(self._work, workers=means.workers, name="reconcile")
        self._verifier = Verifier(
            self.propagation,
            means.channels,
            timeout=means.verify_timeout,
            recheck=means.resync,
            on_news=self._on_news,
        )
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._world.known()
            self.recorder.start()
            self.queue.start()
            self.tracker.start()
            self._survey.start()
            self.on_interceptors()
            self.on_routes()
            self._on_objects(self._world.scaled_object_keys())
            tasks = [
                asyncio.create_task(self.publisher.run(), name="publish"),
                asyncio.create_task(self._heed_news(), name="propagation"),
                asyncio.create_task(self._look_again(), name="surroundings"),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await cancel_and_wait(*tasks)
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
            self._survey.heed(key.app)
            await self.reconciler.reconcile(key)

    # What the world tells.

    def on_object(self, key: Key) -> None:
        self.queue.add(key)

    def on_routes(self) -> None:
        self.publisher.changed()

    def on_interceptors(self) -> None:
        interceptors = self._means.interceptors.current
        if interceptors is not None:
            self.propagation.members(interceptors)
            self._verifier.members(interceptors)
            self._reports.members(interceptors)
            self._on_news()

    def _reachable(self, resource: Resource) -> Finding | None:
        """What is known of requests to it. What another controller found before is looked at again."""
        app = resource.key.app
        found = self.tracker.finding(app)
        before = resource.conditions.get(REACHABLE)
        if found is None and before is not None and before.status != "True" and before.reason not in NOT_OBSERVED | SURVEYED:
            self.tracker.adopt(app, Finding(before.status, before.reason, before.message))
        return reachable(found, self._survey.finding(app), before.reason if before is not None else "")

    # What the parts tell each other.

    def _on_app(self, app: str) -> None:
        self._on_objects(self._world.objects_of(app))

    def _on_objects(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.queue.add(key)

    def _on_published(self) -> None:
        self._verifier.wake()
        self._on_news()

    def _on_news(self) -> None:
        self._news.set()

    async def _heed_news(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(NEWS_SECONDS)
            self._news.clear()
            for app in self.propagation.changed():
                self._on_objects(self._world.objects_of(app))

    async def _look_again(self) -> None:
        """What was not known at the beginning of the term is looked at once it is."""
        await self._means.interceptors.known()
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
