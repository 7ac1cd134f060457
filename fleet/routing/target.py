"""Where the requests of a route go. Values only; a part of fleet/routing/route.py, whose rules for fields hold here as well."""

from __future__ import annotations

from typing import Annotated

import msgspec

from fleet.routing.declare import Field
from fleet.routing.kinds import NAME, PORT
from fleet.routing.outside import ADDRESS, DNS_NAME, MAX_ADDRESSES, dns_key, fixed_key, is_outside

__all__ = ["Target"]


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the backends of a route are found: a Service and a port of it, by number or by name; or, outside of discovery, a DNS
    name with a port, or a list of addresses."""

    service: Annotated[str, Field('The Service, as "namespace/name".', NAME)] = ""
    port: Annotated[int | str | None, Field("Number or name of the Service's port; the number for a DNS name.", PORT)] = None
    direct: Annotated[
        bool | None,
        Field(
            "Whether requests go to pods themselves; false: to their Service's address. Without it, the setting of the "
            "interceptors counts."
        ),
    ] = None
    host: Annotated[
        str | None,
        Field(
            "DNS name instead of a Service. All its addresses are backends, and it is looked up again as its TTL says.", DNS_NAME
        ),
    ] = None
    addresses: Annotated[
        tuple[str, ...],
        Field(
            "IP addresses instead of a Service, each with a port or with that of `port`.",
            ADDRESS,
            most=MAX_ADDRESSES,
            called="addresses",
        ),
    ] = ()

    @property
    def key(self) -> str:
        """Name under which discovery lists the backends: "namespace/name" or "namespace/name:port", and "@pods" or "@service"
        behind it where `direct` is said. Of targets outside of discovery: "dns:name:port", "fixed:address:port,…".
        """
        if self.host is not None:
            return dns_key(self.host, self.port)
        if self.addresses:
            return fixed_key(self.addresses, self.port)
        place = self.service if self.port is None else f"{self.service}:{self.port}"
        return place if self.direct is None else f"{place}@{'pods' if self.direct else 'service'}"

    @property
    def is_outside(self) -> bool:
        """Whether it is no Service."""
        return is_outside(self.key)

    @property
    def plain(self) -> Target:
        """The target alone, without what a subclass adds."""
        return Target(**{name: getattr(self, name) for name in Target.__struct_fields__})
