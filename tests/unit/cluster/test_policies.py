"""The test cluster's node evaluates network policies like Kubernetes."""

from typing import Any

import pytest

from tests.cluster.api import Object
from tests.cluster.network import Opening
from tests.cluster.node.policies import openings
from tests.cluster.node.spec import SpecError

NAMESPACES: list[Object] = [{"metadata": {"name": "home"}}, {"metadata": {"name": "away", "labels": {"metrics": "enabled"}}}]


def pod(number: int, namespace: str, **labels: str) -> Object:
    container = {"name": "main", "ports": [{"name": "http", "containerPort": 8080}, {"name": "rpc", "containerPort": 9090}]}
    metadata = {"name": f"p{number}", "namespace": namespace, "labels": labels}
    return {"metadata": metadata, "spec": {"containers": [container]}, "status": {"podIP": f"10.0.0.{number}"}}


PODS = [
    pod(1, "home", tier="back"),
    pod(2, "home", tier="front"),
    pod(3, "away", tier="front"),
    pod(4, "away"),
    {"metadata": {"name": "starting", "namespace": "home", "labels": {"tier": "back"}}, "spec": {}},
]


def policy(*rules: Any, selector: Any = None) -> Object:
    chosen = {"matchLabels": {"tier": "back"}} if selector is None else selector
    return {
        "metadata": {"name": "p", "namespace": "home"},
        "spec": {"podSelector": chosen, "policyTypes": ["Ingress"], "ingress": list(rules)},
    }


FRONT = {"podSelector": {"matchLabels": {"tier": "front"}}}
METRICS = {"namespaceSelector": {"matchLabels": {"metrics": "enabled"}}}


@pytest.mark.parametrize(
    ("rule", "opened"),
    [
        ({}, {Opening(None, None)}),
        ({"ports": [{"port": "rpc"}, {"port": 1}]}, {Opening(None, 9090), Opening(None, 1)}),
        ({"ports": [{"port": "none"}]}, set()),
        ({"from": [FRONT]}, {Opening(frozenset({"10.0.0.2"}), None)}),
        ({"from": [METRICS], "ports": [{"port": "http"}]}, {Opening(frozenset({"10.0.0.3", "10.0.0.4"}), 8080)}),
        ({"from": [METRICS | FRONT]}, {Opening(frozenset({"10.0.0.3"}), None)}),
        ({"from": [METRICS, FRONT]}, {Opening(frozenset({"10.0.0.2", "10.0.0.3", "10.0.0.4"}), None)}),
        ({"from": [{"podSelector": {"matchLabels": {"tier": "none"}}}]}, {Opening(frozenset(), None)}),
    ],
)
def test_a_rule_opens_what_it_says(rule: Object, opened: set[Opening]) -> None:
    assert openings([policy(rule)], PODS, NAMESPACES) == {"10.0.0.1": opened}


def test_policies_add_up_and_without_a_rule_nothing_is_open() -> None:
    assert openings([], PODS, NAMESPACES) == {}
    assert openings([policy()], PODS, NAMESPACES) == {"10.0.0.1": frozenset()}
    everybody = policy({"ports": [{"port": 1}]}, selector={})
    assert openings([policy({"ports": [{"port": 2}]}), everybody], PODS, NAMESPACES) == {
        "10.0.0.1": {Opening(None, 1), Opening(None, 2)},
        "10.0.0.2": {Opening(None, 1)},
    }
    egress = policy()
    egress["spec"]["policyTypes"] = ["Egress"]
    assert openings([egress], PODS, NAMESPACES) == {}


@pytest.mark.parametrize(
    "rule",
    [
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        {"from": [{"podSelector": {"matchExpressions": []}}]},
    ],
)
def test_what_is_not_known_is_refused(rule: Object) -> None:
    with pytest.raises(SpecError):
        openings([policy(rule)], PODS, NAMESPACES)
