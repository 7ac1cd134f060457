"""Ports of applications in Services, beside those of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller import schedule
from controller.portleases.entry import parse_entry
from controller.portleases.source import PortSource
from controller.portleases.writer import NETWORK_POLICIES, EntryWriter
from fleet.discovery.kubernetes.client import ApiError
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.routing.port import TCP, UDP
from fleet.routing.port_index import PortKey
from fleet.runtime.tasks import cancel_and_wait
from tests.support.apply_api import ApplyApi
from tests.support.port_leases import ENTRY, SERVICE, entry
from tests.support.waiting import until

POLICY = NETWORK_POLICIES.path("weir-system", "weir-interceptor-ports")
REDIS, DNS = PortKey(TCP, 6379), PortKey(UDP, 20_053)
Ports = dict[PortKey, frozenset[str]]


class Rig:
    def __init__(self, api: ApplyApi, writer: EntryWriter, wanted: Ports) -> None:
        self.api, self.writer, self.wanted = api, writer, wanted
        self.troubles = 0

    def want(self, *keys: PortKey, entry: str = "") -> None:
        self.wanted.clear()
        self.wanted.update({key: frozenset({entry}) for key in keys})
        self.writer.changed()

    def names(self, path: str = SERVICE) -> list[str]:
        return sorted(port["name"] for port in self.api.objects[path]["spec"]["ports"])

    def told(self, key: PortKey = REDIS) -> str:
        return "; ".join(self.writer.troubles(key, self.wanted.get(key, ())))

    async def until(self, holds: Callable[[], object]) -> None:
        await until(holds)


@pytest.fixture
def api() -> ApplyApi:
    api = ApplyApi()
    entry(api)
    api.put(POLICY, spec={"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"]})
    return api


@asynccontextmanager
async def writing(api: ApplyApi, *, leads: Callable[[], bool] = lambda: True) -> AsyncIterator[Rig]:
    source = PortSource(api, "weir-system", "weir.dev/entry", timing=Timing())
    wanted: Ports = {}
    rig: list[Rig] = []

    def on_trouble() -> None:
        rig[0].troubles += 1

    writer = EntryWriter(
        api, source, "weir-system", "weir-interceptor-ports", wanted=lambda: wanted, on_trouble=on_trouble, leads=leads
    )
    rig.append(Rig(api, writer, wanted))
    unsubscribe = source.subscribe(lambda before, after: None, writer.changed)
    source.start()
    task = asyncio.create_task(writer.run())
    try:
        yield rig[0]
    finally:
        await cancel_and_wait(task)
        unsubscribe()
        await source.close()


def rules(api: ApplyApi) -> list[Any]:
    spec = api.objects[POLICY]["spec"]
    assert spec["podSelector"] == {"matchLabels": {"a": "b"}}
    return list(spec.get("ingress") or ())


async def test_ports_come_and_go_and_others_stay(api: ApplyApi) -> None:
    http = api.objects[SERVICE]["spec"]["ports"][0]
    async with writing(api) as rig:
        rig.want(REDIS, DNS)
        await rig.until(lambda: rig.names() == ["http", "weir-tcp-6379", "weir-udp-20053"])
        found = {port["name"]: port for port in api.objects[SERVICE]["spec"]["ports"]}
        assert found["http"] == http
        assert found["weir-udp-20053"] == {"name": "weir-udp-20053", "port": 20_053, "protocol": "UDP", "targetPort": 20_053}
        ports = [{"protocol": "TCP", "port": 6379}, {"protocol": "UDP", "port": 20_053}]
        await rig.until(lambda: rules(api) == [{"ports": ports}])
        rig.want(DNS)
        await rig.until(lambda: rig.names() == ["http", "weir-udp-20053"])
        rig.want()
        await rig.until(lambda: rig.names() == ["http"])
        await rig.until(lambda: rules(api) == [])
        assert rig.told() == ""


async def test_each_entry_gets_its_own(api: ApplyApi) -> None:
    east = entry(api, "east")
    async with writing(api) as rig:
        rig.wanted.update({REDIS: frozenset({"weir-system/east"}), DNS: frozenset({""})})
        rig.writer.changed()
        await rig.until(lambda: rig.names(east) == ["http", "weir-tcp-6379", "weir-udp-20053"])
        await rig.until(lambda: rig.names() == ["http", "weir-udp-20053"])
        api.drop(east)
        await rig.until(lambda: rig.told() == "there is no entry weir-system/east any more")


async def test_a_port_of_somebody_else_is_not_touched(api: ApplyApi) -> None:
    legacy = {"name": "legacy", "port": 6379, "protocol": "TCP", "targetPort": 7000}
    entry(api, ports=[legacy])
    async with writing(api) as rig:
        rig.want(REDIS, DNS)
        await rig.until(lambda: rig.names() == ["legacy", "weir-udp-20053"])
        assert legacy in api.objects[SERVICE]["spec"]["ports"]
        assert rig.told() == f"Service {ENTRY} has TCP port 6379 already, as port 'legacy', for something else"
        assert rig.told(DNS) == ""


async def test_one_that_comes_at_the_same_time_is_not_taken_over(api: ApplyApi) -> None:
    """Between the look and the write: the write is refused, and the next look sees it."""
    legacy = {"name": "legacy", "port": 6379, "protocol": "TCP", "targetPort": 7000}

    def change(method: str, path: str) -> None:
        if path == SERVICE and method == "PATCH":
            api.refuse = lambda method, path: None
            api.changed_by_other(SERVICE, "somebody", {"spec": {"ports": [legacy]}})

    api.refuse = change
    async with writing(api) as rig:
        rig.want(REDIS)
        await rig.until(lambda: "already" in rig.told())
        assert legacy in api.objects[SERVICE]["spec"]["ports"]


async def test_what_somebody_changes_is_put_right(api: ApplyApi) -> None:
    async with writing(api) as rig:
        rig.want(REDIS)
        await rig.until(lambda: "weir-tcp-6379" in rig.names())
        moved = {"name": "weir-tcp-6379", "port": 6379, "protocol": "TCP", "targetPort": 1}
        api.changed_by_other(SERVICE, "somebody", {"spec": {"ports": [moved]}})
        await rig.until(lambda: {**moved, "targetPort": 6379} in api.objects[SERVICE]["spec"]["ports"])


async def test_without_the_right_it_says_so_and_tries_again(api: ApplyApi) -> None:
    refusal = ApiError("PATCH services: 403 may not", status=403)
    api.refuse = lambda method, path: refusal if path == SERVICE else None
    async with writing(api) as rig:
        rig.want(REDIS)
        await rig.until(lambda: rig.told() == "PATCH services: 403 may not")
        await rig.until(lambda: rig.troubles)
        api.refuse = lambda method, path: None
        await rig.until(lambda: "weir-tcp-6379" in rig.names() and rig.told() == "")
        api.refuse = lambda method, path: refusal if path == POLICY else None
        rig.want(REDIS, DNS)
        await rig.until(lambda: rig.told(DNS) == "PATCH services: 403 may not")


async def test_one_entry_that_cannot_be_written_does_not_delay_the_others(api: ApplyApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by its errors, however long it has to wait after them, nor by a write that is not answered."""
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(schedule, name, 600.0)
    east, hangs = entry(api, "east"), asyncio.Event()
    refusal = ApiError("PATCH services: 403 may not", status=403)
    api.refuse = lambda method, path: refusal if path == SERVICE else None
    async with writing(api) as rig:
        rig.want(REDIS)
        await rig.until(lambda: "may not" in rig.told())
        rig.want(REDIS, DNS)
        await rig.until(lambda: "weir-udp-20053" in rig.names(east))
        assert "may not" in rig.told()
        api.refuse = lambda method, path: None
        rig.want(REDIS, DNS)  # a change may be why it is permitted now
        await rig.until(lambda: "weir-tcp-6379" in rig.names())
        request = api.request

        async def hanging(method: str, path: str, **others: Any) -> bytes:
            if path == SERVICE:
                await hangs.wait()
            return await request(method, path, **others)

        api.request = hanging  # type: ignore[method-assign]
        rig.want(DNS)
        await rig.until(lambda: rig.names(east) == ["http", "weir-udp-20053"])
        assert "weir-tcp-6379" in rig.names()
        hangs.set()
        await rig.until(lambda: rig.names() == ["http", "weir-udp-20053"])


