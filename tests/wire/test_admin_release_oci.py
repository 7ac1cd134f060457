"""Charts of a registry (OCI), from which the real helm takes them: with a password or tokens, by a Secret that is named."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.charts import chart, packed
from tests.support.oci import PASSWORD, USER, Auth, registry
from tests.wire.admin import AdminRig
from tests.wire.releases import CONFIG, call, config, left, new_api, permit, problem_of, releases

KEPT = "/api/v1/namespaces/shop/secrets/registry"
OLD, NEW = (chart({"config.yaml": CONFIG.replace('"hello"', f'"{word}"')}, version=word) for word in ("1.0.0", "1.1.0"))
EVIL = packed({"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 3.0.0\n", "web/../../evil": "x"})


def document(source: str, **fields: Any) -> dict[str, Any]:
    return {"name": "web", "chart": {"oci": source, **fields}, "timeout": 20}


def put_secret(rig: AdminRig, data: Mapping[str, str | bytes]) -> None:
    rig.api.objects.pop(KEPT, None)
    whole = {key: value if isinstance(value, bytes) else value.encode() for key, value in data.items()}
    encoded = {key: base64.b64encode(value).decode() for key, value in whole.items()}
    rig.api.put(KEPT, apiVersion="v1", kind="Secret", data=encoded)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
async def test_a_chart_of_a_registry(auth: Auth, tmp_path: Path) -> None:
    async with registry(tmp_path, auth) as held:
        below = f"oci://{held.host}/charts"
        held.put("charts/web", "1.0.0", OLD)
        held.put("charts/web", "1.1.0", NEW)
        held.put("other/web", "1.0.0", OLD)
        async with releases(new_api(), tmp_path, "--admin-charts", below) as rig:
            put_secret(rig, {"username": USER, "password": PASSWORD, "ca.crt": held.pem})
            made = await call(rig, "POST", content=document(f"{below}/web", version="1.0.0", credentials="registry"))
            assert (made.status_code, config(rig)) == (201, "1.0.0"), made.text
            assert {scheme for _, scheme in held.requests} == {"", "Basic", *(["Bearer"] if auth == "bearer" else ())}
            # As docker writes it, with a program that would be asked for the password: nobody starts it.
            login = {"auths": {held.host: held.login}, "credsStore": "nobody", "credHelpers": {held.host: "nobody"}}
            put_secret(rig, {".dockerconfigjson": json.dumps(login), "ca.crt": held.pem})
            newest = await call(rig, "PUT", "/web", document(f"{below}/web", credentials="registry"))
            assert (newest.status_code, config(rig), newest.json()["revision"]["revision"]) == (200, "1.1.0", 2), newest.text
            asked = len(held.requests)
            elsewhere = document(f"oci://{held.host}/other/web", credentials="registry")
            problem_of(await call(rig, "PUT", "/web", elsewhere), 422, "invalid-chart")
            assert len(held.requests) == asked


async def test_what_a_registry_refuses_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    async with registry(tmp_path, "bearer") as held:
        below = f"oci://{held.host}/charts"
        held.put("charts/web", "1.0.0", OLD)
        held.put("charts/web", "3.0.0", EVIL)
        good: dict[str, str | bytes] = {"username": USER, "password": PASSWORD, "ca.crt": held.pem}
        wrong = "not that one"
        async with releases(new_api(), tmp_path, "--admin-charts", below) as rig:
            for secret, fields, why in (
                (good | {"password": wrong}, {"version": "1.0.0"}, "401"),
                ({"ca.crt": held.pem}, {"version": "1.0.0"}, "401"),
                ({"username": USER, "password": PASSWORD}, {"version": "1.0.0"}, "certificate"),
                (good, {"version": "2.0.0"}, "not found"),
                (good, {"version": "3.0.0"}, "leads elsewhere"),
            ):
                put_secret(rig, secret)
                answer = await call(rig, "POST", content=document(f"{below}/web", credentials="registry", **fields))
                refused = problem_of(answer, 422, "invalid-chart")
                assert why in refused.detail, refused.detail
                assert PASSWORD not in answer.text
                assert wrong not in answer.text
            asked = len(held.requests)
            permit(rig, lambda spec: (spec["verb"], spec["resource"]) != ("get", "secrets"))
            without = document(f"{below}/web", version="1.0.0", credentials="registry")
            problem_of(await call(rig, "POST", content=without), 403, "forbidden")
            assert len(held.requests) == asked, "it was not asked"
            assert [path for path in left(rig) if path != KEPT] == []
