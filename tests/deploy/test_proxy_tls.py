"""The component that has interceptors serve TLS: a Secret, a port, and who may reach it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from fleet import defaults
from tests.support.manifests import DEPLOY, Manifests, build, container

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=["default", "single-namespace", "tls"])
def manifests(program: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Manifests:
    paths = {name: os.path.relpath(DEPLOY / name, tmp_path) for name in ("overlays", "components")}
    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{paths['overlays']}/{request.param}"],
        "components": [f"{paths['components']}/proxy-tls"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return build(program, tmp_path)


def test_the_certificate_is_where_the_settings_say(manifests: Manifests) -> None:
    (deployment,) = [each for each in manifests.of("Deployment") if each["metadata"]["name"] == "weir-interceptor"]
    own = container(deployment)
    environment = {each["name"]: each.get("value") for each in own["env"]}
    (mounted,) = [each for each in own["volumeMounts"] if each["name"] == "proxy-tls"]
    assert mounted["readOnly"]
    assert environment["WEIR_PROXY_TLS_CERT"] == f"{mounted['mountPath']}/tls.crt"
    assert environment["WEIR_PROXY_TLS_KEY"] == f"{mounted['mountPath']}/tls.key"
    (volume,) = [each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "proxy-tls"]
    assert volume["secret"]["secretName"] == "weir-proxy-tls"
    assert {"name": "https", "containerPort": defaults.PROXY_TLS_PORT} in [
        {key: each[key] for key in ("name", "containerPort")} for each in own["ports"]
    ]
    assert environment["WEIR_ROUTES"]  # what was there stays


def test_it_is_reached_beside_plaintext(manifests: Manifests) -> None:
    (service,) = [each for each in manifests.of("Service") if each["metadata"]["name"] == "weir-interceptor"]
    assert {(each["name"], each["port"], each["targetPort"]) for each in service["spec"]["ports"]} == {
        ("http", 8080, "http"),
        ("https", 8443, "https"),
    }
    (policy,) = [each for each in manifests.of("NetworkPolicy") if each["metadata"]["name"] == "weir-interceptor"]
    everybody = [rule for rule in policy["spec"]["ingress"] if "from" not in rule]
    assert [[port["port"] for port in rule["ports"]] for rule in everybody] == [["http", "https"]]
