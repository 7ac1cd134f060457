"""How long a connection may take to open is the route's to say."""

from __future__ import annotations

import msgspec
import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Protection
from interceptor.backends import probes
from tests.support.loopback import APP, route
from tests.support.raw_requests import get
from tests.wire.proxy_rig import proxy_rig


async def test_a_silent_backend_is_given_up_after_the_time_of_the_route(silent: Backend) -> None:
    async with proxy_rig(routes=[route(connect=0.1, readiness=0.5)], backends=0, connect_timeout=30) as rig:
        rig.sources.set(APP, [silent])
        client = await rig.client()
        refusal = await client.ask(get())
        assert refusal.status == 504
        assert b"connect timed out" in refusal.body


async def test_a_probe_takes_no_longer_whatever_the_time_of_the_route(silent: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a turn that the backends of others wait for."""
    monkeypatch.setattr(probes, "CONNECT_SECONDS", 0.2)
    patient = msgspec.structs.replace(route(connect=0.0, readiness=0.5), protection=Protection(readiness_path="/ready"))
    async with proxy_rig(routes=[patient], backends=0) as rig:
        rig.sources.set(APP, [silent])
        refusal = await (await rig.client()).ask(get())
        assert b"connect timed out" in refusal.body
        assert rig.interceptor.proxy.probes.failures
