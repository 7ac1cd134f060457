"""What docs/previews.md says that an application has to do, run for each framework: it passes the header on, and nothing else.

Express and Flask are fakes with the few calls that the examples make.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

pytestmark = pytest.mark.timeout(600)

DOCUMENT = Path(__file__).parents[2] / "docs" / "previews.md"
NEXT = "http://api.example.com/"
"""The next service of the examples."""
KEY = "uber-ctx-key"
PATIENCE = 300
"""Seconds for a program, which is compiled first."""

Headers = Mapping[str, str]
Snippet = tuple[str, str]


def snippets() -> dict[str, Snippet]:
    """Language and text by framework."""
    section = DOCUMENT.read_text().partition("\n## What an application has to do\n")[2].partition("\n## ")[0]
    found = re.findall(r"^(\w+)[^\n]*:\n```(\w+)\n(.*?)```", section, re.DOTALL | re.MULTILINE)
    assert len(found) == section.count("```") / 2
    return {framework: (language, text) for framework, language, text in found}


class Next:
    """The next service: keeps the headers of its requests, in lower case."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[dict[str, str]] = []


@pytest.fixture
def following() -> Iterator[Next]:
    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        service = Next(f"http://127.0.0.1:{server.server_port}/")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield service
        server.shutdown()
        thread.join()


def by_fastapi(text: str, headers: Headers, _: Path) -> None:
    async def ask() -> None:
        app = FastAPI()
        async with httpx.AsyncClient(trust_env=False) as client:
            exec(text, {"app": app, "Request": Request, "client": client})  # noqa: S102  it is ours
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://web.example.com") as browser:
                assert (await browser.get("/", headers=headers)).json() == {}

    asyncio.run(ask())


def by_flask(text: str, headers: Headers, _: Path) -> None:
    requests = pytest.importorskip("requests", reason="requests is not installed")
    views: dict[str, Callable[[], str]] = {}

    def get(path: str) -> Callable[[Callable[[], str]], None]:
        return lambda view: views.update({path: view})

    # Names of headers are as the environment of WSGI leaves them.
    request = SimpleNamespace(headers=[(name.title(), value) for name, value in headers.items()])
    given: dict[str, Any] = {"app": SimpleNamespace(get=get), "request": request, "requests": requests}
    exec(text, given)  # noqa: S102  it is ours
    assert views["/"]() == "{}"


def by_express(text: str, headers: Headers, directory: Path) -> None:
    node = _program("node")
    lower = {name.lower(): value for name, value in headers.items()}
    program = directory / "express.mjs"
    program.write_text(
        "const views = {}\n"
        "const app = { get: (path, view) => { views[path] = view } }\n"
        f"{text}\n"
        f"const headers = {lower!r}\n"
        "let sent\n"
        "await views['/']({ get: (name) => headers[name.toLowerCase()] }, { send: (body) => { sent = body } })\n"
        "if (sent !== '{}') process.exit(1)\n"
    )
    _run([node, str(program)], directory)


def by_go(text: str, headers: Headers, directory: Path) -> None:
    go = _program("go")
    set_all = "".join(f'\tr.Header.Set("{name}", "{value}")\n' for name, value in headers.items())
    program = directory / "main.go"
    program.write_text(
        'package main\n\nimport (\n\t"net/http"\n\t"net/http/httptest"\n)\n\n'
        f"func view(r *http.Request) *http.Request {{\n{text}\treturn call\n}}\n\n"
        f'func main() {{\n\tr := httptest.NewRequest("GET", "http://web.example.com/", nil)\n{set_all}'
        "\tif _, err := http.DefaultClient.Do(view(r)); err != nil {\n\t\tpanic(err)\n\t}\n}\n"
    )
    _run([go, "vet", str(program)], directory)
    _run([go, "run", str(program)], directory)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _run(command: list[str], directory: Path) -> None:
    own = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "", "NO_PROXY": "*"}
    ended = subprocess.run(
        command, cwd=directory, env={**os.environ, **own}, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


RUNNERS = {"FastAPI": by_fastapi, "Flask": by_flask, "Express": by_express, "Go": by_go}


def test_each_framework_of_the_document_is_run() -> None:
    assert {framework: language for framework, (language, _) in snippets().items()} == {
        "FastAPI": "python",
        "Flask": "python",
        "Express": "javascript",
        "Go": "go",
    }
    assert set(snippets()) == set(RUNNERS)


@pytest.mark.parametrize("framework", RUNNERS)
def test_the_header_is_passed_on_and_no_other_one(framework: str, following: Next, tmp_path: Path) -> None:
    text = snippets()[framework][1]
    assert text.count(NEXT) == 1
    text = text.replace(NEXT, following.url)
    for headers in ({KEY: "f1", "X-Other": "a", "Cookie": "b=c"}, {"X-Other": "a", "Cookie": "b=c"}):
        RUNNERS[framework](text, headers, tmp_path)
        asked = following.asked.pop()
        assert not following.asked
        assert (asked.get(KEY), asked.get("x-other"), asked.get("cookie")) == (headers.get(KEY), None, None)
