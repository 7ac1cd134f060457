"""The service of the conformance suite by grpcio: the backend of a Python developer, which speaks gRPC alone.

Answers as its requests say, and tells what it has seen of them, as `connectrpc/conformance/v1/service.proto` of the suite
describes it. The messages are made from the suite's descriptors (`tests.conformance.bundle`), so there is no generated code.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = ["Service", "serving"]

PACKAGE = "connectrpc.conformance.v1"
LARGEST_MESSAGE = 16 << 20
Pairs = Sequence[tuple[str, str | bytes]]


class Service:
    """The calls that browsers can make of it: unary ones, and streams of the server."""

    def __init__(self, descriptors: bytes) -> None:
        self.calls = 0
        """Those that run."""
        self.cancelled = 0
        """Those that their client, or its deadline, has ended."""
        self._pool: Any = DescriptorPool()
        for file in FileDescriptorSet.FromString(descriptors).file:
            self._pool.AddSerializedFile(file.SerializeToString())

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server of grpcio registers."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods: dict[str, Any] = {
            "Unary": self._method(unary, self._unary, "Unary"),
            "IdempotentUnary": self._method(unary, self._unary, "IdempotentUnary"),
            "ServerStream": self._method(stream, self._server_stream, "ServerStream"),
        }
        return grpc.method_handlers_generic_handler(f"{PACKAGE}.ConformanceService", methods)

    def _message(self, name: str) -> Any:
        return GetMessageClass(self._pool.FindMessageTypeByName(name))

    def _method(self, kind: Any, behaviour: Any, name: str) -> Any:
        request, response = (self._message(f"{PACKAGE}.{name}{suffix}") for suffix in ("Request", "Response"))

        def serialize(payload: Any) -> bytes:
            data: bytes = response(payload=payload).SerializeToString()
            return data

        return kind(behaviour, request_deserializer=request.FromString, response_serializer=serialize)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.calls += 1
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):  # the second one while a message of a stream is written
            self.cancelled += 1
            raise
        finally:
            self.calls -= 1

    async def _unary(self, request: Any, context: Any) -> Any:
        with self._counted():
            definition = request.response_definition
            await _begin(definition, context)
            await asyncio.sleep(definition.response_delay_ms / 1000)
            if definition.HasField("error"):
                await self._fail(definition, context, self._info(request, context))
            return self._payload(data=definition.response_data, request_info=self._info(request, context))

    async def _server_stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        with self._counted():
            definition = request.response_definition
            await _begin(definition, context)
            for number, data in enumerate(definition.response_data):
                await asyncio.sleep(definition.response_delay_ms / 1000)
                yield self._payload(data=data, request_info=None if number else self._info(request, context))
            if definition.HasField("error"):
                first = not definition.response_data
                await self._fail(definition, context, self._info(request, context) if first else None)

    def _payload(self, **fields: Any) -> Any:
        return self._message(f"{PACKAGE}.ConformancePayload")(**fields)

    def _info(self, request: Any, context: Any) -> Any:
        """What is seen of a request."""
        info = self._message(f"{PACKAGE}.ConformancePayload.RequestInfo")()
        for name, value in context.invocation_metadata():
            info.request_headers.add(name=name, value=[value if isinstance(value, str) else b64encode(value).decode()])
        left = context.time_remaining()
        if left is not None:
            info.timeout_ms = round(left * 1000)
        info.requests.add(type_url=_type_url(request), value=request.SerializeToString())
        return info

    async def _fail(self, definition: Any, context: Any, info: Any | None) -> None:
        error = definition.error
        status = self._message("weir.conformance.Status")(code=error.code, message=error.message, details=error.details)
        if info is not None:
            status.details.add(type_url=_type_url(info), value=info.SerializeToString())
        trailers = (*_pairs(definition.response_trailers), ("grpc-status-details-bin", status.SerializeToString()))
        await context.abort(_CODES[error.code], error.message, trailers)


_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def _begin(definition: Any, context: Any) -> None:
    """Send the head, and say what the trailers will be."""
    context.set_trailing_metadata(_pairs(definition.response_trailers))
    await context.send_initial_metadata(_pairs(definition.response_headers))


def _pairs(headers: Iterable[Any]) -> Pairs:
    """Metadata as grpcio takes it. Values of "-bin" are in base64 without padding."""
    return tuple(
        (header.name, b64decode(value + "==") if header.name.endswith("-bin") else value)
        for header in headers
        for value in header.value
    )


def _type_url(message: Any) -> str:
    return f"type.googleapis.com/{message.DESCRIPTOR.full_name}"


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[int]:
    """The port of a server with it on the loopback address."""
    server: Any = grpc.aio.server(options=[("grpc.max_receive_message_length", LARGEST_MESSAGE)])
    server.add_generic_rpc_handlers([service.handler()])
    port: int = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
