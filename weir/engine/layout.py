"""How the components of an engine are set: the flags of each, from what the file says and where the state is.

Values only. Both ways to run components, in this process or as processes of their own, take the same flags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fleet.discovery.sources import Backend
from fleet.runtime.address import LOOPBACK, near_host
from weir.engine.spec import FleetSpec
from weir.engine.state import StateDirectory

__all__ = ["SCALER_NAME", "Layout", "Planes", "interceptor_name"]

SCALER_NAME = "scaler"

_LOCAL_DEFAULTS = {"drain_timeout": 5.0, "list_apps": True}
"""People who press Ctrl-C do not want to wait for half a minute for a stream that never ends; and all apps are theirs."""


def interceptor_name(index: int) -> str:
    return f"interceptor-{index + 1}"


class Planes(Protocol):
    """The interceptors and the scaler of an engine, wherever they run."""

    @property
    def scaler_address(self) -> str: ...

    @property
    def proxy_ports(self) -> tuple[int, ...]: ...

    @property
    def rpc_addresses(self) -> Mapping[str, str]:
        """ "host:port" of every interceptor that runs, by its name."""

    async def at_work(self, key: str) -> Mapping[Backend, int] | None:
        """Exchanges at each backend of an app: of those that get new ones, and of those that have some that are not over.
        None when an interceptor that runs did not tell."""

    async def start(self) -> None:
        """Return once all of them serve. Raises StartError."""

    async def resize(self, interceptors: int) -> None: ...

    async def drain(self) -> None:
        """Let the interceptors finish what they have, and end them."""

    async def close(self) -> None:
        """End whatever is left, the scaler included."""


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
    ) -> None:
        self.spec, self._state, self.host = spec, state, host
        self._defaults = {"log_level": log_level}
        self._first_proxy_port = spec.ports.proxy if proxy_port is None else proxy_port

    @property
    def near_host(self) -> str:
        """The address at which this machine reaches what listens on `host`."""
        return near_host(self.host)

    def proxy_port(self, index: int) -> int:
        return _nth(self._first_proxy_port, index)

    def rpc_port(self, index: int) -> int:
        return _nth(self.spec.ports.rpc, index)

    def interceptor_diagnostics_port(self, index: int) -> int:
        return _nth(self.spec.ports.interceptor_diagnostics, index)

    def interceptor(self, index: int, *, proxy: int, rpc: int, diagnostics: int) -> list[str]:
        own = {
            "host": self.host,
            "proxy_port": proxy,
            "rpc_port": rpc,
            "diagnostics_port": diagnostics,
            "member_name": interceptor_name(index),
            "routes": self._state.routes_uri,
            "backends": self._state.backends_uri,
        }
        return _flags({**_LOCAL_DEFAULTS, **self._defaults, **self.spec.interceptor, **own})

    def scaler(self, *, port: int, diagnostics: int) -> list[str]:
        own = {
            "host": self.host,
            "port": port,
            "diagnostics_port": diagnostics,
            "routes": self._state.routes_uri,
            "members": self._state.members_uri,
        }
        return _flags({**self._defaults, **self.spec.scaler, **own})


def _nth(first: int, index: int) -> int:
    """Interceptors stand side by side from the first port on; without one, each takes a free port."""
    return first + index if first else 0


def _flags(settings: Mapping[str, Any]) -> list[str]:
    return [_flag(name.replace("_", "-"), value) for name, value in settings.items()]


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={value}"
