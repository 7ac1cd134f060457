"""What both custom resources say of a target outside of discovery, in place of a Service. None of it is in the add-on.

Each struct of a target has these fields beside those of its Service, so that objects of the add-on are as they were.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Protocol

from msgspec import Meta

from controller.schema.common import NOT_IN_ADDON, Port, Rule, check_port, follows
from controller.schema.targets import Tls
from fleet.routing import route as routes
from fleet.routing.outside import ADDRESS, DNS_NAME, MAX_ADDRESSES

__all__ = ["ONE_TARGET", "PORT_OF_TARGET", "Addresses", "Host", "OutsidePort", "TargetFields", "check_target"]

Host = Annotated[
    Annotated[str, Meta(min_length=1, max_length=DNS_NAME.max_length)] | None, follows(routes.Target, "host", NOT_IN_ADDON)
]
Addresses = Annotated[
    Annotated[
        tuple[Annotated[str, Meta(pattern=ADDRESS.pattern, max_length=ADDRESS.max_length)], ...], Meta(max_length=MAX_ADDRESSES)
    ]
    | None,
    follows(routes.Target, "addresses", NOT_IN_ADDON),
    Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"}),
]
OutsidePort = Annotated[Port | None, follows(routes.Target, "port", NOT_IN_ADDON, words="Port at the host, or at the addresses.")]

_SOME: Final = "(has(self.service) || has(self.host) || has(self.addresses))"
_PAIRS: Final = (("service", "host"), ("service", "addresses"), ("host", "addresses"))
ONE_TARGET: Final = Rule(
    " && ".join((_SOME, *(f"!(has(self.{one}) && has(self.{other}))" for one, other in _PAIRS))),
    "exactly one of 'service', 'host' or 'addresses' must be set",
)
PORT_OF_TARGET: Final = Rule(
    "has(self.service) && has(self.port) != has(self.portName) || !has(self.service) && !has(self.portName)",
    "exactly one of 'port' or 'portName' must be set, and 'portName' only for a service",
)


class TargetFields(Protocol):
    """A target as an object writes it."""

    @property
    def service(self) -> str | None: ...
    @property
    def port(self) -> int | None: ...
    @property
    def port_name(self) -> str | None: ...
    @property
    def host(self) -> str | None: ...
    @property
    def addresses(self) -> tuple[str, ...] | None: ...
    @property
    def app_protocol(self) -> str | None: ...
    @property
    def tls(self) -> Tls | None: ...


def check_target(given: TargetFields) -> None:
    """The two rules once more, for objects that came in past them. Raises ValueError."""
    named: list[Any] = [one for one in (given.service, given.host, given.addresses) if one is not None]
    if len(named) != 1:
        raise ValueError(ONE_TARGET.message)
    if given.service is not None:
        check_port(given.port, given.port_name)
    elif given.port_name is not None:
        raise ValueError(PORT_OF_TARGET.message)
