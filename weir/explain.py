"""`weir explain`: which app a request would reach, step by step, from the table in a file or in a running interceptor."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import yaml
from grpc import aio

from fleet.defaults import PORT_LIMIT, PROXY_PORT
from fleet.routing.codec import CodecError, decode_json, decode_yaml
from fleet.routing.dependencies import words_of
from fleet.routing.explanation import Explanation, explain
from fleet.routing.host import normal_host
from fleet.routing.local_answers import local_answers
from fleet.routing.match import METHOD, Headers
from fleet.routing.nearest import nearest
from fleet.routing.port import TCP, TRANSPORTS
from fleet.routing.port_index import PortKey
from fleet.routing.route import Route
from fleet.routing.table import RouteError, RoutingTable
from fleet.routing.treatment_words import treatment
from fleet.runtime.address import AddressError
from fleet.runtime.rpc import MAX_SENT_BYTES
from fleet.runtime.terminal import complain, say
from fleet.runtime.tls import TlsError
from interceptor.http1.fields import host_is_valid
from protos.weir.interceptor.v1 import routing_pb2 as pb
from protos.weir.interceptor.v1.routing_pb2_grpc import RoutingServiceStub
from weir.dial import CALL_TIMEOUT, Dial, Tls, dial
from weir.engine.specfile import SpecError, parse_spec
from weir.running import DEFAULT_RPC_ADDRESS, engines, proxy_ports, rpc_addresses

__all__ = ["Source", "run_explain"]

EXIT_NO_ROUTE = 1
EXIT_NO_TABLE = 3

LIST = "weir up lists its apps there, unless list_apps is off"
_LISTED = (b"localhost", b"127.0.0.1", b"::1")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URL_MARKS = re.compile(r"[/?#]")
"""Characters that end the host in a URL and cannot be part of a host."""


class _NoTableError(Exception):
    """There is no table to explain. The lines say why."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Source:
    """Where the tables come from: a file, an address, or, without either, the running `weir up` (those that run the file `of`,
    if given)."""

    file: Path | None = None
    address: str | None = None
    of: Path | None = None
    tls: Tls = field(default_factory=Tls)


def run_explain(host: str, path: str | None, headers: Sequence[str], *, method: str, source: Source) -> int:
    """Print the steps and the result; returns the exit code."""
    try:
        port = _port(host)
        host, path = _asked(host, path)
        pairs = [_header(header) for header in headers]
        tables = asyncio.run(_tables(source, port))
        if port is not None and any(_keys(table, port) for table in tables.values()):
            return _explain_port(source, tables, port, os.fsencode(host))
        request = (os.fsencode(host), os.fsencode(path.partition("?")[0]), [*pairs, (METHOD, os.fsencode(method))])
        file, explanation = _meant({file: explain(table, *request) for file, table in tables.items()})
    except (_NoTableError, TlsError) as error:
        for line in error.lines if isinstance(error, _NoTableError) else [str(error)]:
            complain(line)
        return EXIT_NO_TABLE
    route = explanation.route
    more = _about(route, tables[file], request) if route else nearest(tables[file], request[0])
    more = (*more, *(_now(source, file, route) if route else [] if not _has_list(source, *request) else [LIST]))
    for step in (*explanation.steps, *more):
        say(step)
    say(f"-> {route.app}" if route else "-> no route (404)")
    return 0 if route else EXIT_NO_ROUTE


def _keys(table: RoutingTable, port: int) -> Sequence[PortKey]:
    return [key for protocol in TRANSPORTS if (key := PortKey(protocol, port)) in table.ports]


def _explain_port(source: Source, tables: Mapping[str, RoutingTable], port: int, host: bytes) -> int:
    """Print whose port it is; returns the exit code. Raises _NoTableError if it is in the files of several `weir up`."""
    having = [file for file, table in tables.items() if _keys(table, port)]
    if len(having) > 1:
        raise _NoTableError(f"several weir up have port {port}: --of FILE says which, {', '.join(having)}")
    table, found = tables[having[0]], []
    for key in _keys(table, port):
        routes = table.ports[key]
        name = normal_host(host).decode(errors="replace")
        owner = routes.find("" if _is_address(name) else name)
        if routes.alone is None:
            say(
                f"{key} is shared: the server name that clients ask for by TLS (SNI) decides, and the protocols they offer (ALPN)"
            )
            for each in dict.fromkeys((each.app, each.port.place) for each in routes):
                say(f"{each[1]}: {each[0]}")
        else:
            say(f"{key} takes {'connections' if key.protocol == TCP else 'flows'}, not requests: no host and no path matters")
        if owner is not None:
            found.append(owner)
            route = table.apps[owner.app]
            for step in (*words_of(table.dependencies, owner.app), *_now(source, having[0], route)):
                say(step)
        say(f"-> {owner.app}" if owner else "-> no app takes clients without one of these names and protocols")
    return 0 if found else EXIT_NO_ROUTE


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return False


def _about(route: Route, table: RoutingTable, request: tuple[bytes, bytes, Headers]) -> tuple[str, ...]:
    """What happens to a request of this route, and which apps it wakes."""
    return (*local_answers(route, *request), *treatment(route, *request), *words_of(table.dependencies, route.app))


def _now(source: Source, file: str, route: Route) -> Iterator[str]:
    """What the `weir up` that runs the file says of the app: why it has no replica, and which dependencies its wakes suggest.
    Nothing of a table from elsewhere."""
    if source.file or source.address or not file:
        return
    # Only a running weir up needs it, and it loads an HTTP client.
    from weir.local import EngineError, ask_engine  # noqa: PLC0415

    for engine in engines(Path(file)):
        try:
            apps = ask_engine(engine, "ps")["apps"]
        except EngineError as error:
            yield f"how the app is now is not known: {error}"
            continue
        for app in apps:
            if app["app"] == route.app:
                if app.get("trouble"):
                    yield f"has trouble now: {app['trouble']}"
                if app.get("suggestion"):
                    yield f"suggested: {app['suggestion']}"


