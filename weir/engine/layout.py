"""The flags of the engine's components, from the settings in the file and the paths of the state directory.

Values only. Components in this process and components in their own processes get the same flags.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fleet.discovery.outside.policy import LOCAL
from fleet.discovery.sources import Backend
from fleet.runtime.address import LOOPBACK, near_host
from weir.engine.spec import FleetSpec
from weir.engine.state import StateDirectory

__all__ = ["SCALER_NAME", "Layout", "Planes", "flags_of", "interceptor_name"]

SCALER_NAME = "scaler"

_LOCAL_DEFAULTS = {"drain_timeout": 5.0, "list_apps": True, "outside_allowed": LOCAL, "https_port": 0}
"""Ctrl-C should not wait half a minute for a stream that never ends; all apps belong to the user, so they may be listed, and may
lead to this machine; and no load balancer stands between clients and the port for TLS, so redirects name that port."""


def interceptor_name(index: int) -> str:
    return f"interceptor-{index + 1}"


class Planes(Protocol):
    """The interceptors and the scaler of an engine, in this process or in others."""

    @property
    def scaler_address(self) -> str: ...

    @property
    def proxy_ports(self) -> tuple[int, ...]: ...

    @property
    def proxy_tls_ports(self) -> tuple[int, ...]:
        """Of interceptors that have certificates."""

    @property
    def rpc_addresses(self) -> Mapping[str, str]:
        """ "host:port" of every running interceptor, by its name."""

    async def at_work(self, key: str) -> Mapping[Backend, int] | None:
        """Open exchanges at each backend of a target: backends that get new requests, and backends that still have open ones.
        None when a running interceptor did not answer."""

    async def start(self) -> None:
        """Return once all components are ready. Raises StartError."""

    async def resize(self, interceptors: int) -> None: ...

    async def drain(self) -> None:
        """Let the interceptors finish open requests, and end them."""

    async def close(self) -> None:
        """End everything that is left, including the scaler."""


class Layout:
    """The flags of components."""

    def __init__(
        self,
        spec: FleetSpec,
        state: StateDirectory,
        *,
        host: str = LOOPBACK,
        proxy_port: int | None = None,
        log_level: str = "info",
        certificates: Path | None = None,
    ) -> None:
        """`certificates`: a directory with those of the proxies, if the engine makes them."""
        self.spec, self._state, self.host = spec, state, host
        directories = [spec.interceptor.get("proxy_tls_directories"), certificates]
        self._certificates = {"proxy_tls_directories": ",".join(map(str, filter(None, directories)))} if certificates else {}
        self._defaults = {"log_level": log_level}
        self._first_proxy_port = spec.ports.proxy if proxy_port is None else proxy_port

    @property
    def near_host(self) -> str:
        """The address at which this machine reaches a server that listens on `host`."""
        return near_host(self.host)

    def proxy_port(self, index: int) -> int:
        return _nth(self._first_proxy_port, index)

    def proxy_tls_port(self, index: int) -> int:
        return _nth(self.spec.ports.proxy_tls, index)

    @property
    def has_certificates(self) -> bool:
        """Whether the interceptors serve TLS: with certificates that the engine makes, or with the file's."""
        given = self.spec.interceptor
        return bool(self._certificates or given.get("proxy_tls_cert") or given.get("proxy_tls_directories"))

    def rpc_port(self, index: int) -> int:
        return _nth(self.spec.ports.rpc, index)

    def interceptor_diagnostics_port(self, index: int) -> int:
        return _nth(self.spec.ports.interceptor_diagnostics, index)

    def interceptor(self, index: int, *, proxy: int, rpc: int, diagnostics: int, proxy_tls: int | None = None) -> list[str]:
        """`proxy_tls` is the port for TLS, unless it follows from the file."""
        own = {
            "host": self.host,
            "proxy_port": proxy,
            "proxy_tls_port": self.proxy_tls_port(index) if proxy_tls is None else proxy_tls,
            **self._certificates,
            "rpc_port": rpc,
            "diagnostics_port": diagnostics,
            "member_name": interceptor_name(index),
            "routes": self._state.routes_uri,
            "backends": self._state.backends_uri,
            "busy": self._state.busy_uri,
            **({} if index == 0 else {"app_ports": False}),  # all have one address, and the first is there as long as any
        }
        return flags_of({**_LOCAL_DEFAULTS, **self._defaults, **self.spec.interceptor, **own})

    def scaler(self, *, port: int, diagnostics: int) -> list[str]:
        own = {
            "host": self.host,
            "port": port,
            "diagnostics_port": diagnostics,
            "routes": self._state.routes_uri,
            "members": self._state.members_uri,
            "busy": self._state.busy_uri,
        }
        return flags_of({**self._defaults, **self.spec.scaler, **own})


def _nth(first: int, index: int) -> int:
    """The port of the index-th interceptor: consecutive from the first one; 0 (any free port) if the file names none."""
    return first + index if first else 0


def flags_of(settings: Mapping[str, Any]) -> list[str]:
    """Flags of a component, for settings by their names."""
    return [_flag(name.replace("_", "-"), value) for name, value in settings.items()]


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={value}"
