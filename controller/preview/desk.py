"""Which Previews there are, and which of them each change concerns. A part of a term; `Maker` does the work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Any

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS, PREVIEWS
from controller.events import EventRecorder
from controller.preview.companions import Companions
from controller.preview.elsewhere import NAMESPACES, PERMIT, Elsewhere
from controller.preview.leftovers import Leftovers
from controller.preview.maker import Maker
from controller.preview.manifests import BASE_LABEL
from controller.preview.objects import WORKLOADS, LeadersApi
from controller.preview.resource import Preview, parse_preview
from controller.queue import WorkQueue
from controller.resources import Key, ObjectMeta
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.services import SelectingService
from controller.world import World, path_of
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.sources import Unsubscribe

__all__ = ["PreviewDesk"]

WORKERS = 4
"""Previews processed at once: each asks the API server about a dozen objects."""


class _Workload(msgspec.Struct, frozen=True):
    """A workload, without what changes whenever it is scaled."""

    digest: str
    owner: str = ""
    """The Preview that owns it."""


def _parse_workload(data: bytes | msgspec.Raw) -> _Workload:
    """Raises ValueError."""
    raw: dict[str, Any] = msgspec.json.decode(data)
    meta = msgspec.convert(raw.get("metadata"), ObjectMeta)
    spec = {name: value for name, value in (raw.get("spec") or {}).items() if name != "replicas"}
    digest = hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()
    owner = next((one.name for one in meta.owner_references or () if one.kind == PREVIEWS.kind), "")
    return _Workload(digest, owner)


class _Permit(msgspec.Struct, frozen=True):
    """What a namespace permits."""

    source: str
    deleting: bool


def _parse_permit(data: bytes | msgspec.Raw) -> _Permit:
    """Raises ValueError."""
    meta = msgspec.convert(msgspec.json.decode(data).get("metadata"), ObjectMeta)
    return _Permit((meta.labels or {}).get(PERMIT, ""), meta.deleting)


class _Index:
    """Previews by something that they have. What nobody has any more takes no room."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, set[Key]] = {}

    def add(self, group: Hashable, key: Key) -> None:
        self._groups.setdefault(group, set()).add(key)

    def discard(self, group: Hashable, key: Key) -> None:
        found = self._groups.get(group, set())
        found.discard(key)
        if not found:
            self._groups.pop(group, None)

    def __contains__(self, group: Hashable) -> bool:
        return group in self._groups

    def __len__(self) -> int:
        return len(self._groups)

    def of(self, group: Hashable) -> tuple[Key, ...]:
        return tuple(self._groups.get(group, ()))


