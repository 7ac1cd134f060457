"""The clients for browsers, grpc-web and connect-web, in a headless Chromium, with an interceptor before their servers.

Beside each way through the interceptor there is the direct one, where the server speaks the client's protocol itself. Pages and
servers have different origins but for one way, so that every call needs the interceptor's answers about CORS. Calls come over
HTTP/1.1, and by https over HTTP/2. What the cases are: `npm/cases.js`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import threading
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fleet.discovery.fixed import FixedBackends, FixedRoutes
from fleet.discovery.sources import Backend
from fleet.routing.cors import Cors
from fleet.routing.route import Rewrite, Route, Rule, Target
from fleet.routing.table import RoutingTable
from interceptor.app.cors import READ, SENT
from interceptor.server import Interceptor
from tests.conformance.bundle import DESCRIPTORS, SITE, build, missing
from tests.conformance.server import PORT, PROTOCOL, VERSION, receive, send
from tests.conformance.service import LARGEST_MESSAGE, Service, serving
from tests.support.browser import CHROMIUM, open_page
from tests.support.certificates import Authority
from tests.support.loopback import loopback_settings
from tests.support.waiting import until

__all__ = ["browsers"]

PAGE, GRPC, CONNECT, CLOSED = "page.localhost", "grpc.localhost", "connect.localhost", "closed.localhost"
HOSTS = (PAGE, GRPC, CONNECT, CLOSED)
METADATA = ("x-ascii", "x-binary-bin")
CUSTOM = tuple(f"{kind}{suffix}" for kind in ("x-custom-header", "x-custom-trailer") for suffix in ("", "-bin"))
"""Names of metadata that the cases use. Trailers of unary calls of Connect are fields of the head with a prefix."""
MESSAGE_LIMIT = 6
"""A field of a ServerCompatRequest."""
CONNECT_PROTOCOL, HTTP1 = 1, 1
CLOSED_APP = "default/closed"
ANOTHER = "https://another.test"
"""The only origin that may use it."""
PATIENCE = 600.0
"""Seconds for all cases on one page, which take half a minute."""
END_SECONDS = 20.0
"""For everything to end after the last case."""
ENDED_EARLY = 3
"""Cases in each way whose calls do not run to their end: two deadlines and a cancellation."""

Way = dict[str, Any]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def pages() -> Iterator[int]:
    """The port of a server of the page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(SITE)))
    thread = threading.Thread(target=server.serve_forever, name="pages")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def reference_server(tool: Path) -> Iterator[int]:
    """The port of the suite's own server, which speaks Connect, gRPC and gRPC-Web over HTTP/1.1."""
    with subprocess.Popen([tool], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            send(process.stdin, {PROTOCOL: CONNECT_PROTOCOL, VERSION: HTTP1, MESSAGE_LIMIT: LARGEST_MESSAGE})
            port = receive(process.stdout)[PORT]
            assert isinstance(port, int)
            yield port
        finally:
            process.terminate()


def _routes(origins: Sequence[str]) -> list[Route]:
    """Pages of these origins may call the servers; but the one behind CLOSED only another."""
    exposed = (*READ, *CUSTOM, *(f"trailer-{name}" for name in CUSTOM))
    cors, closed = (
        Cors(tuple(allowed), allow_headers=(*SENT, *METADATA), expose_headers=exposed) for allowed in (origins, (ANOTHER,))
    )
    by_path = Rule(hosts=(PAGE,), paths=("/grpc",), rewrite=Rewrite("/"))
    return [
        Route(app="default/page", target=Target("default/page"), rules=(Rule(hosts=(PAGE,)),)),
        Route(app="default/grpc", target=Target("default/grpc"), rules=(Rule(hosts=(GRPC,)), by_path), cors=cors),
        Route(app="default/connect", target=Target("default/connect"), rules=(Rule(hosts=(CONNECT,)),), cors=cors),
        Route(app=CLOSED_APP, target=Target("default/grpc"), rules=(Rule(hosts=(CLOSED,)),), cors=closed),
    ]


@asynccontextmanager
async def interceptor_before(page: int, grpc: int, connect: int, directory: Path) -> AsyncIterator[Interceptor]:
    """An interceptor with all routes, on a port for plaintext and one for TLS."""
    cert, key = Authority().write(directory, "server", *HOSTS)
    settings = loopback_settings(proxy_tls_port=0, proxy_tls_cert=str(cert), proxy_tls_key=str(key))
    backends, routes = FixedBackends(), FixedRoutes(RoutingTable([]))
    for app, port, protocol in (("page", page, None), ("grpc", grpc, "grpc"), ("connect", connect, None)):
        backends.set(f"default/{app}", [Backend("127.0.0.1", port, protocol)])
    interceptor = Interceptor(settings, routes=routes, backends=backends)
    await interceptor.start()
    try:
        ports = (("http", interceptor.proxy_port), ("https", interceptor.proxy_tls_port))
        routes.set(RoutingTable(_routes([f"{scheme}://{PAGE}:{port}" for scheme, port in ports])))
        yield interceptor
    finally:
        await interceptor.close()


def _ways(scheme: str, port: int | None) -> list[Way]:
    """Through the interceptor. `incremental`: the library gives out each message of a stream when it has come."""

    def base(host: str) -> str:
        return f"{scheme}://{host}:{port}"

    text: Way = {"library": "grpc-web", "format": "text", "incremental": True}
    binary: Way = {"library": "grpc-web", "format": "binary", "incremental": False}
    web: Way = {"library": "connect-web", "protocol": "grpc-web", "incremental": True}
    connect: Way = {"library": "connect-web", "protocol": "connect", "incremental": True}
    return [
        {"name": "grpc-web, text, translated", "base": base(GRPC), **text},
        {"name": "grpc-web, binary, translated", "base": base(GRPC), **binary},
        {"name": "grpc-web, text, translated, below a path of the page's host", "base": f"{base(PAGE)}/grpc", **text},
        {"name": "connect-web with gRPC-Web, translated", "base": base(GRPC), **web},
        {"name": "connect-web with gRPC-Web, passed on", "base": base(CONNECT), **web},
        {"name": "grpc-web, binary, passed on", "base": base(CONNECT), **binary},
        {"name": "connect-web with Connect, passed on", "base": base(CONNECT), **connect},
        {"name": "a page that the route does not allow", "base": base(CLOSED), "foreign": True, **web},
    ]


def _directly(connect: int) -> list[Way]:
    """To the server that speaks these itself."""
    base = f"http://127.0.0.1:{connect}"
    return [
        {"name": "connect-web with gRPC-Web, directly", "base": base, "library": "connect-web", "incremental": True},
        {"name": "grpc-web, binary, directly", "base": base, "library": "grpc-web", "format": "binary", "incremental": False},
        {
            "name": "connect-web with Connect, directly",
            "base": base,
            "library": "connect-web",
            "protocol": "connect",
            "incremental": True,
        },
    ]


async def _run(url: str, ways: Sequence[Way]) -> tuple[list[dict[str, Any]], str]:
    """The results of all cases in each of these ways, on a page at this address, and the protocol by which the page has come."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        async with open_page(Path(home), "--ignore-certificate-errors") as page:
            await page.go(f"{url}/#{urllib.parse.quote(json.dumps(ways))}")
            async with asyncio.timeout(PATIENCE):
                while await page.title() != "done":  # noqa: ASYNC110 -- a page tells nobody
                    await asyncio.sleep(0.2)
            return await page.evaluate("window.results"), await page.evaluate("window.protocol")


def _report(results: Sequence[dict[str, Any]], scheme: str, say: Callable[[str], None]) -> bool:
    """Say what has passed in each way. Returns whether all has."""
    for way in dict.fromkeys(result["way"] for result in results):
        own = [result for result in results if result["way"] == way]
        failed = [result for result in own if result["error"] is not None]
        say(f"{way}, by {scheme}: {len(own) - len(failed)} of {len(own)} passed")
        for result in failed:
            say(f"  {result['case']}: {result['error']}")
    return bool(results) and not any(result["error"] for result in results)


async def browsers(tool: Path, say: Callable[[str], None]) -> bool:
    """Run everything, and say what has passed. `tool` is the suite's reference server."""
    lacking = [part for part in (missing(), "" if CHROMIUM else "chromium") if part]
    if lacking:
        say(f"missing for the clients of browsers: {', '.join(lacking)}")
        return False
    try:
        await asyncio.to_thread(build)
    except subprocess.SubprocessError as error:
        say(f"the page cannot be made: {error} {getattr(error, 'stderr', '')}")
        return False
    service = Service(DESCRIPTORS.read_bytes())
    passed = True
    with pages() as page, reference_server(tool) as connect, tempfile.TemporaryDirectory() as directory:
        async with serving(service) as grpc, interceptor_before(page, grpc, connect, Path(directory)) as interceptor:
            for scheme, port, wanted in (
                ("http", interceptor.proxy_port, "http/1.1"),
                ("https", interceptor.proxy_tls_port, "h2"),
            ):
                ways = _ways(scheme, port) + (_directly(connect) if scheme == "http" else [])
                before = service.cancelled
                results, protocol = await _run(f"{scheme}://{PAGE}:{port}", ways)
                passed &= _report(results, scheme, say)
                passed &= _check("the protocol of the page", protocol, wanted, say)
                translated = sum("translated" in way["name"] for way in ways)
                try:
                    await until(lambda: not service.calls and not interceptor.ledger.outstanding, seconds=END_SECONDS)
                except TimeoutError:
                    say(f"  after all there are still {service.calls} calls, and {interceptor.ledger.outstanding} leases")
                    passed = False
                early = ENDED_EARLY * translated
                passed &= _check("calls that ended early at the server", min(service.cancelled - before, early), early, say)
            refused = interceptor.proxy.apps[CLOSED_APP].stats.own["cors", 403]
            passed &= _check("preflights refused", refused > 0, True, say)
    return passed


def _check(what: str, found: object, wanted: object, say: Callable[[str], None]) -> bool:
    if found != wanted:
        say(f"  {what}: {found}, not {wanted}")
    return found == wanted
