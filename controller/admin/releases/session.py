"""One operation's helm: its commands on one release, with a workspace, a way to the API server, and the caller's rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from controller.admin.authentication import Caller
from controller.admin.problems import Refused
from controller.admin.releases.access import Access
from controller.admin.releases.documents import ReleaseDocument
from controller.admin.releases.guard import Guard, Pass
from controller.admin.releases.helm import Helm, HelmFailed, Workspace
from controller.admin.releases.rendered import Rendered, accesses_of_objects, read_rendered
from controller.admin.releases.state import Before, State, way_back
from fleet.discovery.kubernetes.client import Api

__all__ = ["HISTORY", "Listed", "Past", "Session", "Sessions", "Status", "Tell"]

HISTORY = 10
"""Revisions that helm keeps of a release, as it does by itself."""
READ_SECONDS = 60.0
"""Seconds for a command that only reads or renders."""
UNDO_SECONDS = 300
GRACE_SECONDS = 60.0
"""Seconds beyond helm's own limit, before it is ended."""
MAX_MANIFESTS = 4 << 20
"""Bytes of everything that a chart makes. Helm keeps it, compressed, in a Secret of at most 1 MiB."""
MAX_MISSING = 10
NOT_FOUND = "release: not found"

Tell = Callable[[str], None]
"""Hears how far an operation is."""


class Past(msgspec.Struct, frozen=True):
    """A revision, as helm history has it."""

    revision: int
    updated: str = ""
    status: str = ""
    chart: str = ""
    app_version: str = ""
    description: str = ""


class _Info(msgspec.Struct, frozen=True):
    first_deployed: str = ""
    notes: str = ""


class Status(msgspec.Struct, frozen=True):
    """What helm status has beside the revision."""

    info: _Info
    config: dict[str, Any] | None = None


class Listed(msgspec.Struct, frozen=True):
    """A release in helm list."""

    name: str
    namespace: str
    revision: str
    updated: str
    status: str
    chart: str
    app_version: str = ""


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    git_version: str


class _GroupVersion(msgspec.Struct, frozen=True, rename="camel"):
    group_version: str


class _Group(msgspec.Struct, frozen=True):
    versions: list[_GroupVersion] = []


class _Groups(msgspec.Struct, frozen=True):
    groups: list[_Group] = []


class Sessions:
    """Makes them."""

    def __init__(self, api: Api, helm: Helm, guard: Guard) -> None:
        self.api = api
        self._helm = helm
        self._guard = guard

    def check(self) -> None:
        """Raises Refused: 501 without helm."""
        self._helm.check()

    @asynccontextmanager
    async def open(self, caller: Caller, namespace: str, name: str, tell: Tell = lambda step: None) -> AsyncIterator[Session]:
        """With the rights of the caller. Raises Refused without helm."""
        async with self._helm.workspace(caller.username) as workspace:
            opened = self._guard.open(caller, tell)
            try:
                workspace.connect(self._guard.url(opened), namespace)
                yield Session(self._helm, workspace, opened, self.api, namespace=namespace, name=name)
            finally:
                self._guard.close(opened)


