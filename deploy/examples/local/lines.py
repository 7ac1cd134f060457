"""A server of lines over TCP: it answers each in capital letters. With `ask HOST PORT TEXT` it is a client."""

from __future__ import annotations

import os
import socket
import socketserver
import sys

PATIENCE_SECONDS = 30.0


class Lines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def ask(host: str, port: int, text: str) -> str:
    with socket.create_connection((host, port), PATIENCE_SECONDS) as own, own.makefile("rw") as stream:
        stream.write(f"{text}\n")
        stream.flush()
        return stream.readline().rstrip("\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        print(ask(sys.argv[2], int(sys.argv[3]), sys.argv[4]))  # noqa: T201  its answer
    else:
        with Server(("127.0.0.1", int(os.environ["PORT"])), Lines) as server:
            server.serve_forever()
