"""From the port that a route names to the addresses behind it: Service port, endpoint port, endpoints. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fleet.discovery.kubernetes.objects import EndpointSlice, Service, SlicePort
from fleet.discovery.sources import Backend

__all__ = ["backends_at", "port_name", "through_service"]


def port_name(service: Service | None, port: int | str | None) -> str | None:
    """The name under which EndpointSlices list a port of a Service: that of the Service's port, "" for one without.

    A number is a number of the Service, not of its pods. Without a port it is the only one. None when there is no such.
    """
    if isinstance(port, str):
        return port  # slices say by themselves whether they have it
    if service is None:
        return None
    names = [name for name, number in service.ports if port is None or number == port]
    if not names or (port is None and len(names) > 1):
        return None
    return names[0]


def backends_at(slices: Iterable[EndpointSlice], name: str) -> tuple[Backend, ...]:
    """The ready endpoints at a port. A pod with an IPv4 and an IPv6 address is one backend, at the former.

    Endpoints that are going away take no new requests: here a request can wait for one that stays.
    """
    found: dict[str, Backend] = {}
    for one in sorted(slices, key=lambda one: one.ipv6):
        port = next((port for port in one.ports if port.name == name), None)
        if port is not None:
            _add_ready(found, one, port)
    return tuple(sorted(found.values(), key=lambda backend: (backend.host, backend.port)))


def _add_ready(found: dict[str, Backend], one: EndpointSlice, port: SlicePort) -> None:
    for endpoint in one.endpoints:
        if endpoint.ready:
            found.setdefault(endpoint.pod or endpoint.address, Backend(endpoint.address, port.port, port.app_protocol))


def through_service(service: Service | None, name: str, pods: tuple[Backend, ...]) -> tuple[Backend, ...]:
    """The Service's address in the place of each of its ready pods; none while the Service is not known.

    `name` is that of the Service's port. A Service without an address of its own has those of its pods.
    """
    if service is None:
        return ()
    number = next((number for called, number in service.ports if called == name), None)
    if not service.address or number is None:
        return pods
    return tuple(Backend(service.address, number, pod.app_protocol, f"{pod.host} {pod.port}") for pod in pods)
