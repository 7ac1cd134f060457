"""The HTTP calls on releases. As with applications: who asks, not too often, whether they may, what they ask for, and then it is
done. A change leaves a line in the log, whatever comes of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from controller.admin.authentication import Caller
from controller.admin.body import JSON, read_json, validated
from controller.admin.context import Context
from controller.admin.documents import Fault
from controller.admin.openapi import BODIES, body_of, problems_of
from controller.admin.problems import Refused, of_api_error
from controller.admin.releases.documents import (
    MAX_RELEASE_NAME,
    MAX_TIMEOUT,
    RELEASE_NAME,
    Release,
    ReleaseDocument,
    ReleaseList,
    ReleasePlan,
    RevisionList,
    Rollback,
)
from controller.admin.releases.part import ReleasesPart
from controller.admin.releases.session import Tell
from controller.admin.routes import PAGE, Calling, DryRun, Namespace
from controller.admin.sse import EVENT_STREAM, Progress
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["MAX_BODY", "Audited", "audited", "releases_router"]

MAX_BODY = 5 << 20
"""Bytes of a document: of an archive in base64, and its values."""
MAX_PAGE = 256
"""Releases that helm lists at once."""

_audit = logging.getLogger("controller.admin.audit")

releases_router = APIRouter()
BODIES.extend((ReleaseDocument, Rollback))

Name = Annotated[str, Path(pattern=RELEASE_NAME, max_length=MAX_RELEASE_NAME)]
Wait = Annotated[bool, Query(description="Answer with a stream of events (text/event-stream): progress, then done or failed.")]
Seconds = Annotated[int, Query(ge=1, le=MAX_TIMEOUT, description="Seconds for everything to be gone.")]
_STREAM: dict[str, Any] = {EVENT_STREAM: {"schema": {"type": "string"}}}


def _part(request: Request, namespace: str) -> ReleasesPart:
    """Raises Refused for a namespace that this controller does not serve, and without helm."""
    context: Context = request.app.state.context
    context.check_served(namespace)
    part: ReleasesPart = request.app.state.releases
    part.releases.check()
    return part


@releases_router.get("/v1/namespaces/{namespace}/releases", response_model=ReleaseList, responses=problems_of(501))
async def list_releases(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """List the releases of a namespace by name, in pages."""
    items = await _part(request, namespace).releases.page(caller, namespace, limit, offset)
    return _json(ReleaseList(items=items, next=offset + limit if len(items) == limit else None))


@releases_router.post(
    "/v1/namespaces/{namespace}/releases",
    status_code=201,
    response_model=Release,
    openapi_extra=body_of("ReleaseDocument", JSON),
    responses=problems_of(400, 404, 408, 409, 413, 415, 501)
    | {
        200: {
            "model": Release | ReleasePlan,
            "description": "The same release exists; or the plan of a dry run; or a stream.",
            "content": _STREAM,
        },
        201: {"description": "Installed."},
    },
)
async def install_release(
    request: Request, caller: Calling, namespace: Namespace, *, wait: Wait = False, dry_run: DryRun = None
) -> Response:
    """Install a chart. The same call again gives the same result."""
    async with audited(caller, "install", namespace, dry_run=dry_run) as entry:
        part = _part(request, namespace)
        document = validated(ReleaseDocument, await read_json(request, JSON, most=MAX_BODY))
        entry.name = document.name
        if dry_run:
            return _json(await part.releases.plan(caller, namespace, document, _nobody, new=True))

        async def work(tell: Tell) -> tuple[Release, bool]:
            return await part.releases.apply(caller, namespace, document, tell, new=True)

        return await _applied(part, caller, entry, work, wait=wait)


@releases_router.put(
    "/v1/namespaces/{namespace}/releases/{name}",
    response_model=Release | ReleasePlan,
    openapi_extra=body_of("ReleaseDocument", JSON),
    responses=problems_of(400, 404, 408, 409, 413, 415, 501)
    | {
        200: {"description": "Upgraded, or the same already; or the plan of a dry run; or a stream.", "content": _STREAM},
        201: {"model": Release, "description": "Installed."},
    },
)
async def apply_release(
    request: Request, caller: Calling, namespace: Namespace, name: Name, *, wait: Wait = False, dry_run: DryRun = None
) -> Response:
    """Install a chart, or upgrade the release to it."""
    async with audited(caller, "upgrade", namespace, name, dry_run=dry_run) as entry:
        part = _part(request, namespace)
        document = validated(ReleaseDocument, await read_json(request, JSON, most=MAX_BODY))
        if document.name != name:
            detail = "is another than in the path"
            raise Refused(422, "invalid-document", f"/name: {detail}", errors=[Fault(detail=detail, pointer="/name")])
        if dry_run:
            return _json(await part.releases.plan(caller, namespace, document, _nobody))

        async def work(tell: Tell) -> tuple[Release, bool]:
            return await part.releases.apply(caller, namespace, document, tell)

        return await _applied(part, caller, entry, work, wait=wait)


@releases_router.get("/v1/namespaces/{namespace}/releases/{name}", response_model=Release, responses=problems_of(404, 501))
async def get_release(request: Request, caller: Calling, namespace: Namespace, name: Name) -> Response:
    """One release: its revision, its status, its values."""
    return _json(await _part(request, namespace).releases.get(caller, namespace, name))


@releases_router.get(
    "/v1/namespaces/{namespace}/releases/{name}/history", response_model=RevisionList, responses=problems_of(404, 501)
)
async def get_history(request: Request, caller: Calling, namespace: Namespace, name: Name) -> Response:
    """The revisions of a release."""
    return _json(RevisionList(items=await _part(request, namespace).releases.history(caller, namespace, name)))


@releases_router.post(
    "/v1/namespaces/{namespace}/releases/{name}/rollback",
    response_model=Release,
    openapi_extra=body_of("Rollback", JSON),
    responses=problems_of(400, 404, 408, 409, 413, 415, 501) | {200: {"description": "Done; or a stream.", "content": _STREAM}},
)
async def roll_back_release(
    request: Request, caller: Calling, namespace: Namespace, name: Name, *, wait: Wait = False
) -> Response:
    """Go back to an older revision."""
    async with audited(caller, "roll back", namespace, name) as entry:
        part = _part(request, namespace)
        rollback = validated(Rollback, await read_json(request, JSON))

        async def work(tell: Tell) -> tuple[Release, bool]:
            return await part.releases.rollback(caller, namespace, name, rollback, tell), False

        return await _applied(part, caller, entry, work, wait=wait)


@releases_router.delete(
    "/v1/namespaces/{namespace}/releases/{name}",
    status_code=204,
    responses=problems_of(404, 409, 501)
    | {200: {"description": "A stream.", "content": _STREAM}, 204: {"description": "Deleted, and nothing is left."}},
)
async def delete_release(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    wait: Wait = False,
    dry_run: DryRun = None,
    timeout: Seconds = 300,  # noqa: ASYNC109 - a parameter of the query
) -> Response:
    """Delete a release, and all that was made for it."""
    async with audited(caller, "delete", namespace, name, dry_run=dry_run) as entry:
        part = _part(request, namespace)

        async def work(tell: Tell) -> None:
            await part.releases.delete(caller, namespace, name, timeout, tell, dry_run=dry_run is not None)
            entry.result = "deleted"

        if not wait or dry_run:
            await work(_nobody)
            return Response(status_code=204)

        async def streamed(tell: Tell) -> dict[str, Any]:
            await work(tell)
            return {"deleted": f"{namespace}/{name}"}

        return await _streamed(part, caller, entry, streamed)


class Audited:
    """What the line in the log says. A stream's line is written at its end, not when it begins."""

    def __init__(self, caller: Caller, action: str, namespace: str, name: str) -> None:
        self.name = name
        self.result = "done"
        self.is_streamed = False
        self.caller = caller
        self._action = action
        self._namespace = namespace

    def write(self) -> None:
        release = f"{self._namespace}/{self.name}"
        fields = {"user": self.caller.username, "action": self._action, "release": release, "result": self.result}
        _audit.info("%s release %s by %r: %s", self._action, release, self.caller.username, self.result, extra=fields)

    @asynccontextmanager
    async def explained(self) -> AsyncIterator[None]:
        """Errors as problems, and as the result."""
        try:
            try:
                yield
            except ApiError as error:
                raise of_api_error(error) from error
        except BaseException as error:
            self.result = f"{error.status} {error.problem.detail}" if isinstance(error, Refused) else type(error).__name__
            raise


