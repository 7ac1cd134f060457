"""Answers each datagram at port 9000 with its pod's name, a blank and the datagram."""

from __future__ import annotations

import os
import socket

NAME = os.environ.get("HOSTNAME", "").encode()

own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(("0.0.0.0", 9000))
while True:
    data, client = own.recvfrom(65536)
    own.sendto(NAME + b" " + data, client)
