"""A port-forward through the API server, as a Unix socket that only this user can open.

A Unix socket, because no other user of the machine can connect to it, as to a port of the loopback address.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from weir.apps.failure import NotDoneError

__all__ = ["Tunnel", "tunnel"]

PIECE = 64 << 10


class Tunnel:
    """Forwards each connection to its socket over one that `opened` makes."""

    def __init__(self, path: Path, opened: Callable[[], Any]) -> None:
        self.path = path
        self.problem: NotDoneError | None = None
        """Why the last connection could not be forwarded."""
        self._opened = opened
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(path))
        self._listener.listen(4)
        self._thread = threading.Thread(target=self._accept, name="tunnel", daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends accept(), which close() alone does not
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                forward = self._opened()
            except NotDoneError as error:
                self.problem = error
                near.close()
                continue
            far = forward.socket(next(iter(forward.local_ports)))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), name="tunnel pump", daemon=True).start()


def _pump(source: Any, sink: Any) -> None:
    """Bytes of one direction, until either side ends."""
    with suppress(OSError):
        while data := source.recv(PIECE):
            sink.sendall(data)
    for side in (source, sink):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)  # the other direction sees its end, and closes nothing under it
    with suppress(OSError):
        source.close()


@contextmanager
def tunnel(opened: Callable[[], Any]) -> Iterator[Tunnel]:
    """A tunnel, until the context ends. Errors in the client's threads stay unsaid: they are those of connections that end."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if arguments.thread is None or not arguments.thread.name.startswith("Kubernetes port forward proxy"):
            before(arguments)

    threading.excepthook = hook
    with tempfile.TemporaryDirectory(prefix="weir-") as directory:
        made = Tunnel(Path(directory) / "admin.sock", opened)
        try:
            yield made
        finally:
            made.close()
            threading.excepthook = before
