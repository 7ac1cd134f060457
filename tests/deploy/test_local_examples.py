"""The example apps of the demo, as far as what they print is concerned."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from weir.engine.specfile import load_spec

APPS = Path(__file__).parents[2] / "deploy" / "examples" / "local"
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(APPS))
    yield import_module
    for name in ("hello", "lines", "ticker"):
        sys.modules.pop(name, None)


def _leaves_in_the_middle(server: Any, left: threading.Event) -> None:
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    with socket.create_connection(server.server_address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    left.set()
    server.shutdown()
    serving.join()
    server.server_close()  # joins the threads of requests


@pytest.mark.parametrize("file", sorted(APPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_files_are_good(file: Path) -> None:
    """They are read without an error, and no app asks for what another one has."""
    assert load_spec(file).spec.apps


@pytest.mark.parametrize("error", [None, ValueError("a fault of ours")], ids=["client", "fault"])
def test_a_client_that_leaves_is_no_traceback_and_a_fault_is_one(
    examples: Any, error: Exception | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hello, ticker = examples("hello"), examples("ticker")
    left = threading.Event()

    def sleep(_: float) -> None:
        left.wait()
        if error is not None:
            raise error

    monkeypatch.setattr(ticker.time, "sleep", sleep)
    monkeypatch.setattr(hello.Server, "daemon_threads", False)
    _leaves_in_the_middle(hello.Server(("127.0.0.1", 0), ticker.Ticker), left)
    assert ("Traceback" in capfd.readouterr().err) == (error is not None)


def test_the_server_of_lines_answers_and_keeps_several_clients_apart(examples: Any) -> None:
    lines = examples("lines")
    with lines.Server(("127.0.0.1", 0), lines.Lines) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            with socket.create_connection(server.server_address):  # a client that says nothing hinders no other one
                assert lines.ask(*server.server_address, "hello") == "HELLO"
        finally:
            server.shutdown()
            serving.join()
