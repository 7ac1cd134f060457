"""Releases by the Admin API, made by the real helm, on an API server in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.admin.documents import Problem
from controller.admin.releases.helm import Helm
from fleet.discovery.kubernetes.client import ApiError
from tests.support.charts import CHART, chart, packed
from tests.wire.admin import AdminRig
from tests.wire.releases import CONFIG, RELEASES, call, config, document, left, new_api, permit, problem_of, releases

METACHARACTERS = "$(touch /tmp/evil); `id` && \"'\\ | > < * ? # ~ {{ .Values }} {a,b} \n\t é \u2028 %s --set a=b"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[AdminRig]:
    async with releases(new_api(), tmp_path) as held:
        yield held


async def test_installed_upgraded_rolled_back_deleted(rig: AdminRig) -> None:
    data = chart({"config.yaml": CONFIG})
    made = await call(rig, "POST", content=document(data))
    assert made.status_code == 201, made.text
    assert (made.json()["revision"]["status"], made.json()["revision"]["chart"], config(rig)) == (
        "deployed",
        "web-1.0.0",
        "hello",
    )
    again = await call(rig, "POST", content=document(data))
    assert (again.status_code, again.json()["revision"]["revision"]) == (200, 1)
    problem_of(await call(rig, "POST", content=document(data, values={"greeting": "x"})), 409, "exists")

    changed = await call(rig, "PUT", "/web", document(data, values={"greeting": METACHARACTERS, "<<": {"greeting": "no"}}))
    assert (changed.status_code, changed.json()["revision"]["revision"]) == (200, 2), changed.text
    assert config(rig) == METACHARACTERS
    assert changed.json()["values"] == {"greeting": METACHARACTERS, "<<": {"greeting": "no"}}

    back = await call(rig, "POST", "/web/rollback", {})
    assert (back.status_code, back.json()["revision"]["revision"], config(rig)) == (200, 3, "hello"), back.text
    history = (await call(rig, "GET", "/web/history")).json()["items"]
    assert [(one["revision"], one["status"]) for one in history] == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    listed = (await call(rig, "GET")).json()
    assert ([(one["name"], one["revision"]) for one in listed["items"]], listed["next"]) == ([("web", 3)], None)

    assert (await call(rig, "DELETE", "/web?dryRun=All")).status_code == 204
    assert config(rig) == "hello"
    assert (await call(rig, "DELETE", "/web")).status_code == 204
    assert left(rig) == []
    problem_of(await call(rig, "GET", "/web"), 404, "not-found")
    problem_of(await call(rig, "DELETE", "/web"), 404, "not-found")
    problem_of(await call(rig, "POST", "/web/rollback", {}), 404, "not-found")


async def test_what_fails_leaves_what_there_was_and_says_why(rig: AdminRig) -> None:
    data = chart({"config.yaml": CONFIG})
    broken = chart({"config.yaml": CONFIG, "more.yaml": CONFIG.replace("-config", "-more")})

    def refuse(method: str, path: str) -> ApiError | None:
        new = method == "POST" and path.endswith("/shop/configmaps")
        return ApiError("configmaps are full", status=422) if new and full else None

    rig.api.refuse = refuse
    full = True
    failed = problem_of(await call(rig, "POST", content=document(data)), 422, "helm-failed")
    assert (failed.step, failed.rolled_back) == ("install", True)
    assert "configmaps are full" in failed.detail
    assert left(rig) == []

    full = False
    assert (await call(rig, "POST", content=document(data))).status_code == 201
    full = True
    failed = problem_of(await call(rig, "PUT", "/web", document(broken, values={"greeting": "new"})), 422, "helm-failed")
    assert (failed.step, failed.rolled_back, config(rig)) == ("upgrade", True, "hello")
    full = False
    found = (await call(rig, "GET", "/web")).json()
    assert (found["revision"]["status"], found["values"]) == ("deployed", {})
    template = chart({"config.yaml": '{{ fail "no: $(id)" }}'})
    assert "no: $(id)" in problem_of(await call(rig, "PUT", "/web", document(template)), 422, "invalid-chart").detail


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        ({"a.yaml": "kind: ConfigMap\napiVersion: v1\nmetadata: {}\n"}, "without apiVersion, kind or name"),
        ({"a.yaml": "kind: Nonsense\napiVersion: none.example/v1\nmetadata: {name: a}\n"}, "which the cluster does not have"),
        ({"a.yaml": "kind: Pod\napiVersion: ../v1\nmetadata: {name: a}\n"}, "which the cluster does not have"),
        ({"a.yaml": "{{ .Values.a.b.c }}"}, "nil pointer"),
        ({"a.yaml": "a: " + "[" * 5000}, ""),
        ({"a.yaml": "a: {{ repeat 2000000000 \"ab\" }}"}, ""),
        ({"a.yaml": "{{ range until 2000000000 }}a{{ end }}"}, ""),
        ({"a.yaml": "a: {{ repeat 6000000 \"a\" }}"}, "written more than"),
        ({"a.yaml": "{{ define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}"}, ""),
        ({f"{number}.yaml": CONFIG.replace("-config", f"-{number}") for number in range(1001)}, "more than 1000 objects"),
    ],
    ids=["nameless", "unknown", "odd version", "nil", "deep", "memory", "loop", "long", "recursion", "many"],
)  # fmt: skip
async def test_hostile_charts(rig: AdminRig, templates: dict[str, str], said: str) -> None:
    answer = await call(rig, "POST", content=document(chart(templates)))
    assert said in problem_of(answer, 422, "invalid-chart").detail
    assert left(rig) == []


async def test_archives_that_helm_never_sees(rig: AdminRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Helm, "run", None)
    evil = [packed({"web/Chart.yaml": "name: web", "../../evil": "x"}), b"no gzip", packed({"web/a": "b"})]
    for data in evil:
        problem = problem_of(await call(rig, "POST", content=document(data)), 422, "invalid-chart")
        assert problem.errors[0].pointer == "/chart/archive"


async def test_documents_that_are_refused(rig: AdminRig) -> None:
    good = document(chart({"config.yaml": CONFIG}))
    wrong: list[tuple[dict[str, Any], str]] = [
        (good | {"name": "-x"}, "/name"),
        (good | {"name": "Web"}, "/name"),
        (good | {"chart": {}}, "/chart"),
        (good | {"chart": {"archive": "a", "oci": "oci://a/b"}}, "/chart"),
        (good | {"chart": {"archive": "!"}}, "/chart/archive"),
        (good | {"chart": {"archive": "abc"}}, "/chart/archive"),
        (good | {"chart": {"repository": "https://user:password@example.com", "name": "a"}}, "/chart/repository"),
        (good | {"chart": {"repository": "https://example.com/../x", "name": "a"}}, "/chart/repository"),
        (good | {"chart": {"repository": "file:///etc", "name": "a"}}, "/chart/repository"),
        (good | {"chart": {"repository": "https://example.com", "name": "--help"}}, "/chart/name"),
        (good | {"chart": {"oci": "oci://example.com/a", "version": "--plain-http"}}, "/chart/version"),
        (good | {"chart": {"repository": "https://metadata.internal", "name": "a"}}, "/chart/repository"),
        (good | {"values": []}, "/values"),
        (good | {"values": {"a": [{"b": float("inf")}]}}, "/values"),
        (good | {"timeout": 0}, "/timeout"),
        (good | {"more": 1}, "/more"),
        (good | {"expose": [{"service": "none"}]}, "/expose/0/service"),
    ]
    for content, pointer in wrong:
        sent = json.dumps(content).replace("Infinity", "1e999").encode()
        answer = await rig.client.post(RELEASES, content=sent, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, (pointer, answer.text)
        assert Problem.model_validate(answer.json()).errors[0].pointer == pointer, answer.text
    problem_of(await call(rig, "PUT", "/other", good), 422, "invalid-document")
    await call(rig, "POST", content=good)
    problem_of(await call(rig, "POST", "/web/rollback", {}), 422, "invalid-document")
    problem_of(await call(rig, "POST", "/web/rollback", {"revision": 7}), 422, "invalid-document")
    large = await rig.client.post(RELEASES, content=b"[" + b" " * (6 << 20) + b"]", headers={"Content-Type": "application/json"})
    problem_of(large, 413, "too-large")


# -- permissions ------------------------------------------------------------------------------------------------------


def forbid(rig: AdminRig, **attributes: str) -> None:
    permit(rig, lambda asked: not all(asked.get(key) == value for key, value in attributes.items()))


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"verb": "create", "resource": "secrets"}, "create secrets"),
        ({"verb": "create", "resource": "configmaps"}, "create configmaps"),
        ({"verb": "delete", "resource": "configmaps"}, "delete configmaps web-config"),
    ],
)
async def test_each_permission_is_needed(rig: AdminRig, attributes: dict[str, str], said: str) -> None:
    forbid(rig, **attributes)
    problem = problem_of(await call(rig, "POST", content=document(chart({"config.yaml": CONFIG}))), 403, "forbidden")
    assert said in problem.detail
    assert not rig.api.written("/namespaces/shop/")


async def test_what_is_not_made_any_more_needs_the_permission_to_delete_it(rig: AdminRig) -> None:
    other = CONFIG.replace("-config", "-other").replace("v1\nkind: ConfigMap", "v1\nkind: ServiceAccount").split("\ndata:")[0]
    at = "/api/v1/namespaces/shop/serviceaccounts/web-other"
    first, second = chart({"config.yaml": CONFIG}), chart({"config.yaml": CONFIG, "other.yaml": other})
    for data in (first, second):
        made = await call(rig, "PUT", "/web", document(data))
        assert made.status_code in (200, 201), made.text
    assert at in rig.api.objects
    forbid(rig, verb="delete", resource="serviceaccounts")
    for answer in (
        await call(rig, "PUT", "/web", document(first)),
        await call(rig, "POST", "/web/rollback", {"revision": 1}),
        await call(rig, "DELETE", "/web"),
    ):
        assert "delete serviceaccounts" in problem_of(answer, 403, "forbidden").detail
    assert at in rig.api.objects
    assert [one["status"] for one in (await call(rig, "GET", "/web/history")).json()["items"]] == ["superseded", "deployed"]
    permit(rig, lambda asked: True)
    assert (await call(rig, "POST", "/web/rollback", {"revision": 1})).status_code == 200
    assert at not in rig.api.objects


async def test_reading_needs_permission(rig: AdminRig) -> None:
    await call(rig, "POST", content=document(chart({"config.yaml": CONFIG})))
    forbid(rig, verb="list", resource="secrets")
    for path in ("", "/web", "/web/history"):
        problem_of(await call(rig, "GET", path), 403, "forbidden")
    forbid(rig, verb="delete", resource="configmaps")
    problem_of(await call(rig, "DELETE", "/web"), 403, "forbidden")
    assert config(rig) == "hello"


async def test_nobody_gets_in_without_a_token(rig: AdminRig) -> None:
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("PUT", "/web"),
        ("GET", "/web"),
        ("DELETE", "/web"),
        ("POST", "/web/rollback"),
    ):
        answer = await call(rig, method, path, {}, headers={"Authorization": "Bearer nonsense"})
        problem_of(answer, 401, "unauthenticated")


CLUSTER_ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: everything}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
"""


