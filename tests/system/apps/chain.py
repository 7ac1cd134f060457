"""A service of a chain for tests: asks the NEXT one by its host, through the proxy, and passes on the header that names a
preview.

Its answer is what it is (VERSION), the name that it was given, and behind ">" the answer of the next, or of the PostgreSQL at the
port DATABASE. COMPONENTS is the file in which `weir up` says where its proxy listens, at the address NEAR. It takes START_SECONDS
until it listens.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HEADER = "uber-ctx-key"


def proxy_port() -> int:
    with open(os.environ["COMPONENTS"]) as file:
        return int(next(each["proxy_port"] for each in json.load(file) if each["kind"] == "interceptor"))


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
        name = self.headers.get(HEADER)
        answer = f"{os.environ['VERSION']} {name}"
        if "NEXT" in os.environ:
            connection = http.client.HTTPConnection(os.environ["NEAR"], proxy_port(), timeout=60)
            headers = {"Host": os.environ["NEXT"]} if name is None else {"Host": os.environ["NEXT"], HEADER: name}
            connection.request("GET", "/", headers=headers)
            answer += f" > {connection.getresponse().read().decode()}"
            connection.close()
        if "DATABASE" in os.environ:
            answer += f" > {asked_database(os.environ['DATABASE'])}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is logged."""


if __name__ == "__main__":
    time.sleep(float(os.environ.get("START_SECONDS", "0")))
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Service).serve_forever()
