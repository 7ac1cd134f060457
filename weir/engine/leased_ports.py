"""Puts the numbers of leases into the apps of a file that name them."""

from __future__ import annotations

from collections.abc import Sequence

from weir.engine.appportspec import AppPortSpec
from weir.engine.document import Path
from weir.engine.findings import Findings
from weir.engine.leases import LocalLeases
from weir.engine.portmap import owners
from weir.engine.ports import NoPortError
from weir.engine.spec import AppSpec, FleetSpec

__all__ = ["settle", "with_leases"]


def with_leases(apps: Sequence[AppSpec], spec: FleetSpec, leases: LocalLeases, findings: Findings) -> list[AppSpec]:
    """The apps with numbers for all their ports, as far as there are any."""
    taken = {owner.port for owner in owners(spec)}
    users: dict[tuple[str, str], Path] = {}

    def numbered(app: AppSpec, port: AppPortSpec, at: Path) -> AppPortSpec:
        if port.lease is None:
            return port
        if users.setdefault((app.namespace, port.lease), at) != at:
            findings.add(at, f"another port has the lease {port.lease}")
        try:
            return port.model_copy(update={"port": leases.take(app.namespace, port.lease, port.protocol, taken)})
        except NoPortError as error:
            findings.add(at, str(error))
            return port

    return [
        app.model_copy(
            update={
                "ports": [
                    numbered(app, port, ("apps", index, "ports", position, "lease")) for position, port in enumerate(app.ports)
                ]
            }
        )
        if app.ports
        else app
        for index, app in enumerate(apps)
    ]


def settle(spec: FleetSpec, leases: LocalLeases) -> None:
    """The file is in force: leases that it does not name any more end."""
    users = {(app.namespace, port.lease): app.key for app in spec.apps for port in app.ports if port.lease is not None}
    leases.settle(users, frozenset(owner.port for owner in owners(spec)))
