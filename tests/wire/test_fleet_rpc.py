"""The RPC server: ports, health, reflection, limits, the end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from fleet.runtime import rpc
from fleet.runtime.address import join_address
from fleet.runtime.process import StartError
from fleet.runtime.rpc import CHANNEL_OPTIONS, RpcServer
from protos.weir.interceptor.v1 import queue_pb2, queue_pb2_grpc
from tests.support.health import check

NAME = "weir.interceptor.v1.QueueService"
REQUEST = queue_pb2.GetQueueSizesRequest()


class Service(queue_pb2_grpc.QueueServiceServicer):
    """Answers once it may."""

    def __init__(self, member: str = "one") -> None:
        self.member = member
        self.entered = asyncio.Semaphore(0)
        self.may_answer = asyncio.Event()

    async def GetQueueSizes(  # noqa: N802
        self, request: queue_pb2.GetQueueSizesRequest, context: object
    ) -> queue_pb2.GetQueueSizesResponse:
        self.entered.release()
        await self.may_answer.wait()
        return queue_pb2.GetQueueSizesResponse(member=self.member)

    async def WatchQueueSizes(self, request: object, context: object) -> None:  # type: ignore[override]  # noqa: N802
        await asyncio.Event().wait()


def server_of(service: Service, host: str = "127.0.0.1", max_rpcs: int = 100) -> RpcServer:
    server = RpcServer(host, 0, max_rpcs=max_rpcs)
    server.add(queue_pb2_grpc.add_QueueServiceServicer_to_server, service, NAME)
    return server


@asynccontextmanager
async def connected(server: RpcServer, host: str = "127.0.0.1") -> AsyncIterator[grpc.aio.Channel]:
    port = await server.start()
    assert port == server.port > 0
    try:
        async with grpc.aio.insecure_channel(join_address(host, port), options=CHANNEL_OPTIONS) as channel:
            yield channel
    finally:
        await server.stop(0)


async def test_health_says_what_the_component_says() -> None:
    server = server_of(Service())
    async with connected(server) as channel:
        assert await check(channel) == await check(channel, NAME) == "NOT_SERVING"
        await server.set_serving(True)
        assert await check(channel) == await check(channel, NAME) == "SERVING"
        await server.set_serving(False)
        assert await check(channel) == await check(channel, NAME) == "NOT_SERVING"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(channel, "unknown")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_reflection_names_every_service_and_gives_its_file() -> None:
    async with connected(server_of(Service())) as channel:
        ask = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = ask(timeout=60)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = await call.read()
        assert isinstance(listed, reflection_pb2.ServerReflectionResponse)
        names = {service.name for service in listed.list_services_response.service}
        assert names == {NAME, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAME))
        described = await call.read()
        assert isinstance(described, reflection_pb2.ServerReflectionResponse)
        assert b"WatchQueueSizes" in described.file_descriptor_response.file_descriptor_proto[0]
        call.cancel()


async def test_a_port_in_use_is_an_error_and_not_shared(capfd: pytest.CaptureFixture[str]) -> None:
    first = server_of(Service())
    port = await first.start()
    with pytest.raises(StartError, match=rf"^port {port} is in use: cannot listen for RPCs on 127\.0\.0\.1:{port}$"):
        await RpcServer("127.0.0.1", port).start()
    await first.stop(0)
    assert capfd.readouterr().err == ""


async def test_a_host_that_is_no_address_is_named() -> None:
    with pytest.raises(StartError, match="cannot listen for RPCs: 'nowhere' is not an IP address"):
        await RpcServer("nowhere", 0).start()


async def test_a_port_can_be_taken_again_at_once() -> None:
    server = server_of(Service())
    async with connected(server) as channel:
        await check(channel)
    again = RpcServer("127.0.0.1", server.port)
    assert await again.start() == server.port
    await again.stop(0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
async def test_ipv6() -> None:
    server = server_of(Service(), "::1")
    async with connected(server, "::1") as channel:
        await server.set_serving(True)
        assert await check(channel) == "SERVING"


async def test_calls_beyond_the_bound_are_refused() -> None:
    service = Service()
    async with connected(server_of(service, max_rpcs=2)) as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        calls = [stub.GetQueueSizes(REQUEST) for _ in range(2)]
        for _ in calls:
            await service.entered.acquire()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetQueueSizes(REQUEST, timeout=60)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        service.may_answer.set()
        assert [(await call).member for call in calls] == ["one", "one"]


async def test_requests_are_bounded_in_size() -> None:
    service = Service()
    service.may_answer.set()
    async with connected(server_of(service)) as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        fits = queue_pb2.GetQueueSizesRequest(apps=["x" * (rpc.MAX_RECEIVED_BYTES - 1000)])
        assert (await stub.GetQueueSizes(fits, timeout=60)).member == "one"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetQueueSizes(queue_pb2.GetQueueSizesRequest(apps=["x" * (rpc.MAX_RECEIVED_BYTES + 1)]), timeout=60)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_answers_may_be_larger_than_the_default_of_grpc() -> None:
    service = Service("x" * (5 << 20))
    service.may_answer.set()
    async with connected(server_of(service)) as channel:
        answer = await queue_pb2_grpc.QueueServiceStub(channel).GetQueueSizes(REQUEST, timeout=60)
        assert len(answer.member) == 5 << 20


async def test_stop_lets_a_running_call_finish() -> None:
    service = Service()
    server = server_of(service)
    async with connected(server) as channel:
        call = queue_pb2_grpc.QueueServiceStub(channel).GetQueueSizes(REQUEST)
        await service.entered.acquire()
        stopping = asyncio.create_task(server.stop(10))
        await asyncio.sleep(0)
        service.may_answer.set()
        started = time.monotonic()
        await stopping
        assert time.monotonic() - started < 5
        assert (await call).member == "one"


async def test_stop_cuts_what_does_not_end() -> None:
    service = Service()
    server = server_of(service)
    async with connected(server) as channel:
        call = queue_pb2_grpc.QueueServiceStub(channel).GetQueueSizes(REQUEST)
        await service.entered.acquire()
        await server.stop(0.05)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await call
    await server.stop(1)