@asynccontextmanager
async def audited(
    caller: Caller, action: str, namespace: str, name: str = "", *, dry_run: object = None
) -> AsyncIterator[Audited]:
    """Log who has asked for which change, and what came of it."""
    entry = Audited(caller, f"{action} (dry run)" if dry_run else action, namespace, name)
    try:
        async with entry.explained():
            yield entry
    except BaseException:
        entry.is_streamed = False
        raise
    finally:
        if not entry.is_streamed:
            entry.write()


async def _applied(
    part: ReleasesPart, caller: Caller, entry: Audited, work: Callable[[Tell], Awaitable[tuple[Release, bool]]], *, wait: bool
) -> Response:
    """The answer of a change, or a stream whose last event has it."""
    if not wait:
        release, created = await work(_nobody)
        entry.result = f"revision {release.revision.revision}"
        return _json(release, 201 if created else 200)

    async def streamed(tell: Tell) -> dict[str, Any]:
        release, _ = await work(tell)
        entry.result = f"revision {release.revision.revision}"
        return release.model_dump(mode="json")

    return await _streamed(part, caller, entry, streamed)


async def _streamed(
    part: ReleasesPart, caller: Caller, entry: Audited, work: Callable[[Tell], Awaitable[dict[str, Any]]]
) -> Response:
    async def reported(progress: Progress) -> dict[str, Any]:
        try:
            async with entry.explained():
                return await work(progress.tell)
        finally:
            if entry.is_streamed:
                entry.write()

    entry.is_streamed = True
    return await part.streams.answer(caller.username, reported)


def _nobody(step: str) -> None:
    pass


def _json(model: BaseModel, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status, media_type=JSON, headers={"Cache-Control": "no-store"})
