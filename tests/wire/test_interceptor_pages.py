"""The diagnostics pages of an interceptor: what they show of a running one, and that its proxy has none of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from fleet.discovery.busy import write_busy
from fleet.discovery.sources import Backend, Trouble
from fleet.discovery.work import decode_work
from fleet.routing.route import Protection, Route, Rule, Scaling, Target
from fleet.routing.target import TargetTls
from tests.support.certificates import Authority
from tests.support.loopback import APP, route
from tests.support.raw_requests import get
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

PATHS = [
    "/", "/routes", "/queue", "/backends", "/connections", "/config", "/listeners", "/certs", "/logging", "/readyz", "/livez",
    "/metrics",
]  # fmt: skip


@asynccontextmanager
async def pages(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    base = f"http://127.0.0.1:{rig.interceptor.diagnostics_port}"
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=60.0) as client:
        yield client


async def shown(client: httpx.AsyncClient, path: str) -> Any:
    told = await client.get(path)
    assert told.status_code == 200, told.text
    return told.json()


async def test_every_page_is_there_in_both_forms_and_in_the_index() -> None:
    async with proxy_rig(diagnostics=True) as rig, pages(rig) as client:
        listed = {line.split()[0] for line in (await client.get("/")).text.splitlines()}
        assert {"/", *listed} == set(PATHS)
        for path in PATHS:
            json.loads((await client.get(path, params={"format": "json"})).content)
            told = await client.get(path, params={"format": "text"})
            assert (told.status_code, told.headers["content-type"].partition(";")[0]) == (200, "text/plain"), path


async def test_the_proxy_has_none_of_them() -> None:
    """Whatever is asked of its port is a request for an application."""
    async with proxy_rig(answer(ok(b"the application's")), diagnostics=True) as rig:
        client = await rig.client()
        for path in PATHS:
            mine = await client.ask(get(path.encode()))
            assert (mine.status, mine.body) == (200, b"the application's"), path
            other = await client.ask(get(path.encode(), host=b"nobody.test"))
            assert other.status == 404, path
        told = await client.ask(get(b"/logging", b"Content-Length: 0", b"Content-Type: application/json", method=b"POST"))
        assert told.body == b"the application's"


async def test_backends() -> None:
    async def slow(peer: BackendPeer) -> None:
        if (await peer.request()).target == b"/slow":
            await peer.read_to_end()
        else:
            peer.send(ok())
            await peer.read_to_end()

    async with proxy_rig(slow, diagnostics=True) as rig, pages(rig) as client:
        backend = rig.backends[0].backend
        assert (await shown(client, "/backends"))[APP]["backends"][0]["state"] == "ready"
        assert (await (await rig.client()).ask(get())).status == 200
        waiting = await rig.client()
        waiting.send(get(b"/slow"))
        await eventually(lambda: rig.app.entry.in_flight == 1)
        page = await client.get("/backends")
        (row,) = page.json()[APP]["backends"]
        assert (row["host"], row["port"], row["in_flight"], row["protocol"]) == (backend.host, backend.port, 1, "HTTP/1.1")
        assert (row["state"], row["failures"]) == ("ready", 0)
        assert decode_work(page.content) == {APP: {backend: 1}}
        rig.sources.set(APP, [])
        assert (await shown(client, "/backends"))[APP]["backends"][0]["state"] == "leaving"
        rig.sources.set_trouble(APP, Trouble("ended with exit code 1"))
        waiting.close()
        await eventually(lambda: rig.app.entry.in_flight == 0)
        assert await shown(client, "/backends") == {APP: {"backends": [], "trouble": "ended with exit code 1", "last_error": ""}}


async def test_how_backends_are_spoken_to() -> None:
    """Above all, where certificates are not verified."""
    ways = {
        "plain": Target("default/a"),
        "skipped": Target("default/a", tls=TargetTls(insecure_skip_verify=True)),
        "named": Target("default/b", 80, app_protocol="h2", tls=TargetTls("b.test")),
        "trusting": Target("default/c", tls=TargetTls(ca_bundle=Authority().pem.decode())),
        "by its port": Target("default/d"),
    }
    routes = [
        replace(route(f"default/{name.replace(' ', '-')}", f"{number}.test"), target=ways[name])
        for number, name in enumerate(ways)
    ]
    async with proxy_rig(routes=routes, backends=0, diagnostics=True) as rig, pages(rig) as client:
        for target in {target.key: target for target in ways.values()}.values():
            rig.sources.set(target.key, [Backend("127.0.0.1", 1, "grpcs" if target.service == "default/d" else None)])
        page = await shown(client, "/backends")
        told = {
            key: [(row["protocol"], row["tls"], row["server_name"], row["app_protocol"]) for row in at["backends"]]
            for key, at in page.items()
        }
        assert told == {
            "default/a": [("HTTP/1.1", "", "", None), ("HTTP/1.1", "not verified", "a.default.svc", None)],
            "default/b:80": [("HTTP/2", "verified", "b.test", None)],
            "default/c": [("HTTP/1.1", "verified", "c.default.svc", None)],
            "default/d": [("HTTP/2", "verified", "d.default.svc", "grpcs")],
        }
        assert "not verified" in (await client.get("/backends?format=text")).text
        shown_routes = {each["app"]: each["target"].get("tls") for each in (await shown(client, "/routes"))["routes"]}
        assert shown_routes["default/skipped"] == {"insecure_skip_verify": True}
        assert "insecure_skip_verify" in (await client.get("/routes?format=text")).text
        rows = {row["target"]: row["protocol"] for row in (await shown(client, "/connections"))["to_backends"]}
        assert rows["default/d"] == "HTTP/2 over TLS"


async def test_whoever_skips_it_for_all_targets_sees_that_as_well() -> None:
    trusting = Target("default/c", tls=TargetTls(ca_bundle=Authority().pem.decode()))
    routes = [route(), replace(route("default/c", "c.test"), target=trusting)]
    async with proxy_rig(routes=routes, backends=0, diagnostics=True, backend_tls_skip_verify=True) as rig, pages(rig) as client:
        for key in (APP, "default/c"):
            rig.sources.set(key, [Backend("127.0.0.1", 1, "https")])
        page = await shown(client, "/backends")
        assert [page[key]["backends"][0]["tls"] for key in (APP, "default/c")] == ["not verified", "verified"]


async def test_a_backend_that_failed(silent: Any) -> None:
    async with proxy_rig(routes=[route(readiness=0.2)], backends=0, diagnostics=True) as rig, pages(rig) as client:
        backend = await rig.backend()
        await backend.close()
        assert (await (await rig.client()).ask(get())).status == 502
        target = (await shown(client, "/backends"))[APP]
        assert target["last_error"] == "Connection refused"
        assert target["backends"][0]["state"] == "set aside"
        assert target["backends"][0]["failures"] >= 1


async def test_a_backend_that_has_to_answer_its_path_first() -> None:
    async def never(peer: BackendPeer) -> None:
        await peer.read_to_end()

    probed = Route(app=APP, target=Target(APP), rules=(Rule(hosts=("a.test",)),), protection=Protection(readiness_path="/up"))
    async with proxy_rig(never, routes=[probed], diagnostics=True, settle=False) as rig, pages(rig) as client:
        assert (await shown(client, "/backends"))[APP]["backends"][0]["state"] == "probing"


async def test_connections() -> None:
    async with proxy_rig(diagnostics=True) as rig, pages(rig) as client:
        busy, fresh = await rig.client(), await rig.client()
        for _ in range(3):
            await busy.ask(get())
        fresh.send(b"GET / HT")
        await eventually(lambda: any(one.begun for one in rig.connections))
        page = await shown(client, "/connections")
        assert (page["clients"], page["shown"]) == (2, 2)
        rows = sorted(page["connections"], key=lambda row: row["requests"])
        assert [(row["address"], row["protocol"], row["state"], row["requests"]) for row in rows] == [
            ("127.0.0.1", "HTTP/1.1", "head", 0),
            ("127.0.0.1", "HTTP/1.1", "idle", 3),
        ]
        assert all(0 <= row["seconds"] < 600 and row["trusted_proxy"] for row in rows)
        (backend,) = page["to_backends"]
        assert (backend["target"], backend["pooled"], backend["in_flight"]) == (APP, 1, 0)
        assert len((await shown(client, "/connections?limit=1"))["connections"]) == 1
        none = await shown(client, "/connections?limit=0")
        assert (none["clients"], none["connections"], none["to_backends"]) == (2, [], [])


async def test_the_address_that_a_load_balancer_gave_is_shown() -> None:
    async with proxy_rig(diagnostics=True, proxy_protocol="127.0.0.1") as rig, pages(rig) as client:
        balanced, halfway = await rig.client(), await rig.client()
        await balanced.ask(b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 8080\r\n" + get())
        halfway.send(b"PROXY")
        await eventually(lambda: len(rig.interceptor.proxy.clients) == 2)
        rows = {row["protocol"]: row for row in (await shown(client, "/connections"))["connections"]}
        assert rows["HTTP/1.1"]["address"] == "203.0.113.7"
        assert (rows["PROXY"]["address"], rows["PROXY"]["state"]) == ("127.0.0.1", "head")


async def test_configuration_without_secrets() -> None:
    async with proxy_rig(diagnostics=True, affinity_key="hush", head_timeout=7.5) as rig, pages(rig) as client:
        page = await client.get("/config")
        told = page.json()
        assert told["settings"]["head_timeout"] == 7.5
        assert {"head_timeout", "affinity_key"} <= set(told["not_default"])
        assert told["settings"]["affinity_key"] == "(hidden)"
        assert "hush" not in page.text
        assert "hush" not in (await client.get("/config?format=text")).text


async def test_listeners() -> None:
    async with proxy_rig(diagnostics=True, proxy_protocol="10.0.0.0/8", max_connections=9) as rig, pages(rig) as client:
        rows = {row["purpose"]: row for row in await shown(client, "/listeners")}
        assert rows["requests"]["port"] == rig.interceptor.proxy_port
        assert (rows["requests"]["proxy_protocol"], rows["requests"]["most_connections"]) == ("10.0.0.0/8", 9)
        assert (rows["RPC"]["port"], rows["RPC"]["protocols"]) == (rig.interceptor.rpc_port, "gRPC")
        assert rows["diagnostics"]["port"] == rig.interceptor.diagnostics_port


async def test_certificates_are_those_of_now(tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.write(tmp_path, "rpc")
    async with proxy_rig(diagnostics=True, tls_cert=str(cert), tls_key=str(key)) as rig, pages(rig) as client:
        (first,) = await shown(client, "/certs")
        assert (first["purpose"], first["names"], first["file"]) == ("RPC server", ["localhost", "127.0.0.1"], str(cert))
        authority.write(tmp_path, "rpc", "another.test")
        page = await client.get("/certs")
        assert page.json()[0]["names"] == ["another.test"]
        assert key.read_text().splitlines()[1] not in page.text
        assert {row["purpose"]: row["tls"] for row in await shown(client, "/listeners") if "tls" in row} == {"RPC": True}


async def test_the_queue_shows_replicas_that_are_busy_by_a_call(tmp_path: Path) -> None:
    ends = {APP: {"one": time() + 600, "two": time() - 1}, "default/other": {"one": time() + 600}}
    write_busy(tmp_path / "busy.json", ends)
    permitted = replace(route(), scaling=Scaling(max_busy=600.0))
    rig = proxy_rig(routes=[permitted, route("default/other", "other.test")], diagnostics=True, busy=f"file:{tmp_path}/busy.json")
    async with rig as held, pages(held) as client:
        found = await shown(client, "/queue")
        assert {app: row["busy_by_call"] for app, row in found.items()} == {APP: 1, "default/other": 0}
        assert found[APP]["busy"] == 0
        write_busy(tmp_path / "busy.json", {})
        await eventually(lambda: not held.interceptor._called.replicas())
        assert (await shown(client, "/queue"))[APP]["busy_by_call"] == 0


@pytest.mark.parametrize("path", ["/backends", "/connections", "/queue"])
@pytest.mark.parametrize("form", ["json", "text"])
async def test_pages_of_many_applications_are_made_in_small_steps(path: str, form: str) -> None:
    """While a page is made, the loop has turns of its own: about one for 64 rows."""
    many = [route(f"default/app{number}", f"a{number}.test") for number in range(2000)]
    async with proxy_rig(routes=many, backends=0, diagnostics=True) as rig, pages(rig) as client:
        asking = asyncio.create_task(client.get(path, params={"format": form}))
        turns = 0
        while not asking.done():
            turns += 1
            await asyncio.sleep(0)
        assert (await asking).status_code == 200
        assert turns > 2000 / 64
