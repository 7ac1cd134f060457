"""The figures of a benchmark as a Markdown table and as JSON. A figure is the median of its rounds; the spread is beside it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.measure import Sample
from tests.bench.neighbours import BesideSender, Neighbour
from tests.bench.workloads import ROWS
from tests.support.senders import SENDERS

__all__ = [
    "PREVIEWS",
    "Results",
    "Rounds",
    "Senders",
    "against_as_markdown",
    "as_json",
    "as_markdown",
    "previews_as_json",
    "previews_as_markdown",
    "rows_as_json",
    "rows_as_markdown",
    "senders_as_json",
    "senders_as_markdown",
]

PREVIEWS = 500
"""Of one app, in the table of an interceptor."""

Rounds = dict[str, list[Sample]]
Senders = dict[str, dict[str, BesideSender]]
"""By sender, then by server."""

_FIGURES = ("rps", "p50_ms", "p99_ms", "cpu_us", "rss_mb")


@dataclass(frozen=True)
class Results:
    """Everything that was measured: the rounds of each server, in order, so that a round's neighbours can be compared."""

    machine: str
    rows: dict[str, Rounds]
    """By workload. origin, haproxy, weir: 32-byte answers to a short head, and 1 MiB answers, so that a request is a MiB.
    haproxy, weir: what users send."""
    routes: Rounds
    """one, many: the same requests with 1 and with 10,000 routes; all_hosts: requests over all 10,000 hosts."""
    idle_bytes: dict[str, float]
    """haproxy, weir: for each idle client connection."""
    flood: int
    """Connections of the flood."""
    neighbours: dict[str, Neighbour]
    """haproxy, weir: an application's requests in quiet, and while another one is flooded."""
    senders: Senders
    """haproxy, weir: an application's requests in quiet, and beside each of the worst senders to another one."""
    previews: dict[str, Rounds]
    """By workload. none, previews: requests for an application, in a table without and with 500 previews of it."""


@dataclass(frozen=True)
class _Spread:
    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Spread:
        return cls(statistics.median(values), min(values), max(values))


def _figure(samples: Sequence[Sample], name: str) -> _Spread:
    return _Spread.of([getattr(sample, name) for sample in samples])


def _ratio(rounds: Rounds, above: str, below: str, name: str) -> _Spread:
    """Of each round by itself: neighbours in time had the same machine. A round too short to measure the divisor, such as the
    CPU of a fast proxy, is left out; NaN if all were."""
    pairs = [(getattr(one, name), getattr(other, name)) for one, other in zip(rounds[above], rounds[below], strict=True)]
    return _Spread.of([one / other for one, other in pairs if other] or [math.nan])


def as_json(results: Results) -> dict[str, Any]:
    """Medians, with the lowest and highest round of each under "spread"."""
    return {
        **rows_as_json(results.rows),
        "routes_10000": _servers(results.routes)
        | {"cpu_ratio": round(_ratio(results.routes, "many", "one", "cpu_us").middle, 3)},
        "previews": previews_as_json(results.previews),
        "idle_connection_kb": round(results.idle_bytes["weir"] / 1024, 2),
        "neighbour_p99_ms": {
            name: {"quiet": [round(one, 3) for one in quiet], "flooded": [round(one, 3) for one in flooded]}
            for name, (quiet, flooded) in results.neighbours.items()
        },
        "senders_p99_ms": senders_as_json(results.senders),
    }


def rows_as_json(rows: dict[str, Rounds]) -> dict[str, Any]:
    """The figures of each workload, and of all of them what Weir's CPU is of HAProxy's: pairs that ran one after the other."""
    ratios = {name: _ratio(rounds, "weir", "haproxy", "cpu_us") for name, rounds in rows.items()}
    return {name: _servers(rounds) for name, rounds in rows.items()} | {
        "cpu_ratio_to_haproxy": {
            name: {"median": round(ratio.middle, 3), "spread": [round(ratio.low, 3), round(ratio.high, 3)]}
            for name, ratio in ratios.items()
            if not math.isnan(ratio.middle)  # too short to measure; JSON has no word for it
        }
    }


