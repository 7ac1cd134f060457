"""`weir explain`: which app a request would reach, step by step, in a file's table or a running interceptor's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from grpc import aio

from fleet.routing.codec import CodecError, decode_json, decode_yaml
from fleet.routing.instead import instead
from fleet.routing.match import METHOD, explain
from fleet.routing.table import RouteError, RoutingTable
from fleet.runtime.address import AddressError
from fleet.runtime.terminal import complain, say
from fleet.runtime.tls import TlsError
from protos.weir.interceptor.v1 import routing_pb2 as pb
from protos.weir.interceptor.v1.routing_pb2_grpc import RoutingServiceStub
from weir.dial import Dial, Tls, dial
from weir.engine.specfile import SpecError, parse_spec
from weir.running import rpc_addresses

__all__ = ["run_explain"]

EXIT_NO_ROUTE = 1
EXIT_NO_TABLE = 3
CALL_TIMEOUT = 5.0
"""Seconds for an interceptor to send its table."""
MAX_TABLE_BYTES = 64 * 1024 * 1024
"""gRPC's own default of 4 MiB would be too small for ten thousand routes."""


class _NoTableError(Exception):
    """There is no table to explain. The lines say why."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def run_explain(
    host: str, path: str | None, headers: Sequence[str], *, method: str, file: Path | None, address: str | None, tls: Tls
) -> int:
    """Print the steps and the result; gives the exit code. Without an address, one of a `weir up` that runs is asked."""
    try:
        host, path = _asked(host, path)
        pairs = [_header(header) for header in headers]
        table = _from_file(file) if file else asyncio.run(_from_interceptor(address or rpc_addresses()[0], dial(tls)))
    except (_NoTableError, TlsError) as error:
        for line in error.lines if isinstance(error, _NoTableError) else [str(error)]:
            complain(line)
        return EXIT_NO_TABLE
    request = (os.fsencode(host), os.fsencode(path.partition("?")[0]), [*pairs, (METHOD, os.fsencode(method))])
    explanation = explain(table, *request)
    route = explanation.route
    for step in (*explanation.steps, *(instead(route, *request) if route else ())):
        say(step)
    say(f"-> {route.app}" if route else "-> no route (404)")
    return 0 if route else EXIT_NO_ROUTE


def _asked(host: str, path: str | None) -> tuple[str, str]:
    """Host and path, of which a pasted URL has both."""
    if "://" not in host:
        return host, path or "/"
    if path is not None:
        raise _NoTableError("a URL has its path already: leave out the second one")
    try:
        url = urlsplit(host)
    except ValueError as error:
        raise _NoTableError(f"{host!r} is not a URL: {error}") from error
    if url.scheme not in ("http", "https", "ws", "wss") or not url.netloc:
        raise _NoTableError(f"{host!r} is not a URL of an app, like http://web.localhost:8080/path")
    return url.netloc.rpartition("@")[2], url.path or "/"


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
    """A file for `weir up`, and not a routing table."""
    try:
        value = yaml.safe_load(data)
    except yaml.YAMLError:
        return True  # whose errors have lines
    return isinstance(value, dict) and "apps" in value


def _opened(address: str, reach: Dial) -> aio.Channel:
    try:
        return reach.open(address, [("grpc.max_receive_message_length", MAX_TABLE_BYTES)])
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
