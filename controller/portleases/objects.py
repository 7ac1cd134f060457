"""The objects that leases are for, as the API server has them now: a watch may be behind."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES
from controller.portleases.lease import Holder, PortLease
from controller.resources import Key, Resource, parse_http_scaled_object, parse_interceptor_route
from controller.world import path_of
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.listwatch import Parse
from fleet.routing.port_index import PortKey

__all__ = ["KINDS", "holder_of", "is_named", "read_object"]

_KINDS = {HTTP_SCALED_OBJECTS: parse_http_scaled_object, INTERCEPTOR_ROUTES: parse_interceptor_route}
KINDS: Mapping[str, Parse[Resource]] = {kind.kind: parse for kind, parse in _KINDS.items()}
_PATHS = {kind.kind: path_of(kind) for kind in _KINDS}


class _Listed(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


async def read_object(api: Api, key: Key) -> Resource | None:
    """The object; None if there is none. Raises ApiError. It is listed, as the controller may list objects, and not get them."""
    query = [("fieldSelector", f"metadata.name={key.name}")]
    answer = await api.get(_PATHS[key.kind].path(key.namespace), query)
    try:
        items = msgspec.json.decode(answer, type=_Listed).items
        return KINDS[key.kind](items[0]) if items else None
    except ValueError as error:
        raise ApiError(f"{key}: {error}") from error


def holder_of(resource: Resource) -> Holder:
    """The object as the one that a lease is for."""
    return Holder(resource.key, resource.meta.uid, resource.kind.api_version)


def is_named(lease: PortLease, resource: Resource) -> bool:
    """Whether an object asks for a leased port, by its name or by its number."""
    return any(
        one.lease == lease.name if one.lease else PortKey(one.port.protocol, one.port.port) == lease.port
        for one in resource.ports
    )