class Session:
    """Methods raise HelmFailed when helm fails, Refused for what the caller may not, and ApiError."""

    def __init__(self, helm: Helm, workspace: Workspace, opened: Pass, api: Api, *, namespace: str, name: str) -> None:
        self.workspace = workspace
        self.namespace = namespace
        self.name = name
        self._helm = helm
        self._pass = opened
        self._api = api

    @property
    def refusals(self) -> list[str]:
        """What the caller lacked when helm asked for it."""
        return self._pass.refusals

    async def permit(self, accesses: Iterable[Access]) -> None:
        """Raises Refused: 403 with what is missing."""
        wanted = list(accesses)
        allowed = await asyncio.gather(*(self._may(access) for access in wanted))
        missing = [str(access) for access, is_allowed in zip(wanted, allowed, strict=True) if not is_allowed]
        if missing:
            more = f", and {len(missing) - MAX_MISSING} more" if len(missing) > MAX_MISSING else ""
            detail = f"{self._pass.caller.username} may not: {'; '.join(missing[:MAX_MISSING])}{more}"
            raise Refused(403, "forbidden", detail)

    async def _may(self, access: Access) -> bool:
        # All of a kind is asked for first: the answer is the same for the next object, and remembered.
        return await self._pass.may(Access(access.need, access.namespace)) or (access.name != "" and await self._pass.may(access))

    # -- reading ----------------------------------------------------------------------------------------------------

    async def history(self, most: int = 256) -> list[Past]:
        """The oldest first; empty when there is no such release."""
        try:
            output = await self._run("history", self.name, f"--max={most}", "--output=json")
        except HelmFailed as error:
            if NOT_FOUND in str(error):
                return []
            raise
        return msgspec.json.decode(output, type=list[Past])

    async def states(self) -> list[State]:
        return [State(past.revision, past.status) for past in await self.history()]

    async def status(self) -> Status:
        return msgspec.json.decode(await self._run("status", self.name, "--output=json"), type=Status)

    async def listed(self, limit: int, offset: int) -> list[Listed]:
        """Of a namespace, by name."""
        output = await self._run("list", "--all", "--output=json", f"--max={limit}", f"--offset={offset}")
        return msgspec.json.decode(output, type=list[Listed])

    async def objects(self, manifests: bytes) -> list[Rendered]:
        """The objects in manifests."""
        try:
            return read_rendered(await self._helm.read(self.workspace, manifests))
        except HelmFailed as error:
            raise Refused(422, "invalid-chart", f"what the chart makes cannot be read: {error}") from error

    async def stored(self, revision: int) -> list[Rendered]:
        """The objects of a revision that helm has stored."""
        parts = await asyncio.gather(
            *(self._run("get", what, self.name, f"--revision={revision}") for what in ("manifest", "hooks"))
        )
        return await self.objects(b"\n---\n".join(parts))

    async def permit_stored(self, revision: int, *, upgrade: bool) -> None:
        """Check that the caller may have, and delete, what a revision has made. Of objects that it may not delete helm would only
        say so in passing, and leave them. Raises Refused, too."""
        await self.permit(await accesses_of_objects(self._api, await self.stored(revision), self.namespace, upgrade=upgrade))

    async def template(self, document: ReleaseDocument, *, upgrade: bool) -> bytes:
        """What the chart makes, for the cluster as it is; nothing is asked of it or written to it."""
        version = msgspec.json.decode(await self._api.request("GET", "/version"), type=_Version).git_version
        groups = msgspec.json.decode(await self._api.request("GET", "/apis"), type=_Groups).groups
        known = ["v1", *(one.group_version for group in groups for one in group.versions)]
        options = [f"--kube-version={version}", f"--api-versions={','.join(known)}", "--include-crds" * (not document.skip_crds)]
        options += ["--is-upgrade" * upgrade, "--skip-crds" * document.skip_crds]
        return await self._run("template", self.name, *self._chart(), *filter(None, options), most=MAX_MANIFESTS)

    # -- writing ----------------------------------------------------------------------------------------------------

    async def upgrade(self, document: ReleaseDocument, description: str, *, dry_run: bool = False) -> None:
        """Install, or upgrade; if that fails, helm undoes it."""
        options = ["--install", "--reset-values", f"--timeout={document.timeout}s", f"--history-max={HISTORY}"]
        options += ["--disable-openapi-validation", "--hide-notes", f"--description={description}"]
        options += ["--dry-run=server", "--hide-secret"] if dry_run else ["--atomic", "--cleanup-on-fail"]
        options += ["--skip-crds"] * document.skip_crds
        await self._run("upgrade", self.name, *self._chart(), *options, seconds=2 * document.timeout + GRACE_SECONDS)

    async def rollback(self, revision: int, seconds: int) -> None:
        options = [f"--timeout={seconds}s", "--wait", "--cleanup-on-fail", f"--history-max={HISTORY}"]
        await self._run("rollback", self.name, str(revision), *options, seconds=seconds + GRACE_SECONDS)

    async def uninstall(self, seconds: int) -> None:
        options = [f"--timeout={seconds}s", "--wait", "--ignore-not-found"]
        await self._run("uninstall", self.name, *options, seconds=seconds + GRACE_SECONDS)

    async def restore(self, before: Before, seconds: int = UNDO_SECONDS) -> bool:
        """Undo an operation that has not come to its end, or finish a deletion; returns whether there was anything to do."""
        states = await self.states()
        back = way_back(before, states)
        if back.command:
            await self.permit_stored(states[-1].revision, upgrade=False)
        if back.command == "rollback":
            await self.permit_stored(back.revision, upgrade=True)
            await self.rollback(back.revision, seconds)
        elif back.command == "uninstall":
            await self.uninstall(seconds)
        return back.command != ""

    # -- inside -----------------------------------------------------------------------------------------------------

    def _chart(self) -> tuple[str, ...]:
        unchecked = () if self.workspace.checks_values else ("--skip-schema-validation",)
        return str(self.workspace.chart), f"--values={self.workspace.path / 'values.json'}", *unchecked

    async def _run(self, *arguments: str, seconds: float = READ_SECONDS, **bounds: int) -> bytes:
        return await self._helm.run(self.workspace, *arguments, f"--namespace={self.namespace}", seconds=seconds, **bounds)
