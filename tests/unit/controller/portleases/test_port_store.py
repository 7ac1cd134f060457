"""Leases that two callers never share."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from controller.portleases.entry import Wish
from controller.portleases.lease import Holder, parse_lease
from controller.portleases.store import ContendedError, FullError, NoEntryError, TakenError
from controller.ports import ports_of
from controller.problem import Problem
from controller.resources import Key
from controller.schema.ports import ListenPort as PortSpec
from controller.selectors import parse_selector
from fleet.discovery.kubernetes.client import ApiError
from fleet.routing.port import TCP, UDP
from fleet.routing.port_index import PortKey
from tests.support.apply_api import ApplyApi
from tests.support.port_leases import LEASES, entry, leased, limits, stores, wanted

REDIS = Key("HTTPScaledObject", "shop", "redis")
HOLDER = Holder(REDIS, "uid-redis", "http.keda.sh/v1alpha1")


@pytest.fixture
def api() -> ApplyApi:
    api = ApplyApi()
    entry(api)
    return api


async def test_many_callers_on_two_controllers_get_one_port_each(api: ApplyApi) -> None:
    async with stores(api, limits(), 2) as two:
        calls = (two[number % 2].lease(wanted(f"app-{number}")) for number in range(50))
        found = await asyncio.gather(*calls)
        ports = {lease.port for lease, _ in found}
        assert (len(ports), all(created for _, created in found)) == (50, True)
        assert sorted(leased(api).values()) == sorted(f"app-{number}" for number in range(50))
        with pytest.raises(FullError, match="no TCP port between 20000 and 20049 is left"):
            await two[0].lease(wanted("one-more"))
        lease, _ = await two[1].lease(wanted("dns", protocol=UDP))
        assert lease.port.protocol == UDP, "the ports of UDP are others"


async def test_callers_of_one_name_get_one_lease(api: ApplyApi) -> None:
    async with stores(api, limits(), 2) as two:
        found = await asyncio.gather(*(two[number % 2].lease(wanted("same")) for number in range(50)))
        assert len({lease.port for lease, _ in found}) == 1
        assert [created for _, created in found].count(True) == 1
        with pytest.raises(TakenError, match="lease same of namespace shop is of TCP port"):
            await two[0].lease(wanted("same", protocol=UDP))
        other, created = await two[0].lease(wanted("same", "other"))
        assert (created, other.port != found[0][0].port) == (True, True), "a name belongs to a namespace"


async def test_callers_of_one_number(api: ApplyApi) -> None:
    async with stores(api, limits(), 2) as two:
        calls = (two[number % 2].lease(wanted(f"app-{number}", port=6379)) for number in range(10))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(one, TakenError) for one in found) == 9
        assert list(leased(api)) == ["weir-port-tcp-6379"]


@pytest.mark.parametrize("cut", range(12))
async def test_a_caller_that_is_cut_off_anywhere_leaves_nothing_but_its_own_lease(api: ApplyApi, cut: int) -> None:
    """The call is made again, as by the next leader, and the port is the same one."""
    async with stores(api, limits(), 2) as two:
        before = asyncio.create_task(two[0].lease(wanted("redis", holder=HOLDER)))
        for _ in range(cut):
            await asyncio.sleep(0)
        before.cancel()
        await asyncio.wait((before,))
        after, _ = await two[1].lease(wanted("redis", holder=HOLDER))
        other, _ = await two[0].lease(wanted("other"))
        assert leased(api) == {f"weir-port-tcp-{after.port.port}": "redis", f"weir-port-tcp-{other.port.port}": "other"}
        assert (after.holder, after.until) == (REDIS, None)


async def test_an_answer_that_is_lost_is_found_by_the_next_call(api: ApplyApi) -> None:
    async with stores(api, limits()) as [store]:
        kept = api._post

        def lost(path: str, body: dict[str, Any], _: str) -> dict[str, Any]:
            kept(path, body, _)
            raise ApiError("nothing was heard in time")

        api._post = lost  # type: ignore[method-assign]
        with pytest.raises(ApiError, match="heard"):
            await store.lease(wanted("redis"))
        api._post = kept  # type: ignore[method-assign]
        lease, created = await store.lease(wanted("redis"))
        assert (created, len(leased(api))) == (False, 1)
        assert lease.until == 1e9 + 60, "without a use it ends"


async def test_ports_of_others_are_left_alone(api: ApplyApi) -> None:
    ports = [{"name": "legacy", "port": port, "protocol": "TCP"} for port in range(20_000, 20_003)]
    entry(api, "another", ports=ports)
    fixed = {
        PortKey(protocol, port): Key("HTTPScaledObject", "shop", name)
        for protocol, port, name in (
            (TCP, 20_003, "redis"),
            (UDP, 20_004, "dns"),
        )
    }
    async with stores(api, limits(last=20_005), fixed=fixed) as [store]:
        found = {(await store.lease(wanted(name)))[0].port.port for name in ("a", "b")}
        assert found == {20_004, 20_005}
        with pytest.raises(FullError):
            await store.lease(wanted("c"))
        with pytest.raises(TakenError, match="belongs to HTTPScaledObject shop/redis"):
            await store.lease(wanted("d", port=20_003))
        with pytest.raises(TakenError, match="is port 'legacy' of Service weir-system/another"):
            await store.lease(wanted("d", port=20_000))
        with pytest.raises(TakenError, match=r"belongs to lease [ab] of namespace shop"):
            await store.lease(wanted("d", port=20_004))


async def test_entries(api: ApplyApi) -> None:
    entry(api, "east", ip="192.0.2.1", zone="east")
    async with stores(api, limits()) as [store]:
        for wish in (Wish(name="east"), Wish(address="192.0.2.1"), Wish(selector=parse_selector("zone=east"))):
            lease, _ = await store.lease(wanted(f"by-{wish.name}-{wish.address}", wish=wish))
            assert lease.entry == "weir-system/east"
            await store.release(lease)
        for wish in (Wish(name="west"), Wish(address="192.0.2.2"), Wish(name="east", selector=parse_selector("zone=west"))):
            with pytest.raises(NoEntryError, match="there are: weir-system/east, weir-system/weir-interceptor"):
                await store.lease(wanted("west", wish=wish))
        lease, _ = await store.lease(wanted("first"))
        assert lease.entry == "weir-system/east", "of equal ones the first"


async def test_bounds(api: ApplyApi) -> None:
    async with stores(api, limits(most=3, most_of_namespace=2)) as [store]:
        await store.lease(wanted("a"))
        await store.lease(wanted("b"))
        with pytest.raises(FullError, match="namespace shop has 2 ports already, and that is the most"):
            await store.lease(wanted("c"))
        await store.lease(wanted("c", "other"))
        with pytest.raises(FullError, match="the interceptors have 3 ports already"):
            await store.lease(wanted("d", "another"))


async def test_numbers_of_a_namespace_count_as_its_leases_do(api: ApplyApi) -> None:
    """Otherwise a lease would take a number from an application that is served: in the table it comes first."""
    numbers = {PortKey(TCP, port): Key("HTTPScaledObject", "shop", "redis") for port in (6379, 6380)}
    async with stores(api, limits(most_of_namespace=3), fixed=numbers) as [store]:
        await store.lease(wanted("a"))
        with pytest.raises(FullError, match="namespace shop has 3 ports already"):
            await store.lease(wanted("b"))
        assert (await store.lease(wanted("a")))[1] is False, "one that there is"
        await store.lease(wanted("a", "other"))


async def test_ports_of_the_interceptors_are_nobodys(api: ApplyApi) -> None:
    """In a Service they would be open to everybody."""
    async with stores(api, limits(9899, 9902)) as [store]:
        with pytest.raises(TakenError, match="TCP port 9901 is a port of the interceptors themselves"):
            await store.lease(wanted("a", port=9901))
        found = {(await store.lease(wanted(f"a{number}")))[0].port.port for number in range(3)}
        assert found == {9899, 9900, 9902}
        with pytest.raises(FullError):
            await store.lease(wanted("a4"))
        assert (await store.lease(wanted("udp", protocol=UDP, port=9901)))[0].port.port == 9901


@pytest.mark.parametrize("port", [8080, 8443, 9090, 9901])
def test_an_object_gets_no_port_of_the_interceptors(port: int) -> None:
    assert ports_of([PortSpec(port=port, protocol="UDP")])[0].port.port == port
    with pytest.raises(Problem, match=rf"spec.ports\[0\].port: {port} is a port of the interceptors themselves"):
        ports_of([PortSpec(port=port)])


async def test_a_lease_is_bound_once(api: ApplyApi) -> None:
    async with stores(api, limits(), 2) as two:
        lease, _ = await two[0].lease(wanted("redis"))
        other = Holder(Key("InterceptorRoute", "shop", "web"), "uid-web", "http.keda.sh/v1beta1")
        found = await asyncio.gather(
            *(two[n % 2].change(lease, (HOLDER, other)[n % 2]) for n in range(6)), return_exceptions=True
        )
        assert sum(isinstance(one, ApiError) and one.status == 409 for one in found) == 5
        now = (await two[0].read())[lease.port]
        assert (now.holder, now.until, now.holder_uid) in {(REDIS, None, "uid-redis"), (other.key, None, "uid-web")}
        with pytest.raises(ApiError, match="modified"):
            await two[1].release(lease)
        free = await two[1].change(now, None, 30)
        assert (free.holder, free.until) == (None, 1e9 + 30)
        await two[1].release(free)
        await two[1].release(free)
        assert leased(api) == {}


async def test_it_ends_when_others_are_always_faster(api: ApplyApi) -> None:
    async with stores(api, limits()) as [store]:
        api.refuse = lambda method, path: ApiError("exists", status=409) if method == "POST" else None
        with pytest.raises(ContendedError):
            await store.lease(wanted("slow"))
        api.refuse = lambda method, path: ApiError("may not", status=403) if method == "POST" else None
        with pytest.raises(ApiError, match="may not"):
            await store.lease(wanted("slow"))


async def test_an_owner_in_the_same_namespace_is_one_of_the_cluster(api: ApplyApi) -> None:
    """In another namespace it would be taken for one that is gone, and the lease would be deleted at once."""
    async with stores(api, limits()) as [store]:
        here = Holder(Key("HTTPScaledObject", "weir-system", "redis"), "uid-here", HOLDER.api_version)
        api.put("/apis/http.keda.sh/v1alpha1/namespaces/weir-system/httpscaledobjects/redis", metadata={"uid": "uid-here"})
        own, _ = await store.lease(wanted("own", "weir-system", holder=here))
        other, _ = await store.lease(wanted("redis", holder=HOLDER))
        references = {
            lease.id: api.objects[f"{LEASES}/weir-port-{lease.id}"]["metadata"].get("ownerReferences") for lease in (own, other)
        }
        assert references[other.id] is None
        assert [reference["uid"] for reference in references[own.id] or ()] == ["uid-here"]


def test_what_somebody_has_changed_keeps_its_port() -> None:
    spec = {"renewTime": "yesterday", "leaseDurationSeconds": 5}
    found = parse_lease(json.dumps({"metadata": {"name": "weir-port-tcp-20000", "uid": "u"}, "spec": spec}).encode())
    assert (found.port, found.holder, found.until) == (PortKey(TCP, 20_000), None, None)
    wrong = (f"weir-port-{word}" for word in ("tcp-0", "tcp-65536", "sctp-1", "tcp-1x"))
    for name in ("weir-controller", "tcp-20000", *wrong):
        with pytest.raises(ValueError, match="lease of a port"):
            parse_lease(json.dumps({"metadata": {"name": name}}).encode())
