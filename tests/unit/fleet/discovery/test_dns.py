"""Members by a DNS name, with a resolver that the test controls."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from fleet.discovery import dns
from fleet.discovery.dns import DnsMembers
from fleet.discovery.sources import Member

NEVER = 3600.0


class Resolver:
    """Returns the given answers, and counts calls."""

    def __init__(self, *addresses: str) -> None:
        self.answer: list[str] | OSError = list(addresses)
        self.asked: list[tuple[str, int]] = []
        self.again = asyncio.Event()

    async def __call__(self, name: str, port: int) -> list[str]:
        self.asked.append((name, port))
        self.again.set()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


def members(*addresses: str) -> tuple[Member, ...]:
    return tuple(Member(address, address) for address in addresses)


async def test_every_address_is_a_member() -> None:
    resolver = Resolver("10.0.0.2", "10.0.0.1", "::1", "10.0.0.2")
    source = DnsMembers("interceptor.weir.svc:9090", NEVER, resolver=resolver)
    assert source.current is None
    await source.start()
    assert source.current == members("10.0.0.1:9090", "10.0.0.2:9090", "[::1]:9090")
    assert resolver.asked == [("interceptor.weir.svc", 9090)]
    await source.close()


async def test_changes_are_told_and_equal_answers_are_not() -> None:
    resolver = Resolver("10.0.0.1")
    source = DnsMembers("name:1", NEVER, resolver=resolver)
    told: list[tuple[Member, ...]] = []
    source.subscribe(told.append)
    await source.resolve()
    await source.resolve()
    resolver.answer = ["10.0.0.2"]
    await source.resolve()
    assert told == [members("10.0.0.1:1"), members("10.0.0.2:1")]


@pytest.mark.parametrize("answer", [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OSError("no network"), []])
async def test_missing_news_keeps_the_last_members_and_is_reported_once(
    answer: OSError | list[str], caplog: pytest.LogCaptureFixture
) -> None:
    resolver = Resolver("10.0.0.1")
    source = DnsMembers("name:1", NEVER, resolver=resolver)
    await source.resolve()
    resolver.answer = answer
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await source.resolve()
    assert source.current == members("10.0.0.1:1")
    assert len(caplog.records) == 1
    resolver.answer = ["10.0.0.1"]
    await source.resolve()
    resolver.answer = answer
    with caplog.at_level(logging.WARNING):
        await source.resolve()
    assert len(caplog.records) == 2


async def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def hang(name: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(dns, "TIMEOUT_SECONDS", 0.01)
    source = DnsMembers("name:1", NEVER, resolver=hang)
    await source.start()
    assert source.current is None
    assert "no answer in 0.01 s" in caplog.text
    await source.close()


async def test_the_name_is_asked_again_until_it_is_closed() -> None:
    resolver = Resolver("10.0.0.1")
    before = asyncio.all_tasks()
    source = DnsMembers("name:1", 0.001, resolver=resolver)
    await source.start()
    for _ in range(3):
        resolver.again.clear()
        await asyncio.wait_for(resolver.again.wait(), 60)
    await source.close()
    await source.close()
    assert asyncio.all_tasks() == before


async def test_the_resolver_of_the_system() -> None:
    source = DnsMembers("localhost:9090", NEVER)
    await source.resolve()
    assert source.current is not None
    assert {member.address for member in source.current} <= {"127.0.0.1:9090", "[::1]:9090"}