def previews_as_json(previews: dict[str, Rounds]) -> dict[str, Any]:
    """The figures of each workload, and what CPU is with previews of what it is without."""
    return {
        name: _servers(rounds) | {"cpu_ratio": round(_ratio(rounds, "previews", "none", "cpu_us").middle, 3)}
        for name, rounds in previews.items()
    }


def senders_as_json(senders: Senders) -> dict[str, Any]:
    """Every window's percentile, the share of requests that were left out, and what the sender moved: one that was refused or
    starved proves little."""
    return {
        sender: {
            server: {
                "quiet": [round(ms, 3) for ms in measured.quiet.p99],
                "beside": [round(ms, 3) for ms in measured.beside.p99],
                "quiet_work": [round(ms, 3) for ms in measured.quiet.work],
                "beside_work": [round(ms, 3) for ms in measured.beside.work],
                "quiet_left_out": round(statistics.mean(measured.quiet.left_out), 4),
                "beside_left_out": round(statistics.mean(measured.beside.left_out), 4),
                "sent_mb_s": round(measured.moved.sent / measured.moved.seconds / 1e6, 3),
                "received_mb_s": round(measured.moved.received / measured.moved.seconds / 1e6, 3),
                "connections": measured.moved.opened,
                "first_answer": measured.moved.first,
            }
            for server, measured in servers.items()
        }
        for sender, servers in senders.items()
    }


def _servers(rounds: Rounds) -> dict[str, Any]:
    return {name: _server(samples) for name, samples in rounds.items()}


def _server(samples: Sequence[Sample]) -> dict[str, Any]:
    spreads = {name: _figure(samples, name) for name in _FIGURES}
    medians: dict[str, Any] = {name: round(spread.middle, 3) for name, spread in spreads.items()}
    return medians | {"spread": {name: [round(spread.low, 3), round(spread.high, 3)] for name, spread in spreads.items()}}


def as_markdown(results: Results) -> str:
    """Tables of each workload, many routes, a flood and the worst senders, and what Weir is held to."""
    rounds = len(results.rows["small"]["weir"])
    parts = [
        f"Measured on {results.machine}. Medians of {rounds} rounds in turn, lowest and highest in brackets, ratios of pairs.",
        rows_as_markdown(results.rows),
        _table(
            "Routes (one: 1, many: 10,000, all_hosts: requests over all of them)",
            results.routes,
            "requests/s",
            "CPU µs per request",
        ),
        *previews_as_markdown(results.previews),
        _neighbours(results),
        senders_as_markdown(results.senders),
        _goals(results),
    ]
    return "\n\n".join(parts) + "\n"


def rows_as_markdown(rows: dict[str, Rounds]) -> str:
    """A table for each workload, and where it has both proxies a line with their ratios."""
    titled = ((ROWS[name], rounds) for name, rounds in rows.items())
    return "\n\n".join(_table(one.what, rounds, one.rate, f"CPU µs per {one.unit}") for one, rounds in titled)


def previews_as_markdown(previews: dict[str, Rounds]) -> list[str]:
    """A table for each workload, with the ratio of its pairs."""
    parts = []
    for name, rounds in previews.items():
        one = ROWS[name]
        what = f"An app with {PREVIEWS} previews, and with none: {one.what}"
        ratios = (_ratio(rounds, "previews", "none", figure) for figure in _FIGURES)
        ratio = "| **previews / none** | " + " | ".join(f"**{_times(each)}**" for each in ratios) + " |"
        parts.append(f"{_table(what, rounds, one.rate, f'CPU µs per {one.unit}')}\n{ratio}")
    return parts


def against_as_markdown(rows: dict[str, Rounds]) -> str:
    """What another build costs, and this one: the middle ratio of neighbouring rounds, and the ratio of the best rounds."""
    lines = ["| | before: CPU µs | after | paired | best of each | requests/s, paired |", "|---|---|---|---|---|---|"]
    for name, rounds in rows.items():
        before, after = (_figure(rounds[build], "cpu_us") for build in ("before", "after"))
        paired = (_times(_ratio(rounds, "after", "before", figure)) for figure in ("cpu_us", "rps"))
        cpu, rate = paired
        best = f"{after.low / before.low:.3f} ×"
        lines.append(f"| {ROWS[name].what} | {_exact(before)} | {_exact(after)} | {cpu} | {best} | {rate} |")
    return "\n".join(lines)


