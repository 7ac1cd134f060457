"""The contexts for connections to backends: for whom there is one, how many are kept, and when they are made anew."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from fleet.routing.target import MAX_CA_BYTES, TargetTls
from interceptor.tls import upstream
from interceptor.tls.policy import Policy
from interceptor.tls.upstream import AUTHORITIES_AT_ONCE, HTTP1, HTTP2, BackendTls, certifiable, verifies
from tests.support.certificates import Authority, replace
from tests.support.waiting import until

SKIP = TargetTls(insecure_skip_verify=True)


@pytest.fixture(scope="module")
def pem() -> str:
    return Authority().pem.decode()


@pytest.fixture(scope="module")
def other() -> str:
    return Authority("other").pem.decode()


async def test_it_is_made_once_however_many_wait_for_it(pem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Counted(BackendTls):
        async def _new(self, wanted: Any) -> ssl.SSLContext:
            made.append(wanted)
            return await super()._new(wanted)

    tls = Counted(Policy())
    many = TargetTls(ca_bundle=pem * 40)
    found = await asyncio.gather(*(tls.context(HTTP1, many) for _ in range(20)), tls.context(HTTP1, TargetTls(ca_bundle=pem)))
    assert len({*map(id, found)}) == len(made) == 2
    leaving = asyncio.create_task(tls.context(HTTP2, many))
    staying = asyncio.create_task(tls.context(HTTP2, many))
    await asyncio.sleep(0)
    leaving.cancel()
    assert isinstance(await staying, ssl.SSLContext), "whoever waits goes on with it"


async def test_many_authorities_do_not_take_a_whole_turn(pem: str) -> None:
    """As many as a route can name: 119 of this size take 30 ms."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    bundle = pem * (MAX_CA_BYTES // len(pem))
    await BackendTls(Policy()).context(HTTP1, TargetTls(ca_bundle=bundle))
    counting.cancel()
    assert turns >= bundle.count("BEGIN") // AUTHORITIES_AT_ONCE - 1


async def test_files_that_change_while_a_context_is_made(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    path.write_bytes(Authority("weir-before").pem * 20)
    tls = BackendTls(Policy(), [tmp_path])
    making = asyncio.create_task(tls.context(HTTP1))
    await until(tls._making.locked)
    replace(path, Authority("weir-after").pem)
    tls._read_again()
    known = str((await making).get_ca_certs())
    assert "weir-after" in known
    assert "weir-before" not in known


def believed(context: ssl.SSLContext) -> int:
    return len(context.get_ca_certs())


async def test_there_is_one_for_each_protocol_and_whom_to_believe(pem: str, other: str) -> None:
    tls = BackendTls(Policy())
    kept = {
        (protocol, name, bundle, skip): await tls.context(protocol, TargetTls(name, bundle, skip))
        for protocol in (HTTP1, HTTP2)
        for bundle, skip in ((None, False), (None, True), (pem, False), (other, False))
        for name in (None, "a.test")
    }
    assert len({*map(id, kept.values())}) == 8, "names belong to connections, not to contexts"
    assert await tls.context(HTTP1) is await tls.context(HTTP1, TargetTls())
    again = "".join(list(pem))
    assert await tls.context(HTTP1, TargetTls(ca_bundle=again)) is kept[HTTP1, None, pem, False], "as another table has it"


async def test_authorities_of_a_route_are_all_that_is_believed(pem: str, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(Authority("of all").pem)
    context = await BackendTls(Policy(), [tmp_path]).context(HTTP1, TargetTls(ca_bundle=pem))
    assert believed(context) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("tls", [None, TargetTls(), TargetTls("a.test")])
async def test_without_any_the_usual_ones_are(tls: TargetTls | None) -> None:
    context = await BackendTls(Policy()).context(HTTP1, tls)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("tls", [SKIP, TargetTls("a.test", insecure_skip_verify=True)])
async def test_nothing_is_verified_where_that_is_said(tls: TargetTls) -> None:
    context = await BackendTls(Policy()).context(HTTP1, tls)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2, "the rest of the policy is kept"


def test_which_names_and_authorities_are_verified(pem: str) -> None:
    own = TargetTls(ca_bundle=pem)
    assert [verifies(tls, by_default=True) for tls in (None, TargetTls(), own, SKIP)] == [True, True, True, False]
    assert [verifies(tls, by_default=False) for tls in (None, TargetTls(), own, SKIP)] == [False, False, True, False]
    both = TargetTls(ca_bundle=pem, insecure_skip_verify=True)  # no table has this
    assert verifies(both, by_default=False)


async def test_only_some_are_kept(pem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "MAX_CONTEXTS", 4)
    tls = BackendTls(Policy())
    bundles = [TargetTls(ca_bundle=pem + " " * number) for number in range(6)]
    first = await tls.context(HTTP1, bundles[0])
    for bundle in bundles:
        await tls.context(HTTP1, bundle)
        assert await tls.context(HTTP1, bundles[0]) is first, "what is used stays"
    assert len(tls._contexts) == 4
    last = await tls.context(HTTP1, bundles[5])
    await tls.context(HTTP1, bundles[1])
    assert await tls.context(HTTP1, bundles[5]) is last
    assert len(tls._contexts) == 4


async def test_all_are_made_anew_with_the_files_of_authorities(pem: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    path.write_text(pem)
    tls = BackendTls(Policy(), [tmp_path])
    before = await tls.context(HTTP1), await tls.context(HTTP2, TargetTls())
    replace(path, Authority("new").pem)
    assert await tls.context(HTTP1) is not before[0]
    assert await tls.context(HTTP2, TargetTls()) is not before[1]


@pytest.mark.parametrize("bundle", ["", "garbage", "é", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
async def test_authorities_that_cannot_be_read_give_no_context(pem: str, bundle: str) -> None:
    """Nor one that believes others, and not the second time either."""
    tls = BackendTls(Policy(), verify=False)
    for _ in range(2):
        with pytest.raises(ConnectionAbortedError, match=r"the authorities in tls\.caBundle cannot be read"):
            await tls.context(HTTP1, TargetTls(ca_bundle=bundle))
    assert len(tls._contexts) == 1, "it is tried once"
    await tls.context(HTTP1, TargetTls(ca_bundle=pem))


def test_names_that_are_too_long_for_the_dns() -> None:
    assert certifiable("a.test") == "a.test"
    assert certifiable("::1") == "::1"
    with pytest.raises(ConnectionAbortedError, match="no certificate can have the name 'aaa"):
        certifiable(f"{'a' * 64}.default.svc")
