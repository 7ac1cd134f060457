"""The paths of helm-web-api (microsoft/helm-web-api, docs/api.md) on ports: /getPort and /setrule, with its bodies and answers.

Off unless WEIR_ADMIN_HELM_NAMESPACE names the namespace of their applications, and WEIR_PORTS is on. What it did wrong is not
repeated: a port is reserved by /getPort, a range that is exhausted is an error, what a caller says of the load balancer counts,
and errors have the status of an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AliasChoices, BeforeValidator, Field, StringConstraints

from controller.admin.authentication import Caller
from controller.admin.body import validated
from controller.admin.documents import NAME
from controller.admin.ports import PortRequest, Ports
from controller.admin.ports_calls import ports_of_app
from controller.admin.problems import Refused
from controller.admin.releases.compatibility import any_case, read_fields
from controller.admin.releases.documents import Model
from controller.admin.routes import audited, caller_of, context_of
from controller.crds import INTERCEPTOR_ROUTES
from controller.portleases.lease import Holder, PortLease
from controller.resources import Key
from controller.schema.ports import MAX_ENTRY_NAME
from controller.world import path_of
from fleet.defaults import PORT_LIMIT, TARGET
from fleet.discovery.kubernetes.client import Api
from fleet.routing.port import TCP
from fleet.routing.port_index import PortKey

__all__ = ["old_ports_router"]

MANAGER = "weir-admin-ports"
"""Field manager of the routes that /setrule makes."""
MAX_ADDRESS = 253
old_ports_router = APIRouter(include_in_schema=False)


def _number(given: Any) -> Any:
    """A port of a form is a text."""
    return int(given) if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 6 else given


Number = Annotated[int, BeforeValidator(_number), Field(ge=1, le=PORT_LIMIT)]


def _or(*names: str) -> Any:
    return Field(validation_alias=AliasChoices(*names))


class PortRule(Model):
    """What /setrule takes. The second names are those of older versions."""

    serviceName: Annotated[str, StringConstraints(pattern=NAME, max_length=63)]  # noqa: N815 - its own names
    servicePort: Number  # noqa: N815
    loadBalancerIp: Annotated[str, StringConstraints(max_length=MAX_ADDRESS), _or("loadBalancerIp", "specificlb")] = ""  # noqa: N815
    loadBalancerPort: Annotated[Number | None, _or("loadBalancerPort", "specificport")] = None  # noqa: N815
    release: Annotated[str, StringConstraints(max_length=MAX_ENTRY_NAME), _or("release", "specificrelease")] = ""


@old_ports_router.get(any_case("getport"))
async def get_port(request: Request) -> Response:
    """A port that nobody else gets, and the address of the Service that leads there."""
    namespace = _namespace(request)

    async def work(ports: Ports, caller: Caller) -> dict[str, Any]:
        await context_of(request).permit(caller, "lease", namespace)
        address = request.query_params.get("lbip", "")[:MAX_ADDRESS]
        lease, _ = await ports.lease(caller.username, namespace, PortRequest(address=address))
        return _place(ports, lease, "public_ip", "release")

    return await _answered(request, "lease port of", work, lambda refused: {"error": refused.problem.detail})


@old_ports_router.post(any_case("setrule"))
async def set_rule(request: Request) -> Response:
    """Lead a port to a Service: by an InterceptorRoute, with which the lease ends."""
    namespace = _namespace(request)

    async def work(ports: Ports, caller: Caller) -> dict[str, Any]:
        context = context_of(request)
        await context.permit(caller, "rule", namespace)
        rule = validated(PortRule, await read_fields(request))
        lease, created = await _leased(ports, caller, namespace, rule)
        if lease.holder not in (None, Key(INTERCEPTOR_ROUTES.kind, namespace, _name(lease))):
            raise Refused(409, "port-taken", f"{lease.port} belongs to {lease.holder}")
        try:
            holder = await _applied(request.app.state.api, namespace, lease, rule)
        except BaseException:
            if created:  # the caller does not know its number, and the next call would lease another one
                await ports.give_up(lease)
            raise
        # From here on the lease is the route's: if it cannot be bound now, the leader does it.
        if lease.holder is None:
            lease = await ports.bind(lease, holder)
        return {"status": "success", **_place(ports, lease, "ip", "releaseName")}

    def failed(refused: Refused) -> dict[str, Any]:
        return {"status": "failed", "reason": refused.problem.detail}

    return await _answered(request, "rule of", work, failed)


async def _leased(ports: Ports, caller: Caller, namespace: str, rule: PortRule) -> tuple[PortLease, bool]:
    """The lease that /getPort gave, or a new one, and whether it is new."""
    asked = PortRequest(port=rule.loadBalancerPort, address=rule.loadBalancerIp, entry=rule.release)
    if rule.loadBalancerPort is not None:
        lease = await ports.there(namespace, PortKey(TCP, rule.loadBalancerPort), asked)
        if lease is not None:
            return lease, False
    return await ports.lease(caller.username, namespace, asked)


async def _applied(api: Api, namespace: str, lease: PortLease, rule: PortRule) -> Holder:
    """The route of a port. Raises ApiError."""
    name = _name(lease)
    spec = {
        "target": {"service": rule.serviceName, "port": rule.servicePort},
        "scalingMetric": {"concurrency": {"targetValue": TARGET}},
        "ports": [{"port": lease.port.port, "protocol": lease.port.protocol, "entry": lease.entry}],
    }
    kind = INTERCEPTOR_ROUTES
    metadata = {"name": name, "namespace": namespace}
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
    answer = await api.request(
        "PATCH",
        path_of(kind).path(namespace, name),
        query=(("fieldManager", MANAGER), ("force", "true")),
        body=body,
        content_type="application/apply-patch+yaml",
    )
    uid = msgspec.json.decode(answer)["metadata"]["uid"]
    return Holder(Key(kind.kind, namespace, name), str(uid), kind.api_version)


def _name(lease: PortLease) -> str:
    """Of the route of a port."""
    return f"port-{lease.id}"


def _place(ports: Ports, lease: PortLease, address: str, release: str) -> dict[str, Any]:
    shown = ports.shown(lease)
    return {address: shown.address, "port": shown.port, release: shown.entry.partition("/")[2]}


def _namespace(request: Request) -> str:
    namespace: str = request.app.state.releases.old_namespace
    return namespace


async def _answered(
    request: Request,
    action: str,
    work: Callable[[Ports, Caller], Awaitable[dict[str, Any]]],
    failed: Callable[[Refused], dict[str, Any]],
) -> Response:
    try:
        caller = await caller_of(request)
        async with audited(caller, action, _namespace(request)) as entry:
            found = await work(ports_of_app(request), caller)
            entry.name = f"port {found['port']}"
        return JSONResponse(found, headers={"Cache-Control": "no-store"})
    except Refused as refused:
        return JSONResponse(failed(refused), refused.status, headers=refused.headers)
