"""An app for tests that speaks gRPC alone: the health service, on PORT."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(4))
    service = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
    service.set("shop", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    server.wait_for_termination()
