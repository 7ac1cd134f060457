"""The overlay with certificates: named files are mounted, and the certificates that we make fit the names we dial."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.manifests import DEPLOY, Manifests, Object, container, pod

pytestmark = pytest.mark.timeout(900)

COMPONENTS = ("weir-interceptor", "weir-scaler", "weir-controller")
FILES = {"ca.crt", "tls.crt", "tls.key"}


@pytest.fixture(scope="module")
def secrets() -> dict[str, Object]:
    done = subprocess.run([DEPLOY / "components/tls/certificates", "weir-system", "keda", "2"], check=True, capture_output=True)
    return {found["metadata"]["name"]: found for found in yaml.safe_load_all(done.stdout)}


@pytest.mark.parametrize("name", COMPONENTS)
def test_files_that_are_named_are_mounted(overlay_of: Callable[[str], Manifests], secrets: dict[str, Object], name: str) -> None:
    workload = overlay_of("tls").get("Deployment", name)
    (mount,) = container(workload)["volumeMounts"]
    assert mount["readOnly"] is True
    (volume,) = pod(workload)["volumes"]
    assert volume["name"] == mount["name"]
    assert volume["secret"]["secretName"] == f"{name}-tls"
    assert secrets[f"{name}-tls"]["metadata"]["namespace"] == workload["metadata"]["namespace"]
    paths = [
        PurePosixPath(each["value"]) for each in container(workload)["env"] if "_TLS_" in each["name"] and "/" in each["value"]
    ]
    assert paths
    assert {str(path.parent) for path in paths} == {mount["mountPath"]}
    assert {path.name for path in paths} == FILES


def test_the_group_of_the_pod_may_read_the_key(overlay_of: Callable[[str], Manifests]) -> None:
    for name in COMPONENTS:
        spec = pod(overlay_of("tls").get("Deployment", name))
        assert spec["volumes"][0]["secret"]["defaultMode"] == 0o440
        assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


@pytest.mark.parametrize("name", ["weir-scaler", "weir-controller"])
def test_interceptors_are_asked_for_a_name_they_have(
    overlay_of: Callable[[str], Manifests], secrets: dict[str, Object], name: str
) -> None:
    env = {each["name"]: each.get("value") for each in container(overlay_of("tls").get("Deployment", name))["env"]}
    assert env["WEIR_MEMBER_TLS_NAME"] in _names(secrets["weir-interceptor-tls"])


def test_the_scaler_has_the_name_that_keda_dials(secrets: dict[str, Object]) -> None:
    assert "weir-scaler.weir-system.svc" in _names(secrets["weir-scaler-tls"])
    assert secrets["weir-keda-tls"]["metadata"]["namespace"] == "keda"


def test_keda_presents_its_certificate(overlay_of: Callable[[str], Manifests], secrets: dict[str, Object]) -> None:
    overlay = overlay_of("tls")
    env = {each["name"]: each.get("value") for each in container(overlay.get("Deployment", "weir-controller"))["env"]}
    authentication = overlay.get("ClusterTriggerAuthentication", str(env["WEIR_TRIGGER_AUTHENTICATION"]))
    given = {each["parameter"]: (each["name"], each["key"]) for each in authentication["spec"]["secretTargetRef"]}
    assert given == {
        "caCert": ("weir-keda-tls", "ca.crt"),
        "tlsClientCert": ("weir-keda-tls", "tls.crt"),
        "tlsClientKey": ("weir-keda-tls", "tls.key"),
    }
    assert set(secrets["weir-keda-tls"]["data"]) == FILES


def test_certificates_are_whole_and_of_one_authority(secrets: dict[str, Object]) -> None:
    assert len({found["data"]["ca.crt"] for found in secrets.values()}) == 1
    for found in secrets.values():
        certificate = _certificate(found)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(_read(found, "ca.crt")))
        assert load_pem_private_key(_read(found, "tls.key"), None).public_key() == certificate.public_key()
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("name", "usages"),
    [("weir-interceptor", {"serverAuth"}), ("weir-scaler", {"serverAuth", "clientAuth"}), ("weir-controller", {"clientAuth"})],
)
def test_a_certificate_is_good_for_what_its_owner_does(secrets: dict[str, Object], name: str, usages: set[str]) -> None:
    extension = _certificate(secrets[f"{name}-tls"]).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert {usage._name for usage in extension.value} == usages


def test_keys_leave_nothing_behind(tmp_path: Path) -> None:
    subprocess.run(
        [DEPLOY / "components/tls/certificates"],
        check=True,
        capture_output=True,
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert list(tmp_path.iterdir()) == []


def _read(secret: Object, key: str) -> bytes:
    return base64.b64decode(secret["data"][key])


def _certificate(secret: Object) -> x509.Certificate:
    return x509.load_pem_x509_certificate(_read(secret, "tls.crt"))


def _names(secret: Object) -> list[str]:
    extension = _certificate(secret).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)
