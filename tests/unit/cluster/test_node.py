"""The test cluster's node evaluates pod specs, Services and DNS queries like Kubernetes."""

import struct

import pytest

from tests.cluster.api import Object
from tests.cluster.node.dns import reply
from tests.cluster.node.spec import Key, SpecError, Terms, command_line, environment, expand, port_number
from tests.cluster.node.volumes import Mount, mount_script, referenced
from tests.cluster.tools import PROGRAMS, _go_mod

POD: Object = {"metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "labels": {"tier": "front"}}, "spec": {}}


def terms(**config: str) -> Terms:
    return Terms(POD, "10.244.0.9", lambda key: config if key == Key("configmaps", "words") else None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("$(A)/$(B)", "1/2"), ("$(NONE)", "$(NONE)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("cost $$5", "cost $5"), ("$(A", "$(A")],
)
def test_variables_are_expanded_by_kubernetes_rule(text: str, value: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == value


def test_an_environment_is_made_in_order() -> None:
    container = {
        "envFrom": [{"prefix": "W_", "configMapRef": {"name": "words"}}, {"secretRef": {"name": "none", "optional": True}}],
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
            {"name": "URL", "value": "http://$(IP)/$(W_a)/$(LATER)"},
            {"name": "LATER", "value": "x"},
            {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "words", "key": "b", "optional": True}}},
        ],
    }
    made = environment(container, terms(a="b"))
    assert made["URL"] == "http://10.244.0.9/b/$(LATER)"
    assert made["TIER"] == "front"
    assert "MAYBE" not in made
    assert made["HOSTNAME"] == "web-1"
    named = Terms(POD | {"spec": {"hostname": "web"}}, "10.244.0.9", lambda _: None)
    assert environment({}, named)["HOSTNAME"] == "web"


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(SpecError, match="'words' has no key 'b'"):
        environment({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "words", "key": "b"}}}]}, terms(a="1"))
    with pytest.raises(SpecError, match="no local command stands for image 'nginx:1'"):
        command_line({"image": "nginx:1"}, {"echo": ["true"]}, {})
    with pytest.raises(SpecError, match="has no port 'http'"):
        port_number({"name": "app", "ports": [{"name": "rpc", "containerPort": 1}]}, "http")


def test_an_image_is_known_without_registry_and_tag() -> None:
    container = {"image": "registry.example:5000/team/echo:1.2@sha256:00", "args": ["-n", "$(N)"]}
    assert command_line(container, {"echo": ["python", "echo.py"]}, {"N": "3"}) == ["python", "echo.py", "-n", "3"]
    assert command_line({**container, "command": ["sh"]}, {"echo": ["python"]}, {"N": "3"}) == ["sh", "-n", "3"]


def test_a_mount_stays_where_nothing_of_the_machine_is_created(tmp_path: object) -> None:
    assert referenced({"spec": {"containers": [], "volumes": [{"secret": {"secretName": "s"}}]}}) == {Key("secrets", "s")}
    with pytest.raises(SpecError, match="cannot mount at /srv-of-nobody"):
        mount_script([Mount(tmp_path, "/srv-of-nobody", read_only=True)], read_only_root=False)  # type: ignore[arg-type]


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def addresses(namespace: str, name: str) -> list[str]:
    return ["10.96.0.7", "10.96.0.8"] if (namespace, name) == ("shop", "web") else []


def aliases(namespace: str, name: str) -> list[str] | str:
    """`far` is an alias of `near`, which is an alias of `web`; two other aliases have no target."""
    known = {"far": "near", "near": "web", "circle": "circle"}
    if name == "abroad":
        return "example.com"
    return f"{known[name]}.{namespace}.svc.cluster.local." if name in known else addresses(namespace, name)


def test_names_of_services_are_answered() -> None:
    answer = reply(query("WEB.shop.svc.cluster.local"), addresses)
    assert answer is not None
    assert struct.unpack_from("!6H", answer) == (7, 0x8580, 1, 2, 0, 0)
    assert answer.endswith(bytes([10, 96, 0, 8]))


@pytest.mark.parametrize("name", ["web.shop.svc", "other.shop.svc.cluster.local", "example.com", "a.web.shop.svc.cluster.local"])
def test_other_names_are_unknown(name: str) -> None:
    answer = reply(query(name), addresses)
    assert answer is not None
    assert (answer[3] & 15, answer[6:8]) == (3, b"\0\0")


def test_a_name_without_an_address_of_that_kind_is_known_all_the_same() -> None:
    answer = reply(query("web.shop.svc.cluster.local", kind=28), addresses)
    assert answer is not None
    assert (answer[3] & 15, answer[6:8]) == (0, b"\0\0")


def test_an_alias_is_followed_to_the_addresses_of_the_service_that_it_stands_for() -> None:
    answer = reply(query("far.shop.svc.cluster.local"), aliases)
    assert answer is not None
    assert struct.unpack_from("!6H", answer) == (7, 0x8580, 1, 4, 0, 0)
    near, web = (b"\4near\4shop\3svc\7cluster\5local\0", b"\3web\4shop\3svc\7cluster\5local\0")
    assert (
        struct.pack("!3HIH", 0xC00C, 5, 1, 1, len(near)) + near + near + struct.pack("!2HIH", 5, 1, 1, len(web)) + web in answer
    )
    assert answer.endswith(web + struct.pack("!2HIH", 1, 1, 1, 4) + bytes([10, 96, 0, 8]))


@pytest.mark.parametrize(
    ("name", "kind", "records"), [("far", 28, 2), ("abroad", 1, 1), ("circle", 1, 8)], ids=["no-address", "outside", "circle"]
)
def test_an_alias_without_an_address_is_known_all_the_same(name: str, kind: int, records: int) -> None:
    answer = reply(query(f"{name}.shop.svc.cluster.local", kind), aliases)
    assert answer is not None
    assert (answer[3] & 15, struct.unpack_from("!H", answer, 6)) == (0, (records,))


@pytest.mark.parametrize("cut", range(1, 34))
def test_what_is_cut_short_is_no_query(cut: int) -> None:
    whole = query("web.shop.svc.cluster.local")
    assert reply(whole[:-cut], addresses) is None


def test_replacements_by_paths_become_published_modules() -> None:
    local = "\tk8s.io/api => ./staging/src/k8s.io/api\n"
    text = f"module k8s.io/kubernetes\n\ntoolchain go1.99\n\nreplace (\n{local})\nreplace a.b/c => d.e/f v1.0.0\n"
    kubectl = next(program for program in PROGRAMS if program.name == "kubectl")
    made = _go_mod(text, kubectl)
    assert "\tk8s.io/api => k8s.io/api v0.35.4\n" in made
    assert "replace a.b/c => d.e/f v1.0.0" in made
    assert "toolchain" not in made
    assert made.startswith("module weir.cluster/build\n\nrequire k8s.io/kubernetes v1.35.4\n")
