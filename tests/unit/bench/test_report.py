"""Medians, spreads and ratios of rounds, as tables and as JSON."""

from __future__ import annotations

import dataclasses

import pytest

from tests.bench.measure import Sample
from tests.bench.neighbours import BesideSender, Windows
from tests.bench.report import (
    Results,
    Rounds,
    against_as_markdown,
    as_json,
    as_markdown,
    previews_as_json,
    rows_as_json,
    rows_as_markdown,
    senders_as_json,
    senders_as_markdown,
)
from tests.bench.workloads import AS_USERS_SEND, ROWS, WORKLOADS
from tests.support.neighbour import Sent

HAPROXY, WEIR = (10.0, 20.0, 40.0), (30.0, 40.0, 60.0)
"""CPU of three rounds. By pairs 3, 2 and 1.5 times; the ratio of the medians is 2 as well, that of the best rounds is 3."""
UNEVEN = (30.0, 20.0, 120.0)
"""By pairs 3, 1 and 3 times HAProxy's CPU, while the ratio of the medians is 1.5."""


def sample(cpu: float) -> Sample:
    return Sample(
        rps=1e6 / cpu, p50_ms=cpu / 20, p99_ms=cpu / 10, cpu_us=cpu, cpu_user_us=cpu * 0.6, cpu_system_us=cpu * 0.4, rss_mb=cpu
    )


def rounds(**cpu: tuple[float, ...]) -> Rounds:
    return {name: [sample(each) for each in of_rounds] for name, of_rounds in cpu.items()}


