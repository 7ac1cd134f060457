"""Which source a setting opens, and the errors for invalid ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.discovery.dns import DnsMembers
from fleet.discovery.files import FileBackends, FileMembers, FileRoutes
from fleet.discovery.fixed import FixedMembers
from fleet.discovery.kubernetes.backends import KubernetesBackends
from fleet.discovery.kubernetes.members import KubernetesMembers
from fleet.discovery.kubernetes.routes import KubernetesRoutes
from fleet.discovery.sources import Member, SourceError
from fleet.discovery.uri import open_backends, open_members, open_routes


def test_each_form_opens_its_source() -> None:
    assert isinstance(open_routes("file:/etc/weir/routes.json"), FileRoutes)
    assert isinstance(open_backends("file:backends.json"), FileBackends)
    assert isinstance(open_members("file:members.json"), FileMembers)
    assert isinstance(open_members("dns:interceptor.weir.svc:9090"), DnsMembers)


def test_a_list_of_addresses_names_each_member_by_its_address() -> None:
    source = open_members("127.0.0.1:9090, [::1]:9090,127.0.0.1:9090")
    assert isinstance(source, FixedMembers)
    assert source.current == (Member("127.0.0.1:9090", "127.0.0.1:9090"), Member("[::1]:9090", "[::1]:9090"))


@pytest.mark.parametrize("uri", ["", "routes.json", "file:", "http://example.com"])
def test_what_is_no_file_is_named(uri: str) -> None:
    with pytest.raises(SourceError, match=f"routes: '{uri}' is not \"file:PATH\""):
        open_routes(uri)
    with pytest.raises(SourceError, match="backends: "):
        open_backends(uri)


def test_kubernetes_is_opened_where_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert isinstance(open_routes("configmap:weir-system/weir-routing-table"), KubernetesRoutes)
    for uri in ("kubernetes:", "kubernetes:default", "kubernetes:team-a,team-b"):
        assert isinstance(open_backends(uri), KubernetesBackends)
    assert isinstance(open_members("service:weir-system/weir-interceptor-rpc:rpc"), KubernetesMembers)
    assert isinstance(open_members("service:9090"), FixedMembers), "a host of that name"


def test_without_credentials_there_is_no_kubernetes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SourceError, match="no kubeconfig"):
        open_routes("configmap:weir-system/weir-routing-table")


@pytest.mark.parametrize(
    ("opener", "uri"),
    [
        (open_routes, "configmap:"),
        (open_routes, "configmap:name"),
        (open_routes, "configmap:a/b/c"),
        (open_routes, "configmap:A/b"),
        (open_backends, "kubernetes:a,"),
        (open_backends, "kubernetes:a/b"),
        (open_members, "service:a/b"),
        (open_members, "service:a/b:"),
        (open_members, "service:a/../b:rpc"),
    ],
)
def test_a_wrong_form_of_kubernetes_is_named(opener: Callable[[str], object], uri: str) -> None:
    with pytest.raises(SourceError, match=f'{uri!r} is not "'):
        opener(uri)


@pytest.mark.parametrize("uri", ["", "a", "a:", ":9090", "a:0", "a:65536", "a:9090,", "dns:", "dns:name", "dns:name:x", "file:"])
def test_what_names_no_members_is_refused(uri: str) -> None:
    with pytest.raises(SourceError, match=r"members|dns"):
        open_members(uri)
