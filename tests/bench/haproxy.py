"""HAProxy in front of the origin: one thread, keep-alive on both sides, backend connections shared as freely as it can."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import Server
from tests.bench.origin import SMALL
from tests.bench.processes import answers, free_ports, running, wait_until
from tests.bench.weir import ASLEEP_HOST, GRPC_HOST, HOST, WORST_HOST, Bench
from tests.support.senders import UNKNOWN_HOST

__all__ = ["haproxy"]

_CONFIG = """\
global
    nbthread 1
    maxconn {connections}
    ssl-default-bind-options ssl-min-ver TLSv1.3
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
    bind 127.0.0.1:{http2_port} proto h2
    bind 127.0.0.1:{tls_port} ssl crt {certificate} curves X25519 alpn http/1.1
    use_backend asleep if {{ hdr(host) {asleep} }}
    use_backend worst if {{ hdr(host) {worst_host} }}
    use_backend grpc if {{ hdr(host) {grpc_host} }}
    use_backend nowhere if {{ hdr(host) {nowhere} }}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin}
backend grpc
    server grpc 127.0.0.1:{grpc} proto h2
backend worst
    server worst 127.0.0.1:{worst}
backend nowhere
    http-request return status 404
backend asleep
    http-request return status 503 hdr Retry-After 1
listen redis
    mode tcp
    bind 127.0.0.1:{tcp_port} backlog 4096
    server redis 127.0.0.1:{redis}
"""


@contextlib.contextmanager
def haproxy(bench: Bench, directory: Path, *, connections: int) -> Iterator[Server]:
    """A running HAProxy with the hosts that Weir has. `connections` bounds clients; it needs two descriptors for each.

    Requests for the app that does not come up get 503, those for a host without a route 404.
    """
    directory.mkdir(parents=True)
    port, http2_port, tls_port, tcp_port = free_ports(4)
    config, log = directory / "haproxy.cfg", directory / "haproxy.log"
    hosts = {"asleep": ASLEEP_HOST, "worst_host": WORST_HOST, "nowhere": UNKNOWN_HOST, "grpc_host": GRPC_HOST}
    grpc = bench.worst_port if bench.grpc is None else bench.grpc.port
    ports = {
        "port": port,
        "http2_port": http2_port,
        "tls_port": tls_port,
        "tcp_port": tcp_port,
        "origin": bench.origin.port,
        "worst": bench.worst_port,
        "grpc": grpc,
        "redis": bench.worst_port if bench.redis is None else bench.redis.port,
    }
    certificate = directory / "haproxy.pem"
    certificate.write_bytes(b"".join(file.read_bytes() for file in bench.certificate))
    config.write_text(_CONFIG.format(connections=connections, certificate=certificate, **ports, **hosts))
    with running("haproxy", ["haproxy", "-db", "-f", str(config)], log=log) as process:
        wait_until(lambda: answers(port, SMALL, HOST), "haproxy", process=process, log=log)
        yield Server(
            "haproxy",
            port=port,
            pid=process.pid,
            host=HOST,
            http2_port=http2_port,
            grpc_host=GRPC_HOST,
            tls_port=tls_port,
            tcp_port=tcp_port,
        )
