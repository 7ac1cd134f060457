"""Kubernetes objects, parsed into frozen values with only the fields that Weir needs. No I/O."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec

__all__ = [
    "CONFIG_MAPS",
    "ENDPOINT_SLICES",
    "MAX_SERVICE_NAME",
    "SERVICES",
    "SERVICE_NAME_LABEL",
    "ConfigMap",
    "Endpoint",
    "EndpointSlice",
    "Head",
    "Resource",
    "Service",
    "SlicePort",
    "parse_config_map",
    "parse_endpoint_slice",
    "parse_service",
]

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
MAX_SERVICE_NAME: Final = 63
"""Characters. Longer names are no values of that label either: the API server refuses a list that selects by one."""


class Resource(msgspec.Struct, frozen=True):
    """A kind of objects by its API path: "/api/v1" or "/apis/GROUP/VERSION", and the plural name."""

    api: str
    plural: str

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of one object, of all in a namespace, or of all. Whatever the names are, it leads nowhere else. Raises
        ValueError for those that lead upwards."""
        scope = f"/namespaces/{_segment(namespace)}" if namespace else ""
        return f"{self.api}{scope}/{self.plural}" + (f"/{_segment(name)}" if name else "")


def _segment(name: str) -> str:
    if name in (".", ".."):
        raise ValueError(f"{name!r} is not the name of an object")
    return quote(name, safe=":")


CONFIG_MAPS: Final = Resource("/api/v1", "configmaps")
SERVICES: Final = Resource("/api/v1", "services")
ENDPOINT_SLICES: Final = Resource("/apis/discovery.k8s.io/v1", "endpointslices")


class Head(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The metadata that every object has (ObjectMeta)."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None

    @property
    def key(self) -> str:
        """ "namespace/name"."""
        return f"{self.namespace}/{self.name}"


class ConfigMap(msgspec.Struct, frozen=True, rename="camel"):
    """Data as sent by the server: `binary_data` is base64."""

    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}


class Service(msgspec.Struct, frozen=True, gc=False):
    """The TCP ports as (name, number), and the cluster address."""

    ports: tuple[tuple[str, int], ...]
    address: str = ""
    """ "" for a Service without one."""
    external_name: str = ""
    """Of a Service of type ExternalName, which has no pods."""
    protocols: tuple[tuple[int, str], ...] = ()
    """Number and appProtocol of each port that has one."""
    udp_ports: tuple[tuple[str, int], ...] = ()
    """The UDP ports."""


class SlicePort(msgspec.Struct, frozen=True, gc=False):
    name: str
    port: int
    app_protocol: str | None = None


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One address, and its pod if there is one. Missing conditions have the API's defaults."""

    address: str
    pod: str
    ready: bool
    serving: bool
    terminating: bool


class EndpointSlice(msgspec.Struct, frozen=True, gc=False):
    """A part of the endpoints of a Service, all of one address family."""

    service: str
    """ "namespace/name"; the name is empty for a slice without a Service."""
    ipv6: bool
    ports: tuple[SlicePort, ...]
    """The TCP ports."""
    endpoints: tuple[Endpoint, ...]
    udp_ports: tuple[SlicePort, ...] = ()


class _ServicePort(msgspec.Struct, rename="camel", gc=False):
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None


class _ServiceSpec(msgspec.Struct, rename="camel"):
    ports: list[_ServicePort] = []
    type: str = ""
    external_name: str = ""
    cluster_ip: str = msgspec.field(name="clusterIP", default="")


class _Service(msgspec.Struct):
    spec: _ServiceSpec = msgspec.field(default_factory=_ServiceSpec)


class _EndpointPort(msgspec.Struct, rename="camel", gc=False):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None
    app_protocol: str | None = None


class _Conditions(msgspec.Struct, gc=False):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _Reference(msgspec.Struct, gc=False):
    kind: str = ""
    name: str = ""


class _Endpoint(msgspec.Struct, rename="camel"):
    addresses: list[str] = []
    conditions: _Conditions = msgspec.field(default_factory=_Conditions)
    target_ref: _Reference | None = None


class _EndpointSlice(msgspec.Struct, rename="camel"):
    metadata: Head
    address_type: str = ""
    ports: list[_EndpointPort] | None = None
    endpoints: list[_Endpoint] | None = None


_config_map = msgspec.json.Decoder(ConfigMap)
_service = msgspec.json.Decoder(_Service)
_endpoint_slice = msgspec.json.Decoder(_EndpointSlice)


def parse_config_map(data: bytes | msgspec.Raw) -> ConfigMap:
    """Raises ValueError."""
    return _config_map.decode(data)


def parse_service(data: bytes | msgspec.Raw) -> Service:
    """Raises ValueError."""
    spec = _service.decode(data).spec
    ports = [port for port in spec.ports if port.protocol == "TCP"]
    return Service(
        tuple((sys.intern(port.name), port.port) for port in ports),
        "" if spec.cluster_ip == "None" else spec.cluster_ip,
        external_name=spec.external_name if spec.type == "ExternalName" else "",
        protocols=tuple((port.port, sys.intern(port.app_protocol)) for port in ports if port.app_protocol),
        udp_ports=tuple((sys.intern(port.name), port.port) for port in spec.ports if port.protocol == "UDP"),
    )


def parse_endpoint_slice(data: bytes | msgspec.Raw) -> EndpointSlice:
    """Raises ValueError."""
    parsed = _endpoint_slice.decode(data)
    named = (parsed.metadata.labels or {}).get(SERVICE_NAME_LABEL, "")
    # The third address type, FQDN, has no IP addresses.
    by_address = parsed.address_type in ("IPv4", "IPv6")
    return EndpointSlice(
        service=f"{parsed.metadata.namespace}/{named}",
        ipv6=parsed.address_type == "IPv6",
        ports=_slice_ports(parsed.ports or (), "TCP"),
        endpoints=tuple(_endpoint(one) for one in parsed.endpoints or () if one.addresses) if by_address else (),
        udp_ports=_slice_ports(parsed.ports or (), "UDP"),
    )


def _slice_ports(ports: Iterable[_EndpointPort], protocol: str) -> tuple[SlicePort, ...]:
    return tuple(_slice_port(port) for port in ports if port.port and (port.protocol or "TCP") == protocol)


def _slice_port(port: _EndpointPort) -> SlicePort:
    return SlicePort(sys.intern(port.name or ""), port.port or 0, port.app_protocol and sys.intern(port.app_protocol))


def _endpoint(endpoint: _Endpoint) -> Endpoint:
    conditions = endpoint.conditions
    terminating = conditions.terminating is True
    # discovery/v1: an unknown `ready` counts as true, an unknown `serving` as `ready`.
    ready = conditions.ready is not False and not terminating
    serving = ready if conditions.serving is None else conditions.serving
    pod = endpoint.target_ref.name if endpoint.target_ref is not None and endpoint.target_ref.kind == "Pod" else ""
    # discovery/v1: consumers should use only the first address.
    return Endpoint(endpoint.addresses[0], pod, ready, serving, terminating)
