"""The gRPC app of the add-on's tests: echo.EchoService on PORT, over TLS if /etc/certs has a certificate.

Echo returns the message with the app's name and the protocol; EchoStream greets whom each message names.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = ["SERVICE", "messages"]

SERVICE = "echo.EchoService"
CERTIFICATE, KEY = Path("/etc/certs/tls.crt"), Path("/etc/certs/tls.key")
FIELDS = {"EchoRequest": ("message",), "EchoResponse": ("message", "hostname", "protocol")}


def messages() -> tuple[type[Any], type[Any]]:
    """EchoRequest and EchoResponse: strings only."""
    file = FileDescriptorProto(name="echo.proto", package="echo", syntax="proto3")
    for name, fields in FIELDS.items():
        text, once = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.LABEL_OPTIONAL
        made = [FieldDescriptorProto(name=each, number=at, type=text, label=once) for at, each in enumerate(fields, 1)]
        file.message_type.append(DescriptorProto(name=name, field=made))
    pool = DescriptorPool()
    pool.Add(file)
    request, response = (GetMessageClass(pool.FindMessageTypeByName(f"echo.{name}")) for name in FIELDS)
    return request, response


def main() -> None:
    request_type, response_type = messages()
    name, encrypted = os.environ.get("HOSTNAME", ""), CERTIFICATE.exists() and KEY.exists()

    def echo(request: Any, _context: grpc.ServicerContext) -> Any:
        return response_type(message=request.message, hostname=name, protocol="h2" if encrypted else "h2c")

    def echo_stream(requests: Iterable[Any], _context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            yield response_type(message=f"hello {request.message}")

    forms = {"request_deserializer": request_type.FromString, "response_serializer": response_type.SerializeToString}
    methods = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo, **forms),
        "EchoStream": grpc.stream_stream_rpc_method_handler(echo_stream, **forms),
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    address = f"0.0.0.0:{os.environ.get('PORT', '8080')}"
    if encrypted:
        server.add_secure_port(address, grpc.ssl_server_credentials([(KEY.read_bytes(), CERTIFICATE.read_bytes())]))
    else:
        server.add_insecure_port(address)
    server.start()
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    over.wait()
    server.stop(5).wait()


if __name__ == "__main__":
    main()
