"""What each component may do, listed: a permission more is as much a fault as one less."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.manifests import Manifests, Object

pytestmark = pytest.mark.timeout(900)

Permission = tuple[str, str, str]
"""API group / resource / the only name or "", verb."""

READ = ("list", "watch")

TABLE: set[Permission] = {("/configmaps", "weir-routing-table", verb) for verb in READ} | {("/configmaps", "", "get")}
LEASES: set[Permission] = {("/configmaps", "weir-busy-leases", verb) for verb in READ}
OWN_NAMESPACE: dict[str, set[Permission]] = {
    "weir-interceptor": TABLE | LEASES,
    "weir-scaler": TABLE | LEASES | {("discovery.k8s.io/endpointslices", "", verb) for verb in READ},
    "weir-controller": {("/configmaps", "", verb) for verb in (*READ, "create", "patch", "delete")}
    | {("discovery.k8s.io/endpointslices", "", verb) for verb in READ}
    | {("coordination.k8s.io/leases", "", "create")}
    | {("coordination.k8s.io/leases", "weir-controller", verb) for verb in ("get", "update")},
}
APPLICATIONS: dict[str, set[Permission]] = {
    "weir-interceptor": {("/services", "", verb) for verb in READ}
    | {("discovery.k8s.io/endpointslices", "", verb) for verb in READ},
    "weir-scaler": set(),
    "weir-controller": {
        (f"http.keda.sh/{kind}", "", verb) for kind in ("httpscaledobjects", "interceptorroutes") for verb in READ
    }
    | {(f"http.keda.sh/{kind}/status", "", "patch") for kind in ("httpscaledobjects", "interceptorroutes")}
    | {("http.keda.sh/httpscaledobjects", "", "patch"), ("http.keda.sh/httpscaledobjects/finalizers", "", "update")}
    | {("weir.dev/previews", "", verb) for verb in ("list", "patch")}
    | {("keda.sh/scaledobjects", "", verb) for verb in (*READ, "create", "patch", "delete")}
    | {("/services", "", verb) for verb in READ}
    | {("/configmaps", "", verb) for verb in READ}
    | {("autoscaling/horizontalpodautoscalers", "", verb) for verb in READ}
    | {("/pods", "", "list"), ("/events", "", "list")}
    | {("discovery.k8s.io/endpointslices", "", verb) for verb in READ}
    | {(f"apps/{kind}/scale", "", "get") for kind in ("deployments", "statefulsets")}
    | {("/events", "", "create")},
}


@pytest.fixture(params=sorted(OWN_NAMESPACE))
def account(request: pytest.FixtureRequest) -> str:
    """Each component's ServiceAccount in turn."""
    found: str = request.param
    return found


def test_in_its_own_namespace(overlay_of: Callable[[str], Manifests], account: str) -> None:
    assert _granted(overlay_of("default"), account, "Role") == OWN_NAMESPACE[account]


def test_on_applications_of_all_namespaces(overlay_of: Callable[[str], Manifests], account: str) -> None:
    assert _granted(overlay_of("default"), account, "ClusterRole") == APPLICATIONS[account]


def test_on_applications_of_one_namespace(overlay_of: Callable[[str], Manifests], account: str) -> None:
    assert _granted(overlay_of("single-namespace"), account, "Role") == OWN_NAMESPACE[account] | APPLICATIONS[account]
    assert _granted(overlay_of("single-namespace"), account, "ClusterRole") == set()


def test_no_role_is_left_unbound(overlay: Manifests) -> None:
    bound = {(each["roleRef"]["kind"], each["roleRef"]["name"]) for each in overlay.of("RoleBinding", "ClusterRoleBinding")}
    assert {(each["kind"], each["metadata"]["name"]) for each in overlay.of("Role", "ClusterRole")} == bound


def test_only_our_accounts_are_bound(overlay: Manifests) -> None:
    for binding in overlay.of("RoleBinding", "ClusterRoleBinding"):
        for subject in binding["subjects"]:
            assert subject["kind"] == "ServiceAccount"
            assert subject["name"] in OWN_NAMESPACE


def test_nothing_is_granted_by_a_star(overlay: Manifests) -> None:
    for role in overlay.of("Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"secrets", "pods/exec", "roles"} & set(rule["resources"])


def _granted(overlay: Manifests, account: str, kind: str) -> set[Permission]:
    """What the account is granted by roles of that kind."""
    bindings = overlay.of(f"{kind}Binding")
    mine = [each["roleRef"]["name"] for each in bindings if account in [subject["name"] for subject in each["subjects"]]]
    return {permission for name in mine for permission in _permissions(overlay.get(kind, name))}


def _permissions(role: Object) -> set[Permission]:
    return {
        (f"{group}/{resource}", name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
