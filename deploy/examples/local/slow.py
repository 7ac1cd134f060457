"""An app that is slow to start, as many are: it listens only once it has warmed up."""

from __future__ import annotations

import os
import time

from hello import Page, Server

if __name__ == "__main__":
    print("warming up", flush=True)  # noqa: T201  its log
    time.sleep(float(os.environ.get("START_SECONDS", "3")))
    print("warm", flush=True)  # noqa: T201  its log
    Server(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
