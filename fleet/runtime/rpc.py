"""The gRPC server of a component: limits, keepalive, health and reflection for the services that it is given.

Makes no decisions for a service: a service ends its own streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_health.v1.health import aio as health

from fleet.runtime.address import join_address
from fleet.runtime.listen import bound
from fleet.runtime.process import StartError
from fleet.runtime.reflection import enable_reflection
from fleet.runtime.tls import TlsFiles, server_credentials

__all__ = ["CHANNEL_OPTIONS", "MAX_SENT_BYTES", "RpcServer"]

MAX_RECEIVED_BYTES: Final = 4 << 20
"""Maximum bytes of a received message. Requests are small; this is gRPC's default."""
MAX_SENT_BYTES: Final = 64 << 20
"""Maximum bytes of a sent message. A routing table of 10,000 routes is a few MB as JSON."""
MAX_RPCS: Final = 50_000
"""Concurrent RPCs. KEDA keeps one stream open per application: 10,000 applications at 3 KEDA replicas, and room for calls."""
PING_EVERY_MS: Final = 10_000
"""Milliseconds between keepalive pings on an idle connection."""
PING_TIMEOUT_MS: Final = 5_000
MIN_PING_INTERVAL_MS: Final = 1_000
"""Minimum milliseconds between pings of a client; gRPC's default of five minutes would disconnect a watcher that pings."""

_SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # With SO_REUSEPORT two servers could share a port without an error; the second must fail instead.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
    ("grpc.max_send_message_length", MAX_SENT_BYTES),
    ("grpc.keepalive_time_ms", PING_EVERY_MS),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
)

CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MAX_SENT_BYTES),
    ("grpc.keepalive_time_ms", PING_EVERY_MS),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    # With the global pool, a new channel could reuse the broken connection of a closed channel.
    ("grpc.use_local_subchannel_pool", 1),
    # Members are in the same network, so a proxy from the environment is never right.
    ("grpc.enable_http_proxy", 0),
)
"""Options for a channel to one of our servers: the matching client side of these limits."""

Registrar = Callable[[Any, grpc.aio.Server], None]
"""The generated `add_<Service>Servicer_to_server`."""


class RpcServer:
    """A gRPC server with health and reflection; plain text without `tls`.

    Order: `add` every service, `start`, `set_serving(True)`; at the end `set_serving(False)`, the services end their streams,
    `stop`.
    """

    def __init__(self, host: str, port: int, *, tls: TlsFiles | None = None, max_rpcs: int = MAX_RPCS) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._max_rpcs = max_rpcs
        self._services: list[tuple[Registrar, object, str]] = []
        self._health = health.HealthServicer()
        self._server: grpc.aio.Server | None = None

    def add(self, registrar: Registrar, servicer: object, name: str) -> None:
        """Register a service under its full name ("package.Service"). Before `start`."""
        self._services.append((registrar, servicer, name))

    @property
    def port(self) -> int:
        """The port in use; before `start` the configured port."""
        return self._port

    async def start(self) -> int:
        """Listen; returns the port. Health does not report SERVING yet. Raises StartError."""
        server = grpc.aio.server(options=_SERVER_OPTIONS, maximum_concurrent_rpcs=self._max_rpcs)
        for registrar, servicer, _ in self._services:
            registrar(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        enable_reflection([*self._names(), HEALTH_SERVICE], server)
        await self.set_serving(False)
        self._port = self._bind(server)
        self._server = server  # assigned before the start, so that a cancelled start can be stopped
        await server.start()
        return self._port

    async def set_serving(self, serving: bool) -> None:
        """Set the health status."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._names()):
            await self._health.set(name, status)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, give running ones `grace` seconds, then cancel the rest."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)

    def _names(self) -> list[str]:
        return [name for _, _, name in self._services]

    def _bind(self, server: grpc.aio.Server) -> int:
        address = join_address(self._host, self._port)
        # gRPC reports the reason for a failed bind only in its own log.
        bound(self._host, self._port, "RPCs").close()
        try:
            if self._tls is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, server_credentials(self._tls))
        except RuntimeError as error:
            raise StartError(f"cannot listen for RPCs on {address}") from error
