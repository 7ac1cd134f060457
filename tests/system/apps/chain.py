"""A service of a chain for tests: asks the NEXT one by its host, through the proxy, and passes on the header that names a
preview, or another one (PASSES).

Its answer is what it is (VERSION), the name that it was given, and behind ">" the answer of the next, or of the PostgreSQL at the
port DATABASE. To a WebSocket it is the one message, and the next is asked by a WebSocket, too. The proxy is at PROXY, or where
`weir up` says in the file COMPONENTS, at the address NEAR. It listens on PORT of BIND, after START_SECONDS.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HEADER = "uber-ctx-key"
PATIENCE = 240.0
"""Seconds for the answer of the next one, which may have to start, as those behind it."""
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = b"\x81", b"\x88\x00"
LONGEST = 125
"""Bytes of a message; longer ones have another form."""
UPGRADE = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: d2Vpci10ZXN0cy13ZWlyLQ==",
)  # fmt: skip


def proxy() -> tuple[str, int]:
    if "PROXY" in os.environ:
        host, _, port = os.environ["PROXY"].rpartition(":")
        return host, int(port)
    with open(os.environ["COMPONENTS"]) as file:
        port = next(each["proxy_port"] for each in json.load(file) if each["kind"] == "interceptor")
    return os.environ["NEAR"], int(port)


def passed_on(given: Mapping[str, str | None]) -> dict[str, str]:
    """The fields of the request to the next service, of those with lower-case names that came."""
    name = os.environ.get("PASSES", HEADER)
    value = given.get(name)
    return {} if value is None else {name: value}


def fetched(host: str, fields: dict[str, str]) -> str:
    connection = http.client.HTTPConnection(*proxy(), timeout=PATIENCE)
    connection.request("GET", "/", headers={"Host": host, **fields})
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def received(host: str, fields: dict[str, str]) -> str:
    """The first message of a WebSocket."""
    lines = ["GET / HTTP/1.1", f"Host: {host}", *UPGRADE, *(f"{name}: {value}" for name, value in fields.items())]
    with socket.create_connection(proxy(), timeout=PATIENCE) as connection, connection.makefile("rb") as answers:
        connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        head = [line for line in iter(answers.readline, b"\r\n") if line]
        if not head or b" 101 " not in head[0]:
            return f"no WebSocket: {head}"
        assert answers.read(1) == TEXT
        return answers.read(answers.read(1)[0]).decode()


def asked_database(port: str) -> str:
    """What psql says; a PostgreSQL that has just begun to listen may refuse at first, as its clients know."""
    place = f"host={os.environ['NEAR']} port={port} user=postgres dbname=postgres"
    while True:
        found = subprocess.run(["psql", place, "-tAc", "select 6 * 7"], capture_output=True, text=True, timeout=60, check=False)
        if not found.returncode:
            return found.stdout.strip()
        if "starting up" not in found.stderr:
            return found.stderr
        time.sleep(0.02)


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answer = f"{os.environ['VERSION']} {self.headers.get(HEADER)}"
        key = self.headers.get("Sec-WebSocket-Key")
        if "NEXT" in os.environ:
            ask = fetched if key is None else received
            answer += f" > {ask(os.environ['NEXT'], passed_on({name.lower(): value for name, value in self.headers.items()}))}"
        if "DATABASE" in os.environ:
            answer += f" > {asked_database(os.environ['DATABASE'])}"
        if key is None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())
        else:
            self.answer_websocket(key, answer.encode())

    def answer_websocket(self, key: str, message: bytes) -> None:
        assert len(message) <= LONGEST
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        digest = hashlib.sha1(key.encode() + MAGIC, usedforsecurity=False).digest()
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        self.wfile.write(TEXT + bytes([len(message)]) + message + CLOSE)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is logged."""


if __name__ == "__main__":
    time.sleep(float(os.environ.get("START_SECONDS", "0")))
    ThreadingHTTPServer((os.environ.get("BIND", "127.0.0.1"), int(os.environ["PORT"])), Service).serve_forever()
