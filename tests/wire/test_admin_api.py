"""The Admin API over HTTP: who may do what, what is refused and how, and what is left in the log."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.admin import authentication, body
from controller.admin.authorization import NEEDS
from controller.admin.documents import Problem
from controller.settings import ControllerSettings
from fleet.discovery.kubernetes.client import ApiError
from fleet.runtime import guarded
from fleet.runtime.settings import SettingsError
from tests.support.apply_api import ApplyApi
from tests.support.certificates import Authority
from tests.support.waiting import until
from tests.wire.admin import APPS, AdminRig, admin, new_api, paths_of

WEB = {"name": "web", "image": "example.com/web:1"}
HTTP, SERVICE, DEPLOYMENT = paths_of()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[AdminRig]:
    async with admin(new_api(), tmp_path / "routes.json", "--admin-rate", "1000") as held:
        yield held


def problem_of(answer: httpx.Response, kind: str) -> Problem:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate(answer.json())
    assert (problem.type, problem.status) == (f"urn:weir:problem:{kind}", answer.status_code)
    return problem


async def test_from_one_call_to_the_last(rig: AdminRig) -> None:
    made = await rig.call("POST", body=WEB)
    assert (made.status_code, made.json()["state"], made.json()["url"]) == (201, "asleep", "http://web.shop/")
    again = await rig.call("POST", body=WEB)
    assert (again.status_code, again.json()) == (200, made.json())
    other = await rig.call("POST", body=WEB | {"image": "x"})
    problem_of(other, "exists")
    assert (await rig.call("GET", "/web")).json() == made.json()
    listed = (await rig.call("GET")).json()
    assert ([item["name"] for item in listed["items"]], listed["next"]) == (["web"], None)
    put = await rig.call("PUT", "/web", WEB | {"replicas": {"min": 1, "max": 2}})
    assert (put.status_code, put.json()["app"]["replicas"]) == (200, {"min": 1, "max": 2})
    patched = await rig.client.patch(
        f"{APPS}/web", content=b'{"replicas": {"min": null}}', headers={"Content-Type": "application/merge-patch+json"}
    )
    assert (patched.status_code, patched.json()["app"]["replicas"]) == (200, {"min": 0, "max": 2})
    assert (await rig.call("DELETE", "/web")).status_code == 204
    problem_of(await rig.call("GET", "/web"), "not-found")
    problem_of(await rig.call("DELETE", "/web"), "not-found")
    assert not [path for path in rig.api.objects if "/namespaces/shop/" in path]
    assert not [path for path in rig.api.objects if "weir-admin" in path]


async def test_dependencies_of_an_app(rig: AdminRig) -> None:
    wanted = ["db", {"name": "mail", "optional": False, "keep_awake": False}]
    made = await rig.call("POST", body=WEB | {"depends_on": wanted})
    assert (made.status_code, made.json()["app"]["depends_on"]) == (201, wanted)
    same = await rig.call("POST", body=WEB | {"depends_on": [{"name": "db"}, {"name": "mail", "keep_awake": False}]})
    assert (same.status_code, same.headers["etag"]) == (200, made.headers["etag"])
    headers = {"Content-Type": "application/merge-patch+json"}
    wrong = await rig.client.patch(f"{APPS}/web", content=b'{"depends_on": ["db", "web"]}', headers=headers)
    assert [fault.pointer for fault in problem_of(wrong, "invalid-document").errors] == ["/depends_on/1"]
    patched = await rig.client.patch(f"{APPS}/web", content=b'{"depends_on": ["api"]}', headers=headers)
    assert (patched.status_code, patched.json()["app"]["depends_on"]) == (200, ["api"])
    assert patched.headers["etag"] != made.headers["etag"]
    put = await rig.call("PUT", "/web", WEB)
    assert (put.status_code, put.json()["app"]["depends_on"]) == (200, [])


async def test_weirs_controller_gives_it_a_scaled_object_when_it_is_complete(rig: AdminRig) -> None:
    await rig.call("POST", body=WEB)
    scaled = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/web"
    await until(lambda: scaled in rig.api.objects)
    assert not any("skip" in name for name in rig.api.objects[scaled]["metadata"].get("annotations", {}))
    rig.api.put(scaled, status={"conditions": [{"type": "Active", "status": "True"}], "lastActiveTime": "2026-01-01T00:00:00Z"})
    found = (await rig.call("GET", "/web")).json()
    assert (found["active"], found["last_active"]) == (True, "2026-01-01T00:00:00Z")
    assert (await rig.call("DELETE", "/web")).status_code == 204
    assert scaled not in rig.api.objects


async def test_pages(rig: AdminRig) -> None:
    for number in range(5):
        await rig.call("POST", body={"name": f"app-{number}", "image": "x"})
    names, token = [], ""
    for _ in range(3):
        page = (await rig.call("GET", f"?limit=2{token}")).json()
        names.append([item["name"] for item in page["items"]])
        token = f"&continue={page['next']}"
    assert (names, page["next"]) == ([["app-0", "app-1"], ["app-2", "app-3"], ["app-4"]], None)
    for query in ("?limit=0", "?limit=501", "?limit=x", "?continue=", "?continue=" + "a" * 5000):
        problem_of(await rig.call("GET", query), "invalid-parameter")
    assert (await rig.call("GET", "?continue=x")).status_code == 422


CALLS = [
    ("list", "GET", "", None),
    ("create", "POST", "", WEB),
    ("get", "GET", "/web", None),
    ("replace", "PUT", "/web", WEB | {"image": "other"}),
    ("patch", "PATCH", "/web", {"image": "other"}),
    ("delete", "DELETE", "/web", None),
]


async def send(rig: AdminRig, method: str, path: str, content: Any, **headers: str) -> httpx.Response:
    media = "application/merge-patch+json" if method == "PATCH" else "application/json"
    fields = {"Content-Type": media, **headers}
    return await rig.client.request(method, APPS + path, content=None if content is None else json.dumps(content), headers=fields)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0])
@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Basic YTpi", "Bearer nobody", "Bearer a b", "Bearer " + "a" * 20_000, "adam"]
)
async def test_without_a_token_of_the_cluster(rig: AdminRig, call: tuple[str, str, str, Any], authorization: str) -> None:
    _, method, path, content = call
    before = len(rig.api.writes)
    answer = await send(rig, method, path, content, Authorization=authorization)
    problem_of(answer, "unauthenticated")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert not [spec for spec in rig.api.reviews if "user" in spec]
    assert not [write for write in rig.api.writes[before:] if "/shop/" in write[1]]


@pytest.mark.parametrize(("action", "method", "path", "content"), CALLS)
async def test_each_permission_is_needed(rig: AdminRig, action: str, method: str, path: str, content: Any) -> None:
    """Without any one of them nothing is read or written; with all of them, and no others, it is done."""
    if action != "create":
        await rig.call("POST", body=WEB)
    needed = {(need.verb, need.group, need.resource) for need in NEEDS[action]}

    def attributes(spec: dict[str, Any]) -> tuple[str, str, str]:
        found = spec["resourceAttributes"]
        return (found["verb"], found["group"], found["resource"])

    for missing in sorted(needed):
        rest = needed - {missing}
        rig.api.allowed = lambda spec, rest=rest: attributes(spec) in rest  # type: ignore[misc]
        before, reads = rig.api.objects | {}, len(rig.api.reads)
        answer = await send(rig, method, path, content)
        assert answer.status_code == 403
        assert missing[0] in problem_of(answer, "forbidden").detail
        assert {key: value for key, value in rig.api.objects.items() if "/leases" not in key} == {
            key: value for key, value in before.items() if "/leases" not in key
        }
        assert not [path for path in rig.api.reads[reads:] if path.endswith(("/httpscaledobjects", "/web"))]
    rig.api.allowed = lambda spec: (
        attributes(spec) in needed and spec["resourceAttributes"]["namespace"] == "shop" and spec["user"] == "adam"
    )
    assert (await send(rig, method, path, content)).status_code in (200, 201, 204)
    asked = [spec for spec in rig.api.reviews if "user" in spec][-1]
    assert (asked["uid"], asked["groups"], asked["extra"]) == ("uid-of-adam", ["system:authenticated"], {"scopes": ["a"]})


async def test_reviews_that_fail_permit_nothing(rig: AdminRig) -> None:
    for part in ("tokenreviews", "subjectaccessreviews"):
        rig.api.refuse = lambda method, path, part=part: ApiError("down") if path.endswith(part) else None  # type: ignore[misc]
        answer = await send(rig, "POST", "", WEB, Authorization="Bearer eve")
        assert answer.status_code == 503
        problem_of(answer, "cluster-unavailable")
    assert HTTP not in rig.api.objects


async def test_a_token_is_in_no_answer_and_in_no_line_of_the_log(rig: AdminRig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = "eyJ-a-secret-token"  # noqa: S105
    invalid = ApiError(f'TokenReview is invalid: spec.token: Invalid value: "{token}"', status=422)
    for refusal in (None, invalid):
        rig.api.refuse = lambda method, path, refusal=refusal: refusal if path.endswith("tokenreviews") else None  # type: ignore[misc]
        for method, path, content in [
            ("GET", "", None),
            ("POST", "", WEB),
            ("POST", "/web/sleep", None),
            ("GET", "/web/logs", None),
        ]:
            answer = await send(rig, method, path, content, Authorization=f"Bearer {token}")
            assert answer.status_code in (401, 429, 503)
            assert "secret" not in answer.text
    assert "secret-token" not in caplog.text


async def test_pages_of_other_origins_and_names_get_nothing(rig: AdminRig) -> None:
    """No origin is allowed (CORS), and no call has a right that a browser adds by itself: so a name that leads here (DNS
    rebinding) is of no use either."""
    asks = {"Origin": "https://evil.example.com", "Access-Control-Request-Method": "POST", "Authorization": ""}
    for method, path in (("OPTIONS", APPS), ("GET", APPS), ("GET", "/openapi.json"), ("POST", APPS)):
        answer = await rig.client.request(method, path, headers=asks | {"Host": "evil.example.com"})
        assert answer.status_code in (200, 401, 405)
        assert (answer.status_code == 200) == (path == "/openapi.json")
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "set-cookie"]


async def test_methods_that_there_are_not(rig: AdminRig) -> None:
    for method in ("HEAD", "OPTIONS", "TRACE", "PROPFIND"):
        for path in ("", "/web", "/web/wake", "/web/logs"):
            answer = await rig.client.request(method, APPS + path)
            assert answer.status_code == 405
            assert answer.headers["allow"]
    assert (await rig.client.head(APPS)).content == b""


async def test_a_token_is_for_an_audience(tmp_path: Path) -> None:
    async with admin(new_api(), tmp_path / "routes.json", "--admin-audiences", "weir,other") as rig:
        assert (await rig.call("GET")).status_code == 200
        assert rig.api.reviews[0]["audiences"] == ["weir", "other"]
        # An authenticator that knows nothing of audiences accepts any token, and returns none.
        rig.api.returns_audiences = False
        problem_of(await rig.call("GET", Authorization="Bearer eve"), "unauthenticated")


async def test_a_token_is_remembered_for_a_moment_only(rig: AdminRig, monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.gather(*(rig.call("GET") for _ in range(20)))
    assert len([spec for spec in rig.api.reviews if "token" in spec]) == 1
    del rig.api.tokens["adam"]
    assert (await rig.call("GET")).status_code == 200
    monkeypatch.setattr(authentication, "REMEMBERED_SECONDS", -1.0)
    rig.api.tokens["new"] = {"username": "new"}
    assert (await rig.call("GET", Authorization="Bearer new")).status_code == 200
    del rig.api.tokens["new"]
    problem_of(await rig.call("GET", Authorization="Bearer new"), "unauthenticated")


async def test_guessing_tokens_is_slow(rig: AdminRig) -> None:
    answers = [await rig.call("GET", Authorization=f"Bearer guess-{number}") for number in range(30)]
    assert [answer.status_code for answer in answers][:20] == [401] * 20
    problem_of(answers[-1], "too-many")
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert len(rig.api.reviews) <= 25


async def test_each_user_has_a_rate(tmp_path: Path) -> None:
    async with admin(new_api(), tmp_path / "routes.json", "--admin-rate", "1") as rig:
        answers = [await rig.call("GET") for _ in range(8)]
        assert {answer.status_code for answer in answers} == {200, 429}
        problem_of(answers[-1], "too-many")
        assert (await rig.call("GET", Authorization="Bearer eve")).status_code == 200


async def test_a_namespace_that_is_not_watched(tmp_path: Path) -> None:
    async with admin(new_api(), tmp_path / "routes.json", "--namespaces", "other") as rig:
        problem_of(await rig.call("POST", body=WEB), "not-served")
        assert HTTP not in rig.api.objects


@pytest.mark.parametrize(
    ("content", "fields", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (b"\xff", {}, 400),
        (b'{"name": NaN}', {}, 400),
        (b'{"name": "\\ud800"}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"name": ' + b"1" * 100_000 + b"}", {}, 400),
        (b'{"name": "web", "image": "x", "image": "y"}', {}, 400),
        (b'{"name": "web", "image": "x", "replicas": {"max": 1, "m\\u0061x": 2}}', {}, 400),
        (b'{"name": "web", "image": "x", "cooldown": 1e400}', {}, 422),
        (b'{"name": "web", "image": "x", "cooldown": 300.5}', {}, 422),
        ('{"name": "web", "image": "x"}'.encode("utf-16"), {}, 400),
        (b'{"name": ' * 150 + b"1" + b"}" * 150, {}, 422),
        (b"null", {}, 422),
        (b'{"name": "web", "image": "x", "' + b"a" * 1000 + b'": 1}', {}, 422),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        (b"{}", {"Content-Type": "application/merge-patch+json"}, 415),
        (b"x" * (body.MAX_BODY + 1), {}, 413),
    ],
)
async def test_bodies_that_are_refused(rig: AdminRig, content: bytes, fields: dict[str, str], status: int) -> None:
    began = time.process_time()
    answer = await rig.client.post(APPS, content=content, headers={"Content-Type": "application/json"} | fields)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 10_000
    assert time.process_time() - began < 1.0


async def test_a_body_without_a_length_is_bounded_as_well(rig: AdminRig) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b" " * 65_536

    try:
        answer = await rig.client.post(APPS, content=endless(), headers={"Content-Type": "application/json"})
    except (httpx.WriteError, httpx.ReadError):
        return  # the connection was closed while it was being sent
    assert answer.status_code == 413


async def test_a_body_that_does_not_arrive(rig: AdminRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.controller.admin_port)
    head = f"POST {APPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer adam\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_head_that_does_not_end(rig: AdminRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "GUARDED_HEAD_SECONDS", 0.2)
    for sent in (b"", b"GET / HTTP/1.1\r\nA: b\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.controller.admin_port)
        writer.write(sent)
        async with asyncio.timeout(60):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.controller.admin_port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):  # noqa: PT012
        writer.write(b"GET / HTTP/1.1\r\n")
        for number in range(100):
            writer.write(f"A{number}: {'b' * 1000}\r\n".encode())
            await writer.drain()
        await reader.readexactly(1)
    writer.close()


async def test_a_connection_may_be_used_again(rig: AdminRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "GUARDED_HEAD_SECONDS", 0.3)
    for _ in range(5):
        assert (await rig.call("GET")).status_code == 200
        await asyncio.sleep(0.1)  # less than the time for a head, and more in all


async def test_etags(rig: AdminRig) -> None:
    made = await rig.call("POST", body=WEB)
    old = made.headers["etag"]
    rig.api.changed_by_other(DEPLOYMENT, "keda", {"spec": {"replicas": 3}})
    rig.api.put(HTTP, status={"conditions": []})
    assert (await rig.call("GET", "/web")).headers["etag"] == old, "neither scaling nor a status is a change of the document"
    assert (await rig.call("PUT", "/web", WEB | {"image": "b"}, If_Match=old)).status_code == 200
    for method, content in (("PUT", WEB), ("DELETE", None)):
        answer = await rig.call(method, "/web", content, If_Match=old)
        problem_of(answer, "changed")
        assert answer.headers["etag"] not in ("", old)
    assert (await send(rig, "PATCH", "/web", {"image": "c"}, **{"If-Match": old})).status_code == 412
    current = (await rig.call("GET", "/web")).headers["etag"]
    assert (await rig.call("PUT", "/web", WEB, If_Match=f'"x", {current}')).status_code == 200
    assert (await rig.call("PUT", "/web", WEB | {"image": "d"}, If_Match="*")).status_code == 200
    assert (await rig.call("PUT", "/none", WEB | {"name": "none"}, If_Match="*")).status_code == 412
    assert paths_of("none")[0] not in rig.api.objects
    assert (await rig.call("DELETE", "/web", If_Match="*")).status_code == 204


async def test_of_many_updates_from_one_version_one_wins(rig: AdminRig) -> None:
    old = (await rig.call("POST", body=WEB)).headers["etag"]
    calls = [rig.call("PUT", "/web", WEB | {"image": f"x:{number}"}, If_Match=old) for number in range(10)]
    assert sorted(answer.status_code for answer in await asyncio.gather(*calls)) == [200] + [412] * 9


async def test_a_dry_run_writes_nothing(rig: AdminRig) -> None:
    planned = await rig.call("POST", "?dryRun=All", WEB)
    assert [item["kind"] for item in planned.json()["objects"]] == ["HTTPScaledObject", "Service", "Deployment"]
    assert planned.json()["objects"][2]["spec"]["replicas"] == 0
    assert not [path for path in rig.api.objects if "/shop/" in path]
    await rig.call("POST", body=WEB)
    before = {path: found for path, found in rig.api.objects.items() if path in paths_of()}
    planned = await rig.call("PUT", "/web?dryRun=All", WEB | {"image": "b"})
    image = planned.json()["objects"][2]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert (planned.status_code, image) == (200, "b")
    assert (await send(rig, "PATCH", "/web?dryRun=All", {"image": "c"})).status_code == 200
    assert (await rig.call("DELETE", "/web?dryRun=All")).status_code == 204
    assert (await rig.call("POST", "?dryRun=All", WEB | {"image": "b"})).status_code == 409
    assert {path: found for path, found in rig.api.objects.items() if path in paths_of()} == before
    problem_of(await rig.call("POST", "?dryRun=Some", WEB), "invalid-parameter")


async def test_a_failed_step_is_named(rig: AdminRig) -> None:
    rig.api.refuse = lambda method, path: (
        ApiError("exceeded quota", status=403) if path == DEPLOYMENT and method == "PATCH" else None
    )
    problem = problem_of(await rig.call("POST", body=WEB), "refused-by-cluster")
    assert (problem.step, problem.rolled_back) == ("creating Deployment", True)
    assert "exceeded quota" in problem.detail
    assert not {HTTP, SERVICE, DEPLOYMENT} & rig.api.objects.keys()


async def test_a_caller_who_leaves_does_not_leave_half_of_it(rig: AdminRig) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", rig.controller.admin_port)
    content = json.dumps(WEB)
    head = f"POST {APPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer adam\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
    await until(lambda: HTTP in rig.api.objects)
    writer.transport.abort()
    await until(lambda: DEPLOYMENT in rig.api.objects and not rig.api.objects[HTTP]["metadata"].get("annotations"))


async def test_every_change_leaves_a_line(rig: AdminRig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "controller.admin.audit")
    await rig.call("POST", body=WEB)
    await rig.call("POST", body={"name": "web"})
    rig.api.allowed = lambda spec: False
    await rig.call("DELETE", "/web")
    await rig.call("PUT", "/web?dryRun=All", WEB)
    lines = [record.getMessage() for record in caplog.records if record.name == "controller.admin.audit"]
    assert lines[0] == "create app shop/web by 'adam': created"
    assert lines[1] == "create app shop/ by 'adam': 422 /image: is missing"
    assert lines[2].startswith("delete app shop/web by 'adam': 403 adam may not in namespace shop: delete deployments.apps")
    assert lines[3].startswith("replace (dry run) app shop/web by 'adam': 403 ")
    assert "Bearer" not in caplog.text


async def test_what_there_is_not(rig: AdminRig) -> None:
    assert problem_of(await rig.client.get("/v1/nothing"), "no-such-call").status == 404
    for path in (f"{APPS}/../web", f"{APPS}/", "/v1/namespaces/shop%2Fx/apps", f"{APPS}/web%00", f"{APPS}/{'a' * 64}"):
        answer = await rig.client.get(path)
        assert answer.status_code in (404, 422), path
        assert answer.headers["content-type"] == "application/problem+json"
    answer = await rig.client.request("OPTIONS", APPS)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    for path in ("/docs", "/redoc"):
        assert (await rig.client.get(path)).status_code == 404
    assert (await rig.client.get("/openapi.json", headers={"Authorization": ""})).status_code == 200


async def test_the_document_describes_every_field(rig: AdminRig) -> None:
    described = (await rig.client.get("/openapi.json")).json()
    schemas = described["components"]["schemas"]
    assert schemas["Document"]["required"] == ["name", "image"]
    assert schemas["Document"]["additionalProperties"] is False
    for path in described["paths"].values():
        for call in path.values():
            assert {"401", "403", "422", "429", "500", "503"} <= call["responses"].keys()
            assert call["description"]


async def test_tls_and_a_certificate_that_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.admin.tls.LOOK_SECONDS", 0.05)
    authority = Authority("clients trust this")
    first, second = authority.issue("first", "localhost"), authority.issue("second", "localhost")
    cert, key, ca = tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt"
    cert.write_bytes(first[0])
    key.write_bytes(first[1])
    ca.write_bytes(authority.pem)
    trust = ssl.create_default_context(cafile=ca)
    trust.check_hostname = False  # it is called by its address
    flags = ["--admin-tls-cert", str(cert), "--admin-tls-key", str(key)]
    async with admin(new_api(), tmp_path / "routes.json", *flags, scheme="https", verify=trust) as rig:
        assert (await rig.call("POST", body=WEB)).status_code == 201
        shown = await asyncio.to_thread(_shown, rig.controller.admin_port)
        cert.write_bytes(b"nonsense")
        await asyncio.sleep(0.2)  # it has looked, and keeps the last one
        assert await asyncio.to_thread(_shown, rig.controller.admin_port) == shown
        key.write_bytes(second[1])
        cert.write_bytes(second[0])
        await asyncio.sleep(0.2)  # it looks at the files four times meanwhile
        assert await asyncio.to_thread(_shown, rig.controller.admin_port) != shown
        with pytest.raises(httpx.HTTPError):
            await httpx.AsyncClient(trust_env=False).get(f"http://127.0.0.1:{rig.controller.admin_port}/openapi.json")


def _shown(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=5)


def test_tokens_are_not_sent_in_plain_text_by_accident(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--admin-plaintext"):
        ControllerSettings.load(["--admin"])
    for flags in (["--admin-domain", "a b"], ["--admin-domain", "*.a"], ["--admin-url", "http://x"], ["--admin-url", "{host}"]):
        with pytest.raises(SettingsError):
            ControllerSettings.load(["--admin", "--admin-plaintext", *flags])
    assert ControllerSettings.load(["--admin", "--admin-plaintext", "--admin-domain", "Apps.Example.com."]).admin_domain == (
        "apps.example.com"
    )


async def test_without_the_setting_nothing_listens(tmp_path: Path) -> None:
    assert ControllerSettings.load([]).admin is False
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with admin(ApplyApi(), tmp_path / "routes.json", "--no-admin", "--admin-port", str(free.getsockname()[1])) as rig:
            assert rig.controller.admin_port == 0
