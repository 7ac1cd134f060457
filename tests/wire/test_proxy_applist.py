"""The list of applications on real sockets: only where it is switched on, only where no route takes the request."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.routing.route import Route, Rule, Target
from tests.support.browser import CHROMIUM, open_page
from tests.support.loopback import APP, route
from tests.support.raw_requests import get
from tests.wire.proxy_rig import proxy_rig
from tests.wire.test_proxy_browser import until_it_says

LOCAL = route(host="a.localhost")


def home(*fields: bytes, host: bytes = b"localhost:8080", method: bytes = b"GET") -> bytes:
    return get(b"/", *fields, host=host, method=method)


async def test_the_list_is_answered_and_wakes_nobody() -> None:
    async with proxy_rig(routes=[LOCAL], backends=0, list_apps=True) as rig:
        client = await rig.client()
        message = await client.ask(home())
        assert (message.status, message.body) == (200, b"weir: 1 app\na  asleep  http://a.localhost:8080/\n")
        message = await client.ask(home(method=b"HEAD"), b"HEAD")  # on the same connection
        assert (message.status, message.body) == (200, b"")
        message = await client.ask(home(b"Accept: text/html"))
        assert b'<a href="http://a.localhost:8080/">a</a>' in message.body
        message = await client.ask(home(host=b"b.localhost:8080"))
        assert (message.status, message.body.splitlines()[0]) == (404, b'weir: no route for host "b.localhost:8080" and path "/"')
        assert rig.interceptor.proxy.refusals == {("app_list", 200): 3, ("app_list", 404): 1}
        assert not rig.app.entry.requests_total
        message = await client.ask(home(host=b"attacker.example.com"))
        assert (message.status, b"a.localhost" in message.body) == (404, False)


async def test_a_route_wins_over_the_list() -> None:
    everything = Route(app=APP, target=Target(APP), rules=(Rule(hosts=("*",)),))
    async with proxy_rig(routes=[everything], list_apps=True) as rig:
        assert (await (await rig.client()).ask(home())).body == b"ok"


async def test_nothing_is_listed_unless_it_is_switched_on() -> None:
    async with proxy_rig(routes=[LOCAL]) as rig:
        message = await (await rig.client()).ask(home(b"Accept: text/html"))
        assert (message.status, b"a.localhost" in message.body) == (404, False)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
async def test_a_browser_sees_states_change_without_being_told_to_look_again(tmp_path: Path) -> None:
    async with proxy_rig(routes=[LOCAL], backends=0, list_apps=True) as rig, open_page(tmp_path) as page:
        await page.go(f"http://localhost:{rig.interceptor.proxy_port}/")
        await page.is_titled(f"Apps at localhost:{rig.interceptor.proxy_port}")
        await until_it_says(page, "asleep")
        await rig.backend()
        await until_it_says(page, "ready")
        assert not page.refusals