async def test_what_belongs_to_no_namespace_is_refused_before_anything_is_done(rig: AdminRig) -> None:
    permit(rig, lambda asked: asked["namespace"] == "shop")
    answer = await call(rig, "POST", content=document(chart({"config.yaml": CONFIG, "role.yaml": CLUSTER_ROLE})))
    assert "clusterroles" in problem_of(answer, 403, "forbidden").detail
    other = CONFIG.replace("name: {{", "namespace: other\n  name: {{")
    answer = await call(rig, "POST", content=document(chart({"config.yaml": other})))
    assert "in namespace other" in problem_of(answer, 403, "forbidden").detail
    hook = CLUSTER_ROLE.replace("{name: everything}", '{name: everything, annotations: {"helm.sh/hook": pre-install}}')
    problem_of(await call(rig, "POST", content=document(chart({"config.yaml": CONFIG, "role.yaml": hook}))), 403, "forbidden")
    crds = packed({"web/Chart.yaml": CHART, "web/crds/a.yaml": CLUSTER_ROLE})
    problem_of(await call(rig, "POST", content=document(crds)), 403, "forbidden")
    assert not rig.api.written("/namespaces/shop/")


async def test_a_chart_that_says_something_else_the_second_time(rig: AdminRig) -> None:
    """Its permissions were checked when it rendered to a harmless object: helm then asks the cluster, and finds the flag."""
    rig.api.put("/api/v1/namespaces/shop/configmaps/flag", apiVersion="v1", kind="ConfigMap")
    permit(rig, lambda asked: asked["namespace"] == "shop")
    trick = '{{ if lookup "v1" "ConfigMap" "shop" "flag" }}\n' + CLUSTER_ROLE + "{{ end }}"
    problem = problem_of(
        await call(rig, "POST", content=document(chart({"config.yaml": CONFIG, "role.yaml": trick}))), 403, "forbidden"
    )
    assert ("clusterroles" in problem.detail, problem.rolled_back) == (True, True)
    assert left(rig) == ["/api/v1/namespaces/shop/configmaps/flag"]
    assert not rig.api.written("clusterroles")


