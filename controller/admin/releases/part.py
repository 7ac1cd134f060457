"""Releases as a part of the Admin API: what they are made of, its start and its end."""

from __future__ import annotations

import asyncio

from controller.admin.authorization import Authorizer
from controller.admin.journal import Journal
from controller.admin.locks import Locks
from controller.admin.releases.charts import Charts
from controller.admin.releases.guard import Guard
from controller.admin.releases.helm import Helm
from controller.admin.releases.operating import Operator
from controller.admin.releases.recovery import ReleaseRecovery
from controller.admin.releases.releases import Releases
from controller.admin.releases.session import Sessions
from controller.admin.sse import Streams
from controller.settings import ControllerSettings
from fleet.discovery.kubernetes.client import Api
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["ReleasesPart"]

LABEL = "weir.dev/admin-release"
PREFIX = "weir-release"
"""Of the journal's ConfigMaps."""


class ReleasesPart:
    """`namespace` is Weir's own, where the journal is."""

    def __init__(self, settings: ControllerSettings, api: Api, *, namespace: str, streams: Streams) -> None:
        helm = Helm(settings.admin_helm)
        journal = Journal(api, namespace, settings.controller_name, label=LABEL, prefix=PREFIX)
        locks = Locks()
        self._guard = Guard(api, Authorizer(api), settings.watched)
        sessions = Sessions(api, helm, self._guard)
        self._recovery = ReleaseRecovery(sessions, journal, locks)
        operator = Operator(journal, self._recovery, locks)
        charts = Charts(api, helm, settings.chart_sources)
        self.releases = Releases(sessions, charts, operator, domain=settings.admin_domain)
        self.streams = streams
        self.old_namespace = settings.admin_helm_namespace
        """Namespace of releases that come by the paths of helm-web-api; "" if there are none."""
        self.default_repository = next((source for source in settings.chart_sources if source.startswith("http")), None)
        """Where those take a chart from that say no more than its name."""
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Raises StartError."""
        await self._guard.start()
        self.tasks = [asyncio.create_task(self._recovery.run(), name="admin:release-recovery")]

    async def stop(self) -> None:
        """End what is under way; the next controller undoes it."""
        tasks, self.tasks = self.tasks, []
        await self.releases.close()
        await cancel_and_wait(*tasks)
        await self._guard.stop()