def test_a_row_has_medians_and_the_spread_of_its_rounds() -> None:
    row = rows_as_json({"browser": rounds(haproxy=HAPROXY, weir=WEIR)})["browser"]
    assert list(row) == ["haproxy", "weir"]
    spread = row["haproxy"].pop("spread")
    assert row["haproxy"] == {"rps": 50_000.0, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_us": 20.0, "rss_mb": 20.0}
    assert spread["cpu_us"] == [10.0, 40.0]


def test_ratios_are_of_pairs_and_not_of_medians() -> None:
    rows = {"browser": rounds(haproxy=HAPROXY, weir=UNEVEN), "post": rounds(haproxy=HAPROXY, weir=WEIR)}
    assert rows_as_json(rows)["cpu_ratio_to_haproxy"] == {
        "browser": {"median": 3.0, "spread": [1.0, 3.0]},
        "post": {"median": 2.0, "spread": [1.5, 3.0]},
    }


def test_rounds_too_short_to_measure_have_no_ratio() -> None:
    row = rounds(haproxy=HAPROXY, weir=WEIR)
    nothing = [dataclasses.replace(each, cpu_us=0.0) for each in row["haproxy"]]
    some = rows_as_json({"post": {**row, "haproxy": [nothing[0], *row["haproxy"][1:]]}})
    assert some["cpu_ratio_to_haproxy"] == {"post": {"median": 1.75, "spread": [1.5, 2.0]}}
    cells = rows_as_markdown({"post": {**row, "haproxy": nothing}}).splitlines()[-1].split(" | ")
    assert [cell for cell in cells if "too short" in cell] == ["**too short to measure**"]
    assert cells[1] == "**0.50 × [0.33–0.67]**"


def test_a_table_shows_each_proxy_and_their_ratio() -> None:
    assert rows_as_markdown({"browser": rounds(haproxy=HAPROXY, weir=UNEVEN)}).splitlines() == [
        f"| {WORKLOADS['browser'].what} | requests/s | p50 ms | p99 ms | CPU µs per request (user + system) | RSS MB |",
        "|---|---|---|---|---|---|",
        "| haproxy | 50,000 [25,000–100,000] | 1.00 [0.50–2.00] | 2.00 [1.00–4.00] | 20.0 [10.0–40.0] (12.0 + 8.0) | 20 |",
        "| weir | 33,333 [8,333–50,000] | 1.50 [1.00–6.00] | 3.00 [2.00–12.00] | 30.0 [20.0–120.0] (18.0 + 12.0) | 30 |",
        "| **weir / haproxy** | **0.33 × [0.33–1.00]** | **" + "** | **".join(["3.00 × [1.00–3.00]"] * 4) + "** |",
    ]


def test_tables_stand_apart() -> None:
    row = rounds(haproxy=HAPROXY, weir=WEIR)
    assert rows_as_markdown({"post": row, "body_1mib": row}).split("\n\n") == [
        rows_as_markdown({"post": row}),
        rows_as_markdown({"body_1mib": row}),
    ]


def test_two_builds_are_compared_by_pairs_and_by_their_best_rounds() -> None:
    *_, line = against_as_markdown({"request_id": rounds(before=HAPROXY, after=UNEVEN)}).splitlines()
    what = WORKLOADS["request_id"].what
    assert line == (
        f"| {what} | 20.00 [10.00–40.00] | 30.00 [20.00–120.00] | 3.00 × [1.00–3.00] | 2.000 × | 0.33 × [0.33–1.00] |"
    )


def test_senders_have_rows_and_what_was_left_out_is_told() -> None:
    senders, shares = results().senders, "0.0% in quiet, 1.0% beside"
    assert senders_as_markdown(senders).splitlines()[2:] == [
        "| one-byte chunks |" + " 1.00 [1.00–1.00] | 2.00 [2.00–2.00] | 2.0 × | 0.20 | 0.0 |" * 2,
        "",
        f"Requests that met a stall of the machine, and do not count: haproxy {shares}; weir {shares}.",
    ]
    assert senders_as_json(senders)["chunks"]["weir"]["beside_left_out"] == 0.01


def test_everything_is_in_the_json_under_its_name() -> None:
    told = as_json(results())
    assert {*ROWS, "cpu_ratio_to_haproxy", "routes_10000", "idle_connection_kb"} < told.keys()
    assert list(told["small"]) == ["origin", "haproxy", "weir"]
    for name in AS_USERS_SEND:
        assert list(told[name]) == ["haproxy", "weir"]
        assert told[name]["weir"].keys() == told["small"]["weir"].keys()


def test_everything_is_in_the_printed_text() -> None:
    text = as_markdown(results())
    assert text.startswith("Measured on a machine. Medians of 3 rounds")
    assert [name for name, workload in WORKLOADS.items() if f"| {workload.what} |" not in text] == []


@pytest.mark.parametrize(("weir", "verdict"), [((22.0, 44.0, 88.0), "met"), ((22.1, 44.2, 88.4), "**missed**")])
def test_a_browsers_request_is_held_to_its_bound(weir: tuple[float, ...], verdict: str) -> None:
    text = as_markdown(results(browser=rounds(haproxy=HAPROXY, weir=weir)))
    (line,) = (line for line in text.splitlines() if line.startswith("| CPU per request of a browser"))
    assert line.endswith(f"| 2.2 | {verdict} |")


@pytest.mark.parametrize(("cpu", "verdict"), [((10.3, 20.6, 80.0), "met"), ((10.0, 20.7, 41.4), "**missed**")])
def test_previews_are_held_to_the_ratio_of_pairs(cpu: tuple[float, ...], verdict: str) -> None:
    made = results(previewed=cpu)
    assert list(previews_as_json(made.previews)) == ["small", "browser"]
    lines = [line for line in as_markdown(made).splitlines() if line.startswith("| CPU per request with 500 previews")]
    assert [line.rsplit("|", 2)[1].strip() for line in lines] == [verdict, "met"]
    assert all(line.split(" | ")[2] == "1.03" for line in lines)


def results(previewed: tuple[float, ...] = HAPROXY, **rows: Rounds) -> Results:
    trio, pair = rounds(origin=HAPROXY, haproxy=HAPROXY, weir=WEIR), rounds(haproxy=HAPROXY, weir=WEIR)
    beside = BesideSender(Windows([1.0], [0.1], [0.0]), Windows([2.0], [0.2], [0.01]), Sent(sent=1, received=1, seconds=1.0))
    return Results(
        machine="a machine",
        rows={name: rows.get(name, pair if name in AS_USERS_SEND else trio) for name in ROWS},
        routes=rounds(one=HAPROXY, many=HAPROXY, all_hosts=(10.0,)),
        idle_bytes={"haproxy": 1024.0, "weir": 2048.0},
        flood=8000,
        neighbours={name: ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]) for name in pair},
        senders={"chunks": dict.fromkeys(pair, beside)},
        previews={"small": rounds(none=HAPROXY, previews=previewed), "browser": rounds(none=HAPROXY, previews=HAPROXY)},
    )
