"""Holds a Lease: runs the leader's work while it has it, and stops the work before another process may take it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from controller.election import Election, Lease
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import Resource
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["LEASES", "Leader"]

LEASES = Resource("/apis/coordination.k8s.io/v1", "leases")
RELEASED_SECONDS = 1
"""Duration in seconds of a released lease."""

_log = logging.getLogger(__name__)


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()
    spec: _Spec = _Spec()


class Leader:
    """`lead` runs while the lease is held, and is cancelled when it is lost. It must not return by itself."""

    def __init__(
        self, api: Api, namespace: str, name: str, *, identity: str, duration: float, lead: Callable[[], Awaitable[None]]
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._lead = lead
        self._election = Election(identity, duration)
        self._clock = asyncio.get_running_loop().time
        self._leading: asyncio.Task[None] | None = None
        self._acquired = ""
        self._complaint = ""

    @property
    def leads(self) -> bool:
        return self._election.leads(self._clock())

    @property
    def holder(self) -> str:
        """Who leads, as far as known."""
        lease = self._election.lease
        return "" if lease is None else lease.holder

    async def run(self) -> None:
        """Run until cancelled; then release the lease. Raises what `lead` raises."""
        try:
            while True:
                await self._try()
                await self._act()
                await self._pause()
        finally:
            await self._stop()
            await self._release()

    async def _try(self) -> None:
        """Renew the lease, or take it if allowed."""
        asked_at = self._clock()
        try:
            if not self._election.leads(asked_at):
                self._election.observed(await self._get(), self._clock())
                if not self._election.may_take(self._clock()):
                    return
                asked_at = self._clock()
            held = await self._put(self._identity, self._duration)
            self._election.renewed(held, asked_at, self._clock())
            self._complaint = ""
        except ApiError as error:
            await self._refused(error)

    async def _refused(self, error: ApiError) -> None:
        if error.status == 409:
            self._election.lost()  # another process was faster; the next read shows which
            return
        if str(error) != self._complaint:
            _log.warning("lease %s/%s: %s", self._namespace, self._name, error)
        self._complaint = str(error)

    async def _act(self) -> None:
        if self.leads and self._leading is None:
            _log.info("%s leads", self._identity)
            self._leading = asyncio.create_task(self._run_lead(), name="lead")
        elif not self.leads and self._leading is not None:
            _log.warning("%s leads no longer", self._identity)
            await self._stop()

    async def _run_lead(self) -> None:
        await self._lead()

    async def _pause(self) -> None:
        """Wait until the next attempt, or until the work has ended by itself."""
        pause = self._election.renew_every
        if self._leading is None:
            await asyncio.sleep(pause)
            return
        done, _ = await asyncio.wait((self._leading,), timeout=pause)
        for task in done:
            self._leading = None
            task.result()
            raise RuntimeError("the leader's work has ended")

    async def _stop(self) -> None:
        leading, self._leading = self._leading, None
        await cancel_and_wait(leading)

    async def _release(self) -> None:
        if not self.leads:
            return
        try:
            await self._put("", RELEASED_SECONDS)
        except ApiError as error:
            _log.warning("the lease runs out by itself: %s", error)
        self._election.lost()

    async def _get(self) -> Lease | None:
        try:
            data = await self._api.request("GET", LEASES.path(self._namespace, self._name), seconds=self._patience)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return _parsed(data)

    async def _put(self, holder: str, duration: float) -> Lease:
        known = self._election.lease
        body = self._body(known, holder, duration)
        if known is None:
            method, path = "POST", LEASES.path(self._namespace)
        else:
            method, path = "PUT", LEASES.path(self._namespace, self._name)
        return _parsed(await self._api.request(method, path, body=body, seconds=self._patience))

    def _body(self, known: Lease | None, holder: str, duration: float) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        if known is None or known.holder != holder:
            self._acquired = now
        metadata = {"name": self._name, "namespace": self._namespace}
        if known is not None:
            metadata["resourceVersion"] = known.version
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(duration)),
            "acquireTime": self._acquired or now,
            "renewTime": now,
            "leaseTransitions": self._election.next_transitions,
        }
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    @property
    def _patience(self) -> float:
        """Timeout of one request, short enough for another attempt before the lease expires."""
        return self._duration / 4


def _parsed(data: bytes) -> Lease:
    try:
        found = msgspec.json.decode(data, type=_Lease)
    except ValueError as error:
        raise ApiError(f"not a lease: {error}") from error
    spec = found.spec
    return Lease(
        holder=spec.holder_identity or "",
        duration=float(spec.lease_duration_seconds or 0),
        renewed=spec.renew_time or "",
        transitions=spec.lease_transitions or 0,
        version=found.metadata.resource_version,
    )
