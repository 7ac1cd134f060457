"""The names of a file that certificates are for, and whether there will be some where its ports terminate TLS. Starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fleet.runtime.settings import SettingsError
from interceptor.settings import InterceptorSettings
from weir.engine.layout import flags_of
from weir.engine.spec import FleetSpec
from weir.engine.specfile import SpecError, SpecFile

__all__ = ["certified", "check_termination"]

_WAY_OUT = "weir up --tls makes certificates; WEIR_PROXY_TLS_CERT or WEIR_PROXY_TLS_DIRECTORIES says others"


def certified(file: SpecFile) -> list[str]:
    """The hosts that clients ask for by TLS."""
    hosts = [host for route in file.table.routes for rule in route.rules for host in rule.hosts]
    hosts += [host for app in file.spec.apps if app.key in file.copies for host in app.hosts]
    hosts += [name for route in file.table.routes for port in route.ports if port.terminates for name in port.server_names]
    return hosts + [f"{app.name}.localhost" for app in file.spec.apps]


def check_termination(file: Path, spec: FleetSpec, *, makes_certificates: bool) -> None:
    """Complain of ports that terminate TLS where there are no certificates for it. Raises SpecError."""
    faults = [] if makes_certificates else list(_terminating(spec))
    if faults and _need_some(spec):
        raise SpecError([f"{file}: {fault}, and there is no certificate: {_WAY_OUT}" for fault in faults])


def _terminating(spec: FleetSpec) -> Iterator[str]:
    for app in spec.apps:
        for port in app.ports:
            if (listen := port.listen_port()).terminates:
                yield f"{listen.place} of app {app.key} terminates TLS"


def _need_some(spec: FleetSpec) -> bool:
    """Whether an interceptor that is started with the settings of the file and of the environment needs certificates."""
    try:
        settings = InterceptorSettings.load(flags_of(spec.interceptor))
    except SettingsError:
        return False  # it will say so itself when it is started
    return settings.app_ports and not settings.has_proxy_tls