async def test_of_the_policy_only_the_version_that_was_read_is_written(api: ApplyApi) -> None:
    """Another leader may have written meanwhile: what it wrote is read first. After some attempts there is a pause."""
    changes, patches = [2], list[str]()

    def change(method: str, path: str) -> None:
        if (method, path) != ("PATCH", POLICY):
            return
        patches.append(path)
        if changes[0]:
            changes[0] -= 1
            api.put(POLICY, metadata={"labels": {"count": str(changes[0])}})

    api.refuse = change
    async with writing(api) as rig:
        rig.want(REDIS)
        await rig.until(lambda: rules(api) == [{"ports": [{"protocol": "TCP", "port": 6379}]}])
        assert len(patches) == 3
        assert api.objects[POLICY]["metadata"]["labels"] == {"count": "0"}
        assert all(body["metadata"]["resourceVersion"] for _, path, body in api.writes if path == POLICY)
        changes[0], begun = 1000, asyncio.get_running_loop().time()
        patches.clear()
        rig.want(DNS)
        await rig.until(lambda: len(patches) >= 9)
        assert asyncio.get_running_loop().time() - begun >= 0.3, "after three attempts there is a pause, and then a longer one"
        assert rig.told(DNS) == "", "a write that others were faster with is no trouble to tell"
        changes[0] = 0
        await rig.until(lambda: rules(api) == [{"ports": [{"protocol": "UDP", "port": 20_053}]}])


