"""The endpoints of Services that applications have."""

from __future__ import annotations

import pytest

from controller.slices import ServiceSlices
from fleet.discovery.kubernetes.client import FETCHED_ALONE, ApiError, Query
from fleet.discovery.kubernetes.listwatch import Timing
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until

SLICES = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


class Api(MemoryApi):
    """Refuses the first lists of single Services."""

    def __init__(self, refused: int = 0) -> None:
        super().__init__()
        self.refused = refused

    async def get(self, path: str, query: Query = ()) -> bytes:
        if self.refused and "=" in dict(query).get("labelSelector", ""):
            self.refused -= 1
            raise ApiError("refused", status=500)
        if len(dict(query).get("labelSelector", "").partition("=")[2]) > 63:
            raise ApiError("unable to parse requirement: must be no more than 63 characters", status=400)
        return await super().get(path, query)

    def pods(self, service: str, count: int) -> None:
        endpoints = [{"addresses": [f"10.0.0.{number}"], "conditions": {"ready": True}} for number in range(count)]
        labels = {"kubernetes.io/service-name": service}
        self.put(f"{SLICES}/{service}-1", metadata={"labels": labels}, addressType="IPv4", ports=[], endpoints=endpoints)


def addresses(slices: ServiceSlices, name: str) -> list[str] | None:
    found = slices.endpoints(f"shop/{name}")
    return None if found is None else [one.address for one in found]


@pytest.mark.parametrize("refused", [0, 2])
@pytest.mark.parametrize("count", [1, FETCHED_ALONE + 1])
async def test_what_becomes_wanted_is_read(refused: int, count: int) -> None:
    api, known = Api(refused), list[str]()
    names = [f"later{number}" for number in range(count)]
    for name in ("first", *names):
        api.pods(name, 1)
    slices = ServiceSlices(api, (), known.append, timing=Timing(first_pause=0.01, longest_pause=0.02))
    slices.want("shop/first")
    assert addresses(slices, "first") is None, "nothing was read yet"
    slices.start()
    try:
        await until(lambda: addresses(slices, "first") == ["10.0.0.0"])
        assert addresses(slices, names[0]) is None, "it is not wanted"
        for name in names:
            slices.want(f"shop/{name}")
        assert addresses(slices, names[0]) is None, "it was not read yet"
        await until(lambda: all(addresses(slices, name) == ["10.0.0.0"] for name in names))
        await until(lambda: {"shop/first", *(f"shop/{name}" for name in names)} <= {*known})
        slices.forget("shop/first")
        slices.forget("shop/first")
        api.pods("first", 2)
        api.pods(names[0], 2)
        await until(lambda: addresses(slices, names[0]) == ["10.0.0.0", "10.0.0.1"])
        assert addresses(slices, "first") is None
        slices.want("shop/first")
        await until(lambda: addresses(slices, "first") == ["10.0.0.0", "10.0.0.1"])
    finally:
        await slices.close()


async def test_a_name_that_no_service_can_have_keeps_nobody_elses_endpoints_away() -> None:
    api = Api()
    names = [f"later{number}" for number in range(6)]
    for name in names:
        api.pods(name, 1)
    slices = ServiceSlices(api, (), lambda _: None, timing=Timing(first_pause=0.01, longest_pause=0.02))
    slices.start()
    try:
        slices.want("shop/first")
        await until(lambda: addresses(slices, "first") == [])
        for name in names:
            slices.want(f"other/{'x' * 64}{name}")
            slices.want(f"shop/{name}")
        await until(lambda: all(addresses(slices, name) == ["10.0.0.0"] for name in names))
        assert slices.endpoints(f"other/{'x' * 64}later0") is not None
    finally:
        await slices.close()
