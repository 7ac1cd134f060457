"""A small app: one page, answered at once, by the standard library alone."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page(BaseHTTPRequestHandler):
    """Says which process answers."""

    protocol_version = "HTTP/1.1"
    # Head and body leave together, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = f"Hello from process {os.getpid()} on port {os.environ['PORT']}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Requests are counted by Weir."""


class Server(ThreadingHTTPServer):
    """A burst of connections may wait; a thread left over does not keep the process; a client that leaves is no fault."""

    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # as the base class calls it


if __name__ == "__main__":
    Server(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
