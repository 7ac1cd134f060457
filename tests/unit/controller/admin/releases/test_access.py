"""What a request of helm would do, and which requests are none of helm's."""

from __future__ import annotations

import pytest

from controller.admin.authorization import Need
from controller.admin.releases.access import Access, NotForHelm, accesses_of, is_discovery

NAMESPACED = "/api/v1/namespaces/shop/configmaps"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


@pytest.mark.parametrize(
    ("method", "path", "query", "wanted"),
    [
        ("GET", f"{NAMESPACED}/a", "", ["get configmaps a in namespace shop"]),
        ("GET", NAMESPACED, "", ["list configmaps in namespace shop"]),
        ("GET", NAMESPACED, "watch", ["list configmaps in namespace shop", "watch configmaps in namespace shop"]),
        ("POST", NAMESPACED, "", ["create configmaps in namespace shop"]),
        ("PUT", f"{NAMESPACED}/a", "", ["update configmaps a in namespace shop", "create configmaps in namespace shop"]),
        ("PATCH", f"{NAMESPACED}/a", "", ["patch configmaps a in namespace shop"]),
        ("DELETE", f"{NAMESPACED}/a", "", ["delete configmaps a in namespace shop"]),
        ("DELETE", NAMESPACED, "", ["deletecollection configmaps in namespace shop"]),
        ("GET", "/api/v1/secrets", "", ["list secrets in the whole cluster"]),
        ("POST", ROLES, "", ["create clusterroles.rbac.authorization.k8s.io in the whole cluster"]),
        ("GET", "/api/v1/namespaces/shop", "", ["get namespaces shop in namespace shop"]),
        ("DELETE", "/api/v1/namespaces/shop", "", ["delete namespaces shop in namespace shop"]),
    ],
)
def test_what_a_request_needs(method: str, path: str, query: str, wanted: list[str]) -> None:
    assert [str(access) for access in accesses_of(method, path, dict.fromkeys([query] if query else [], "1"))] == wanted


def test_an_applied_object_may_be_new() -> None:
    found = accesses_of("PATCH", f"{NAMESPACED}/a", {}, "application/apply-patch+yaml")
    assert found == (Access(Need("patch", "", "configmaps"), "shop", "a"), Access(Need("create", "", "configmaps"), "shop"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/shop/pods/a/exec"),
        ("POST", "/api/v1/namespaces/shop/serviceaccounts/a/token"),
        ("GET", "/api/v1/namespaces/shop/services/a/proxy"),
        ("GET", "/api/v1/watch/secrets"),
        ("GET", "/api/v1/proxy/nodes/a"),
        ("PUT", "/api/v1/namespaces/shop/finalize"),
        ("PATCH", "/api/v1/namespaces/shop/status"),
        ("GET", "/api/v1/namespaces/shop/../other/secrets"),
        ("GET", "/api/v1/namespaces/shop%2f..%2fother/secrets"),
        ("GET", "/api/v1//secrets"),
        ("GET", "/api/v1/secrets/"),
        ("GET", "/api/v1/namespaces/shop/secrets/a?b"),
        ("GET", "/api/v2/secrets"),
        ("GET", "/metrics"),
        ("GET", "/openapi/v2"),
        ("GET", "/apis/apps/v1"),
        ("POST", "/api/v1"),
        ("POST", "/apis"),
        ("POST", f"{NAMESPACED}/a"),
        ("PUT", NAMESPACED),
        ("PATCH", NAMESPACED),
        ("HEAD", NAMESPACED),
        ("CONNECT", NAMESPACED),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
        ("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests"),
        ("POST", "/apis/authorization.k8s.io/v1/namespaces/shop/localsubjectaccessreviews"),
        ("GET", ""),
        ("GET", "api/v1/secrets"),
    ],
)
def test_what_helm_has_no_need_of(method: str, path: str) -> None:
    with pytest.raises(NotForHelm):
        accesses_of(method, path, {})


@pytest.mark.parametrize(
    "path",
    [
        "/version",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/apis/a.example.com/v1beta1",
        "/openapi/v3",
        "/openapi/v3/apis/apps/v1",
    ],
)
def test_which_kinds_there_are(path: str) -> None:
    assert is_discovery(path)


@pytest.mark.parametrize(
    "path", ["/", "/apis/apps/v1/deployments", "/api/v1/secrets", "/apis/../api/v1", "/version/x", "/metrics"]
)
def test_what_tells_more_than_kinds(path: str) -> None:
    assert not is_discovery(path)