class PreviewDesk:
    """Create one for a term, within a running loop."""

    def __init__(
        self,
        api: Api,
        namespaces: Collection[str],
        world: World,
        recorder: EventRecorder,
        *,
        timing: Timing,
        leads: Callable[[], bool] = lambda: True,
        why_not_elsewhere: str = "",
    ) -> None:
        """`why_not_elsewhere`: see `Elsewhere`."""
        self._world = world
        self._of_base = _Index()
        self._bases: dict[str, dict[Key, None]] = {}
        """Of each namespace, those that Previews name."""
        self._of_copy = _Index()
        """Those whose copy is called "namespace/name": one has it, and others may wait for it."""
        self._of_place = _Index()
        """Those whose copy is in another namespace, by that."""
        self._of_name = _Index()
        """Those of a namespace that have the same name."""
        self._of_owner = _Index()
        """Those that belong to another one, by its uid."""
        self._shapes: dict[Key, object] = {}
        """Of each base, when its copies were last looked at because of it."""
        self.previews: ListWatch[Preview] = ListWatch(api, path_of(PREVIEWS), parse_preview, namespaces=namespaces, timing=timing)
        self._workloads = {
            kind: ListWatch(api, path, _parse_workload, namespaces=namespaces, timing=timing) for kind, path in WORKLOADS.items()
        }
        self._queue: WorkQueue[Key] = WorkQueue(self._work, workers=WORKERS, name="previews")
        leaders = LeadersApi(api, leads)
        self._maker = Maker(
            api,
            world,
            recorder,
            later=lambda key, seconds: self._queue.add(key, after=seconds),
            leads=leads,
            elsewhere=Elsewhere(leaders, why_not_elsewhere),
            companions=Companions(leaders, world, self._around),
        )
        self._permits: ListWatch[_Permit] | None = None
        self._leftovers: Leftovers | None = None
        if not why_not_elsewhere:
            self._leftovers = Leftovers(leaders, self._uids)
            self._permits = ListWatch(api, NAMESPACES, _parse_permit, labels=PERMIT, timing=timing)
            self._permits.subscribe(lambda change: self._again_in(change.key.removeprefix("/")))
        self._unsubscribe: Unsubscribe | None = None
        self.previews.subscribe(self._on_preview)
        for watch in self._workloads.values():
            watch.subscribe(self._on_workload)

    def start(self) -> None:
        self._queue.start()
        self._unsubscribe = self._world.services.subscribe(self._on_service)
        self.previews.start()
        for watch in self._workloads.values():
            watch.start()
        if self._permits is not None:
            self._permits.start()
        if self._leftovers is not None:
            self._leftovers.start()

    async def close(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._leftovers is not None:
            await self._leftovers.close()
        await self._queue.close()
        await self.previews.close()
        for watch in self._workloads.values():
            await watch.close()
        if self._permits is not None:
            await self._permits.close()

    def look(self, key: Key) -> None:
        """An HTTPScaledObject has changed, or its surroundings have: the base of some, or the copy of one."""
        if key in self._of_base and (shape := self._shape(key)) != self._shapes.get(key):
            self._shapes[key] = shape
            self._again(key)
        if key.kind == HTTP_SCALED_OBJECTS.kind:
            self._look_at_copy(key.app)

    async def _work(self, key: Key) -> None:
        preview = self.previews.get(key.app)
        if preview is None:
            self._maker.forget(key)
        else:
            await self._maker.reconcile(preview)

    async def _uids(self) -> set[str]:
        await self.previews.synced.wait()
        return {preview.meta.uid for _, preview in self.previews.items()}

    def _on_preview(self, change: Change[Preview]) -> None:
        before, after = change.before, change.after
        if before is not None:
            for index, group in self._groups_of(before):
                index.discard(group, before.key)
        if after is not None:
            for index, group in self._groups_of(after):
                index.add(group, after.key)
            self._bases.setdefault(after.base.namespace, {})[after.base] = None
            self._queue.add(after.key)
        elif before is not None:
            self._queue.add(before.key)
            self._again(before.base)  # others may have waited for its name
            for owner in before.meta.owner_references or ():
                self._queue.add(Key(PREVIEWS.kind, before.key.namespace, owner.name))
        if before is not None and before.base not in self._of_base:
            self._forget_base(before.base)

    def _groups_of(self, preview: Preview) -> Iterator[tuple[_Index, Hashable]]:
        yield self._of_base, preview.base
        yield self._of_copy, _copy(preview)
        yield self._of_name, (preview.key.namespace, preview.name)
        if preview.is_elsewhere:
            yield self._of_place, preview.place
        for owner in preview.meta.owner_references or ():
            yield self._of_owner, owner.uid

    def _forget_base(self, base: Key) -> None:
        self._shapes.pop(base, None)
        bases = self._bases[base.namespace]
        bases.pop(base, None)
        if not bases:
            del self._bases[base.namespace]

    def _around(self, preview: Preview) -> Iterator[Preview]:
        """Those of its name, and those that belong to it, as `Companions` wants them."""
        keys = dict.fromkeys((*self._of_name.of((preview.key.namespace, preview.name)), *self._of_owner.of(preview.meta.uid)))
        found = (self.previews.get(key.app) for key in keys)
        return (one for one in found if one is not None)

    def _again(self, base: Key) -> None:
        for preview in self._of_base.of(base):
            self._queue.add(preview)

    def _again_in(self, namespace: str) -> None:
        for preview in self._of_place.of(namespace):
            self._queue.add(preview)

    def _look_at_copy(self, app: str) -> None:
        for preview in self._of_copy.of(app):
            self._queue.add(preview)

    def _shape(self, base: Key) -> object:
        """What copies depend on: a base may have hundreds, which its status does not concern."""
        resource = self._world.get(base)
        spec = None if resource is None else resource.spec
        target = spec.scale_target_ref if isinstance(spec, HTTPScaledObjectSpec) else None
        service = None if target is None or target.service is None else f"{base.namespace}/{target.service}"
        return (
            spec,
            None if resource is None else resource.problem,
            None if service is None else self._world.services.get(service),
        )

    def _on_workload(self, change: Change[_Workload]) -> None:
        namespace, _, name = change.key.partition("/")
        for one in (change.before, change.after):
            if one is not None and one.owner:
                self._queue.add(Key(PREVIEWS.kind, namespace, one.owner))
        if change.after is None or not change.after.owner:
            self._look_at_copy(change.key)
        for base in [base for base in self._bases.get(namespace, ()) if self._is_of(base, name)]:
            self._again(base)

    def _on_service(self, change: Change[SelectingService]) -> None:
        """The labels of all copies in a namespace follow from the selectors of its Services, except those of copies."""
        if change.after is None:
            self._look_at_copy(change.key)
        if _finds(change.before) != _finds(change.after):
            namespace = change.key.partition("/")[0]
            for base in tuple(self._bases.get(namespace, ())):
                self._again(base)
            self._again_in(namespace)

    def _is_of(self, base: Key, workload: str) -> bool:
        resource = self._world.get(base)
        spec = None if resource is None else resource.spec
        return isinstance(spec, HTTPScaledObjectSpec) and spec.scale_target_ref.name == workload


def _copy(preview: Preview) -> str:
    return f"{preview.place}/{preview.copy}"


def _finds(service: SelectingService | None) -> tuple[tuple[str, str], ...]:
    """The labels by which a Service finds pods of a base, if it could find any."""
    selector = () if service is None else service.selector
    return () if any(name == BASE_LABEL for name, _ in selector) else selector