async def test_a_chart_reads_no_secrets_of_others(rig: AdminRig) -> None:
    rig.api.put("/api/v1/namespaces/other/secrets/key", apiVersion="v1", kind="Secret", data={"a": "c2VjcmV0"})
    permit(rig, lambda asked: asked["namespace"] == "shop")
    thief = CONFIG.replace(
        '{{ .Values.greeting | default "hello" | toJson }}', '{{ lookup "v1" "Secret" "other" "key" | toJson | quote }}'
    )
    answer = await call(rig, "POST", content=document(chart({"config.yaml": thief})))
    assert "get secrets key in namespace other" in problem_of(answer, 403, "forbidden").detail
    assert "c2VjcmV0" not in answer.text
    assert left(rig) == []


ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: default, namespace: shop}]
"""


async def test_a_role_grants_no_more_than_its_writer_has(rig: AdminRig) -> None:
    rbac = ("escalate", "bind")
    permit(rig, lambda asked: asked["verb"] not in rbac)
    assert (await call(rig, "POST", content=document(chart({"role.yaml": ROLE})))).status_code == 201
    assert (await call(rig, "DELETE", "/web")).status_code == 204
    permit(rig, lambda asked: asked["verb"] not in rbac and asked["resource"] != "pods")
    problem = problem_of(await call(rig, "POST", content=document(chart({"role.yaml": ROLE}))), 403, "forbidden")
    assert ("escalate" in problem.detail, problem.rolled_back) == (True, True)
    assert left(rig) == []
    binding = ROLE.partition("---\n")[2].replace("kind: Role,", "kind: ClusterRole,")
    problem = problem_of(await call(rig, "POST", content=document(chart({"role.yaml": binding}))), 403, "forbidden")
    assert "bind" in problem.detail
    permit(rig, lambda asked: True)
    assert (await call(rig, "POST", content=document(chart({"role.yaml": binding})))).status_code == 201
