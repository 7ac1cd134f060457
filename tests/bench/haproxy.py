"""HAProxy in front of the origin: one thread, keep-alive on both sides, backend connections shared as freely as it can."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import Server
from tests.bench.origin import SMALL
from tests.bench.processes import answers, free_ports, running, wait_until

__all__ = ["haproxy"]

_CONFIG = """\
global
    nbthread 1
    maxconn {connections}
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-request 10s
    timeout http-keep-alive 300s
frontend proxy
    bind 127.0.0.1:{port} backlog 4096
    use_backend asleep if {{ hdr(host) {asleep} }}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin}
backend asleep
    http-request return status 503 hdr Retry-After 1
"""


@contextlib.contextmanager
def haproxy(origin_port: int, directory: Path, *, host: str, asleep: str, connections: int) -> Iterator[Server]:
    """A running HAProxy. `connections` bounds clients; it needs two descriptors for each. Requests for `asleep` get 503."""
    directory.mkdir(parents=True)
    (port,) = free_ports(1)
    config, log = directory / "haproxy.cfg", directory / "haproxy.log"
    config.write_text(_CONFIG.format(connections=connections, port=port, asleep=asleep, origin=origin_port))
    with running("haproxy", ["haproxy", "-db", "-f", str(config)], log=log) as process:
        wait_until(lambda: answers(port, SMALL, host), "haproxy", process=process, log=log)
        yield Server("haproxy", port=port, pid=process.pid, host=host)