def _table(title: str, rounds: Rounds, rate: str, cpu: str) -> str:
    lines = [f"| {title} | {rate} | p50 ms | p99 ms | {cpu} (user + system) | RSS MB |", "|---|---|---|---|---|---|"]
    lines += [_row(name, samples) for name, samples in rounds.items()]
    if "haproxy" in rounds:
        ratios = (_ratio(rounds, "weir", "haproxy", name) for name in _FIGURES)
        lines.append("| **weir / haproxy** | " + " | ".join(f"**{_times(ratio)}**" for ratio in ratios) + " |")
    return "\n".join(lines)


def _neighbours(results: Results) -> str:
    lines = [
        f"| One app's p99 ms while another has a flood of {results.flood:,} connections | quiet | flooded | |",
        "|---|---|---|---|",
    ]
    for name, (quiet, flooded) in results.neighbours.items():
        before, beside = _Spread.of(quiet), _Spread.of(flooded)
        lines.append(f"| {name} | {_exact(before)} | {_exact(beside)} | {beside.middle / before.middle:.1f} × |")
    return "\n".join(lines)


def senders_as_markdown(senders: Senders) -> str:
    """A row for each sender. Work is what the proxy did while a request waited; MB/s are the sender's, in both directions."""
    servers = list(next(iter(senders.values())))
    heading = "".join(f" {server}: quiet | beside | | work | MB/s |" for server in servers)
    lines = [f"| One app's p99 ms while another has |{heading}", "|---" * (1 + 5 * len(servers)) + "|"]
    for sender, measured in senders.items():
        cells = "".join(_beside(measured[server]) for server in servers)
        lines.append(f"| {SENDERS[sender].what} |{cells}")
    left_out = "; ".join(_left_out(server, [measured[server] for measured in senders.values()]) for server in servers)
    return "\n".join([*lines, "", f"Requests that met a stall of the machine, and do not count: {left_out}."])


def _left_out(server: str, measured: Sequence[BesideSender]) -> str:
    quiet, beside = (
        statistics.mean(share for windows in both for share in windows.left_out)
        for both in ([one.quiet for one in measured], [one.beside for one in measured])
    )
    return f"{server} {quiet:.1%} in quiet, {beside:.1%} beside"


def _beside(measured: BesideSender) -> str:
    quiet, beside = _Spread.of(measured.quiet.p99), _Spread.of(measured.beside.p99)
    work = statistics.median(measured.beside.work)
    moved = (measured.moved.sent + measured.moved.received) / measured.moved.seconds / 1e6
    return f" {_exact(quiet)} | {_exact(beside)} | {beside.middle / quiet.middle:.1f} × | {work:.2f} | {moved:,.1f} |"


def _worst(senders: Senders, server: str) -> tuple[float, str]:
    """The highest ratio to quiet, and the sender's name."""
    ratios = (
        (statistics.median(one[server].beside.p99) / statistics.median(one[server].quiet.p99), name)
        for name, one in senders.items()
    )
    return max(ratios)


def _row(name: str, samples: Sequence[Sample]) -> str:
    rps, p50, p99, cpu, rss = (_figure(samples, figure) for figure in _FIGURES)
    split = " + ".join(f"{_figure(samples, part).middle:.1f}" for part in ("cpu_user_us", "cpu_system_us"))
    cells = [_whole(rps), _exact(p50), _exact(p99), f"{_tenths(cpu)} ({split})", f"{rss.middle:.0f}"]
    return f"| {name} | " + " | ".join(cells) + " |"


def _whole(spread: _Spread) -> str:
    return f"{spread.middle:,.0f} [{spread.low:,.0f}–{spread.high:,.0f}]"


