"""A server of datagrams: it answers each in capital letters. With `ask HOST PORT TEXT` it is a client."""

from __future__ import annotations

import os
import socket
import sys

LONGEST = 65536
PATIENCE_SECONDS = 30.0


def serve(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", port))
        while True:
            data, client = own.recvfrom(LONGEST)
            own.sendto(data.upper(), client)


def ask(host: str, port: int, text: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(PATIENCE_SECONDS)
        own.connect((host, port))
        own.send(text.encode())
        return own.recv(LONGEST).decode()


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        print(ask(sys.argv[2], int(sys.argv[3]), sys.argv[4]))  # noqa: T201  its answer
    else:
        serve(int(os.environ["PORT"]))
