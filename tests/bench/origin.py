"""The origin behind both proxies: nginx with one worker, a 32-byte answer and a 1 MiB file."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.bench.processes import BenchError

__all__ = ["BODY", "SMALL", "command", "prepare", "worker_pid"]

SMALL = "/small"
BODY = "/1mib"

# Keep-alive without end: a connection closed after so many requests would be counted as a proxy's latency.
_CONFIG = """\
worker_processes 1;
daemon off;
error_log stderr warn;
pid {directory}/nginx-@PORT@.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {directory}/tmp;
    proxy_temp_path {directory}/tmp;
    fastcgi_temp_path {directory}/tmp;
    uwsgi_temp_path {directory}/tmp;
    scgi_temp_path {directory}/tmp;
    server {{
        listen 127.0.0.1:@PORT@ backlog=4096;
        location = {small} {{ default_type text/plain; return 200 "0123456789abcdef0123456789abcdef"; }}
        location = {body} {{ default_type application/octet-stream; root {directory}; }}
    }}
}}
"""


def prepare(directory: Path) -> None:
    """Write the configuration and the body. Readable by everyone: nginx's worker gives up root."""
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    (directory / BODY.lstrip("/")).write_bytes(bytes(1 << 20))
    (directory / "nginx.conf.in").write_text(_CONFIG.format(directory=directory, small=SMALL, body=BODY))


def command(directory: Path) -> str:
    """A shell command that serves on $PORT until it is told to end."""
    template, config = f"{directory}/nginx.conf.in", f"{directory}/nginx-$PORT.conf"
    return f'sed "s/@PORT@/$PORT/" "{template}" > "{config}" && exec nginx -e stderr -p "{directory}" -c "{config}"'


def worker_pid(ancestor: int) -> int:
    """The one nginx worker among the descendants of a process."""
    found = [child for child in psutil.Process(ancestor).children(recursive=True) if child.name() == "nginx"]
    workers = [child.pid for child in found if not child.children()]
    if len(workers) != 1:
        raise BenchError(f"origin: {len(workers)} nginx workers where one was started")
    return workers[0]
