"""The HTTP calls on leases of ports. As with applications: who asks, not too often, whether they may, what they ask for, and then
it is done. A change leaves a line in the log, whatever comes of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from controller.admin.body import JSON, read_json, validated
from controller.admin.openapi import body_of, problems_of
from controller.admin.ports import Port, PortList, PortRequest, Ports, etag_of_port
from controller.admin.routes import ETAG, Calling, IfMatch, Namespace, answer_of, audited, context_of
from controller.portleases.lease import PortLease
from controller.schema.ports import LEASE_NAME, MAX_LEASE_NAME

__all__ = ["ports_of_app", "ports_router"]

ports_router = APIRouter()

Name = Annotated[str, Path(pattern=LEASE_NAME, max_length=MAX_LEASE_NAME, description="Its id, like tcp-20000, or its name.")]


def ports_of_app(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


@ports_router.get("/v1/namespaces/{namespace}/ports", response_model=PortList, responses=problems_of(501))
async def list_ports(request: Request, caller: Calling, namespace: Namespace) -> Response:
    """List the leases of a namespace."""
    await context_of(request).permit(caller, "list", namespace)
    ports = ports_of_app(request)
    return answer_of(PortList(items=[ports.shown(lease) for lease in await ports.all_of(namespace)]))


@ports_router.post(
    "/v1/namespaces/{namespace}/ports",
    status_code=201,
    response_model=Port,
    openapi_extra=body_of("PortRequest", JSON),
    responses=problems_of(400, 404, 408, 409, 413, 415, 501)
    | {
        200: {"model": Port, "description": "There is a lease of this name; its time begins anew.", "headers": ETAG},
        201: {"description": "Leased.", "headers": ETAG},
    },
)
async def lease_port(request: Request, caller: Calling, namespace: Namespace) -> Response:
    """Lease a port. With a name, the same call again gives the same lease."""
    context, ports = context_of(request), ports_of_app(request)
    async with audited(caller, "lease port of", namespace) as entry:
        await context.permit(caller, "lease", namespace)
        asked = validated(PortRequest, await read_json(request, JSON))
        lease, created = await ports.lease(caller.username, namespace, asked)
        entry.name, entry.result = lease.name, f"{lease.port} {'leased' if created else 'was there'}"
    return _answer(ports, lease, 201 if created else 200)


@ports_router.get(
    "/v1/namespaces/{namespace}/ports/{name}",
    response_model=Port,
    responses=problems_of(404, 501) | {200: {"description": "The lease.", "headers": ETAG}},
)
async def get_port(request: Request, caller: Calling, namespace: Namespace, name: Name) -> Response:
    """One lease."""
    await context_of(request).permit(caller, "list", namespace)
    ports = ports_of_app(request)
    return _answer(ports, await ports.get(namespace, name), 200)


@ports_router.delete(
    "/v1/namespaces/{namespace}/ports/{name}",
    status_code=204,
    responses=problems_of(404, 409, 412, 501) | {204: {"description": "Released."}},
)
async def release_port(
    request: Request, caller: Calling, namespace: Namespace, name: Name, *, if_match: IfMatch = None
) -> Response:
    """Release a port. One that its object asks for is kept: 409."""
    async with audited(caller, "release port of", namespace, name) as entry:
        await context_of(request).permit(caller, "release", namespace)
        await ports_of_app(request).release(namespace, name, if_match)
        entry.result = "released"
    return Response(status_code=204)


def _answer(ports: Ports, lease: PortLease, status: int) -> Response:
    headers: dict[str, Any] = {"ETag": etag_of_port(lease)}
    return answer_of(ports.shown(lease), status, headers)
