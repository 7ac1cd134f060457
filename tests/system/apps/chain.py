"""A service of a chain for tests: asks the NEXT one by its host, through the proxy, and passes on the header that names a
preview.

Its answer is what it is (VERSION), the name that it was given, and behind ">" the answer of the next. COMPONENTS is the file in
which `weir up` says where its proxy listens, at the address NEAR.
"""

from __future__ import annotations

import http.client
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HEADER = "uber-ctx-key"


def proxy_port() -> int:
    with open(os.environ["COMPONENTS"]) as file:
        return int(next(each["proxy_port"] for each in json.load(file) if each["kind"] == "interceptor"))


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
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is logged."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Service).serve_forever()
