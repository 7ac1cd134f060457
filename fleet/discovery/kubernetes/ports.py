"""From the port in a route to the addresses behind it: Service port, endpoint port, endpoints. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fleet.discovery.kubernetes.objects import EndpointSlice, Service, SlicePort
from fleet.discovery.sources import Backend

__all__ = ["backends_at", "port_name", "through_service"]


def port_name(service: Service | None, port: int | str | None, *, udp: bool = False) -> str | None:
    """The name under which EndpointSlices list a port of a Service: the name of the Service's port, "" for an unnamed one.

    A number is a port number of the Service, not of its pods. Without a port, the Service's only port is used. None when there is
    no such port.
    """
    if isinstance(port, str):
        return port  # a slice shows by itself whether it has a port of that name
    if service is None:
        return None
    names = [name for name, number in (service.udp_ports if udp else service.ports) if port is None or number == port]
    if not names or (port is None and len(names) > 1):
        return None
    return names[0]


def backends_at(slices: Iterable[EndpointSlice], name: str, *, udp: bool = False) -> tuple[Backend, ...]:
    """The ready endpoints at a port. A pod with an IPv4 and an IPv6 address is one backend, with the IPv4 address.

    Terminating endpoints get no new requests, even when no other is left: a request can wait here for a new one.
    """
    found: dict[str, Backend] = {}
    for one in sorted(slices, key=lambda one: one.ipv6):
        port = next((port for port in (one.udp_ports if udp else one.ports) if port.name == name), None)
        if port is not None:
            _add_ready(found, one, port)
    return tuple(sorted(found.values(), key=lambda backend: (backend.host, backend.port)))


def _add_ready(found: dict[str, Backend], one: EndpointSlice, port: SlicePort) -> None:
    for endpoint in one.endpoints:
        if endpoint.ready:
            found.setdefault(endpoint.pod or endpoint.address, Backend(endpoint.address, port.port, port.app_protocol))


def through_service(service: Service | None, name: str, pods: tuple[Backend, ...], *, udp: bool = False) -> tuple[Backend, ...]:
    """Replaces the address of each ready pod by the Service's address; empty while the Service is unknown.

    `name` is the name of the Service's port. For a headless Service, the pods' addresses are used.
    """
    if service is None:
        return ()
    number = next((number for called, number in (service.udp_ports if udp else service.ports) if called == name), None)
    if not service.address or number is None:
        return pods
    return tuple(Backend(service.address, number, pod.app_protocol, f"{pod.host} {pod.port}") for pod in pods)