async def _tables(source: Source, port: int | None) -> Mapping[str, RoutingTable]:
    """Routing tables by the file that a `weir up` runs, or by "" for a given file or address."""
    if source.file:
        return {"": _from_file(source.file)}
    reach = dial(source.tls)
    if source.address:
        return {"": await _from_interceptor(source.address, reach)}
    asked = engines(source.of)
    if source.of and not asked:
        raise _NoTableError(f"no weir up runs {source.of}")
    if not asked:
        try:
            return {"": await _from_interceptor(DEFAULT_RPC_ADDRESS, reach)}
        except _NoTableError as error:
            raise _NoTableError("no weir up runs here: --file FILE explains a file of apps", *error.lines) from error
    there = [engine for engine in asked if port in proxy_ports(engine)] or asked
    addresses = [(engine.file, rpc_addresses(engine)) for engine in there]
    found = {file: await _from_interceptor(address[0], reach) for file, address in addresses if address}
    if not found:
        raise _NoTableError("no interceptor of weir up serves yet")
    return found


def _meant(explanations: Mapping[str, Explanation]) -> tuple[str, Explanation]:
    """The only explanation, or the only one that found a route."""
    routed = [(file, explanation) for file, explanation in explanations.items() if explanation.route] or [*explanations.items()]
    if len(routed) > 1 and routed[0][1].route:
        raise _NoTableError(
            f"several weir up have a route for that: --of FILE says which, {', '.join(file for file, _ in routed)}"
        )
    return routed[0]


def _has_list(source: Source, host: bytes, path: bytes, _headers: object) -> bool:
    """Whether a `weir up` answers this path with its list of apps."""
    return not source.address and path == b"/" and normal_host(host) in _LISTED


def _port(typed: str) -> int | None:
    """The port in a URL or host, if it has one."""
    try:
        return _split(typed).port
    except ValueError:
        return None


def _split(typed: str) -> SplitResult:
    """The parts of a URL; the scheme may be left out. Raises ValueError."""
    return urlsplit(typed if typed.startswith("//") or _SCHEME.match(typed) else f"//{typed}")


def _asked(typed: str, path: str | None) -> tuple[str, str]:
    """Host and path. A pasted URL contains both, with or without a scheme."""
    if not _URL_MARKS.search(typed):
        return _host(typed), path or "/"
    if path is not None:
        raise _NoTableError("a URL has its path already: leave out the second one")
    try:
        url = _split(typed)
    except ValueError as error:
        raise _NoTableError(f"{typed!r} is not a URL: {error}") from error
    if url.scheme not in ("", "http", "https", "ws", "wss") or not url.netloc:
        raise _NoTableError(f"{typed!r} is not a URL of an app, like http://web.localhost:{PROXY_PORT}/path")
    return _host(url.netloc.rpartition("@")[2]), url.path or "/"


def _host(typed: str) -> str:
    """The Host field of the request; for an IPv6 address typed without brackets, with brackets."""
    if _is_ipv6(typed):
        return typed
    if not typed.isascii():
        raise _NoTableError(f"{typed!r} is not a host: it is not ASCII; write the form with xn-- that clients send")
    if not host_is_valid(typed.encode()):
        raise _NoTableError(f"{typed!r} is not a host, like web.localhost or web.localhost:{PROXY_PORT}")
    try:
        _ = urlsplit(f"//{typed}").port
    except ValueError as error:
        raise _NoTableError(f"{typed!r} is not a host: its port is not from 0 to {PORT_LIMIT}") from error
    return typed


def _is_ipv6(typed: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(typed))
    except ValueError:
        return False


def _header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise _NoTableError(f"{text!r} is not a header: write name:value")
    return os.fsencode(name.strip().lower()), os.fsencode(value.strip())


def _from_file(path: Path) -> RoutingTable:
    try:
        data = path.read_bytes()
        if path.suffix not in (".yaml", ".yml"):
            return decode_json(data)
        if _is_apps(data):
            return parse_spec(data.decode(), path).table
        return decode_yaml(data)
    except OSError as error:
        raise _NoTableError(f"{path}: {error.strerror or error}") from error
    except (CodecError, RouteError, UnicodeDecodeError) as error:
        raise _NoTableError(f"{path}: {error}") from error
    except SpecError as error:
        raise _NoTableError(*error.lines) from error


def _is_apps(data: bytes) -> bool:
    """Whether it is a file of apps and not a routing table."""
    try:
        value = yaml.safe_load(data)
    except yaml.YAMLError:
        return True  # reported as a file of apps, because its errors name lines
    return isinstance(value, dict) and "apps" in value


def _opened(address: str, reach: Dial) -> aio.Channel:
    try:
        return reach.open(address, [("grpc.max_receive_message_length", MAX_SENT_BYTES)])
    except AddressError as error:
        raise _NoTableError(f"--address: {error}") from error


async def _from_interceptor(address: str, reach: Dial) -> RoutingTable:
    async with _opened(address, reach) as channel:
        try:
            answer = await RoutingServiceStub(channel).GetRoutingTable(pb.GetRoutingTableRequest(), timeout=CALL_TIMEOUT)
        except aio.AioRpcError as error:
            raise _NoTableError(f"{address}: {reach.problem(error)}") from error
    if not answer.version:
        raise _NoTableError(f"{address}: {answer.member} has not read a routing table yet")
    return decode_json(answer.table_json.encode())
