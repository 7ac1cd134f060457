"""Ports of a file of apps by the names of leases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from fleet.routing.port import TCP, UDP
from weir.engine import leases as module
from weir.engine.leases import LocalLeases
from weir.engine.ports import NoPortError
from weir.engine.spec import FleetSpec
from weir.engine.specfile import SpecError, SpecFile, parse_spec

FILE = Path(__file__).parent / "fleet.yaml"
TWO = """
apps:
- {name: mqtt, command: ./serve, ports: [{lease: mqtt}, {lease: status}]}
- {name: dns, command: ./serve, ports: [{lease: dns, protocol: UDP}, {port: 20053}]}
"""


def parsed(text: str, leases: LocalLeases | None = None) -> SpecFile:
    return parse_spec(dedent(text), FILE, leases)


def numbers(file: SpecFile) -> dict[str, list[int]]:
    return {route.app.partition("/")[2]: [port.port for port in route.ports] for route in file.table.routes}


def test_every_lease_has_a_number_of_its_own_and_keeps_it() -> None:
    first = parsed(TWO)
    found = [*numbers(first)["mqtt"], *numbers(first)["dns"]]
    assert len(set(found)) == 4
    assert found[3] == 20_053
    assert all(20_000 <= number <= 30_000 for number in found)
    again = parsed(TWO.replace("lease: status", "port: 1883"), first.leases)
    assert [numbers(again)["mqtt"][0], numbers(again)["dns"][0]] == [found[0], found[2]]
    assert [lease.name for lease, _ in first.leases.every()] == ["dns", "mqtt"], "what nothing names any more has ended"
    assert numbers(parsed(TWO)) == numbers(first), "after a restart it is the same"


def test_a_number_that_the_file_takes_moves_the_lease() -> None:
    first = parsed(TWO)
    wanted = numbers(first)["mqtt"][0]
    assert numbers(parsed(TWO.replace("20053", str(wanted)), first.leases))["mqtt"][0] != wanted


@pytest.mark.parametrize(
    ("ports", "fault"),
    [
        ("{lease: a, port: 1}", "a port has either a number (port) or a lease"),
        ("{protocol: TCP}", "a port has either a number (port) or a lease"),
        ("{lease: a}, {lease: a}", "another port has the lease a"),
        ("{lease: Not a name}", "lease"),
        ("{lease: a, protocol: UDP, alpn: [h2]}", "is for TCP"),
    ],
)
def test_what_is_wrong(ports: str, fault: str) -> None:
    with pytest.raises(SpecError) as caught:
        parsed(f"apps: [{{name: web, command: ./serve, ports: [{ports}]}}]")
    assert fault in str(caught.value)


def test_callers_on_many_threads_get_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_used", lambda protocol, port: False)
    leases = LocalLeases("here")
    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(lambda number: leases.reserve("default", f"app-{number % 100}", TCP)[0].port, range(200))]
    assert len(set(found)) == 100


def test_what_is_reserved_stays_until_it_is_released() -> None:
    file = parsed(TWO)
    lease, created = file.leases.reserve("default", "later", TCP)
    assert created
    assert file.leases.reserve("default", "later", TCP) == (lease, False)
    with pytest.raises(NoPortError, match="lease later is of TCP port"):
        file.leases.reserve("default", "later", UDP)
    parsed(TWO, file.leases)
    assert ("later", "") in [(one.name, app) for one, app in file.leases.every()]
    with pytest.raises(NoPortError, match="app default/mqtt asks for it"):
        file.leases.release("default", "mqtt")
    file.leases.release("default", lease.id)
    with pytest.raises(NoPortError, match="there is no lease later"):
        file.leases.release("default", "later")


def test_a_reserved_port_is_kept_from_the_file() -> None:
    file = parsed(TWO)
    lease, _ = file.leases.reserve("team", "kept", TCP)
    for ports in (f"ports: [{{port: {lease.port}}}]", f"port: {lease.port}"):
        with pytest.raises(SpecError, match=f"port {lease.port} is leased as team/kept: weir port release kept frees it"):
            parsed(f"{TWO}- {{name: late, command: ./serve, {ports}}}\n", file.leases)
        assert file.leases.reserve("team", "kept", TCP) == (lease, False)
    named = "- {name: late, namespace: team, command: ./serve, ports: [{lease: kept, protocol: UDP}]}\n"
    with pytest.raises(SpecError, match=f"lease kept is of TCP port {lease.port}"):
        parsed(TWO + named, file.leases)
    used = parsed(TWO + named.replace("UDP", "TCP"), file.leases)
    assert numbers(used)["late"] == [lease.port]


def test_a_version_that_is_rejected_leaves_leases_as_they_were() -> None:
    file = parsed(TWO)
    before = file.leases.every()
    wanted = numbers(file)["mqtt"][0]
    for edit in ("lease: ghost", f"port: {wanted}"):
        with pytest.raises(SpecError):
            parsed(TWO.replace("lease: status", edit) + "- {name: Not a name}\n", file.leases)
        assert file.leases.every() == before


def test_a_version_that_cannot_be_served_here_leaves_them_so_as_well() -> None:
    file = parsed(TWO)
    before = file.leases.every()

    def refuse(_: FleetSpec) -> None:
        raise SpecError(["not with these flags"])

    with pytest.raises(SpecError, match="not with these flags"):
        parse_spec(TWO.replace("lease: status", "lease: ghost"), FILE, file.leases, refuse)
    assert file.leases.every() == before


def test_processes_and_leases_get_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    leases = LocalLeases("here")
    ports = leases.beside_processes()
    first, _ = leases.reserve("default", "first", TCP)
    leases.release("default", "first")
    monkeypatch.setattr("random.randint", lambda low, high: first.port)
    assert ports.take() == first.port
    second, _ = leases.reserve("default", "first", TCP)
    assert second.port != first.port, "a process has it, and does not listen yet"
    monkeypatch.setattr("random.randint", lambda low, high: second.port)
    with pytest.raises(NoPortError):
        ports.take()


def test_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_used", lambda protocol, port: protocol == UDP)
    leases = LocalLeases("here")
    with pytest.raises(NoPortError, match="no UDP port between 20000 and 30000 is free"):
        leases.take("default", "dns", UDP, ())
    for number in range(module.LIMITS.most):
        leases.take("default", f"app-{number}", TCP, ())
    with pytest.raises(NoPortError, match="there are 250 leases already"):
        leases.take("default", "more", TCP, ())
