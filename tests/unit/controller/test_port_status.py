"""The condition PortReady, and which interceptors it is about."""

from __future__ import annotations

from controller.port_status import PortFacts, port_finding
from controller.propagation import Interceptor, Missing, Propagation
from controller.resources import Key
from controller.table import Lost
from fleet.routing.port import UDP, ListenPort
from fleet.routing.route import Route, Target
from fleet.routing.table import RoutingTable

PORTS = Route("n/db", Target("n/db", 80), ports=(ListenPort(6379), ListenPort(53, UDP)))
OTHER = Route("n/web", Target("n/web", 80))
TABLE = RoutingTable([PORTS, OTHER])


def propagation() -> Propagation:
    found = Propagation()
    found.publish(TABLE)
    found.members([Interceptor("one", "a:1", ready=True), Interceptor("two", "b:1", ready=True)])
    for name in ("one", "two"):
        found.answered(name, TABLE.version, asked=TABLE.version)
    return found


def test_an_interceptor_that_cannot_listen_is_named_and_its_apps_are_told() -> None:
    found = propagation()
    found.changed()
    found.unbound("two", {("TCP", 6379): "in use", ("TCP", 1): "no route of this table"})
    assert found.changed() == ["n/db"]
    assert found.not_listening(PORTS) == (Missing("two", "TCP port 6379: in use"),)
    assert found.not_listening(OTHER) == ()
    told = port_finding([], PortFacts(not_listening=found.not_listening(PORTS)), found.verdict(PORTS))
    assert told is not None
    assert (told.status, told.reason, told.message) == ("False", "NotBound", "two: TCP port 6379: in use")
    found.unbound("two", {})
    assert found.changed() == ["n/db"]
    told = port_finding([], PortFacts(not_listening=found.not_listening(PORTS)), found.verdict(PORTS))
    assert told is not None
    assert (told.status, told.reason) == ("True", "Listening")


def test_it_is_not_known_before_all_have_answered() -> None:
    found = propagation()
    found.members([Interceptor("three", "c:1", ready=True)])
    assert port_finding([], PortFacts(), found.verdict(PORTS)) is None


def test_a_port_of_an_older_object_is_taken_and_a_host_says_nothing_of_ports() -> None:
    found = propagation()
    older = Key("HTTPScaledObject", "n", "older")
    told = port_finding([Lost("a.test/", older), Lost("TCP port 6379", older)], PortFacts(), found.verdict(PORTS))
    assert told is not None
    assert (told.status, told.reason, told.message) == ("False", "Taken", "TCP port 6379 belongs to HTTPScaledObject n/older")
    told = port_finding([Lost("a.test/", older)], PortFacts(), found.verdict(PORTS))
    assert told is not None
    assert told.status == "True"
