"""Two sources as one, and Services that lead from one to the other. Fixed lists need no look-up, so nothing waits."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from fleet.discovery.fixed import FixedBackends
from fleet.discovery.outside.backends import OutsideBackends
from fleet.discovery.outside.beside import WithOutside
from fleet.discovery.outside.lookup import Failed, Found, Result
from fleet.discovery.outside.names import Ttl
from fleet.discovery.outside.policy import AddressPolicy
from fleet.discovery.sources import Alias, Backend
from tests.support.waiting import until

POD = Backend("10.0.0.1", 8080)
LIST = "fixed:192.0.2.1:80,192.0.2.2:81,192.0.2.1:80,10.0.0.1:80"
TWO = (Backend("192.0.2.1", 80, outside=True), Backend("192.0.2.2", 81, outside=True))


class Services(FixedBackends):
    """With Services that are another name."""

    def __init__(self) -> None:
        super().__init__({"n/web": [POD]})
        self.aliases: dict[str, Alias] = {}
        self.wanted: set[str] = set()

    def alias(self, key: str) -> Alias | None:  # type: ignore[override]
        return self.aliases.get(key)

    def want(self, keys: Collection[str]) -> None:
        self.wanted = set(keys)


async def _result(name: str) -> Result:
    return Found(name, ("192.0.2.9",), (), 60.0) if name == "a.test." else Failed("no")


def made() -> tuple[Services, WithOutside, list[str]]:
    services = Services()
    outside = OutsideBackends(_result, AddressPolicy.parse("192.0.2.0/24"), Ttl(5.0, 300.0), clock=lambda: 0.0)
    source, told = WithOutside(services, outside), list[str]()
    source.subscribe(told.append)
    return services, source, told


async def test_each_key_has_its_source() -> None:
    services, source, told = made()
    source.want(["n/web", LIST])
    assert services.wanted == {"n/web"}
    assert (source.get("n/web"), source.get(LIST)) == ((POD,), TWO)
    assert told == [LIST], "it is known at once"
    assert source.synced
    assert (source.missing(LIST), source.trouble(LIST), source.alias(LIST)) == (None, None, None)
    source.want(["n/web"])
    assert source.get(LIST) == ()


async def test_a_defect_in_a_look_up_takes_no_place_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(name: str) -> Result:
        raise RuntimeError(name)

    source = OutsideBackends(broken, AddressPolicy.parse("public"), Ttl(5.0, 300.0), clock=lambda: 0.0)
    keys = [f"dns:n{number}.test:80" for number in range(50)]
    await source.start()
    try:
        source.want(keys)
        await until(lambda: source.synced)
        assert all(source.trouble(key) is not None for key in keys)
        assert "the look-up of n0.test failed" in caplog.text
    finally:
        await source.close()


async def test_a_list_of_which_nothing_is_allowed_is_in_trouble() -> None:
    _, source, told = made()
    source.want(["fixed:10.0.0.1:80"])
    assert source.get("fixed:10.0.0.1:80") == ()
    trouble = source.trouble("fixed:10.0.0.1:80")
    assert trouble is not None
    assert (trouble.kind, trouble.hopeless, told) == ("RefusedAddress", True, ["fixed:10.0.0.1:80"])


async def test_a_service_that_becomes_another_name_and_one_with_pods_again() -> None:
    services, source, told = made()
    services.aliases["n/other"] = Alias("dns:a.test.:443", "kubernetes.io/h2c")
    await source.start()
    try:
        source.want(["n/web", "n/other"])
        assert not source.synced
        await until(lambda: source.synced)
        assert source.get("n/other") == (Backend("192.0.2.9", 443, "kubernetes.io/h2c", outside=True),)
        assert set(told) == {"n/other"}, "nobody has asked for the name itself"
        services.aliases["n/web"] = Alias(LIST)
        services.set("n/web", [])
        assert source.get("n/web") == TWO
        assert told[-1] == "n/web"
        assert source.alias("n/web") == Alias(LIST)
        del services.aliases["n/web"]
        services.set("n/web", [POD])
        assert source.get("n/web") == (POD,)
        services.aliases["n/other"] = Alias("dns:b.test.:443")
        services.set_trouble("n/other", None)
        services.set("n/other", [POD])
        assert source.get("n/other") == (), "its name is another one, which has not been looked up"
        await until(lambda: source.trouble("n/other") is not None)
    finally:
        await source.close()
