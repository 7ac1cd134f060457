"""The HTTP calls on previews. As with applications: who asks, not too often, whether they may, what they ask for, and then it is
done. A change leaves a line in the log, whatever comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response

from controller.admin.authentication import Caller
from controller.admin.body import JSON, read_json, validated
from controller.admin.context import Context
from controller.admin.documents import Fault, Plan
from controller.admin.following import WAIT_SECONDS
from controller.admin.objects import Json
from controller.admin.openapi import BODIES, body_of, problems_of
from controller.admin.previews.documents import Preview, PreviewDocument, PreviewList
from controller.admin.previews.following import MAX_WAIT_SECONDS, until_awake, until_deleted, until_made, within
from controller.admin.previews.objects import check_document, etag_of_preview, object_name
from controller.admin.previews.previews import Previews
from controller.admin.problems import Refused
from controller.admin.routes import (
    ETAG,
    EVENTS,
    MAX_PAGE,
    PAGE,
    Calling,
    DryRun,
    Entry,
    Namespace,
    Wait,
    answer_of,
    audited,
    context_of,
)
from controller.admin.running import SHORTEST_WAKE_SECONDS
from controller.admin.sse import Progress
from controller.preview.resource import MAX_TTL
from fleet.discovery.kubernetes.client import ApiError

__all__ = ["previews_router"]

BODIES.append(PreviewDocument)

previews_router = APIRouter()
_PATH = "/v1/namespaces/{namespace}/previews"

Name = Annotated[
    str,
    Path(
        alias="id",  # as answers have it: what they have for a name is another one
        pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
        max_length=253,
        description="BASE--NAME of those made by a call.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=1000, description="The ETag of the preview that is meant; 412 if it was changed since."),
]
Patience = Annotated[
    int, Query(alias="timeout", ge=1, le=MAX_WAIT_SECONDS, description="With wait: seconds for which it waits at most.")
]
Wake = Annotated[
    Literal["true", "false"],
    Query(description="With wait: start a replica as well, to see that it becomes ready. It sleeps again afterwards."),
]


def _previews(request: Request) -> Previews:
    """Raises Refused where there are none."""
    previews: Previews = request.app.state.previews
    previews.check_is_on()
    return previews


@previews_router.get(_PATH, response_model=PreviewList, responses=problems_of(410, 501))
async def list_previews(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    token: Annotated[str | None, Query(alias="continue", min_length=1, max_length=4096)] = None,
) -> Response:
    """List the previews of a namespace as they are now, in pages."""
    await context_of(request).permit(caller, "list previews", namespace)
    previews = _previews(request)
    items, following = await previews.page(namespace, limit, token)
    return answer_of(PreviewList(items=await previews.all_shown(namespace, items), next=following))


@previews_router.post(
    _PATH,
    status_code=201,
    response_model=Preview,
    openapi_extra=body_of("PreviewDocument", JSON),
    responses=problems_of(400, 408, 409, 413, 415, 501)
    | {
        200: {
            "model": Preview | Plan,
            "description": "The same preview exists; or the plan of a dry run; or, with wait, events.",
            "headers": ETAG,
            "content": EVENTS,
        },
        201: {"description": "Created.", "headers": ETAG},
    },
)
async def create_preview(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    *,
    dry_run: DryRun = None,
    wait: Wait = "false",
    patience: Patience = int(WAIT_SECONDS),
    wake: Wake = "false",
) -> Response:
    """Create a preview, which is asleep until its first request. The same call again gives the same result."""
    async with audited(caller, "create preview of", namespace, dry_run=dry_run) as entry:
        context, previews = await _permitted(request, caller, "create preview", namespace, wait=wait, wake=wake)
        document = await _document(request, caller, namespace)
        entry.name = object_name(document.base, document.name)
        if dry_run:
            return answer_of(Plan(objects=await previews.plan(namespace, document, None, new=True)))

        async def make() -> tuple[Json, bool]:
            found, created = await previews.put(namespace, document, new=True)
            entry.result = "created" if created else "was there"
            return found, created

        return await _Making(context, previews, caller, entry, patience, wake=wake == "true").answer(make, wait)


@previews_router.get(
    f"{_PATH}/{{id}}",
    response_model=Preview,
    responses=problems_of(404, 501) | {200: {"description": "The preview.", "headers": ETAG}},
)
async def get_preview(request: Request, caller: Calling, namespace: Namespace, name: Name) -> Response:
    """One preview: what it is, and how it is."""
    await context_of(request).permit(caller, "get preview", namespace, name)
    previews = _previews(request)
    return await _answer(previews, await previews.get(namespace, name), 200)


@previews_router.put(
    f"{_PATH}/{{id}}",
    response_model=Preview | Plan,
    openapi_extra=body_of("PreviewDocument", JSON),
    responses=problems_of(400, 408, 409, 412, 413, 415, 501)
    | {
        200: {
            "description": "Replaced, or the same already; or the plan of a dry run; or, with wait, events.",
            "headers": ETAG,
            "content": EVENTS,
        },
        201: {"model": Preview, "description": "Created.", "headers": ETAG},
    },
)
async def replace_preview(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    dry_run: DryRun = None,
    wait: Wait = "false",
    patience: Patience = int(WAIT_SECONDS),
    wake: Wake = "false",
    if_match: IfMatch = None,
) -> Response:
    """Create a preview, or make it what the document says."""
    async with audited(caller, "replace preview of", namespace, name, dry_run=dry_run) as entry:
        context, previews = await _permitted(request, caller, "replace preview", namespace, name, wait=wait, wake=wake)
        document = await _document(request, caller, namespace, name)
        if dry_run:
            return answer_of(Plan(objects=await previews.plan(namespace, document, if_match, new=False)))

        async def make() -> tuple[Json, bool]:
            found, created = await previews.put(namespace, document, if_match)
            entry.result = "created" if created else "replaced"
            return found, created

        return await _Making(context, previews, caller, entry, patience, wake=wake == "true").answer(make, wait)


@previews_router.post(
    f"{_PATH}/{{id}}/extend",
    response_model=Preview,
    responses=problems_of(404, 409, 501) | {200: {"description": "It lives for so long at least.", "headers": ETAG}},
)
async def extend_preview(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    seconds: Annotated[int | None, Query(ge=1, le=int(MAX_TTL), description="From now on; its time to live without it.")] = None,
) -> Response:
    """Let a preview live for longer. What it has anyway is not made less."""
    async with audited(caller, "extend preview of", namespace, name) as entry:
        await context_of(request).permit(caller, "extend preview", namespace, name)
        previews = _previews(request)
        answer = await previews.shown(found := await previews.extend(namespace, name, seconds))
        entry.result = f"lives until {answer.expires_at}"
        return answer_of(answer, 200, {"ETag": etag_of_preview(found)})


@previews_router.delete(
    f"{_PATH}/{{id}}",
    status_code=204,
    responses=problems_of(404, 409, 412, 501)
    | {
        200: {"description": "With wait, events.", "content": EVENTS},
        202: {"description": "It is being deleted: hooks after run, or the cluster is removing what belonged to it."},
        204: {"description": "Deleted, and nothing is left."},
    },
)
async def delete_preview(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    dry_run: DryRun = None,
    wait: Wait = "false",
    patience: Patience = int(WAIT_SECONDS),
    if_match: IfMatch = None,
) -> Response:
    """Delete a preview, and all that was made for it. Its hooks after run first."""
    async with audited(caller, "delete preview of", namespace, name, dry_run=dry_run) as entry:
        context, previews = await _permitted(request, caller, "delete preview", namespace, name)
        if dry_run or wait == "false":
            uid = await previews.delete(namespace, name, if_match, dry_run=dry_run is not None)
            entry.result = "deleted"
            is_done = dry_run is not None or await previews.is_soon_gone(namespace, name, uid)
            return Response(status_code=204 if is_done else 202)

        async def work(progress: Progress) -> Json:
            async with previews.followed(namespace, name) as last:
                async with entry.passed_on():
                    last.uid = uid = await previews.delete(namespace, name, if_match)
                    entry.result = "deleted"
                return await until_deleted(lambda: previews.is_gone(namespace, name, uid), last, progress, within(patience))

        return await context.streams.answer(caller.username, work)


class _Making:
    """The answer to a call that makes a preview: at once when it is written, or as a stream until it is served."""

    def __init__(self, context: Context, previews: Previews, caller: Caller, entry: Entry, patience: int, *, wake: bool) -> None:
        self._context, self._previews, self._user, self._entry = context, previews, caller.username, entry
        self._patience, self._wake = patience, wake

    async def answer(self, make: Callable[[], Awaitable[tuple[Json, bool]]], wait: str) -> Response:
        if wait == "false":
            found, created = await make()
            return await _answer(self._previews, found, 201 if created else 200)

        async def work(progress: Progress) -> Json:
            async with self._entry.passed_on():
                found, created = await make()
            outcome = await self._outcome(found, progress)
            return outcome | {"created": created, "preview": await self._last_seen(found)}

        return await self._context.streams.answer(self._user, work)

    async def _outcome(self, found: Json, progress: Progress) -> Json:
        previews, until = self._previews, within(self._patience)
        namespace, name, uid = (found["metadata"][field] for field in ("namespace", "name", "uid"))
        progress.tell("the Preview is written")
        unserved = await until_made(lambda: previews.find(namespace, name), uid, progress, until)
        if unserved is not None:
            return unserved
        if not self._wake:
            return {"outcome": "served"}
        progress.tell("starting a replica")
        await previews.wake(found, self._patience)
        awake = await until_awake(lambda: previews.is_awake(found), lambda: previews.trouble(found), progress, until)
        # What works may be looked at for a while; what does not is not started again and again.
        await previews.wake(found, SHORTEST_WAKE_SECONDS if awake["outcome"] == "awake" else None)
        return awake

    async def _last_seen(self, found: Json) -> Json | None:
        """The preview at the end of a stream; None if it is gone, or cannot be read."""
        try:
            found = await self._previews.get(found["metadata"]["namespace"], found["metadata"]["name"])
            return (await self._previews.shown(found)).model_dump(mode="json")
        except (ApiError, Refused):
            return None


async def _permitted(
    request: Request, caller: Caller, action: str, namespace: str, name: str = "", *, wait: str = "true", wake: str = "false"
) -> tuple[Context, Previews]:
    context = context_of(request)
    await context.permit(caller, action, namespace, name)
    if wake == "true":
        if wait == "false":
            raise Refused(422, "invalid-parameter", "wake needs wait", errors=[Fault(detail="needs wait", parameter="wake")])
        await context.permit(caller, "wake preview", namespace)
    return context, _previews(request)


async def _document(request: Request, caller: Caller, namespace: str, name: str = "") -> PreviewDocument:
    """The document of the body. `name` is that of the path. Hooks are for those who may make Jobs, whenever they run."""
    document = validated(PreviewDocument, await read_json(request, JSON))
    if name and name != (own := object_name(document.base, document.name)):
        detail = f"is another than in the path: it is called {own}"
        raise Refused(422, "invalid-document", f"/name: {detail}", errors=[Fault(detail=detail, pointer="/name")])
    check_document(document, namespace)
    if document.before or document.after:
        await context_of(request).permit(caller, "hook preview", namespace)
    return document


async def _answer(previews: Previews, found: Json, status: int) -> Response:
    return answer_of(await previews.shown(found), status, {"ETag": etag_of_preview(found)})
