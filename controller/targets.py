"""From what a custom resource says of a Service, or of a place outside of discovery, to a target. Pure."""

from __future__ import annotations

from typing import Protocol

from msgspec import structs

from controller.schema.outside import TargetFields
from controller.schema.targets import Tls
from fleet.defaults import PORT_LIMIT
from fleet.routing.target import Target, TargetTls

__all__ = ["outside_or_service", "outside_target", "port_of", "target_of", "tls_of"]


class _Outside(Protocol):
    """What objects say of a place outside of discovery."""

    @property
    def port(self) -> int | None: ...
    @property
    def host(self) -> str | None: ...
    @property
    def addresses(self) -> tuple[str, ...] | None: ...
    @property
    def app_protocol(self) -> str | None: ...
    @property
    def tls(self) -> Tls | None: ...


class _Port(Protocol):
    """What objects say of a Service, beside its name."""

    @property
    def port(self) -> int | None: ...
    @property
    def port_name(self) -> str | None: ...
    @property
    def app_protocol(self) -> str | None: ...
    @property
    def tls(self) -> Tls | None: ...


def target_of(namespace: str, service: str, given: _Port) -> Target:
    port = port_of(given.port, given.port_name)
    return Target(f"{namespace}/{service}", port, app_protocol=given.app_protocol, tls=tls_of(given.tls))


def outside_or_service(namespace: str, given: TargetFields, *, direct: bool | None) -> Target:
    """A target of an object of this namespace; `direct` as the object says it of all its Services."""
    if given.service is not None:
        return structs.replace(target_of(namespace, given.service, given), direct=direct)
    return outside_target(given)


def outside_target(given: _Outside) -> Target:
    return Target(
        port=given.port,
        host=given.host,
        addresses=given.addresses or (),
        app_protocol=given.app_protocol,
        tls=tls_of(given.tls),
    )


def tls_of(given: Tls | None) -> TargetTls | None:
    if given is None:
        return None
    return TargetTls(given.server_name, given.ca_bundle, given.insecure_skip_verify)


def port_of(number: int | None, name: str | None) -> int | str | None:
    """Names of ports have letters: digits alone are the number."""
    if number is None and name is not None and name.isascii() and name.isdecimal() and len(name) <= len(str(PORT_LIMIT)):
        return int(name)
    return number if number is not None else name
