"""Documents and their objects: as tables, there and back, and what is refused."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.admin.body import merged, patched, validated
from controller.admin.documents import (
    NAME,
    Dependency,
    Document,
    EnvironmentSource,
    Port,
    Replicas,
    Resources,
    Schedule,
    SecretKey,
    Target,
)
from controller.admin.faults import faults_of
from controller.admin.objects import (
    APP_LABEL,
    KINDS,
    Live,
    amount,
    complete,
    document_of,
    manifests,
    partial_document_of,
    same,
)
from controller.admin.problems import Refused
from controller.resources import parse_http_scaled_object
from tests.support.full import examples

UID = "uid-1"
WINDOW = {"start": "0 8 * * *", "end": "0 18 * * *", "timezone": "UTC"}


def document(**fields: Any) -> Document:
    return complete(Document.model_validate({"name": "web", "image": "example.com/web:1", **fields}), "shop", "")


def objects(**fields: Any) -> dict[str, Any]:
    return manifests(document(**fields), "shop", owner_uid=UID)


def live_of(made: dict[str, Any]) -> Live:
    """The objects as an API server returns them."""
    found = copy.deepcopy(made)
    for kind, each in found.items():
        each["metadata"]["uid"] = UID if kind == "HTTPScaledObject" else f"uid-{kind}"
    return Live(found)


def test_the_smallest_document() -> None:
    made = manifests(document(), "shop", owner_uid=UID)
    labels = {"app.kubernetes.io/name": "web", "app.kubernetes.io/managed-by": "weir-admin", "weir.dev/app": "web"}
    owner = {"apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject", "name": "web", "uid": UID, "controller": True}
    assert list(made) == list(KINDS)
    assert made["HTTPScaledObject"] == {
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": {"name": "web", "namespace": "shop", "labels": labels},
        "spec": {
            "hosts": ["web.shop"],
            "scaleTargetRef": {"name": "web", "kind": "Deployment", "apiVersion": "apps/v1", "service": "web", "port": 8080},
            "replicas": {"min": 0, "max": 10},
            "scaledownPeriod": 300,
            "scalingMetric": {"concurrency": {"targetValue": 100}},
        },
    }
    assert made["Service"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "selector": {"weir.dev/app": "web"},
            "ports": [{"name": "http", "port": 8080, "targetPort": 8080, "protocol": "TCP"}],
        },
    }
    assert made["Deployment"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "selector": {"matchLabels": {"weir.dev/app": "web"}},
            "template": {
                "metadata": {"labels": {"app.kubernetes.io/name": "web", "weir.dev/app": "web"}},
                "spec": {
                    "serviceAccountName": "default",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [
                        {
                            "name": "app",
                            "image": "example.com/web:1",
                            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                            "readinessProbe": {
                                "tcpSocket": {"port": 8080},
                                "periodSeconds": 1,
                                "timeoutSeconds": 2,
                                "failureThreshold": 3,
                            },
                            "securityContext": {"allowPrivilegeEscalation": False},
                        }
                    ],
                },
            },
        },
    }


CONTAINER = ("Deployment", "spec", "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("fields", "at", "expected"),
    [
        ({"command": ["a", "b c"], "args": ["$(A)"]}, (*CONTAINER, "command"), ["a", "b c"]),
        ({"args": ["--x", "$(A)"]}, (*CONTAINER, "args"), ["--x", "$(A)"]),
        ({"environment": {"A": "1"}}, (*CONTAINER, "env"), [{"name": "A", "value": "1"}]),
        (
            {"environment": {"A": {"secret": {"name": "s", "key": "k"}}}},
            (*CONTAINER, "env"),
            [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        ),
        (
            {"resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": "1"}}},
            (*CONTAINER, "resources"),
            {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": "1"}},
        ),
        (
            {"health_path": "/up", "ports": [{"port": 80, "protocol": "https"}]},
            (*CONTAINER, "readinessProbe", "httpGet"),
            {"path": "/up", "port": 80, "scheme": "HTTPS"},
        ),
        ({"service_account": "robot"}, ("Deployment", "spec", "template", "spec", "serviceAccountName"), "robot"),
        ({"service_account": "robot"}, ("Deployment", "spec", "template", "spec", "automountServiceAccountToken"), True),
        (
            {"ports": [{"port": 90, "name": "rpc", "protocol": "h2c"}, {"port": 91, "name": "admin"}]},
            ("Service", "spec", "ports"),
            [
                {"name": "rpc", "port": 90, "targetPort": 90, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
                {"name": "admin", "port": 91, "targetPort": 91, "protocol": "TCP"},
            ],
        ),
        ({"ports": [{"port": 90}]}, ("HTTPScaledObject", "spec", "scaleTargetRef", "port"), 90),
        ({"hosts": ["a.example.com", "*.b.example.com"]}, ("HTTPScaledObject", "spec", "hosts", 1), "*.b.example.com"),
        ({"paths": ["/a", "/b"]}, ("HTTPScaledObject", "spec", "pathPrefixes"), ["/a", "/b"]),
        ({"replicas": {"min": 1, "max": 2}}, ("HTTPScaledObject", "spec", "replicas"), {"min": 1, "max": 2}),
        ({"target": {"rate": 5}}, ("HTTPScaledObject", "spec", "scalingMetric"), {"requestRate": {"targetValue": 5}}),
        ({"cooldown": 0}, ("HTTPScaledObject", "spec", "scaledownPeriod"), 0),
        ({"max_busy": 3600}, ("HTTPScaledObject", "spec", "maxBusy"), "3600s"),
        (
            {"schedule": [{"start": "0 8 * * mon-fri", "end": "0 18 * * mon-fri", "timezone": "Europe/Berlin"}]},
            ("HTTPScaledObject", "spec", "schedule"),
            [{"start": "0 8 * * mon-fri", "end": "0 18 * * mon-fri", "timezone": "Europe/Berlin", "replicas": 1}],
        ),
        ({"depends_on": ["db"]}, ("HTTPScaledObject", "spec", "dependsOn"), ["db"]),
        (
            {"depends_on": [{"name": "db", "keep_awake": False}]},
            ("HTTPScaledObject", "spec", "dependsOn"),
            [{"name": "db", "optional": False, "keepAwake": False}],
        ),
    ],
)
def test_where_a_field_goes(fields: dict[str, Any], at: tuple[Any, ...], expected: object) -> None:
    found: Any = objects(**fields)
    for part in at:
        found = found[part]
    assert found == expected


def test_hosts_that_are_chosen() -> None:
    plain = Document.model_validate({"name": "web", "image": "x"})
    assert complete(plain, "shop", "").hosts == ["web.shop"]
    assert complete(plain, "shop", "apps.example.com").hosts == ["web.shop.apps.example.com"]
    assert complete(plain.model_copy(update={"hosts": ["a"]}), "shop", "apps.example.com").hosts == ["a"]


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
names = st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) <= 15)
ports = st.lists(
    st.builds(Port, port=st.integers(1, 65535), name=names, protocol=st.sampled_from(["http", "h2c", "https", "h2"])),
    min_size=1,
    max_size=4,
    unique_by=(lambda port: port.port, lambda port: port.name),
)
quantities = st.dictionaries(st.sampled_from(["cpu", "memory", "example.com/x"]), st.sampled_from(["1", "500m", "2Gi"]))
documents = st.builds(
    Document,
    name=st.just("web"),
    image=st.just("example.com/web:1"),
    command=st.lists(texts, max_size=3),
    args=st.lists(texts, max_size=3),
    ports=ports,
    hosts=st.just(["a.example.com"]),
    paths=st.lists(st.sampled_from(["/a", "/b/c"]), max_size=2),
    environment=st.dictionaries(
        st.sampled_from("ABC_"), texts | st.just(EnvironmentSource(secret=SecretKey(name="s", key="k"))), max_size=3
    ),
    resources=st.builds(Resources, requests=quantities, limits=quantities),
    replicas=st.builds(Replicas, min=st.integers(0, 3), max=st.integers(3, 9)),
    target=st.builds(Target, concurrency=st.none() | st.integers(1, 9), rate=st.integers(1, 9)),
    health_path=st.none() | st.just("/up"),
    cooldown=st.integers(0, 9),
    schedule=st.lists(
        st.builds(
            Schedule,
            start=st.just("0 8 * * mon-fri"),
            end=st.just("0 18 * * *"),
            timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
            replicas=st.integers(1, 3),
        ),
        max_size=2,
    ),
    max_busy=st.integers(0, 86_400),
    depends_on=st.lists(st.just("db") | st.builds(Dependency, name=st.just("api"), keep_awake=st.just(False)), max_size=2),
    service_account=st.none() | st.just("robot") | st.just("default"),
)


@given(documents)
@settings(max_examples=examples(200), deadline=None)
def test_what_is_written_is_read_back(written: Document) -> None:
    found = document_of(live_of(manifests(written, "shop", owner_uid=UID)))
    assert found == written
    assert found is not None
    assert same(found, written)


def test_weirs_controller_takes_the_object_as_it_is() -> None:
    made = objects(paths=["/a"], target={"rate": 3, "concurrency": 2}, replicas={"min": 1, "max": 3})["HTTPScaledObject"]
    made["metadata"] |= {"uid": "x", "generation": 1}
    resource = parse_http_scaled_object(json.dumps(made).encode())
    assert (resource.problem, resource.ignored) == (None, ())
    assert resource.route is not None
    assert resource.route.target.key == "shop/web:8080"


def test_what_an_api_server_writes_differently_is_the_same() -> None:
    one = document(resources={"requests": {"cpu": "0.5", "memory": "1024Mi"}}, ports=[{"port": 1}, {"port": 2, "name": "b"}])
    two = document(resources={"requests": {"cpu": "500m", "memory": "1Gi"}}, ports=[{"port": 1}, {"port": 2, "name": "b"}])
    assert same(one, two)
    assert not same(one, document(resources={"requests": {"cpu": "501m", "memory": "1Gi"}}))
    made = live_of(objects(ports=[{"port": 9}, {"port": 2, "name": "b"}, {"port": 3, "name": "c"}]))
    service = made.objects["Service"]
    assert service is not None
    service["spec"]["ports"].reverse()
    found = document_of(made)
    assert found is not None
    assert same(found, document(ports=[{"port": 9}, {"port": 2, "name": "b"}, {"port": 3, "name": "c"}]))
    assert found.ports[0].port == 9


@pytest.mark.parametrize("kind", ["Service", "Deployment"])
def test_what_is_left_can_be_made_again(kind: str) -> None:
    fields = {"ports": [{"port": 9, "name": "x"}], "paths": ["/a"], "environment": {"A": "1"}}
    made = live_of(objects(**fields))
    left = Live({**made.objects, kind: None})
    assert document_of(left) is None
    found = partial_document_of(left)
    assert found is not None
    again = manifests(found, "shop", owner_uid=UID)
    others = [name for name in KINDS if name != kind]
    assert {name: again[name]["spec"] for name in others} == {name: objects(**fields)[name]["spec"] for name in others}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Deployment", {"template": {"spec": {"containers": [{"name": "other", "image": "x"}]}}}),
        ("Deployment", {"template": {"spec": {"containers": [{"name": "app", "image": "x y"}]}}}),
        ("Deployment", {"template": {"spec": {"containers": [{"name": "app", "image": "x", "env": [{"name": "a.b"}]}]}}}),
        ("Deployment", {"template": {"spec": {"containers": None}}}),
        ("Service", {"ports": [{"port": 80, "appProtocol": "mysql"}]}),
        ("Service", {"ports": []}),
        ("HTTPScaledObject", {"replicas": {"min": -1}}),
        ("HTTPScaledObject", {"scaleTargetRef": None}),
        ("HTTPScaledObject", {"scalingMetric": {}}),
        ("HTTPScaledObject", {"maxBusy": "1.5s"}),
        ("HTTPScaledObject", {"maxBusy": "soon"}),
        ("HTTPScaledObject", {"maxBusy": 5}),
        ("HTTPScaledObject", {"schedule": [{"start": "0 8 * * *"}]}),
        ("HTTPScaledObject", {"dependsOn": [5]}),
        ("HTTPScaledObject", {"dependsOn": ["shop/db"]}),
        ("HTTPScaledObject", {"dependsOn": [{"name": "db", "keep_awake": True}]}),
    ],
)
def test_objects_that_no_document_can_say(kind: str, change: dict[str, Any]) -> None:
    made = live_of(objects())
    found = made.objects[kind]
    assert found is not None
    found["spec"] |= change
    assert document_of(made) is None


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "Web"}, "/name"),
        ({"name": "a" * 64}, "/name"),
        ({"name": "web\n"}, "/name"),
        ({"name": "../x"}, "/name"),
        ({"name": 5}, "/name"),
        ({"image": ""}, "/image"),
        ({"image": "a b"}, "/image"),
        ({"image": "-rm"}, "/image"),
        ({"image": "x" * 1001}, "/image"),
        ({"image": "x\n"}, "/image"),
        ({"imag": "x"}, "/imag"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"command": "sh"}, "/command"),
        ({"command": ["a\0b"]}, "/command/0"),
        ({"command": ["x"] * 65}, "/command"),
        ({"args": ["x", 1]}, "/args/1"),
        ({"ports": []}, "/ports"),
        ({"ports": [{"port": 0}]}, "/ports/0/port"),
        ({"ports": [{"port": 65536}]}, "/ports/0/port"),
        ({"ports": [{"port": "80"}]}, "/ports/0/port"),
        ({"ports": [{"port": True}]}, "/ports/0/port"),
        ({"ports": [{"port": 1}, {"port": 1, "name": "b"}]}, ""),
        ({"ports": [{"port": 1}, {"port": 2}]}, ""),
        ({"ports": [{"port": 1, "protocol": "tcp"}]}, "/ports/0/protocol"),
        ({"hosts": ["x" * 300]}, "/hosts/0"),
        ({"hosts": ["a"] * 51}, "/hosts"),
        ({"hosts": [""]}, "/hosts/0"),
        ({"paths": ["a"]}, "/paths/0"),
        ({"paths": ["/\n"]}, "/paths/0"),
        ({"environment": {"A B": "x"}}, "/environment/A B"),
        ({"environment": {"A=B": "x"}}, "/environment/A=B"),
        ({"environment": {"A": None}}, "/environment/A"),
        ({"environment": {"A": "x\0"}}, "/environment/A"),
        ({"environment": {"A": "x" * 32_769}}, "/environment/A"),
        ({"environment": {"A": {"secret": {"name": "s"}}}}, "/environment/A/secret/key"),
        ({"environment": {"A": {"secret": {"name": "../s", "key": "k"}}}}, "/environment/A/secret/name"),
        ({"environment": {"A": {"secret": {"name": "s", "key": "k", "optional": True}}}}, "/environment/A/secret/optional"),
        ({"environment": {f"A{n}": "" for n in range(201)}}, "/environment"),
        ({"resources": {"requests": {"cpu": "lots"}}}, "/resources/requests/cpu"),
        ({"resources": {"requests": {"cpu": "-1"}}}, "/resources/requests/cpu"),
        ({"resources": {"requests": {"cpu": "9" * 40}}}, "/resources/requests/cpu"),
        ({"resources": {"claims": {}}}, "/resources/claims"),
        ({"replicas": {"min": -1}}, "/replicas/min"),
        ({"replicas": {"min": 5, "max": 4}}, "/replicas"),
        ({"replicas": {"max": 1001}}, "/replicas/max"),
        ({"target": {}}, "/target"),
        ({"target": {"rate": 0}}, "/target/rate"),
        ({"health_path": "up"}, "/health_path"),
        ({"cooldown": 1e9}, "/cooldown"),
        ({"service_account": "a b"}, "/service_account"),
        ({"max_busy": "1h"}, "/max_busy"),
        ({"max_busy": 86_401}, "/max_busy"),
        ({"schedule": [WINDOW | {"start": "@daily"}]}, "/schedule/0/start"),
        ({"schedule": [WINDOW | {"start": "0 0 0 * * *"}]}, "/schedule/0/start"),
        ({"schedule": [WINDOW | {"end": "x" * 200}]}, "/schedule/0/end"),
        ({"schedule": [WINDOW | {"timezone": "../etc/passwd"}]}, "/schedule/0/timezone"),
        ({"schedule": [WINDOW | {"replicas": 0}]}, "/schedule/0/replicas"),
        ({"schedule": [WINDOW | {"desired": 1}]}, "/schedule/0/desired"),
        ({"schedule": [WINDOW] * 11}, "/schedule"),
        ({"depends_on": "db"}, "/depends_on"),
        ({"depends_on": [None]}, "/depends_on/0"),
        ({"depends_on": ["db", ["api"]]}, "/depends_on/1"),
        ({"depends_on": ["other/db"]}, "/depends_on/0"),
        ({"depends_on": ["db\n"]}, "/depends_on/0"),
        ({"depends_on": [""]}, "/depends_on/0"),
        ({"depends_on": ["x" * 254]}, "/depends_on/0"),
        ({"depends_on": [{"optional": True}]}, "/depends_on/0/name"),
        ({"depends_on": [{"name": "db", "keepAwake": False}]}, "/depends_on/0/keepAwake"),
        ({"depends_on": [{"name": "db", "keep_awake": "false"}]}, "/depends_on/0/keep_awake"),
        ({"depends_on": [f"a{n}" for n in range(1001)]}, "/depends_on"),
    ],
)
def test_what_a_document_may_not_say(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Refused) as caught:
        validated(Document, {"name": "web", "image": "x", **fields})
    assert caught.value.status == 422
    assert pointer in [fault.pointer for fault in caught.value.problem.errors]


@pytest.mark.parametrize("body", [None, [], "x", 5, True])
def test_what_is_no_document(body: object) -> None:
    with pytest.raises(Refused, match="should be an object"):
        validated(Document, body)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"hosts": ["a", "no host"]}, "/hosts/1"),
        ({"hosts": ["a.*.b"]}, "/hosts/0"),
        ({"hosts": ["ü.example.com"]}, "/hosts/0"),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, "/resources/requests/cpu"),
        ({"resources": {"requests": {"disk": "2"}}}, "/resources/requests/disk"),
        ({"schedule": [WINDOW, WINDOW | {"start": "0 8 * * 7"}]}, "/schedule/1/start"),
        ({"schedule": [WINDOW | {"end": "0 8 * * *"}]}, "/schedule/0/end"),
        ({"schedule": [WINDOW | {"timezone": "Europe/Nowhere"}]}, "/schedule/0/timezone"),
        ({"schedule": [WINDOW | {"replicas": 11}]}, "/schedule/0/replicas"),
        ({"resources": {"requests": {"a.b/c": "2"}, "limits": {"a.b/c": "1"}}}, "/resources/requests/a.b~1c"),
        ({"depends_on": ["db", "web"]}, "/depends_on/1"),
        ({"depends_on": ["db", {"name": "db", "optional": True}]}, "/depends_on/1"),
    ],
)
def test_what_only_the_whole_shows(fields: dict[str, Any], pointer: str) -> None:
    assert [fault.pointer for fault in faults_of(document(**fields), "shop")] == [pointer]


def test_a_duration_that_somebody_has_written_otherwise() -> None:
    made = live_of(objects(max_busy=3600))
    owner = made.objects["HTTPScaledObject"]
    assert owner is not None
    owner["spec"]["maxBusy"] = "1h"
    assert document_of(made) == document(max_busy=3600)


def test_dependencies_that_are_written_in_several_ways() -> None:
    short = document(depends_on=["db", {"name": "cache", "optional": True}])
    long = document(depends_on=[{"name": "db"}, {"name": "cache", "optional": True, "keep_awake": True}])
    assert same(short, long)
    assert not same(short, document(depends_on=["db", "cache"]))
    assert not same(short, document(depends_on=[*reversed(short.depends_on)][:1]))
    made = live_of(objects(depends_on=[{"name": "db"}]))
    owner = made.objects["HTTPScaledObject"]
    assert owner is not None
    assert owner["spec"]["dependsOn"] == ["db"]
    owner["spec"]["dependsOn"] = [{"name": "db", "keepAwake": False}, "api"]  # by kubectl
    found = document_of(made)
    assert found is not None
    assert same(found, document(depends_on=[{"name": "db", "keep_awake": False}, "api"]))
    assert faults_of(document(depends_on=["unknown"]), "shop") == []  # it may come later


def test_amounts() -> None:
    assert amount("0.5") == amount("500m")
    assert amount("1Ki") == 1024
    assert amount("1k") == 1000
    assert amount("1.5Gi") == 3 * 512 * 1024 * 1024


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches(target: object, patch: object, expected: object) -> None:
    assert merged(target, patch) == expected


def test_a_patched_document() -> None:
    before = document(environment={"A": "1", "B": "2"}, health_path="/up")
    after = patched(before, {"environment": {"A": None, "C": "3"}, "health_path": None, "replicas": {"max": 3}})
    assert (after.environment, after.health_path, after.replicas.max) == ({"B": "2", "C": "3"}, None, 3)
    wrong: list[object] = [{"name": "other"}, {"image": None}, [], None, {"nonsense": 1}, {"nonsense": None}]
    for patch in wrong:
        with pytest.raises(Refused):
            patched(before, patch)


@pytest.mark.parametrize(
    "text", ["0" * 200_000 + "!", "a" * 200_000 + "_", "/" * 200_000 + " ", "-" * 200_000, "1" * 200_000, ("a-." * 60_000) + "!"]
)
def test_long_texts_take_no_time(text: str) -> None:
    began = time.process_time()
    for field in ("name", "image", "health_path", "service_account"):
        with pytest.raises(Refused):
            validated(Document, {"name": "web", "image": "x", field: text})
    with pytest.raises(Refused):
        validated(Document, {"name": "web", "image": "x", "environment": {text: text}, "resources": {"limits": {text: text}}})
    assert time.process_time() - began < 0.5


def test_the_selector_is_the_label_of_the_pods() -> None:
    made = objects()
    label = made["Deployment"]["spec"]["template"]["metadata"]["labels"][APP_LABEL]
    assert made["Service"]["spec"]["selector"] == {APP_LABEL: label}
