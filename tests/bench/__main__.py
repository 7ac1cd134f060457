"""`make bench`: one run of everything, its table on standard output, its figures in build/bench.json.

It measures and tells; it does not fail when a goal is missed, since a busy machine would fail it too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from tests.bench.haproxy import haproxy
from tests.bench.idle import bytes_per_connection
from tests.bench.measure import Sample, Server, in_turn, sample
from tests.bench.neighbours import beside_senders, neighbour
from tests.bench.origin import SMALL
from tests.bench.processes import BenchError
from tests.bench.report import (
    PREVIEWS,
    Results,
    Rounds,
    Senders,
    against_as_markdown,
    as_json,
    as_markdown,
    previews_as_json,
    previews_as_markdown,
    rows_as_json,
    rows_as_markdown,
    senders_as_json,
    senders_as_markdown,
)
from tests.bench.weir import ASLEEP_HOST, CHECKOUT, MANY_HOSTS, WORST_HOST, Bench, with_previews, with_routes, with_weir
from tests.bench.workloads import AS_USERS_SEND, CONNECTIONS, HTTP2, ROWS, TCP, TLS, WORKLOADS
from tests.bench.wrk import Load
from tests.support.neighbour import ahead, others_give_way
from tests.support.senders import SENDERS

IDLE_CONNECTIONS = 8000
ROUTES = 10_000
MIN_DESCRIPTORS = 4000
"""Open files that are needed at least; some 20,000 are needed for all the idle connections."""
SENDER_ROUNDS = 3
"""At most, of each sender, where everything is measured: there are many of them."""
BUILD = CHECKOUT / "build"
_RECORD = re.compile(r"(<!-- bench: .*? -->\n).*?(<!-- end of bench -->)", re.DOTALL)


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    # Ending by SystemExit leaves through every `with` block, and so ends every process.
    signal.signal(signal.SIGTERM, _leave)
    try:
        _need("wrk", "haproxy", "nginx", "sed", "h2load", "redis-server", "redis-benchmark")
        if options.against:
            print(_against(options))
        elif options.rows:
            _publish_rows(_run_rows(options))
        elif options.senders:
            _publish_senders(_run_senders(options))
        elif options.previews:
            _publish_previews(_run_previews(options))
        else:
            _publish(_run(options), record=options.record)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each pair (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of each run of wrk (default 2)")
    parser.add_argument("--record", action="store_true", help="put the table into README.md too")
    parser.add_argument("--rows", type=_rows, metavar="NAMES", help=f"only these loads, with commas: {', '.join(ROWS)}")
    parser.add_argument("--senders", type=_senders, metavar="NAMES", help="only what these do to others, with commas, or all")
    parser.add_argument("--previews", action="store_true", help=f"only an app with {PREVIEWS} previews, and one without")
    parser.add_argument("--against", type=Path, metavar="DIR", help="only this Weir and that of another checkout, in turn")
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="with --senders: another checkout whose Weir to measure")
    options = parser.parse_args(argv)
    options.checkout = options.checkout.resolve()
    return options


def _senders(names: str) -> list[str]:
    return _chosen(names, SENDERS)


def _rows(names: str) -> list[str]:
    return _chosen(names, ROWS)


def _chosen(names: str, among: Iterable[str]) -> list[str]:
    chosen = list(among) if names == "all" else names.split(",")
    if unknown := set(chosen) - set(among):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {', '.join(among)}")
    return chosen


def _publish_rows(rows: dict[str, Rounds]) -> None:
    print(rows_as_markdown(rows))
    _keep("bench-rows.json", rows_as_json(rows))


def _publish_senders(senders: Senders) -> None:
    print(senders_as_markdown(senders))
    _keep("bench-senders.json", senders_as_json(senders))


def _publish_previews(rounds: dict[str, Rounds]) -> None:
    print("\n\n".join(previews_as_markdown(rounds)))
    _keep("bench-previews.json", previews_as_json(rounds))


def _keep(name: str, figures: dict[str, Any]) -> None:
    BUILD.mkdir(exist_ok=True)
    (BUILD / name).write_text(json.dumps(figures, indent=2) + "\n")


def _publish(results: Results, *, record: bool) -> None:
    table = as_markdown(results)
    print(table)
    _keep("bench.json", as_json(results))
    if record:
        readme = CHECKOUT / "README.md"
        readme.write_text(_RECORD.sub(lambda block: f"{block[1]}{table}{block[2]}", readme.read_text()))


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        installs = "wrk, haproxy, nginx, nghttp2-client and redis-server"
        raise BenchError(f"{', '.join(missing)} not found; `make bench` installs {installs}, or says how")


def _run(options: argparse.Namespace) -> Results:
    descriptors = _raise_descriptors()
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        directory = _directory(stack)
        clients = min(9500, descriptors // 2 - 500)
        bench, beside = _start(stack, directory, clients, CHECKOUT)
        origin, weir = bench.origin, bench.weir
        trio, pair = (origin, beside, weir), (beside, weir)
        _warm_up(trio, directory)

        rows = _in_turn(trio, ["small"], options, directory)
        rows |= _in_turn(pair, AS_USERS_SEND, options, directory)
        rows |= _over_http2(bench, pair, list(HTTP2), options, directory)
        rows |= _in_turn(pair, list(TLS), options, directory)
        rows |= _over_tcp(bench, pair, list(TCP), options, directory)
        count = min(IDLE_CONNECTIONS, clients - 500)
        _say(f"idle connections: {count:,} each")
        idle = {server.name: bytes_per_connection(server, count) for server in pair}
        rows |= _in_turn(trio, ["body_1mib"], options, directory)
        with _undisturbed(origin, pair):
            _say(f"beside a flood of {count:,} connections: {options.rounds} rounds")
            beside_flood = {
                server.name: neighbour(server, flooded_host=ASLEEP_HOST, connections=count, rounds=options.rounds)
                for server in pair
            }
            senders = _beside_senders(pair, list(SENDERS), options)
        routes = _routes(origin, options, directory)
        previews = _previews(origin, options, directory)
    _say(f"done in {time.monotonic() - started:.0f} s")
    return Results(_machine(), rows, routes, idle, count, beside_flood, senders, previews)


def _run_rows(options: argparse.Namespace) -> dict[str, Rounds]:
    with contextlib.ExitStack() as stack:
        directory = _directory(stack)
        bench, beside = _start(stack, directory, 1000, CHECKOUT)
        pair = beside, bench.weir
        _warm_up(pair, directory)
        rows = _in_turn(pair, [name for name in options.rows if name in WORKLOADS or name in TLS], options, directory)
        rows |= _over_http2(bench, pair, [name for name in options.rows if name in HTTP2], options, directory)
        return rows | _over_tcp(bench, pair, [name for name in options.rows if name in TCP], options, directory)


def _over_http2(
    bench: Bench, pair: Sequence[Server], names: Sequence[str], options: argparse.Namespace, directory: Path
) -> dict[str, Rounds]:
    """Calls of gRPC go to the server itself, too."""
    measured: dict[str, Rounds] = {}
    for name in names:
        direct = (bench.grpc,) if name == "grpc" and bench.grpc is not None else ()
        measured |= _in_turn((*direct, *pair), [name], options, directory)
    return measured


def _over_tcp(
    bench: Bench, pair: Sequence[Server], names: Sequence[str], options: argparse.Namespace, directory: Path
) -> dict[str, Rounds]:
    """Commands go to Redis itself, too."""
    direct = () if bench.redis is None else (bench.redis,)
    return _in_turn((*direct, *pair), names, options, directory)


def _in_turn(servers: Sequence[Server], names: Sequence[str], options: argparse.Namespace, directory: Path) -> dict[str, Rounds]:
    """The rounds of some workloads, one workload after the other."""
    measured: dict[str, Rounds] = {}
    for name in names:
        workload = ROWS[name]
        _say(f"{workload.what}: {options.rounds} rounds")
        measured[name] = in_turn(servers, workload.lasting(options.seconds), options.rounds, directory)
    return measured


def _directory(stack: contextlib.ExitStack) -> Path:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weir-bench-")))
    directory.chmod(0o755)  # nginx's worker gives up root and must still read what it serves
    return directory


def _run_senders(options: argparse.Namespace) -> Senders:
    with contextlib.ExitStack() as stack:
        directory = _directory(stack)
        bench, beside = _start(stack, directory, 1000, options.checkout)
        pair = beside, bench.weir
        with _undisturbed(bench.origin, pair):
            return _beside_senders(pair, options.senders, options)


def _against(options: argparse.Namespace) -> str:
    """This checkout and another one, whose round each of this one follows."""
    with contextlib.ExitStack() as stack:
        directory = _directory(stack)
        _say(f"starting {options.against}, and this one")
        wanted = options.rows or ()
        more = {"grpc": "grpc" in wanted, "redis": any(name in TCP for name in wanted)}
        before, after = (
            replace(stack.enter_context(with_weir(directory / name, checkout=checkout, **more)).weir, name=name)
            for name, checkout in (("before", options.against.resolve()), ("after", CHECKOUT))
        )
        _warm_up((before, after), directory)
        return against_as_markdown(_in_turn((before, after), options.rows or list(WORKLOADS), options, directory))


def _start(stack: contextlib.ExitStack, directory: Path, clients: int, checkout: Path) -> tuple[Bench, Server]:
    _say("starting origin, weir and haproxy")
    own = checkout == CHECKOUT
    bench = stack.enter_context(with_weir(directory / "weir", checkout=checkout, grpc=own, redis=own))
    beside = haproxy(bench, directory / "haproxy", connections=clients)
    return bench, stack.enter_context(beside)


@contextlib.contextmanager
def _undisturbed(origin: Server, proxies: Sequence[Server]) -> Iterator[None]:
    """Nothing else that runs here delays the client that measures, the proxies or the origin."""
    others_give_way([server.pid for server in (origin, *proxies)])
    with ahead(os.getpid(), origin.pid) as permitted:
        if not permitted:
            _say("without real-time priority (root), percentiles beside a load may be a tick of the kernel too long")
        yield


def _beside_senders(servers: Sequence[Server], names: Sequence[str], options: argparse.Namespace) -> Senders:
    rounds = options.rounds if options.senders else min(SENDER_ROUNDS, options.rounds)
    return beside_senders(servers, names, host=WORST_HOST, rounds=rounds, say=_say)


def _warm_up(servers: Sequence[Server], directory: Path) -> None:
    for server in servers:
        sample(server, Load(SMALL, CONNECTIONS, 1), directory)


def _routes(origin: Server, options: argparse.Namespace, directory: Path) -> dict[str, list[Sample]]:
    _say(f"1 and {ROUTES:,} routes: {options.rounds} rounds")
    with (
        with_routes("one", 1, origin.port, directory / "one") as one,
        with_routes("many", ROUTES, origin.port, directory / "many") as many,
    ):
        _warm_up((one, many), directory)
        samples = in_turn((one, many), Load(SMALL, CONNECTIONS, options.seconds), options.rounds, directory)
        everywhere = Server("all_hosts", port=many.port, pid=many.pid, host=MANY_HOSTS)
        load = Load(SMALL, CONNECTIONS, options.seconds, hosts=ROUTES)
        return samples | {everywhere.name: [sample(everywhere, load, directory)]}


def _run_previews(options: argparse.Namespace) -> dict[str, Rounds]:
    with contextlib.ExitStack() as stack:
        directory = _directory(stack)
        bench, _ = _start(stack, directory, 1000, CHECKOUT)
        return _previews(bench.origin, options, directory)


def _previews(origin: Server, options: argparse.Namespace, directory: Path) -> dict[str, Rounds]:
    """An app that knows nothing of previews, and the same with many, round by round: what an app is asked for by tools, and by
    browsers, whose cookies are looked at."""
    with (
        with_previews("none", 0, origin.port, directory / "none") as none,
        with_previews("previews", PREVIEWS, origin.port, directory / "previews") as many,
    ):
        _warm_up((none, many), directory)
        return _in_turn((none, many), ["small", "browser"], options, directory)


def _raise_descriptors() -> int:
    """Raise the limit of open files for this process and all that it starts, as far as is allowed without asking."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if most == resource.RLIM_INFINITY else min(most, 65_536)
    if wanted < MIN_DESCRIPTORS:
        raise BenchError(f"only {wanted} open files are allowed here (ulimit -Hn); {MIN_DESCRIPTORS} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


def _machine() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = file.read().splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        if models:
            return f"{len(models)} × {models[0]}, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{platform.platform()}, Python {platform.python_version()}"


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
