"""The calls of kedahttp, as its own documentation and command line send them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.discovery.kubernetes.client import ApiError
from tests.wire.admin import AdminRig, admin, new_api, paths_of

HTTP, SERVICE, DEPLOYMENT = paths_of()
WEB = b'{"name": "web", "image": "example.com/web:1", "port": "9000"}'


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[AdminRig]:
    flags = ["--admin-rate", "1000", "--admin-kedahttp-namespace", "shop"]
    async with admin(new_api(), tmp_path / "routes.json", *flags) as held:
        yield held


async def test_an_app_is_made_and_deleted(rig: AdminRig) -> None:
    for _ in range(2):
        # As curl -d sends it, whatever it contains.
        made = await rig.client.post("/app", content=WEB, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert (made.status_code, made.content) == (200, b"")
    container = rig.api.objects[DEPLOYMENT]["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("example.com/web:1", [{"name": "ENV", "value": "cscaler"}])
    assert rig.api.objects[HTTP]["spec"]["scaleTargetRef"]["port"] == 9000
    for _ in range(2):
        gone = await rig.client.delete("/app", params={"name": "web"})
        assert (gone.status_code, gone.text) == (200, "deleted")
    assert not [path for path in rig.api.objects if "/namespaces/shop/" in path]


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"{", 400, "decoding request"),
        (b"[]", 400, "decoding request"),
        (b'{"name": "web", "image": "x", "port": 80}', 400, "decoding request"),
        (b'{"name": "web", "image": "x", "port": "http"}', 400, "invalid port"),
        (b'{"name": "web", "image": "x", "port": "0"}', 400, "invalid port"),
        ('{"name": "web", "image": "x", "port": "\u0664\u0664"}'.encode(), 400, "invalid port"),
        (b'{"name": "web", "image": "x", "port": "' + b"9" * 10_000 + b'"}', 400, "invalid port"),
        (b'{"name": "web", "image": "x"}', 400, "invalid port"),
        (b'{"name": "../web", "image": "x", "port": "80"}', 400, "/name"),
        (b'{"name": "web", "port": "80"}', 400, "/image"),
        (b" " * 300_000, 413, "the body has more"),
    ],
)
async def test_what_is_refused(rig: AdminRig, content: bytes, status: int, text: str) -> None:
    answer = await rig.client.post("/app", content=content)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert answer.text.startswith(text)
    assert HTTP not in rig.api.objects


async def test_callers_without_a_permission(rig: AdminRig) -> None:
    for method in ("POST", "DELETE"):
        answer = await rig.client.request(method, "/app?name=web", content=WEB, headers={"Authorization": ""})
        assert (answer.status_code, "www-authenticate" in answer.headers) == (401, True)
    rig.api.allowed = lambda spec: False
    for method in ("POST", "DELETE"):
        assert (await rig.client.request(method, "/app?name=web", content=WEB)).status_code == 403
    assert HTTP not in rig.api.objects


@pytest.mark.parametrize(("path", "word"), [(HTTP, "scaledobject"), (SERVICE, "service"), (DEPLOYMENT, "deployment")])
async def test_a_failure_leaves_nothing(rig: AdminRig, path: str, word: str) -> None:
    refusal = ApiError("exceeded quota", status=403)
    rig.api.refuse = lambda method, at: refusal if at == path and method == "PATCH" else None
    answer = await rig.client.post("/app", content=WEB)
    assert (answer.status_code, answer.text) == (500, f"creating {word}")
    assert not [at for at in rig.api.objects if "/namespaces/shop/" in at]


async def test_names(rig: AdminRig) -> None:
    missing = await rig.client.delete("/app")
    assert (missing.status_code, missing.text) == (400, "'name' query param required")
    assert (await rig.client.delete("/app", params={"name": "../x"})).status_code == 400
    await rig.client.post("/app", content=WEB)
    other = await rig.client.post("/app", content=WEB.replace(b"9000", b"9001"))
    assert other.status_code == 409
    rig.api.refuse = lambda method, at: ApiError("down") if method == "DELETE" else None
    failed = await rig.client.delete("/app", params={"name": "web"})
    assert (failed.status_code, failed.text) == (500, "deleting scaledobject")


async def test_many_at_once_are_one_app(rig: AdminRig) -> None:
    answers = await asyncio.gather(*(rig.client.post("/app", content=WEB) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


async def test_it_is_off_unless_switched_on(tmp_path: Path) -> None:
    async with admin(new_api(), tmp_path / "routes.json") as rig:
        assert (await rig.client.post("/app", content=WEB)).status_code == 404
        assert (await rig.client.delete("/app?name=web")).status_code == 404
