"""Entries: the Services that lead to the interceptors, with their addresses and ports, and which of them somebody means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from controller.selectors import Requirement, selects
from fleet.routing.port_index import PortKey

__all__ = ["Entry", "EntryPort", "Wish", "own_name", "parse_entry"]


class EntryPort(msgspec.Struct, frozen=True):
    """A port of a Service."""

    name: str
    key: PortKey
    target: int | str = 0

    @property
    def is_ours(self) -> bool:
        """Whether it was added for an application: nothing else has a name like that."""
        return self.name == own_name(self.key)

    @property
    def is_right(self) -> bool:
        """Whether it leads to the same number of the interceptors."""
        return self.is_ours and self.target == self.key.port


class Entry(msgspec.Struct, frozen=True):
    """A Service in front of the interceptors."""

    name: str
    """ "namespace/name"."""
    labels: Mapping[str, str] = {}
    balancers: tuple[str, ...] = ()
    """Addresses and host names of its load balancer, and external addresses."""
    address: str = ""
    """Within the cluster."""
    ports: tuple[EntryPort, ...] = ()
    version: str = ""
    """Its resourceVersion."""

    @property
    def public(self) -> str:
        """The address that people use."""
        return next(iter(self.balancers), self.address)

    def is_at(self, address: str) -> bool:
        return address in (*self.balancers, self.address)

    def stranger(self, key: PortKey) -> str | None:
        """The name of a port of this number that is not ours; None without one. It may be ""."""
        return next((port.name for port in self.ports if port.key == key and not port.is_ours), None)


class Wish(msgspec.Struct, frozen=True):
    """Which entry: every part that is given has to fit. Without any, all of them do."""

    name: str = ""
    """ "namespace/name", or the name alone."""
    address: str = ""
    selector: tuple[Requirement, ...] = ()

    def fits(self, entry: Entry) -> bool:
        if self.name and self.name not in (entry.name, entry.name.partition("/")[2]):
            return False
        return (not self.address or entry.is_at(self.address)) and selects(self.selector, entry.labels)

    def choose(self, entries: Iterable[Entry], counts: Mapping[str, int]) -> Entry | None:
        """The one of those that fit with the fewest ports of applications."""
        fitting: Sequence[Entry] = [entry for entry in entries if self.fits(entry)]
        return min(fitting, key=lambda entry: (counts.get(entry.name, 0), entry.name), default=None)


def own_name(key: PortKey) -> str:
    """What a port of an application is called in a Service."""
    return f"weir-{key.protocol.lower()}-{key.port}"


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    namespace: str = ""
    labels: dict[str, str] | None = None
    resource_version: str = ""


class _Port(msgspec.Struct, frozen=True, rename="camel"):
    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str = 0


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    ports: tuple[_Port, ...] | None = None
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    external_ips: tuple[str, ...] | None = msgspec.field(name="externalIPs", default=None)
    load_balancer_ip: str = msgspec.field(name="loadBalancerIP", default="")


class _Ingress(msgspec.Struct, frozen=True):
    ip: str = ""
    hostname: str = ""


class _Balancer(msgspec.Struct, frozen=True):
    ingress: tuple[_Ingress, ...] | None = None


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    load_balancer: _Balancer = _Balancer()


class _Service(msgspec.Struct, frozen=True):
    metadata: _Meta
    spec: _Spec = _Spec()
    status: _Status = _Status()


def parse_entry(data: bytes | msgspec.Raw) -> Entry:
    """Raises ValueError."""
    found = msgspec.json.decode(data, type=_Service)
    spec, given = found.spec, found.status.load_balancer.ingress or ()
    balancers = (*(one.ip or one.hostname for one in given), *(spec.external_ips or ()), spec.load_balancer_ip)
    return Entry(
        name=f"{found.metadata.namespace}/{found.metadata.name}",
        labels=found.metadata.labels or {},
        balancers=tuple(dict.fromkeys(filter(None, balancers))),
        address="" if spec.cluster_ip == "None" else spec.cluster_ip,
        ports=tuple(EntryPort(port.name, PortKey(port.protocol, port.port), port.target_port) for port in spec.ports or ()),
        version=found.metadata.resource_version,
    )
