"""One look-up, with name servers that are a table; and the two files of the system."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fleet.discovery.outside.dnsclient import AskError
from fleet.discovery.outside.dnswire import AAAA, NO_ERROR, NX_DOMAIN, A, Answer, name_bytes
from fleet.discovery.outside.lookup import Denied, Failed, Found, Lookup
from fleet.discovery.outside.system import System, parse_hosts, parse_resolv_conf

GONE = Answer(NX_DOMAIN, truncated=False, ttl=20)
EMPTY = Answer(NO_ERROR, truncated=False, ttl=10)
SERVFAIL = Answer(2, truncated=False)


def has(*addresses: str, ttl: int = 60) -> Answer:
    return Answer(NO_ERROR, truncated=False, addresses=addresses, ttl=ttl)


class Servers:
    """Answers by (name, kind), and by (server, name, kind) where one server differs; what is missing does not exist."""

    def __init__(self, answers: dict[tuple[object, ...], Answer | str]) -> None:
        self.answers = {
            tuple(name_bytes(p) if isinstance(p, str) and p.endswith(".") else p for p in key): v for key, v in answers.items()
        }
        self.asked: list[tuple[str, bytes, int]] = []

    async def __call__(self, server: str, port: int, name: bytes, kind: int, *, seconds: float) -> Answer:
        self.asked.append((server, name, kind))
        answer = self.answers.get((server, name, kind)) or self.answers.get((name, kind), GONE)
        if answer == "hang":
            await asyncio.sleep(3600)
        if isinstance(answer, str):
            raise AskError(answer)
        return answer


def lookup(servers: Servers, tmp_path: Path, resolv: str = "nameserver ns1\n", hosts: str = "", seconds: float = 6.0) -> Lookup:
    (tmp_path / "resolv.conf").write_text(resolv.replace("ns1", "192.0.2.53").replace("ns2", "192.0.2.54"))
    (tmp_path / "hosts").write_text(hosts)
    return Lookup(System(tmp_path / "resolv.conf", tmp_path / "hosts"), asking=servers, seconds=seconds)


async def test_both_families_and_the_lower_ttl(tmp_path: Path) -> None:
    servers = Servers({("a.test.", A): has("192.0.2.1", ttl=50), ("a.test.", AAAA): has("2001:db8::1", ttl=7)})
    assert await lookup(servers, tmp_path)("a.test") == Found("a.test.", ("192.0.2.1",), ("2001:db8::1",), 7.0)


@pytest.mark.parametrize(
    ("four", "six", "expected"),
    [
        (has("192.0.2.1"), EMPTY, Found("a.test.", ("192.0.2.1",), (), 60.0)),
        (has("192.0.2.1"), GONE, Found("a.test.", ("192.0.2.1",), (), 60.0)),
        (has("192.0.2.1"), SERVFAIL, Found("a.test.", ("192.0.2.1",), None, 60.0)),
        ("no answer", has("2001:db8::1"), Found("a.test.", None, ("2001:db8::1",), 60.0)),
        (GONE, GONE, Denied("NXDOMAIN", 20.0)),
        (GONE, "no answer", Denied("NXDOMAIN", 20.0)),
        (EMPTY, EMPTY, Denied("no address", 10.0)),
        (EMPTY, SERVFAIL, Failed("SERVFAIL")),
        (SERVFAIL, "no answer", Failed("SERVFAIL")),
        (Answer(5, truncated=False), Answer(5, truncated=False), Failed("REFUSED")),
    ],
)
async def test_what_two_answers_mean_together(four: Answer | str, six: Answer | str, expected: object, tmp_path: Path) -> None:
    servers = Servers({("a.test.", A): four, ("a.test.", AAAA): six})
    assert await lookup(servers, tmp_path)("a.test.") == expected


async def test_the_next_server_is_asked_when_one_cannot_answer(tmp_path: Path) -> None:
    one, two = "192.0.2.53", "192.0.2.54"
    good: dict[tuple[object, ...], Answer | str] = {("a.test.", A): has("192.0.2.1"), ("a.test.", AAAA): EMPTY}
    for bad in (SERVFAIL, "no answer", Answer(5, truncated=False)):
        servers = Servers({**good, (one, "a.test.", A): bad, (one, "a.test.", AAAA): bad})
        found = await lookup(servers, tmp_path, "nameserver ns1\nnameserver ns2\n")("a.test.")
        assert isinstance(found, Found)
        assert {server for server, *_ in servers.asked} == {one, two}
    servers = Servers({**good, (one, "a.test.", A): GONE, (one, "a.test.", AAAA): GONE})
    assert isinstance(await lookup(servers, tmp_path, "nameserver ns1\nnameserver ns2\n")("a.test."), Denied)
    assert {server for server, *_ in servers.asked} == {one}, "it has answered"


async def test_all_servers_are_asked_twice_and_then_it_has_failed(tmp_path: Path) -> None:
    servers = Servers({("a.test.", A): "no answer within 2 s", ("a.test.", AAAA): "no answer within 2 s"})
    found = await lookup(servers, tmp_path, "nameserver ns1\nnameserver ns2\n")("a.test.")
    assert found == Failed("no answer within 2 s")
    assert len(servers.asked) == 8


async def test_a_look_up_ends_whatever_the_servers_do(tmp_path: Path) -> None:
    servers = Servers({("a.test.", A): "hang", ("a.test.", AAAA): has("2001:db8::1")})
    assert await lookup(servers, tmp_path, seconds=0.02)("a.test.") == Failed("the name servers do not answer in time")


KUBERNETES = "nameserver ns1\nsearch n.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"


async def _asked(name: str, resolv: str, tmp_path: Path) -> list[str]:
    servers = Servers({})
    await lookup(servers, tmp_path, resolv)(name)
    known = {name_bytes(one): one for one in (name, *(f"{name}.{suffix}" for suffix in resolv.split()))}
    return [known[asked].removesuffix(".") for _, asked, kind in servers.asked if kind == A]


async def test_search_list_and_ndots(tmp_path: Path) -> None:
    suffixes = ["n.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    assert await _asked("db", KUBERNETES, tmp_path) == [*(f"db.{one}" for one in suffixes), "db"]
    assert await _asked("a.b.test", KUBERNETES, tmp_path) == [*(f"a.b.test.{one}" for one in suffixes), "a.b.test"]
    assert await _asked("a.b.c.d.e.test", KUBERNETES, tmp_path) == ["a.b.c.d.e.test", *(f"a.b.c.d.e.test.{x}" for x in suffixes)]
    assert await _asked("a.test.", KUBERNETES, tmp_path) == ["a.test"], "a dot at the end: no search"
    assert await _asked("a.test", "nameserver ns1\nsearch x.example\n", tmp_path) == ["a.test", "a.test.x.example"]


async def test_the_search_ends_at_what_exists_and_at_a_failure(tmp_path: Path) -> None:
    near, far = "db.n.svc.cluster.local.", "db.svc.cluster.local."
    both: dict[tuple[object, ...], Answer | str] = {(far, A): has("192.0.2.2"), (far, AAAA): EMPTY}
    found = await lookup(Servers({**both, (near, A): has("192.0.2.1")}), tmp_path, KUBERNETES)("db")
    assert isinstance(found, Found)
    assert (found.name, found.v4) == (near, ("192.0.2.1",))
    # Were the next name taken while the nearer one cannot be asked for, requests would go to somebody else.
    failing = Servers({**both, (near, A): SERVFAIL, (near, AAAA): SERVFAIL})
    assert await lookup(failing, tmp_path, KUBERNETES)("db") == Failed("SERVFAIL")
    found = await lookup(Servers({**both, (near, A): EMPTY, (near, AAAA): EMPTY}), tmp_path, KUBERNETES)("db")
    assert isinstance(found, Found)
    assert found.name == far
    nothing = await lookup(Servers({(near, A): EMPTY, (near, AAAA): EMPTY}), tmp_path, KUBERNETES)("db")
    assert nothing == Denied("no address", 10.0)


async def test_the_hosts_file_comes_first_and_no_server_is_asked(tmp_path: Path) -> None:
    servers = Servers({})
    look = lookup(
        servers, tmp_path, hosts="192.0.2.7 gate gate.test # x\n2001:db8::7 GATE.test\nbad line\nfe80::1%lo gate.test\n"
    )
    assert await look("gate.test") == Found("gate.test.", ("192.0.2.7",), ("2001:db8::7",), 0.0)
    assert await look("Gate") == Found("Gate.", ("192.0.2.7",), (), 0.0)
    assert await look("localhost") == await look("localhost.") == Found("localhost.", ("127.0.0.1",), ("::1",), 0.0)
    assert isinstance(await look("app.localhost"), Found)
    assert servers.asked == []


async def test_both_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    servers = Servers({})
    look = lookup(servers, tmp_path)
    await look("a.test.")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.99\nsearch later.example\n")
    (tmp_path / "hosts").write_text("192.0.2.8 a.test\n")
    found = await look("a.test")
    assert isinstance(found, Found)
    assert found.v4 == ("192.0.2.8",)
    fresh = tmp_path / "new"
    fresh.write_text("nameserver 192.0.2.98\n")
    os.replace(fresh, tmp_path / "resolv.conf")
    await look("b.test.")
    assert {server for server, *_ in servers.asked} == {"192.0.2.53", "192.0.2.98"}
    (tmp_path / "resolv.conf").unlink()  # while it is replaced: what it said last stays
    (tmp_path / "hosts").unlink()
    await look("c.test.")
    assert servers.asked[-1][0] == "192.0.2.98"


@pytest.mark.parametrize(
    ("text", "servers", "search", "ndots"),
    [
        ("", ("127.0.0.1",), (), 1),
        ("nameserver 192.0.2.1\nnameserver 2001:db8::1 # x\nnameserver a\nnameserver 192.0.2.3\nnameserver 192.0.2.4",
         ("192.0.2.1", "2001:db8::1", "192.0.2.3"), (), 1),
        ("domain a.test\nsearch b.test. c.test", ("127.0.0.1",), ("b.test", "c.test"), 1),
        ("search b.test\ndomain a.test x", ("127.0.0.1",), ("a.test",), 1),
        ("search . ok.test -bad", ("127.0.0.1",), ("ok.test",), 1),
        ("options ndots:0 timeout:1\n", ("127.0.0.1",), (), 0),
        ("options ndots:99\n", ("127.0.0.1",), (), 15),
        ("options ndots:x ndots: ndots:-1\n;nameserver 192.0.2.1\n#search x\n", ("127.0.0.1",), (), 1),
        ("search " + " ".join(f"s{n}.test" for n in range(99)), ("127.0.0.1",), tuple(f"s{n}.test" for n in range(32)), 1),
    ],
)  # fmt: skip
def test_resolv_conf(text: str, servers: tuple[str, ...], search: tuple[str, ...], ndots: int) -> None:
    assert parse_resolv_conf(text.encode()) == (servers, search, ndots)


def test_files_that_are_not_text() -> None:
    noise = bytes(range(256)) * 10
    assert parse_resolv_conf(noise).servers == ("127.0.0.1",)
    assert parse_hosts(noise) == {}
