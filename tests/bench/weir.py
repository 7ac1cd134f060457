"""Weir as its users start it: `weir up` with every feature on for the main figures, single components for large tables."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from fleet.discovery.files import write_backends, write_members, write_routes
from fleet.discovery.sources import Backend, Member
from fleet.routing.previews import HOST_PATTERNS, Copy, Previews
from fleet.routing.route import Route, Rule, Scaling, Target
from fleet.routing.table import RoutingTable
from tests.bench import origin
from tests.bench.measure import Server
from tests.bench.processes import BenchError, answers, free_ports, running, wait_until
from tests.support.certificates import Authority

__all__ = [
    "ASLEEP_HOST",
    "CHECKOUT",
    "GRPC_HOST",
    "HOST",
    "MANY_HOSTS",
    "WORST_HOST",
    "Bench",
    "with_previews",
    "with_routes",
    "with_weir",
]

CHECKOUT = Path(__file__).parents[2]

HOST = "app.bench.localhost"
"""Host of the one app that answers."""
ASLEEP_HOST = "asleep.bench.localhost"
"""Host of an app that never comes up."""
WORST_HOST = "worst.bench.localhost"
"""Host of the app that the worst senders talk to, and that answers as badly."""
GRPC_HOST = "grpc.bench.localhost"
"""Host of a gRPC server."""
MANY_HOSTS = "app-%05d.bench.localhost"
"""Hosts of a large table, as a format for their numbers. The one app is among them."""

_APP = "bench/origin"
_WORST_APP = "bench/worst"
_GRPC_APP = "bench/grpc"
_REDIS_APP = "bench/redis"
_REDIS = "exec redis-server --bind 127.0.0.1 --port $PORT --save '' --appendonly no"
_RPC = CHECKOUT / "tests" / "system" / "apps" / "rpc.py"
_WEIR = str(Path(sys.executable).with_name("weir"))
_ALWAYS_UP = {"min": 1, "target": 1000, "readiness": {"path": origin.SMALL}}
_DURATION = 1800
"""Seconds after which Weir ends by itself, should the benchmark be killed: several times its own length."""


@dataclass(frozen=True)
class Bench:
    """What runs behind `weir up`, and its interceptor."""

    origin: Server
    weir: Server
    worst_port: int
    """Of the senders' backend."""
    grpc: Server | None = None
    """The gRPC server itself, where there is one."""
    certificate: tuple[Path, ...] = ()
    """The files of the proxies' certificate and of its key."""
    redis: Server | None = None
    """The Redis server itself, where there is one."""


@contextlib.contextmanager
def with_weir(directory: Path, *, checkout: Path = CHECKOUT, grpc: bool = False, redis: bool = False) -> Iterator[Bench]:
    """`weir up`, every component a process of its own, with the origin as its app; with `grpc` a gRPC server as well, and with
    `redis` a Redis server at a TCP port."""
    origin.prepare(directory / "origin")
    port, tls_port, tcp_port = free_ports(3)
    (directory / "tls").mkdir()
    certificate = Authority().write(directory / "tls", "tls", HOST)
    file, state, log = directory / "weir.yaml", directory / "state", directory / "weir.log"
    file.write_text(
        _document(
            origin.command(directory / "origin"), _tls(directory / "tls", tls_port), grpc=grpc, redis_at=tcp_port if redis else 0
        )
    )
    # Its components are what the directory that it runs in has; as a module of there it is that too.
    python = sys.executable if checkout == CHECKOUT else str(checkout / ".venv/bin/python")
    command = [python, "-m", "weir", "up", str(file), "--processes", "--no-ui", "--duration", str(_DURATION)]
    command += ["--port", str(port), "--state-dir", str(state)]
    with running("weir", command, log=log, cwd=checkout) as process:
        wait_until(
            lambda: "ready" in log.read_text().split("\n") and answers(port, origin.SMALL, HOST), "weir", process=process, log=log
        )
        wait_until(lambda: answers(port, origin.SMALL, WORST_HOST), "weir", process=process, log=log)
        worker = origin.worker_pid(process.pid)
        if grpc:
            wait_until(lambda: _backends(state, _GRPC_APP) != [], "grpc", process=process, log=log)
        direct = _grpc_server(process.pid, _backend_port(state, _GRPC_APP)) if grpc else None
        if redis:
            wait_until(lambda: _backends(state, _REDIS_APP) != [], "redis", process=process, log=log)
        yield Bench(
            Server("origin", port=_backend_port(state, _APP), pid=worker, host=HOST),
            Server(
                "weir",
                port=port,
                pid=_interceptor_pid(state),
                host=HOST,
                grpc_host=GRPC_HOST,
                tls_port=tls_port,
                tcp_port=tcp_port,
            ),
            _backend_port(state, _WORST_APP),
            direct,
            certificate,
            _redis_server(process.pid, _backend_port(state, _REDIS_APP)) if redis else None,
        )


def _grpc_server(ancestor: int, port: int) -> Server:
    found = [child for child in psutil.Process(ancestor).children(recursive=True) if str(_RPC) in child.cmdline()]
    pids = [child.pid for child in found if not child.children()]
    if len(pids) != 1:
        raise BenchError(f"grpc: {len(pids)} servers where one was started")
    return Server("direct", port=port, pid=pids[0], host=GRPC_HOST, grpc_host=GRPC_HOST)


def _redis_server(ancestor: int, port: int) -> Server:
    pids = [child.pid for child in psutil.Process(ancestor).children(recursive=True) if child.name() == "redis-server"]
    if len(pids) != 1:
        raise BenchError(f"redis: {len(pids)} servers where one was started")
    return Server("direct", port=port, pid=pids[0], host=HOST, tcp_port=port)


