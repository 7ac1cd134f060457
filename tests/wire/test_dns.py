"""Look-ups with a real name server on the loopback address, also with one that is silent, lies or floods."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from fleet.discovery.outside.backends import OutsideBackends
from fleet.discovery.outside.dnsclient import AskError, ask
from fleet.discovery.outside.dnswire import A, name_bytes
from fleet.discovery.outside.lookup import Denied, Failed, Found
from fleet.discovery.outside.names import MAX_BACKENDS, Ttl
from fleet.discovery.outside.policy import AddressPolicy
from fleet.routing.route import Target
from tests.support.dns_server import DnsServer, Records, addresses
from tests.wire.proxy_rig import eventually

NAME = "api.test"
KEY = Target(host=NAME, port=80).key


def _records() -> Records:
    return {("api.test.", "A"): ["192.0.2.1", "192.0.2.2"], ("api.test.", "AAAA"): ["2001:db8::1"]}


async def test_both_families(tmp_path: Path) -> None:
    async with DnsServer(_records()) as server:
        found = await server.lookup(tmp_path)(NAME)
        assert isinstance(found, Found)
        assert (set(found.v4 or ()), found.v6, found.ttl) == ({"192.0.2.1", "192.0.2.2"}, ("2001:db8::1",), 60.0)
        assert sorted(server.asked) == [("api.test.", "A"), ("api.test.", "AAAA")]
        assert await server.lookup(tmp_path)("other.test") == Denied("NXDOMAIN", 60.0)


async def test_aliases_and_the_search_list(tmp_path: Path) -> None:
    records: Records = {
        ("db.near.test.", "CNAME"): ["a.test."],
        ("a.test.", "CNAME"): ["b.test."],
        ("b.test.", "A"): ["192.0.2.9"],
    }
    async with DnsServer(records) as server:
        found = await server.lookup(tmp_path, search="near.test")("db")
        assert isinstance(found, Found)
        assert (found.name, found.v4, found.v6) == ("db.near.test.", ("192.0.2.9",), ())


async def test_what_does_not_fit_into_a_datagram_comes_over_tcp(tmp_path: Path) -> None:
    many = addresses(200)
    async with DnsServer({("api.test.", kind): data for kind, data in many.items()}) as server:
        found = await server.lookup(tmp_path)(NAME)
        assert isinstance(found, Found)
        assert sorted(found.v4 or ()) == sorted(many["A"])
        assert sorted(found.v6 or ()) == sorted(many["AAAA"])
        assert server.by_tcp == 2


async def test_an_answer_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    async with DnsServer({("api.test.", "A"): addresses(3000)["A"]}) as server:
        assert isinstance(found := await server.lookup(tmp_path)(NAME), Failed)
        assert "at most 16384 are read" in found.why


async def test_an_alias_that_leads_to_itself(tmp_path: Path) -> None:
    async with DnsServer({("api.test.", "CNAME"): ["b.test."], ("b.test.", "CNAME"): ["api.test."]}) as server:
        assert isinstance(found := await server.lookup(tmp_path)(NAME), Failed)
        assert "CNAME" in found.why


async def test_a_silent_server_and_one_that_is_not_there(tmp_path: Path) -> None:
    async with DnsServer(_records()) as server:
        server.silent = True
        began = time.monotonic()
        assert isinstance(await server.lookup(tmp_path, ask_seconds=0.1)(NAME), Failed)
        assert isinstance(await server.lookup(tmp_path, seconds=0.2)(NAME), Failed)
        assert time.monotonic() - began < 30.0
    assert isinstance(found := await server.lookup(tmp_path)(NAME), Failed)
    assert "refused" in found.why


async def test_answers_to_other_questions_are_not_taken(tmp_path: Path) -> None:
    """Somebody who does not know the number guesses; the good answer comes last."""
    async with DnsServer(_records()) as server:
        evil = DnsServer({("api.test.", "A"): ["192.0.2.66"], ("evil.test.", "A"): ["192.0.2.66"]})

        def guesses(question: bytes, answer: bytes) -> list[bytes]:
            lie = evil.answer(question) or b""
            other = bytes((question[0] ^ 1,)) + lie[1:]
            return [other, b"", b"\x00", lie[:2] + question[2:], answer]

        server.bend = guesses
        found = await server.lookup(tmp_path)(NAME)
        assert isinstance(found, Found)
        assert set(found.v4 or ()) == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize(
    "bend",
    [
        lambda question, answer: [answer[:-3]],
        lambda question, answer: [answer[:12] + b"\xc0\x0c" + answer[14:]],
        lambda question, answer: [question] * 64,
        lambda question, answer: [answer[:2] + b"\xff" * 500],
        lambda question, answer: [answer[:6] + b"\xff\xff" + answer[8:]],
    ],
)
async def test_noise_ends_in_a_failure_at_once(bend: object, tmp_path: Path) -> None:
    async with DnsServer(_records()) as server:
        server.bend = bend  # type: ignore[assignment]
        began = time.monotonic()
        assert isinstance(await server.lookup(tmp_path, ask_seconds=0.5)(NAME), Failed)
        assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("sent", [b"", b"\x00", b"\x00\x05abc", b"\x00\x00", b"\xff\xff", b"\x00\x0c" + b"\x00" * 12])
async def test_noise_over_tcp(sent: bytes, tmp_path: Path) -> None:
    async with DnsServer({("api.test.", "A"): addresses(100)["A"]}) as server:
        server.tcp_answer = lambda answer: sent
        with pytest.raises(AskError):
            await ask("127.0.0.1", server.port, name_bytes(NAME), A, seconds=2.0)


async def test_no_socket_is_left(tmp_path: Path) -> None:
    async with DnsServer(_records()) as server:
        look = server.lookup(tmp_path, ask_seconds=0.05, seconds=0.1)
        await look(NAME)
        before = _sockets()
        for silent in (False, True):
            server.silent = silent
            for _ in range(10):
                await look(NAME)
        await eventually(lambda: _sockets() <= before)


def _sockets() -> int:
    return sum(1 for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink() and "socket" in str(_target(entry)))


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


class _Followed:
    """A source of one name, and what it tells."""

    def __init__(self, server: DnsServer, directory: Path, policy: str, *, least: float = 0.1) -> None:
        clock = asyncio.get_running_loop().time
        self.source = OutsideBackends(
            server.lookup(directory, ask_seconds=0.2, seconds=0.5), AddressPolicy.parse(policy), Ttl(least, 300.0), clock=clock
        )
        self.told: list[str] = []
        self.source.subscribe(self.told.append)

    def hosts(self, key: str = KEY) -> list[str]:
        return sorted(backend.host for backend in self.source.get(key))


@pytest.mark.parametrize("truncated", [False, True])
async def test_a_question_that_is_given_up_at_any_moment_leaves_no_socket(truncated: bool, tmp_path: Path) -> None:
    """The loop complains at its end of what is open."""
    async with DnsServer({("api.test.", "A"): addresses(400 if truncated else 1)["A"]}) as server:
        for steps in range(40):
            asking = asyncio.create_task(ask("127.0.0.1", server.port, name_bytes("api.test."), A, seconds=60))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])


async def test_a_name_is_followed_as_its_ttl_says(tmp_path: Path) -> None:
    async with DnsServer(_records()) as server:
        server.ttl = 0
        followed = _Followed(server, tmp_path, "192.0.2.0/24,2001:db8::/32")
        await followed.source.start()
        try:
            assert followed.source.synced, "no name is wanted"
            followed.source.want([KEY])
            assert not followed.source.synced
            await eventually(lambda: followed.source.synced)
            assert followed.hosts() == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
            assert all(backend.outside and backend.port == 80 for backend in followed.source.get(KEY))
            server.records = {("api.test.", "A"): ["192.0.2.7"]}
            await eventually(lambda: followed.hosts() == ["192.0.2.7"])
            told = len(followed.told)
            server.silent = True
            await eventually(lambda: followed.source.trouble(KEY) is not None)
            assert followed.hosts() == ["192.0.2.7"], "missing news is not zero"
            server.silent = False
            await eventually(lambda: followed.source.trouble(KEY) is None)
            assert followed.hosts() == ["192.0.2.7"]
            assert len(followed.told) <= told + 4, "what does not change is not told"
            server.records = {}
            await eventually(lambda: followed.hosts() == [])
            server.ttl = 3600
            server.records = {("api.test.", "A"): ["192.0.2.8"]}
            await eventually(lambda: followed.hosts() == ["192.0.2.8"])
            due = followed.source._names.next_due()
            assert due is not None
            assert due > asyncio.get_running_loop().time() + 250.0, "its TTL is an hour"
            followed.source.want([])
            assert followed.hosts() == []
        finally:
            await followed.source.close()


async def test_answers_are_held_to_what_is_allowed(tmp_path: Path) -> None:
    records: Records = {
        ("api.test.", "A"): ["192.0.2.1", "127.0.0.1", "169.254.169.254"],
        ("api.test.", "AAAA"): ["::1", "::ffff:7f00:1"],
    }
    async with DnsServer(records) as server:
        server.ttl = 0
        followed = _Followed(server, tmp_path, "192.0.2.0/24")
        await followed.source.start()
        try:
            followed.source.want([KEY])
            await eventually(lambda: followed.hosts() == ["192.0.2.1"])
            records[("api.test.", "A")] = ["10.0.0.1"]
            await eventually(lambda: followed.hosts() == [])
            trouble = followed.source.trouble(KEY)
            assert trouble is not None
            assert (trouble.kind, trouble.hopeless) == ("RefusedAddress", True)
        finally:
            await followed.source.close()


async def test_nothing_is_looked_up_where_nothing_is_allowed(tmp_path: Path) -> None:
    async with DnsServer(_records()) as server:
        followed = _Followed(server, tmp_path, "none")
        await followed.source.start()
        try:
            followed.source.want([KEY, "fixed:192.0.2.1:80"])
            for _ in range(50):
                await asyncio.sleep(0)
            assert followed.source.synced
            assert server.asked == []
            for key in (KEY, "fixed:192.0.2.1:80"):
                assert followed.source.get(key) == ()
                trouble = followed.source.trouble(key)
                assert trouble is not None
                assert trouble.kind == "RefusedAddress"
        finally:
            await followed.source.close()


async def test_many_addresses_are_so_many_backends(tmp_path: Path) -> None:
    async with DnsServer({("api.test.", "A"): addresses(900)["A"]}) as server:
        followed = _Followed(server, tmp_path, "10.0.0.0/8")
        await followed.source.start()
        try:
            followed.source.want([KEY])
            await eventually(lambda: len(followed.hosts()) == MAX_BACKENDS)
        finally:
            await followed.source.close()
