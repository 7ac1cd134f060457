"""What a file of apps may say of a target that is not started here: a DNS name with a port, or addresses. Values only."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fleet.routing.outside import ADDRESS, DNS_NAME, MAX_ADDRESSES, split_place
from fleet.routing.route import Target
from weir.engine.fields import Fits, Follows, Model, PositivePort, Text, fault

__all__ = ["PROCESS_FIELDS", "Address", "DnsName", "OutsideSpec", "check_place"]

DnsName = Annotated[Text, Fits(DNS_NAME.check)]
Address = Annotated[Text, Fits(ADDRESS.check)]

PROCESS_FIELDS = (
    *("command", "port", "env", "env_file", "cwd", "readiness", "drain", "grace", "before"),
    *("min", "max", "target", "rate", "activity_period", "cooldown", "scale_down_window"),
)
"""Fields of an app that say how its processes run and scale, which one that is outside has not."""


class OutsideSpec(Model):
    """Where the requests of an app go that is not started here."""

    host: Annotated[DnsName | None, Follows(Target, "host")] = None
    port: Annotated[PositivePort | None, Follows(Target, "port", "Port at the host, or at the addresses that have none.")] = None
    addresses: Annotated[list[Address], Field(max_length=MAX_ADDRESSES), Follows(Target, "addresses")] = []

    @model_validator(mode="after")
    def _one_place(self) -> OutsideSpec:
        if (self.host is None) == (not self.addresses):
            raise fault("", "is either a host or addresses", "host", "addresses")
        check_place(self.host, self.port, self.addresses)
        return self

    def target(self) -> Target:
        return Target(host=self.host, port=self.port, addresses=tuple(self.addresses))


def check_place(host: str | None, port: int | None, addresses: list[str]) -> None:
    """Raise the fault of a place without a port."""
    if port is None and (host is not None or any(split_place(address)[1] is None for address in addresses)):
        raise fault("port", "is missing", "host", "addresses")
