"""What is sent to the proxies: the short head of a tool, what a browser and an API's client send, and large answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from tests.bench.handshakes import HandshakeLoad
from tests.bench.http2 import GrpcLoad, Http2Load
from tests.bench.origin import BODY, SMALL
from tests.bench.redis import RedisLoad
from tests.bench.wrk import NUMBER, Load

__all__ = ["AS_USERS_SEND", "CONNECTIONS", "HTTP2", "ROWS", "TCP", "TLS", "WORKLOADS", "Workload"]

CONNECTIONS = 50
BODY_CONNECTIONS = 8
BROWSER = (
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="142", "Not_A Brand";v="99"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Upgrade-Insecure-Requests", "1"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-US,en;q=0.9,de;q=0.8"),
    ("Cookie", "session=3f1d6c7b52ee4b0d9b2f5a6f0c1e8d77; theme=dark; consent=all"),
)
"""Thirteen fields and a cookie, in the order of Chromium."""
REQUEST_ID = ("X-Request-Id", f"7d0c1a52-93be-4f0e-8a6b-{NUMBER}")
"""As a gateway in front gives one to each request."""
CLIENT = (
    ("User-Agent", "orders-client/2.4"),
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
)
ORDER = json.dumps(
    {
        "order": "3f1d6c7b-52ee-4b0d-9b2f-5a6f0c1e8d77",
        "customer": 48151623,
        "lines": [{"article": "A-1042", "count": 2}, {"article": "B-0077", "count": 12}],
        "note": "Leave it with the neighbour, please",
    }
)
"""200 bytes."""


L = TypeVar("L", Load, HandshakeLoad, Http2Load, GrpcLoad, RedisLoad)


@dataclass(frozen=True)
class Workload(Generic[L]):
    """One load of both proxies, and what the tables call it and its units."""

    what: str
    load: L
    rate: str = "requests/s"
    unit: str = "request"

    def lasting(self, seconds: float) -> L:
        """The load, for another number of seconds."""
        return replace(self.load, seconds=seconds)


_QUERY = f"{SMALL}?page={NUMBER}"

WORKLOADS = {
    "small": Workload("32-byte answers, 50 connections", Load(SMALL, CONNECTIONS)),
    "browser": Workload(
        "32-byte answers to a browser: 13 fields, a cookie, a query of each request's own",
        Load(_QUERY, CONNECTIONS, fields=BROWSER),
    ),
    "request_id": Workload(
        "32-byte answers to a browser behind a gateway: an X-Request-Id of each request's own as well",
        Load(_QUERY, CONNECTIONS, fields=(*BROWSER, REQUEST_ID)),
    ),
    "post": Workload(
        "POST of 200 bytes of JSON, 50 connections",
        Load(SMALL, CONNECTIONS, fields=CLIENT, body=ORDER),
    ),
    "body_1mib": Workload("1 MiB answers, 8 connections", Load(BODY, BODY_CONNECTIONS), rate="MiB/s", unit="MiB"),
}
"""By the names that build/bench.json has for them."""
HTTP2: dict[str, Workload[Http2Load] | Workload[GrpcLoad]] = {
    "h2": Workload("32-byte answers over HTTP/2, 10 connections with 5 requests each", Http2Load(SMALL, 10, 5)),
    "grpc": Workload("unary calls of gRPC, 10 connections with 5 calls each", GrpcLoad(10, 50), rate="calls/s", unit="call"),
}
"""Over HTTP/2. The backend of the first speaks HTTP/1.1."""
TLS: dict[str, Workload[Load] | Workload[HandshakeLoad]] = {
    "tls": Workload("32-byte answers over TLS 1.3, 50 connections", Load(SMALL, CONNECTIONS, tls=True)),
    "handshakes": Workload(
        "full handshakes of TLS 1.3 (P-256, X25519), one request each",
        HandshakeLoad(SMALL),
        rate="connections/s",
        unit="connection",
    ),
}
"""Over TLS. Both proxies have the same certificate, versions and cipher."""
TCP = {
    "redis": Workload("GETs of Redis, 50 connections", RedisLoad(CONNECTIONS, 1, 75_000), rate="commands/s", unit="command"),
    "redis_16": Workload(
        "GETs of Redis, 50 connections with 16 at once", RedisLoad(CONNECTIONS, 16, 1_000_000), rate="commands/s", unit="command"
    ),
}
"""At a TCP port, to Redis itself as well."""
ROWS: dict[str, Workload[Load] | Workload[HandshakeLoad] | Workload[Http2Load] | Workload[GrpcLoad] | Workload[RedisLoad]] = {
    **WORKLOADS,
    **HTTP2,
    **TLS,
    **TCP,
}
AS_USERS_SEND = ("browser", "request_id", "post")
"""What a benchmark of one short head leaves out."""
