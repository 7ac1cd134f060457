"""What the API does with releases: install, upgrade, roll back, delete, and tell of them. HTTP is spoken in
controller.admin.releases.routes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from controller.admin.apps import CLOSE_SECONDS
from controller.admin.authentication import Caller
from controller.admin.authorization import Need
from controller.admin.documents import Fault
from controller.admin.problems import Refused
from controller.admin.releases.access import Access
from controller.admin.releases.charts import Charts
from controller.admin.releases.documents import (
    Release,
    ReleaseDocument,
    ReleasePlan,
    ReleaseSummary,
    RenderedObject,
    Revision,
    Rollback,
)
from controller.admin.releases.exposure import TEMPLATE, rendered_of, routes_of, template_of
from controller.admin.releases.helm import HelmFailed
from controller.admin.releases.operating import Operator, explained
from controller.admin.releases.rendered import Rendered, accesses_of_objects, accesses_of_storage
from controller.admin.releases.session import Past, Session, Sessions, Tell
from controller.admin.releases.state import DEPLOYED, State, before_of
from fleet.discovery.kubernetes.client import ApiError
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Releases"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Releases:
    """Methods raise Refused or ApiError. `domain` is that of routes that name no host."""

    def __init__(self, sessions: Sessions, charts: Charts, operator: Operator, *, domain: str) -> None:
        self._sessions = sessions
        self._charts = charts
        self._operator = operator
        self._domain = domain
        self._tasks: set[asyncio.Task[Any]] = set()

    def check(self) -> None:
        """Raises Refused: 501 without helm."""
        self._sessions.check()

    async def close(self) -> None:
        """Wait for operations for a moment, and end helm. What is cut off is undone by the next controller."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=CLOSE_SECONDS)
        await cancel_and_wait(*self._tasks)

    # -- reading ----------------------------------------------------------------------------------------------------

    async def get(self, caller: Caller, namespace: str, name: str) -> Release:
        async with self._sessions.open(caller, namespace, name) as opened:
            await opened.permit(accesses_of_storage(namespace, name, writes=False))
            return await explained(opened, self._release(opened))

    async def history(self, caller: Caller, namespace: str, name: str) -> list[Revision]:
        async with self._sessions.open(caller, namespace, name) as opened:
            await opened.permit(accesses_of_storage(namespace, name, writes=False))
            found = await explained(opened, opened.history())
            if not found:
                raise _not_found(namespace, name)
            return [_revision(past) for past in found]

    async def page(self, caller: Caller, namespace: str, limit: int, offset: int) -> list[ReleaseSummary]:
        async with self._sessions.open(caller, namespace, "") as opened:
            await opened.permit(accesses_of_storage(namespace, "", writes=False))
            listed = await explained(opened, opened.listed(limit, offset))
            return [
                ReleaseSummary(
                    namespace=one.namespace,
                    name=one.name,
                    revision=int(one.revision),
                    updated=one.updated,
                    status=one.status,
                    chart=one.chart,
                    app_version=one.app_version,
                )
                for one in listed
            ]

    async def service(self, caller: Caller, namespace: str, name: str) -> str | None:
        """Name of the first Service of a release, if it has any."""
        async with self._sessions.open(caller, namespace, name) as opened:
            await opened.permit(accesses_of_storage(namespace, name, writes=False))
            history = await self._existing(opened)
            objects = await explained(opened, opened.stored(history[-1].revision))
            return next((found.name for found in objects if found.kind == "Service"), None)

    # -- writing ----------------------------------------------------------------------------------------------------

    async def apply(
        self, caller: Caller, namespace: str, document: ReleaseDocument, tell: Tell, *, new: bool = False
    ) -> tuple[Release, bool]:
        """Install a release, or make it what the document says; `new` refuses to change one. Returns also whether it is new."""
        return await self._whole(self._apply(caller, namespace, document, tell, new=new))

    async def plan(
        self, caller: Caller, namespace: str, document: ReleaseDocument, tell: Tell, *, new: bool = False
    ) -> ReleasePlan:
        """What `apply` would do, after all of its checks, and a dry run of helm."""
        async with self._sessions.open(caller, namespace, document.name, tell) as opened:
            await self._permit_begin(opened, document)
            digest = await self._prepare(opened, document, tell)
            history = await explained(opened, opened.history())
            _check_new(history, digest, namespace, document.name, new=new)
            objects, manifests = await self._render(opened, document, tell, history)
            tell("asking helm for a dry run")
            await explained(opened, opened.upgrade(document, digest, dry_run=True), step="dry run")
            shown = [
                RenderedObject(api_version=one.api_version, kind=one.kind, name=one.name, namespace=one.namespace, hook=one.hook)
                for one in objects
            ]
            return ReleasePlan(objects=shown, manifest=manifests.decode(errors="replace"))

    async def rollback(self, caller: Caller, namespace: str, name: str, rollback: Rollback, tell: Tell) -> Release:
        """Go back to an older revision, which becomes the newest."""
        return await self._whole(self._roll_back(caller, namespace, name, rollback, tell))

    async def delete(self, caller: Caller, namespace: str, name: str, seconds: int, tell: Tell, *, dry_run: bool = False) -> None:
        """Delete a release and all that is its own."""
        await self._whole(self._delete(caller, namespace, name, seconds, tell, dry_run=dry_run))

    # -- operations -------------------------------------------------------------------------------------------------

    async def _apply(
        self, caller: Caller, namespace: str, document: ReleaseDocument, tell: Tell, *, new: bool
    ) -> tuple[Release, bool]:
        name = document.name
        async with self._operator.alone(namespace, name), self._sessions.open(caller, namespace, name, tell) as opened:
            await self._permit_begin(opened, document)
            digest = await self._prepare(opened, document, tell)
            history = await explained(opened, opened.history())
            if _check_new(history, digest, namespace, name, new=new):
                tell("nothing has changed")
                return await self._release(opened), False
            await self._render(opened, document, tell, history)
            tell("upgrading" if history else "installing")
            before = before_of("apply", _states(history), caller)
            await self._operator.operate(
                opened, before, opened.upgrade(document, digest), step="upgrade" if history else "install"
            )
            return await self._read_back(opened), not history

    async def _roll_back(self, caller: Caller, namespace: str, name: str, rollback: Rollback, tell: Tell) -> Release:
        async with self._operator.alone(namespace, name), self._sessions.open(caller, namespace, name, tell) as opened:
            await opened.permit(accesses_of_storage(namespace, name, writes=True))
            history = await self._existing(opened)
            known = [past.revision for past in history[:-1]]
            target = rollback.revision or (known[-1] if known else 0)
            if target not in (past.revision for past in history):
                detail = f"there is no revision {target}" if target else "there is no older revision"
                raise Refused(422, "invalid-document", detail, errors=[Fault(detail=detail, pointer="/revision")])
            for revision in dict.fromkeys((target, history[-1].revision)):
                await explained(opened, opened.permit_stored(revision, upgrade=True))
            tell(f"rolling back to revision {target}")
            before = before_of("rollback", _states(history), caller)
            await self._operator.operate(opened, before, opened.rollback(target, rollback.timeout), step="rollback")
            return await self._read_back(opened)

    async def _delete(self, caller: Caller, namespace: str, name: str, seconds: int, tell: Tell, *, dry_run: bool) -> None:
        async with self._operator.alone(namespace, name), self._sessions.open(caller, namespace, name, tell) as opened:
            await opened.permit(accesses_of_storage(namespace, name, writes=True))
            history = await self._existing(opened)
            await explained(opened, opened.permit_stored(history[-1].revision, upgrade=False))
            if dry_run:
                return
            tell("deleting")
            before = before_of("delete", _states(history), caller)
            await self._operator.operate(opened, before, opened.uninstall(seconds), step="delete")

    # -- before an operation ----------------------------------------------------------------------------------------

    async def _permit_begin(self, opened: Session, document: ReleaseDocument) -> None:
        """What is needed whatever the chart makes; nothing is fetched or read before."""
        needed = accesses_of_storage(opened.namespace, opened.name, writes=True)
        if document.chart.credentials is not None:
            needed.append(Access(Need("get", "", "secrets"), opened.namespace, document.chart.credentials))
        self._charts.check(document.chart)
        await opened.permit(needed)

    async def _prepare(self, opened: Session, document: ReleaseDocument, tell: Tell) -> str:
        """Have the chart and the values in the workspace; returns a description that is the same for the same document."""
        tell("unpacking the chart" if document.chart.archive is not None else "fetching the chart")
        await self._charts.get(document.chart, opened.namespace, opened.workspace)
        opened.workspace.write("values.json", document.values)
        said = document.model_dump(mode="json", include={"values", "expose", "skip_crds"})
        digest = hashlib.sha256(msgspec.json.encode(said, order="deterministic"))
        await asyncio.to_thread(_hash, opened.workspace.chart, digest.update)
        return f"by Weir's Admin API, document {digest.hexdigest()[:32]}"

    async def _render(
        self, opened: Session, document: ReleaseDocument, tell: Tell, history: list[Past]
    ) -> tuple[list[Rendered], bytes]:
        """Check that the caller may have all that the chart makes, with the routes, which become a part of it; and take away what
        the revision before has made, and the chart does not any more."""
        upgrade = bool(history)
        tell("rendering the chart")
        manifests = await explained(opened, opened.template(document, upgrade=upgrade), step="template", kind="invalid-chart")
        objects = await opened.objects(manifests)
        routes = routes_of(document.expose, objects, opened.namespace, self._domain)
        if routes:
            template = template_of(routes)
            await asyncio.to_thread(_add_template, opened.workspace.chart, template)
            objects += rendered_of(routes)
        tell(f"checking permissions for {len(objects)} objects")
        await opened.permit(await accesses_of_objects(self._sessions.api, objects, opened.namespace, upgrade=upgrade))
        if upgrade:
            await explained(opened, opened.permit_stored(history[-1].revision, upgrade=True))
        return objects, manifests

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _existing(self, opened: Session) -> list[Past]:
        history = await explained(opened, opened.history())
        if not history:
            raise _not_found(opened.namespace, opened.name)
        return history

    async def _release(self, opened: Session) -> Release:
        history = await opened.history(1)
        if not history:
            raise _not_found(opened.namespace, opened.name)
        status = await opened.status()
        return Release(
            namespace=opened.namespace,
            name=opened.name,
            revision=_revision(history[-1]),
            first_deployed=status.info.first_deployed,
            notes=status.info.notes,
            values=status.config or {},
        )

    async def _read_back(self, opened: Session) -> Release:
        try:
            return await self._release(opened)
        except (HelmFailed, ApiError, Refused) as error:
            detail = f"the operation is complete, and the release could not be read back: {error}"
            raise Refused(503, "done-but-unread", detail, headers={"Retry-After": "2"}) from error

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end even if the caller leaves."""
        task = asyncio.create_task(work, name="admin:release")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


def _check_new(history: list[Past], digest: str, namespace: str, name: str, *, new: bool) -> bool:
    """Whether there is this very release already. Raises Refused if there is another one, and it should be new."""
    if history and history[-1].status == DEPLOYED and history[-1].description == digest:
        return True
    if history and new:
        raise Refused(409, "exists", f"release {namespace}/{name} exists, and is another one: PUT upgrades it")
    return False


def _states(history: list[Past]) -> list[State]:
    return [State(past.revision, past.status) for past in history]


def _revision(past: Past) -> Revision:
    return Revision(**msgspec.structs.asdict(past))


def _hash(directory: Path, update: Callable[[bytes], None]) -> None:
    for at in sorted(directory.rglob("*")):
        if at.is_file():
            update(f"{at.relative_to(directory)}\0{at.stat().st_size}\0".encode())
            update(at.read_bytes())


def _add_template(directory: Path, template: str) -> None:
    (directory / "templates").mkdir(exist_ok=True)
    try:
        with (directory / "templates" / TEMPLATE).open("x") as file:
            file.write(template)
    except FileExistsError as error:
        raise Refused(422, "invalid-chart", f"the chart has a template {TEMPLATE} of its own") from error


def _not_found(namespace: str, name: str) -> Refused:
    return Refused(404, "not-found", f"there is no release {namespace}/{name}")
