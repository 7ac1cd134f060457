"""From a DNS name to its addresses of both families, and how long they are valid: the hosts file, the search list, the name
servers in turn. One look-up; when to look up is decided in `names`."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple, Protocol

from fleet.discovery.outside.dnsclient import DNS_PORT, Ask, AskError, ask
from fleet.discovery.outside.dnswire import AAAA, NO_ERROR, NX_DOMAIN, A, Answer, name_bytes
from fleet.discovery.outside.system import System

__all__ = ["Denied", "Failed", "Found", "Lookup", "Resolver", "Result"]

ATTEMPTS: Final = 2
"""Rounds over the name servers, as in the C library."""
ASK_SECONDS: Final = 2.0
"""For one server's answer."""
LOOKUP_SECONDS: Final = 6.0
"""For one look-up, whatever the search list and the name servers: so long it takes one of the places for look-ups."""
_SHOWN_CODES: Final = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}


class Found(NamedTuple):
    """Addresses by family; None for a family about which no server could answer."""

    name: str
    """The whole name that has them, with the dot at its end."""
    v4: tuple[str, ...] | None
    v6: tuple[str, ...] | None
    ttl: float


class Denied(NamedTuple):
    """The name does not exist, or has no address."""

    why: str
    ttl: float


class Failed(NamedTuple):
    """Nothing is known: no server could answer."""

    why: str


Result = Found | Denied | Failed


class Resolver(Protocol):
    """Looks one name up. Never raises."""

    async def __call__(self, name: str) -> Result: ...


class Lookup:
    """Look-ups as this machine is configured to make them."""

    def __init__(
        self,
        system: System | None = None,
        *,
        port: int = DNS_PORT,
        asking: Ask = ask,
        seconds: float = LOOKUP_SECONDS,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        """`port`: where name servers listen, which the file of the system cannot say."""
        self._system, self._port, self._ask = system or System(), port, asking
        self._seconds, self._ask_seconds = seconds, ask_seconds

    async def __call__(self, name: str) -> Result:
        written = self._system.addresses(name)
        if written:
            six = tuple(address for address in written if ":" in address)
            return Found(f"{name.removesuffix('.')}.", tuple(one for one in written if ":" not in one), six, 0.0)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._searched(name)
        except TimeoutError:
            return Failed("the name servers do not answer in time")

    async def _searched(self, name: str) -> Result:
        conf = self._system.resolv_conf
        denied = Denied("NXDOMAIN", 0.0)
        for candidate in conf.candidates(name):
            found = await self._one(candidate, conf.servers)
            if not isinstance(found, Denied):
                return found
            # A name without an address exists: say that rather than that it does not.
            denied = found if denied.why == "NXDOMAIN" else denied
        return denied

    async def _one(self, name: str, servers: tuple[str, ...]) -> Result:
        """A whole name. A failure ends the search, because the next name in the list may be somebody else's."""
        wire = name_bytes(name)
        async with asyncio.TaskGroup() as tasks:
            four, six = (tasks.create_task(self._family(servers, wire, kind), name=f"look up {name}") for kind in (A, AAAA))
        return _result(name, four.result(), six.result())

    async def _family(self, servers: tuple[str, ...], name: bytes, kind: int) -> Answer | str:
        """The first answer that says whether there are addresses; a text when none of the servers could say it."""
        why = "there is no name server"
        for server in servers * ATTEMPTS:
            try:
                answer = await self._ask(server, self._port, name, kind, seconds=self._ask_seconds)
            except AskError as error:
                why = str(error)
                continue
            if answer.code in (NO_ERROR, NX_DOMAIN):
                return answer
            why = _SHOWN_CODES.get(answer.code, f"code {answer.code}")
        return why


def _result(name: str, four: Answer | str, six: Answer | str) -> Result:
    known = [each for each in (four, six) if isinstance(each, Answer)]
    having = [each for each in known if each.addresses]
    if having:
        ttl = float(min(each.ttl for each in having))
        v4, v6 = (each.addresses if isinstance(each, Answer) else None for each in (four, six))
        return Found(name, v4, v6, ttl)
    failure = next((each for each in (four, six) if isinstance(each, str)), "")
    missing = next((each for each in known if each.code == NX_DOMAIN), None)
    if missing is not None:  # then it has no records of the other family either (RFC 8020)
        return Denied("NXDOMAIN", float(missing.ttl))
    return Failed(failure) if failure else Denied("no address", float(min((each.ttl for each in known), default=0)))
