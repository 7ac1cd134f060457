"""A client of grpc.health.v1, for tests."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2

__all__ = ["check"]


async def check(channel: grpc.aio.Channel, service: str = "", *, longest: float = 60.0) -> str:
    """The status of a service ("SERVING", "NOT_SERVING"). Raises grpc.aio.AioRpcError."""
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    answer = await call(health_pb2.HealthCheckRequest(service=service), timeout=longest)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