def _tenths(spread: _Spread) -> str:
    return f"{spread.middle:,.1f} [{spread.low:,.1f}–{spread.high:,.1f}]"


def _exact(spread: _Spread) -> str:
    return f"{spread.middle:.2f} [{spread.low:.2f}–{spread.high:.2f}]"


def _times(spread: _Spread) -> str:
    if math.isnan(spread.middle):
        return "too short to measure"
    return f"{spread.middle:.2f} × [{spread.low:.2f}–{spread.high:.2f}]"


def _goals(results: Results) -> str:
    small, browser, body = (results.rows[name] for name in ("small", "browser", "body_1mib"))
    cpu, to_browser, of_body = (_ratio(rounds, "weir", "haproxy", "cpu_us") for rounds in (small, browser, body))
    p99 = _ratio(small, "weir", "haproxy", "p99_ms")
    routes = _ratio(results.routes, "many", "one", "cpu_us")
    previews = {name: _ratio(rounds, "previews", "none", "cpu_us") for name, rounds in results.previews.items()}
    idle = results.idle_bytes["weir"] / 1024
    beside = results.idle_bytes["haproxy"] / 1024
    over_http2 = _ratio(results.rows["h2"], "weir", "haproxy", "cpu_us")
    call = _figure(results.rows["grpc"]["weir"], "cpu_us")
    over_tls, handshakes = (_ratio(results.rows[name], "weir", "haproxy", "cpu_us") for name in ("tls", "handshakes"))
    commands, many = (_ratio(results.rows[name], "weir", "haproxy", "cpu_us") for name in ("redis", "redis_16"))
    quiet, flooded = (_Spread.of(rounds) for rounds in results.neighbours["weir"])
    worst, sender = _worst(results.senders, "weir")
    same, _ = _worst(results.senders, "haproxy")
    rows = [
        ("CPU per small request, × HAProxy", _times(cpu), "2", cpu.middle <= 2),
        ("CPU per request of a browser, × HAProxy", _times(to_browser), "2.2", to_browser.middle <= 2.2),
        ("p99 at 50 connections, × HAProxy", _times(p99), "2", p99.middle <= 2),
        ("CPU per small request over HTTP/2, × HAProxy", _times(over_http2), "2", over_http2.middle <= 2),
        ("CPU per unary call of gRPC, µs", _tenths(call), "120", call.middle <= 120),
        ("CPU per small request over TLS, × HAProxy", _times(over_tls), "2", over_tls.middle <= 2),
        ("CPU per full TLS handshake with a request, × HAProxy", _times(handshakes), "1.5", handshakes.middle <= 1.5),
        ("CPU per command at a TCP port, × HAProxy", _times(commands), "1.3", commands.middle <= 1.3),
        ("CPU per command at a TCP port, 16 at once, × HAProxy", _times(many), "1.3", many.middle <= 1.3),
        ("CPU per 1 MiB answer, × HAProxy", _times(of_body), "0.8", of_body.middle <= 0.8),
        ("CPU per request with 10,000 routes, × one route", _times(routes), "1.05", routes.middle <= 1.05),
        *(
            (
                f"CPU per request with {PREVIEWS} previews of the app, × none: {ROWS[name].what}",
                _times(one),
                "1.03",
                one.middle <= 1.03,
            )
            for name, one in previews.items()
        ),
        (
            "p99 beside a flood of another app, × quiet",
            f"{flooded.middle / quiet.middle:.1f} ×",
            "2",
            flooded.middle <= 2 * quiet.middle,
        ),
        (
            f"p99 beside the worst sender ({SENDERS[sender].what}), × quiet (HAProxy's worst {same:.1f})",
            f"{worst:.1f} ×",
            "2",
            worst <= 2,
        ),
        (f"Memory per idle connection, KB (HAProxy {beside:.1f})", f"{idle:.1f}", "4", idle <= 4),
    ]
    lines = ["| Held to | measured | at most | |", "|---|---|---|---|"]
    lines += [f"| {what} | {value} | {most} | {'met' if met else '**missed**'} |" for what, value, most, met in rows]
    return "\n".join(lines)
