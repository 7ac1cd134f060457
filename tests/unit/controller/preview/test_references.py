"""What pods read by name, and how it is called in another namespace."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from controller.preview.references import MAX_REFERENCES, copied_name, permits, pod_elsewhere, references_of, workload_elsewhere
from controller.problem import Problem

POD: dict[str, Any] = {
    "serviceAccountName": "admin",
    "serviceAccount": "admin",
    "imagePullSecrets": [{"name": "pull"}],
    "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "init"}}]}],
    "containers": [
        {
            "name": "a",
            "env": [
                {"name": "PLAIN", "value": "settings"},
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k", "optional": True}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "login", "key": "k"}}},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "envFrom": [{"secretRef": {"name": "more", "optional": True}}, {"configMapRef": {"name": "settings"}}],
        }
    ],
    "volumes": [
        {"name": "v1", "configMap": {"name": "files"}},
        {"name": "v2", "secret": {"secretName": "keys", "optional": True}},
        {
            "name": "v3",
            "projected": {
                "sources": [
                    {"configMap": {"name": "kube-root-ca.crt"}},
                    {"configMap": {"name": "part"}},
                    {"secret": {"name": "half"}},
                    {"serviceAccountToken": {"path": "token"}},
                ]
            },
        },
        {"name": "v4", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "driver"}}},
        {"name": "v5", "azureFile": {"secretName": "azure"}},
        {"name": "v6", "cephfs": {"secretRef": {"name": "ceph"}}},
        {"name": "v7", "emptyDir": {}},
    ],
}


def test_everything_that_is_read_by_name() -> None:
    assert references_of(POD) == {
        ("Secret", "pull"): False,
        ("ConfigMap", "init"): True,
        ("ConfigMap", "settings"): True,
        ("Secret", "login"): True,
        ("Secret", "more"): False,
        ("ConfigMap", "files"): True,
        ("Secret", "keys"): False,
        ("ConfigMap", "part"): True,
        ("Secret", "half"): True,
        ("Secret", "driver"): True,
        ("Secret", "azure"): True,
        ("Secret", "ceph"): True,
    }


def test_elsewhere_it_has_other_names_and_the_default_service_account() -> None:
    before = deepcopy(POD)
    made = pod_elsewhere(POD, lambda name: f"c.{name}")
    assert before == POD
    assert {name for _, name in references_of(made)} == {f"c.{name}" for _, name in references_of(POD)}
    assert not {"serviceAccountName", "serviceAccount"} & made.keys()
    assert made["containers"][0]["env"][0] == {"name": "PLAIN", "value": "settings"}
    assert made["volumes"][2]["projected"]["sources"][0] == {"configMap": {"name": "kube-root-ca.crt"}}


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}]}, "volume d is a PersistentVolumeClaim"),
        ({"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]}, "resourceClaims"),
        ({"hostNetwork": True}, "hostNetwork"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, "volumes of the machine"),
        ({"containers": [{"name": "a", "securityContext": {"privileged": True}}]}, "more privileges"),
        ({"containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 53}]}]}, "ports of the machine"),
        ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "not confined"),
        (
            {"volumes": [{"name": "v", "csi": {"driver": "d", "volumeAttributes": {"secretProviderClass": "theirs"}}}]},
            "volume v has volumeAttributes",
        ),
        (
            {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"dataSource": {"name": "theirs"}}}}}]},
            "volume v has a dataSource",
        ),
    ],
)
def test_what_is_not_taken_to_another_namespace(more: dict[str, Any], what: str) -> None:
    """Who may write a Deployment may not run what it says: the Pod Security of their namespace refuses that, not of the other."""
    with pytest.raises(Problem, match=what):
        pod_elsewhere({"containers": [{"name": "a"}], **more}, str)


@pytest.mark.parametrize("field", ["dataSource", "dataSourceRef"])
def test_volumes_of_a_stateful_set_begin_with_nothing_of_the_other_namespace(field: str) -> None:
    claim: dict[str, Any] = {"metadata": {"name": "data"}, "spec": {"storageClassName": "fast"}}
    spec = {"template": {"spec": {"containers": [{"name": "a"}]}}, "volumeClaimTemplates": [claim]}
    assert workload_elsewhere(spec, str) == spec
    claim["spec"][field] = {"kind": "PersistentVolumeClaim", "name": "theirs"}
    with pytest.raises(Problem, match=f"volume data has a {field}"):
        workload_elsewhere(spec, str)


def test_pods_that_an_annotation_unconfines_stay_where_they_are() -> None:
    annotations = {"container.apparmor.security.beta.kubernetes.io/a": "unconfined"}
    spec = {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "a"}]}}}
    with pytest.raises(Problem, match=r"container\.apparmor"):
        workload_elsewhere(spec, str)


def test_there_is_a_most() -> None:
    containers = [{"name": "a", "envFrom": [{"secretRef": {"name": f"s{number}"}} for number in range(MAX_REFERENCES + 1)]}]
    with pytest.raises(Problem, match=f"{MAX_REFERENCES} can be copied at most"):
        references_of({"containers": containers})


@pytest.mark.parametrize(
    ("given", "namespace", "good"),
    [
        ("qa", "qa", True),
        ("a, qa ,b", "qa", True),
        ("qa-*", "qa-1", True),
        ("*", "qa", True),
        ("qa", "qa-1", False),
        ("qa-*", "qa", False),
        ("*-qa", "a-qa", False),
        ("q?", "qa", False),
        ("", "qa", False),
        (",,", "qa", False),
    ],
)
def test_which_namespaces_an_annotation_names(given: str, namespace: str, good: bool) -> None:
    assert permits(given, namespace) is good


def test_names_of_copies_are_no_others() -> None:
    assert copied_name("web--f1", "settings") == "web--f1.settings"
    long = [copied_name("web--f1", "x" * 250 + end) for end in "ab"]
    assert len(set(long)) == 2
    assert max(map(len, long)) <= 253
