"""An app that streams: server-sent events, one each half second, for as long as the client stays or ten seconds."""

from __future__ import annotations

import os
import time

from hello import Page, Server

EVENTS = 20
PAUSE = 0.5


class Ticker(Page):
    """Each event goes out at once."""

    def do_GET(self) -> None:  # noqa: N802  the name that http.server calls
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(1, EVENTS + 1):
            self.wfile.write(f"data: {number} from process {os.getpid()}\n\n".encode())
            self.wfile.flush()  # ends it when the client has left
            time.sleep(PAUSE)


if __name__ == "__main__":
    Server(("127.0.0.1", int(os.environ["PORT"])), Ticker).serve_forever()
