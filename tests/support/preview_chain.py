"""A chain of three services with copies of some of them: what requests that name a preview in each way get, and a client of each
protocol. The services are those of `tests/system/apps/chain.py` and `chain_rpc.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from grpc import aio
from websockets.asyncio.client import connect

from fleet.runtime.address import join_address

__all__ = ["CLIENTS", "COPIES", "PASSES", "PREVIEWS", "SERVICES", "Asked", "answer", "table"]

SERVICES = ("web", "api", "db")
"""Each calls the next one, with the header (web) or with `baggage` alone, as OpenTelemetry does (api)."""
PASSES = {"web": "uber-ctx-key", "api": "baggage"}
COPIES: Mapping[str, tuple[str, ...]] = {"web": ("f1",), "api": ("f1", "f2"), "db": ()}
"""Of f2 only the second service differs."""
PREVIEWS = {"baggage": "preview", "cookie": "preview"}
"""How the services say that a request may name a preview, beside the host and the usual header."""
PATIENCE = 240.0
"""Seconds for an answer, which may wait for a start of each service, one after the other."""

_OWN: dict[str, Any] = {"timeout": PATIENCE, "trust_env": False, "verify": False}
"""Of each client of HTTP. No certificates are read, because nothing is encrypted."""

Fields = dict[str, str]
Client = Callable[[str, int, str, Fields], Awaitable[str]]

WAYS: Mapping[str, Callable[[str, str], tuple[str, Fields]]] = {
    "host": lambda name, host: (f"{name}.{host}", {}),
    "header": lambda name, host: (host, {"uber-ctx-key": name}),
    "baggage": lambda name, host: (host, {"baggage": f"user=1,preview={name}"}),
    "cookie": lambda name, host: (host, {"cookie": f"session=1; preview={name}"}),
}
"""The host and the fields of a request, by the name of a preview and the host of its base."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a chain, from one of its services on, and its answer."""

    what: str
    host: str
    fields: Fields
    answer: str


def answer(name: str | None, first: str = "web") -> str:
    """What a request that names this preview gets from the chain that begins with a service."""
    services = SERVICES[SERVICES.index(first) :]
    return " > ".join(f"{one}@{name} {name}" if name in COPIES[one] else f"{one} {name}" for one in services)


def table(host_of: Callable[[str], str]) -> Iterator[Asked]:
    """Every way to every preview, and to one that nobody has, over the chain of all three and that of the last two."""
    for first in SERVICES[:2]:
        host = host_of(first)
        yield Asked(f"{first} itself", host, {}, answer(None, first))
        for way, asked in WAYS.items():
            for name in ("f1", "f2", "nothing"):
                yield Asked(f"{first}, {name} by {way}", *asked(name, host), answer(name, first))


async def _over_http1(address: str, port: int, host: str, fields: Fields) -> str:
    return await _fetched({}, address, port, {"host": host, **fields})


async def _over_http2(address: str, port: int, host: str, fields: Fields) -> str:
    # By prior knowledge, as without TLS.
    return await _fetched({"http1": False, "http2": True}, address, port, {"host": host, **fields})


async def _fetched(protocol: dict[str, Any], address: str, port: int, headers: Fields) -> str:
    async with httpx.AsyncClient(**protocol, **_OWN) as client:
        found = await client.get(f"http://{join_address(address, port)}/", headers=headers)
    assert found.status_code == 200, found.text
    return found.text


async def _by_websocket(address: str, port: int, host: str, fields: Fields) -> str:
    headers = {name.title(): value for name, value in fields.items()}
    where: dict[str, Any] = {"host": address, "port": port, "proxy": None, "open_timeout": PATIENCE}
    async with connect(f"ws://{host}/", additional_headers=headers, **where) as socket:
        return str(await socket.recv())


async def _by_grpc(address: str, port: int, host: str, fields: Fields) -> str:
    async with aio.insecure_channel(join_address(address, port), options=(("grpc.default_authority", host),)) as channel:
        call: Any = channel.unary_unary("/chain.Chain/Call")
        return bytes(await call(b"", metadata=tuple(fields.items()), timeout=PATIENCE)).decode()


CLIENTS: Mapping[str, Mapping[str, Client]] = {
    "http": {"HTTP/1.1": _over_http1, "HTTP/2": _over_http2, "WebSocket": _by_websocket},
    "grpc": {"gRPC": _by_grpc},
}
"""By what the services speak."""
