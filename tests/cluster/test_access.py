"""Permissions of the components: only what they need. The other tests show, with the manifests' accounts, that it is enough."""

import pytest

from tests.cluster.api import Api, ApiError, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import URL
from tests.cluster.weir import NAMESPACE, Weir

Words = tuple[str, str, str, str]
"""Verb, group, resource, namespace ("" for all)."""

EVERYONE: tuple[Words, ...] = (
    ("get", "", "secrets", ""),
    ("list", "", "secrets", NAMESPACE),
    ("create", "", "pods", NAMESPACE),
    ("create", "", "pods/exec", NAMESPACE),
    ("watch", "", "pods", ""),
    ("watch", "", "events", ""),
    ("get", "", "pods/log", "default"),
    ("list", "", "nodes", ""),
    ("create", "", "serviceaccounts/token", NAMESPACE),
    ("delete", "apps", "deployments", "default"),
    ("patch", "apps", "deployments/scale", "default"),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings", ""),
    ("impersonate", "", "users", ""),
    ("patch", "", "configmaps", "default"),
    ("update", "http.keda.sh", "httpscaledobjects", "default"),
    ("delete", "http.keda.sh", "httpscaledobjects", "default"),
    ("patch", "", "services", "default"),
    ("create", "authorization.k8s.io", "subjectaccessreviews", ""),
)
"""Actions that no component may do."""
DATA_PLANES: tuple[Words, ...] = (
    ("list", "", "pods", ""),
    ("list", "", "events", ""),
    ("get", "apps", "deployments/scale", "default"),
    ("list", "", "configmaps", "default"),
    ("list", "http.keda.sh", "httpscaledobjects", "default"),
    ("patch", "http.keda.sh", "httpscaledobjects", "default"),
    ("list", "keda.sh", "scaledobjects", "default"),
    ("patch", "", "configmaps", NAMESPACE),
    ("update", "coordination.k8s.io", "leases", NAMESPACE),
    ("create", "", "events", "default"),
    ("list", "autoscaling", "horizontalpodautoscalers", "default"),
)
REFUSED: dict[str, tuple[Words, ...]] = {
    "weir-interceptor": (*EVERYONE, *DATA_PLANES),
    "weir-scaler": (
        *EVERYONE,
        *DATA_PLANES,
        ("list", "", "services", "default"),
        ("list", "discovery.k8s.io", "endpointslices", "default"),
    ),
    "weir-controller": (
        *EVERYONE,
        ("patch", "discovery.k8s.io", "endpointslices", "default"),
        ("get", "apps", "deployments", "default"),
        ("update", "keda.sh", "scaledobjects/status", ""),
        ("patch", "autoscaling", "horizontalpodautoscalers", "default"),
        ("delete", "autoscaling", "horizontalpodautoscalers", "default"),
    ),
}
NEEDED: dict[str, Words] = {
    "weir-interceptor": ("list", "discovery.k8s.io", "endpointslices", "default"),
    "weir-scaler": ("list", "discovery.k8s.io", "endpointslices", NAMESPACE),
    "weir-controller": ("create", "keda.sh", "scaledobjects", "default"),
}


async def allowed(api: Api, account: str, words: Words, *, home: str = NAMESPACE) -> bool:
    """Whether the account, in that namespace, is allowed to do this."""
    verb, group, kind, namespace = words
    resource, _, subresource = kind.partition("/")
    attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace}
    user = f"system:serviceaccount:{home}:{account}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    answer = await api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("account", REFUSED)
async def test_a_component_may_do_what_it_needs_and_nothing_else(weir: Weir, api: Api, account: str) -> None:
    assert await allowed(api, account, NEEDED[account])
    assert [words for words in REFUSED[account] if await allowed(api, account, words)] == []


@pytest.mark.parametrize("account", REFUSED)
async def test_a_pods_own_token_is_no_more(cluster: Cluster, weir: Weir, api: Api, account: str) -> None:
    """Sends requests with the token that the component has."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = await api.create(namespaced("serviceaccounts", NAMESPACE, account) + "/token", request)
    async with Api(URL, token=made["status"]["token"], ca=cluster.plane.ca) as own:
        pods = () if account == "weir-controller" else (namespaced("pods"),)
        for path in (namespaced("secrets"), namespaced("secrets", NAMESPACE), *pods, namespaced("nodes")):
            with pytest.raises(ApiError) as refused:
                await own.list(path)
            assert refused.value.status == 403


async def test_no_pod_of_ours_runs_with_more_than_it_says(weir: Weir, api: Api) -> None:
    pods = await api.list(namespaced("pods", NAMESPACE), labelSelector="app.kubernetes.io/name=weir")
    assert len(pods) >= 6
    for pod in pods:
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        for container in pod["spec"]["containers"]:
            context: Object = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
