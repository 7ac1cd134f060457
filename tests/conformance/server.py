"""A conformance server for `connectconformance`: its own reference server, with an interceptor before it.

Reads a ServerCompatRequest from standard input, and writes a ServerCompatResponse to standard output, each after four bytes of
length. Calls of gRPC-Web find a server that is told to speak gRPC, so that the interceptor translates them; TLS is terminated by
the interceptor, which asks clients for certificates where the suite does. The interceptor is in the process that runs the suite
(`tests.conformance.__main__`), which listens at the path in WEIR_CONFORMANCE: this script is started for each kind of server,
within seconds, so it imports little. With `--http2` as first argument, all servers speak HTTP/2.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import IO

PROTOCOL, VERSION, USE_TLS, CLIENT_CERT, CREDENTIALS = 1, 2, 4, 5, 7
"""Fields of a ServerCompatRequest. Its credentials have a certificate (1) and a key (2)."""
GRPC, GRPC_WEB, HTTP2 = 2, 3, 2
HOST, PORT, CERT = 1, 2, 3
"""Fields of a ServerCompatResponse."""
BYTES = 2
"""Wire type of a field with a length."""

Message = dict[int, int | bytes]


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def write_number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def parse(message: bytes) -> Message:
    """The last value of each field: a number, or bytes."""
    found: Message = {}
    at = 0
    while at < len(message):
        key, at = read_number(message, at)
        value, at = read_number(message, at)
        if key & 7 == BYTES:
            found[key >> 3] = message[at : at + value]
            at += value
        else:
            found[key >> 3] = value
    return found


def encode(fields: Message) -> bytes:
    out = b""
    for number, value in fields.items():
        if isinstance(value, bytes):
            out += write_number(number << 3 | BYTES) + write_number(len(value)) + value
        else:
            out += write_number(number << 3) + write_number(value)
    return out


def receive(stream: IO[bytes]) -> Message:
    return parse(stream.read(int.from_bytes(stream.read(4))))


def send(stream: IO[bytes], fields: Message) -> None:
    message = encode(fields)
    stream.write(len(message).to_bytes(4) + message)
    stream.flush()


def interceptor_before(port: int, *, http2: bool, tls: dict[str, str]) -> tuple[socket.socket, int]:
    """An interceptor that ends with this connection, and its port. `tls` has its certificate and key, and perhaps the certificate
    that clients have to show."""
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(os.environ["WEIR_CONFORMANCE"])
    asking.sendall(json.dumps({"port": port, "http2": http2, "tls": tls}).encode() + b"\n")
    return asking, int(asking.recv(16))


def without_tls(request: Message) -> dict[str, str]:
    """Take what is said of TLS out of a request."""
    use, client, given = (request.pop(field, b"") for field in (USE_TLS, CLIENT_CERT, CREDENTIALS))
    if not use:
        return {}
    assert isinstance(client, bytes)
    assert isinstance(given, bytes)
    pems = {"cert": parse(given)[1], "key": parse(given)[2], "ca": client}
    return {name: pem.decode() for name, pem in pems.items() if isinstance(pem, bytes) and pem}


def main(command: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    request = receive(sys.stdin.buffer)
    tls = without_tls(request)
    if request.get(PROTOCOL) == GRPC_WEB:
        request[PROTOCOL], request[VERSION] = GRPC, HTTP2
    if command[0] == "--http2":
        request[VERSION] = HTTP2
        del command[0]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as backend:
        try:
            assert backend.stdin is not None
            assert backend.stdout is not None
            send(backend.stdin, request)
            port = receive(backend.stdout)[PORT]
            assert isinstance(port, int)
            asking, own = interceptor_before(port, http2=request.get(VERSION) == HTTP2, tls=tls)
            with asking:
                cert = {CERT: tls["cert"].encode()} if tls else {}
                send(sys.stdout.buffer, {HOST: b"127.0.0.1", PORT: own, **cert})
                backend.wait()
        finally:
            backend.terminate()


if __name__ == "__main__":
    main(sys.argv[1:])