async def test_what_is_right_in_the_policy_is_not_written(api: ApplyApi) -> None:
    redis, dns = {"protocol": "TCP", "port": 6379}, {"protocol": "UDP", "port": 20_053}
    api.put(POLICY, spec={**api.objects[POLICY]["spec"], "ingress": [{"ports": [redis]}]})
    async with writing(api) as rig:
        rig.want(REDIS)
        await rig.until(lambda: "weir-tcp-6379" in rig.names())
        rig.want(REDIS, DNS)
        await rig.until(lambda: rules(api) == [{"ports": [redis, dns]}])
        assert len([path for _, path, _ in api.writes if path == POLICY]) == 1


async def test_without_a_policy_there_is_none_to_follow(api: ApplyApi) -> None:
    api.drop(POLICY)
    async with writing(api) as rig:
        rig.want(REDIS)
        await rig.until(lambda: "weir-tcp-6379" in rig.names())
        await asyncio.sleep(0.3)  # nothing is to be written meanwhile
        assert (rig.told(), POLICY in api.objects) == ("", False)


async def test_without_leading_nothing_is_written(api: ApplyApi) -> None:
    async with writing(api, leads=lambda: False) as rig:
        rig.want(REDIS)
        await asyncio.sleep(0.3)  # nothing is to be written meanwhile
        assert (rig.names(), rig.writer.writes) == (["http"], 0)


def test_addresses() -> None:
    raw = b"""{"metadata": {"name": "a", "namespace": "n"}, "spec": {"clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.9"],
        "ports": [{"port": 80}]}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.test"}]}}}"""
    found = parse_entry(raw)
    assert (found.public, found.balancers) == ("192.0.2.1", ("192.0.2.1", "lb.test", "192.0.2.9"))
    assert all(found.is_at(address) for address in ("lb.test", "10.0.0.1", "192.0.2.9"))
    assert not found.is_at("")
    assert found.stranger(PortKey(TCP, 80)) == ""
