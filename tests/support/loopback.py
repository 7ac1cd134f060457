"""An interceptor's settings and a route for tests: one app of one host, on ports of loopback."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from fleet.routing.route import Route, Rule, Target, Timeouts
from fleet.runtime.address import LOOPBACK
from interceptor.settings import InterceptorSettings

__all__ = ["APP", "loopback_settings", "route"]

APP = "default/a"


def route(app: str = APP, host: str = "a.test", *, service: str = "", paths: Sequence[str] = (), **timeouts: float) -> Route:
    """One host, one target of the same name."""
    rule = Rule(hosts=(host,), paths=tuple(paths))
    return Route(app=app, target=Target(service or app), rules=(rule,), timeouts=Timeouts(**timeouts))


def loopback_settings(**settings: Any) -> InterceptorSettings:
    """Ports of any number; the rest as it ships, but for what is given. Made once for the same values, as settings are frozen:
    it takes longer than most tests that need them."""
    return _settings(tuple(sorted(settings.items())))


@cache
def _settings(given: tuple[tuple[str, Any], ...]) -> InterceptorSettings:
    fixed = {"host": LOOPBACK, "proxy_port": 0, "rpc_port": 0, "diagnostics_port": 0, "member_name": "rig"}
    return InterceptorSettings(**{**fixed, **dict(given)})