def _tls(certificates: Path, port: int) -> dict[str, Any]:
    """The part of the file of apps by which the proxy speaks TLS as HAProxy does beside it: one version, and one curve."""
    settings = {"proxy_tls_directories": str(certificates), "tls_min_version": "1.3", "tls_curves": "X25519"}
    return {"interceptor": settings, "ports": {"proxy_tls": port}}


def _document(command: str, tls: dict[str, Any], *, grpc: bool, redis_at: int) -> str:
    server = (
        _app(_GRPC_APP, GRPC_HOST, f'exec "{sys.executable}" "{_RPC}"') | _ALWAYS_UP | {"app_protocol": "grpc", "readiness": {}}
    )
    return yaml.safe_dump(
        tls
        | {
            "apps": [
                *([server] if grpc else []),
                *([_redis_app(redis_at)] if redis_at else []),
                _app(_APP, HOST, command) | _ALWAYS_UP,
                _app("bench/asleep", ASLEEP_HOST, "exec sleep 900"),
                _app(_WORST_APP, WORST_HOST, f'exec "{sys.executable}" -m tests.support.senders backend $PORT daemon')
                | _ALWAYS_UP
                | {"cwd": str(CHECKOUT)},
            ]
        }
    )


def _redis_app(port: int) -> dict[str, Any]:
    namespace, name = _REDIS_APP.split("/")
    return {"name": name, "namespace": namespace, "command": _REDIS, "min": 1, "max": 1, "ports": [{"port": port}]}


def _app(app: str, host: str, command: str) -> dict[str, Any]:
    namespace, name = app.split("/")
    return {"name": name, "namespace": namespace, "hosts": [host], "command": command, "max": 1}


def _backend_port(state: Path, app: str) -> int:
    (backend,) = _backends(state, app)
    return int(backend["port"])


def _backends(state: Path, app: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((state / "backends.json").read_bytes())["backends"].get(app, [])
    return found


def _interceptor_pid(state: Path) -> int:
    components = json.loads((state / "components.json").read_bytes())
    pids = [int(component["pid"]) for component in components if component["kind"] == "interceptor"]
    if len(pids) != 1:
        raise BenchError(f"weir: {len(pids)} interceptors in components.json where one was asked for")
    return pids[0]


@contextlib.contextmanager
def with_routes(name: str, count: int, origin_port: int, directory: Path) -> Iterator[Server]:
    """An interceptor that serves `count` routes, watched by a scaler. All routes lead to the same origin."""
    with _with_table(name, _table(count), MANY_HOSTS % (count // 2), origin_port, directory) as server:
        yield server


@contextlib.contextmanager
def with_previews(name: str, count: int, origin_port: int, directory: Path) -> Iterator[Server]:
    """The same with one app, which has `count` previews; 0 is an app that knows nothing of them. Requests are for the app."""
    with _with_table(name, _previewed(count), HOST, origin_port, directory) as server:
        yield server


@contextlib.contextmanager
def _with_table(name: str, table: RoutingTable, host: str, origin_port: int, directory: Path) -> Iterator[Server]:
    directory.mkdir(parents=True)
    proxy, rpc, diagnostics, scaler, scaler_diagnostics = free_ports(5)
    write_routes(directory / "routes.json", table)
    write_backends(directory / "backends.json", {_APP: (Backend("127.0.0.1", origin_port),)})
    write_members(directory / "members.json", (Member("bench", f"127.0.0.1:{rpc}"),))
    routes = f"file:{directory}/routes.json"
    interceptor_flags: list[str | int] = [
        "--proxy-port",
        proxy,
        "--rpc-port",
        rpc,
        "--diagnostics-port",
        diagnostics,
        "--member-name",
        "bench",
    ]
    interceptor_flags += ["--routes", routes, "--backends", f"file:{directory}/backends.json"]
    scaler_flags: list[str | int] = ["--port", scaler, "--diagnostics-port", scaler_diagnostics]
    scaler_flags += ["--routes", routes, "--members", f"file:{directory}/members.json"]
    log = directory / "interceptor.log"
    with running(name, _component("interceptor", interceptor_flags), log=log) as process:
        wait_until(lambda: answers(proxy, origin.SMALL, host), name, process=process, log=log)
        scaler_log = directory / "scaler.log"
        with running("scaler", _component("scaler", scaler_flags), log=scaler_log) as watcher:
            ready = "/readyz"
            wait_until(
                lambda: answers(scaler_diagnostics, ready, "localhost"), f"{name}: scaler", process=watcher, log=scaler_log
            )
            yield Server(name, port=proxy, pid=process.pid, host=host)


def _component(kind: str, flags: Sequence[str | int]) -> list[str]:
    return [_WEIR, kind, "--host", "127.0.0.1", *(str(flag) for flag in flags)]


def _previewed(count: int) -> RoutingTable:
    """Every way of choosing one is on, so that a request is looked at for all of them."""
    names = [f"feature-{number:04d}" for number in range(count)]
    copies = tuple(Copy(name, f"{_APP}--{name}", Target(service=f"{_APP}--{name}")) for name in names)
    previews = Previews(baggage="preview", cookie="preview", hosts=HOST_PATTERNS, copies=copies) if count else None
    target, rules = Target(service=_APP), (Rule(hosts=(HOST,)),)
    return RoutingTable([Route(app=_APP, target=target, rules=rules, scaling=Scaling(concurrency=1000), previews=previews)])


def _table(count: int) -> RoutingTable:
    return RoutingTable(
        Route(
            app=f"bench/app-{number:05d}",
            target=Target(service=_APP),
            rules=(Rule(hosts=(MANY_HOSTS % number,)),),
            scaling=Scaling(concurrency=1000),
        )
        for number in range(count)
    )
