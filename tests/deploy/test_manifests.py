"""What every overlay has to be: whole, consistent in itself and with the settings classes, and locked down."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from controller.settings import ControllerSettings
from fleet.runtime.settings import ENVIRONMENT_PREFIX, ComponentSettings
from interceptor.settings import InterceptorSettings
from scaler.settings import ScalerSettings
from tests.support.manifests import DEPLOY, Manifests, Object, container, pod, read, selects

# Building kustomize takes a minute or two, the first time.
pytestmark = pytest.mark.timeout(900)

SETTINGS: dict[str, type[ComponentSettings]] = {
    "weir-interceptor": InterceptorSettings,
    "weir-scaler": ScalerSettings,
    "weir-controller": ControllerSettings,
}
PORT_SETTINGS = {
    "weir-interceptor": {"http": "proxy_port", "rpc": "rpc_port", "diagnostics": "diagnostics_port"},
    "weir-scaler": {"grpc": "port", "diagnostics": "diagnostics_port"},
    "weir-controller": {"diagnostics": "diagnostics_port"},
}
GRACE_MARGIN_SECONDS = 10
"""From the end of the drain to SIGKILL: streams and servers end within three seconds, on a busy node too."""
FILES = sorted(path for path in DEPLOY.rglob("*.yaml") if not {"local", "ci"} & {*path.parts})
"""Without what `weir up` reads, and other programs."""
REFERENCE = re.compile(r"\$\((\w+)\)")


@pytest.fixture(params=sorted(SETTINGS))
def name(request: pytest.FixtureRequest) -> str:
    """Each component in turn."""
    found: str = request.param
    return found


@pytest.fixture
def workload(overlay: Manifests, name: str) -> Object:
    return overlay.get("Deployment", name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_file_holds_objects(path: Any) -> None:
    objects = read(path)
    assert objects
    for found in objects:
        if isinstance(found, list):  # a patch of JSON (RFC 6902)
            assert all({"op", "path"} <= step.keys() for step in found)
        else:
            assert {"apiVersion", "kind"} <= found.keys()


def test_names_are_unique(overlay: Manifests) -> None:
    names = Counter((each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in overlay.objects)
    assert [key for key, count in names.items() if count > 1] == []


def test_there_is_a_deployment_for_each_component_and_no_other(overlay: Manifests) -> None:
    assert {each["metadata"]["name"] for each in overlay.of("Deployment")} == set(SETTINGS)


def test_everything_is_in_one_namespace(overlay: Manifests) -> None:
    namespaced = [each for each in overlay.objects if each["kind"] not in CLUSTER_KINDS]
    assert len({each["metadata"].get("namespace") for each in namespaced}) == 1
    for binding in overlay.of("RoleBinding", "ClusterRoleBinding"):
        assert [subject["namespace"] for subject in binding["subjects"]] == [namespaced[0]["metadata"]["namespace"]]


CLUSTER_KINDS = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "ClusterTriggerAuthentication"}


def test_one_namespace_needs_nothing_of_the_cluster(overlay_of: Callable[[str], Manifests]) -> None:
    single = overlay_of("single-namespace")
    assert single.of(*CLUSTER_KINDS) == ()
    assert _environment(container(single.get("Deployment", "weir-interceptor")))["WEIR_BACKENDS"] == "kubernetes:default"
    assert _environment(container(single.get("Deployment", "weir-controller")))["WEIR_NAMESPACES"] == "default"


def test_the_whole_cluster_is_the_default(overlay_of: Callable[[str], Manifests]) -> None:
    default = overlay_of("default")
    assert {each["metadata"]["name"] for each in default.of("CustomResourceDefinition")} == {
        "httpscaledobjects.http.keda.sh",
        "interceptorroutes.http.keda.sh",
        "previews.weir.dev",
    }
    assert _environment(container(default.get("Deployment", "weir-interceptor")))["WEIR_BACKENDS"] == "kubernetes:"
    assert "WEIR_NAMESPACES" not in _environment(container(default.get("Deployment", "weir-controller")))


# Names, labels, selectors and ports.


def test_the_deployment_selects_its_own_pods(overlay: Manifests, workload: Object) -> None:
    others = [each for each in overlay.of("Deployment") if each is not workload]
    selector = workload["spec"]["selector"]["matchLabels"]
    assert selects(selector, workload)
    assert not any(selects(selector, other) for other in others)
    for spread in pod(workload)["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"] == selector
    assert {spread["topologyKey"] for spread in pod(workload)["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }


def test_ports_are_those_of_the_settings(name: str, workload: Object) -> None:
    fields = SETTINGS[name].model_fields
    ports = {port["name"]: port["containerPort"] for port in container(workload)["ports"]}
    assert ports == {port: fields[field].default for port, field in PORT_SETTINGS[name].items()}
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["diagnostics"])


def test_services_lead_to_ports_that_exist(overlay: Manifests) -> None:
    for service in overlay.of("Service"):
        (target,) = (each for each in overlay.of("Deployment") if selects(service["spec"]["selector"], each))
        ports = {port["name"]: port["containerPort"] for port in container(target)["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]  # one number for a port wherever it is met


def test_well_known_services(overlay: Manifests) -> None:
    ports = {each["metadata"]["name"]: [port["name"] for port in each["spec"]["ports"]] for each in overlay.of("Service")}
    assert ports == {"weir-interceptor": ["http"], "weir-interceptor-rpc": ["rpc"], "weir-scaler": ["grpc"]}
    fleet = overlay.get("Service", "weir-interceptor-rpc")["spec"]
    assert fleet["clusterIP"] == "None"
    # Who is ready is for its readers to tell: a new interceptor counts from when it serves.
    assert "publishNotReadyAddresses" not in fleet


def test_a_disruption_takes_one_pod_at_a_time(overlay: Manifests, name: str, workload: Object) -> None:
    budget = overlay.get("PodDisruptionBudget", name)["spec"]
    assert budget["selector"]["matchLabels"] == workload["spec"]["selector"]["matchLabels"]
    assert budget["maxUnavailable"] == 1
    assert workload["spec"]["replicas"] >= 2


def test_network_policies_let_in_what_is_named(overlay: Manifests, name: str, workload: Object) -> None:
    policy = overlay.get("NetworkPolicy", name)["spec"]
    assert policy["podSelector"]["matchLabels"] == workload["spec"]["selector"]["matchLabels"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    opened = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
    assert sorted(opened) == sorted(port["name"] for port in container(workload)["ports"])
    unlimited = [port["port"] for rule in policy["ingress"] if "from" not in rule for port in rule["ports"]]
    assert unlimited == (["http"] if name == "weir-interceptor" else [])


def test_network_policies_name_components_that_exist(overlay: Manifests) -> None:
    for policy in overlay.of("NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            for peer in rule.get("from", []):
                if "namespaceSelector" not in peer:
                    assert any(selects(peer["podSelector"]["matchLabels"], each) for each in overlay.of("Deployment"))


def test_no_egress_to_the_credentials_of_clouds(overlay: Manifests) -> None:
    for policy in overlay.of("NetworkPolicy"):
        blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule["to"]]
        assert {block["cidr"] for block in blocks} == {"0.0.0.0/0", "::/0"}
        assert all(block["except"] for block in blocks)


# The environment.


def test_every_variable_is_a_setting_with_a_value_that_is_accepted(
    name: str, workload: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = _environment(container(workload))
    ours = {variable for variable in environment if variable.startswith(ENVIRONMENT_PREFIX)}
    assert ours <= {ENVIRONMENT_PREFIX + field.upper() for field in SETTINGS[name].model_fields}
    for variable in ours:
        monkeypatch.setenv(variable, environment[variable])
    settings = SETTINGS[name].load()
    assert getattr(settings, "log_json") is True  # noqa: B009  # a field of each class, and of none of their bases


def test_variables_refer_to_earlier_ones(workload: Object) -> None:
    known: set[str] = set()
    for variable in container(workload)["env"]:
        assert set(REFERENCE.findall(variable.get("value", ""))) <= known
        known.add(variable["name"])


def test_a_member_is_named_as_its_pod(overlay: Manifests) -> None:
    env = container(overlay.get("Deployment", "weir-interceptor"))["env"]
    (name,) = (variable for variable in env if variable["name"] == "WEIR_MEMBER_NAME")
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_everybody_looks_for_the_fleet_where_its_service_is(overlay: Manifests) -> None:
    service = overlay.get("Service", "weir-interceptor-rpc")
    metadata, (port,) = service["metadata"], service["spec"]["ports"]
    for name in ("weir-scaler", "weir-controller"):
        environment = _environment(container(overlay.get("Deployment", name)), namespace=metadata["namespace"])
        assert environment["WEIR_MEMBERS"] == f"service:{metadata['namespace']}/{metadata['name']}:{port['name']}"


def test_keda_is_sent_to_the_service_of_the_scaler(overlay: Manifests) -> None:
    service = overlay.get("Service", "weir-scaler")
    metadata, (port,) = service["metadata"], service["spec"]["ports"]
    environment = _environment(container(overlay.get("Deployment", "weir-controller")), namespace=metadata["namespace"])
    assert environment["WEIR_SCALER_ADDRESS"] == f"{metadata['name']}.{metadata['namespace']}.svc:{port['port']}"


def test_everybody_reads_one_routing_table(overlay: Manifests) -> None:
    uris = {
        _environment(container(overlay.get("Deployment", each)))["WEIR_ROUTES"] for each in ("weir-interceptor", "weir-scaler")
    }
    assert uris == {"configmap:default/weir-routing-table"}


def test_the_manifests_say_what_is_the_default_anyway(overlay_of: Callable[[str], Manifests]) -> None:
    environment = _environment(container(overlay_of("default").get("Deployment", "weir-controller")), namespace="weir-system")
    fields = ControllerSettings.model_fields
    for field in ("routes", "members", "scaler_address"):
        assert environment[f"WEIR_{field.upper()}"] == fields[field].default


# Life and death.


def test_there_is_time_to_drain(name: str, workload: Object, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in _environment(container(workload)).items():
        monkeypatch.setenv(variable, value)
    settings = SETTINGS[name].load()
    hook = container(workload).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = getattr(settings, "drain_delay", 0) + getattr(settings, "drain_timeout", 0)
    assert pod(workload)["terminationGracePeriodSeconds"] >= hook + drain + GRACE_MARGIN_SECONDS


def test_a_drain_outlasts_a_cold_start(overlay: Manifests, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in _environment(container(overlay.get("Deployment", "weir-interceptor"))).items():
        monkeypatch.setenv(variable, value)
    settings = InterceptorSettings.load()
    assert settings.drain_timeout > settings.readiness_timeout
    assert settings.drain_delay > 0


def test_a_rollout_takes_nothing_away_first(workload: Object) -> None:
    assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_probes_ask_the_diagnostics(workload: Object) -> None:
    probes = {kind: container(workload)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"path": "/livez", "port": "diagnostics"},
        "liveness": {"path": "/livez", "port": "diagnostics"},
        "readiness": {"path": "/readyz", "port": "diagnostics"},
    }


def test_what_is_run_is_the_component(name: str, workload: Object) -> None:
    assert container(workload)["command"] == ["weir", name.removeprefix("weir-")]
    assert container(workload)["image"] == "weir"


# What a pod may do.


def test_containers_are_locked_down(workload: Object) -> None:
    context = pod(workload)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == 65532
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in [*pod(workload)["containers"], *pod(workload).get("initContainers", [])]:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(workload).keys()


def test_memory_is_bounded_and_the_processor_is_not(workload: Object) -> None:
    resources = container(workload)["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) == {"memory"}


def test_services_put_no_variables_into_pods(workload: Object) -> None:
    assert pod(workload)["enableServiceLinks"] is False  # a Service called weir would set WEIR_PORT


def test_each_component_has_an_account_of_its_own(overlay: Manifests, name: str, workload: Object) -> None:
    assert pod(workload)["serviceAccountName"] == name
    assert pod(workload)["automountServiceAccountToken"] is True
    assert overlay.get("ServiceAccount", name)["automountServiceAccountToken"] is False


def test_the_namespace_refuses_pods_that_ask_for_more(overlay_of: Callable[[str], Manifests]) -> None:
    labels = overlay_of("default").get("Namespace", "weir-system")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_bases_name_no_namespace() -> None:
    for path in (DEPLOY / "base").rglob("*.yaml"):
        for found in yaml.safe_load_all(path.read_text()):
            assert "namespace" not in found.get("metadata", {}), path


def _environment(found: Object, *, namespace: str = "default") -> dict[str, str]:
    """The variables as a pod of that namespace would see them."""
    known: dict[str, str] = {}
    for variable in found["env"]:
        if "valueFrom" in variable:
            field = variable["valueFrom"]["fieldRef"]["fieldPath"]
            known[variable["name"]] = {"metadata.namespace": namespace, "metadata.name": "a-pod"}[field]
        else:
            known[variable["name"]] = REFERENCE.sub(lambda reference: known[reference[1]], variable["value"])
    return known
