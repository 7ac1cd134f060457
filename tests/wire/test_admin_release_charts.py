"""Where charts come from: repositories, with credentials of a Secret, fetched by the real helm; and where not."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.charts import CHART, chart, packed
from tests.wire.admin import AdminRig
from tests.wire.releases import CONFIG, call, config, left, new_api, permit, problem_of, releases
from tests.wire.releases import document as plain

CHARTS = {"web-1.0.0.tgz": chart({"config.yaml": CONFIG}), "evil-1.0.0.tgz": packed({"web/../../evil": "x"})}
PASSWORD = "pass word:'$(id)"  # noqa: S105


class Repository:
    """A chart repository behind a password."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/charts"
        self.requests: list[tuple[str, str]] = []
        """Path, and the field Authorization."""
        self.index: str | None = None


@asynccontextmanager
async def repository() -> AsyncIterator[Repository]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        fields = [line.partition(": ")[2] for line in head.split("\r\n") if line.lower().startswith("authorization:")]
        served.requests.append((path, "".join(fields)))
        index = "apiVersion: v1\nentries:\n" + "".join(
            f"  {name[:-10]}:\n  - {{apiVersion: v2, name: {name[:-10]}, version: 1.0.0, urls: [{name}]}}\n" for name in CHARTS
        )
        index = served.index or index
        wanted = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
        content = {"/charts/index.yaml": index.encode(), **{f"/charts/{name}": data for name, data in CHARTS.items()}}.get(path)
        status = "401 Unauthorized" if "".join(fields) != wanted else "200 OK" if content is not None else "404 Not Found"
        body = content if status == "200 OK" and content is not None else b""
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    served = Repository(server.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        server.close()


def put_secret(rig: AdminRig, **data: str) -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    rig.api.put("/api/v1/namespaces/shop/secrets/charts", apiVersion="v1", kind="Secret", data=encoded)


def document(source: str, name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"name": "web", "chart": {"repository": source, "name": name, **fields}, "timeout": 20}


async def test_a_chart_of_a_repository(tmp_path: Path) -> None:
    async with repository() as held, releases(new_api(), tmp_path, "--admin-charts", held.url) as rig:
        put_secret(rig, username="user", password=PASSWORD)
        made = await call(rig, "POST", content=document(held.url, credentials="charts"))
        assert (made.status_code, config(rig)) == (201, "hello"), made.text
        assert [path for path, _ in held.requests] == ["/charts/index.yaml", "/charts/web-1.0.0.tgz"]
        again = await call(rig, "PUT", "/web", document(held.url, credentials="charts", version="1.0.0"))
        assert (again.status_code, again.json()["revision"]["revision"]) == (200, 1), again.text

        evil = problem_of(await call(rig, "PUT", "/web", document(held.url, "evil", credentials="charts")), 422, "invalid-chart")
        assert "leads elsewhere" in evil.detail
        for wrong in (document(held.url), document(held.url, "none", credentials="charts"), document(held.url, credentials="no")):
            refused = problem_of(await call(rig, "PUT", "/web", wrong), 422, "invalid-chart")
            assert PASSWORD not in refused.detail
        assert "401 Unauthorized" in problem_of(await call(rig, "PUT", "/web", document(held.url)), 422, "invalid-chart").detail


async def test_credentials_need_the_permission_to_read_them(tmp_path: Path) -> None:
    async with repository() as held, releases(new_api(), tmp_path, "--admin-charts", held.url) as rig:
        put_secret(rig, username="user", password=PASSWORD)
        permit(rig, lambda asked: (asked["verb"], asked["resource"]) != ("get", "secrets"))
        problem_of(await call(rig, "POST", content=document(held.url, credentials="charts")), 403, "forbidden")
        assert held.requests == []


async def test_other_addresses_are_not_asked(tmp_path: Path) -> None:
    async with repository() as held, releases(new_api(), tmp_path, "--admin-charts", f"{held.url}/ours,oci://a.example/b") as rig:
        for source in (held.url, f"{held.url}/ours2", f"{held.url}/ourselves/x"):
            problem_of(await call(rig, "POST", content=document(source)), 422, "invalid-chart")
        oci = {"name": "web", "chart": {"oci": "oci://a.example/bc"}}
        problem_of(await call(rig, "POST", content=oci), 422, "invalid-chart")
        assert held.requests == []
        assert left(rig) == []


async def test_an_index_leads_nowhere_else(tmp_path: Path) -> None:
    async with repository() as held, repository() as other, releases(new_api(), tmp_path, "--admin-charts", held.url) as rig:
        put_secret(rig, username="user", password=PASSWORD)
        elsewhere = [
            f"{other.url}/web-1.0.0.tgz",
            "../other/web-1.0.0.tgz",
            "%2e%2e/web-1.0.0.tgz",
            f"//127.0.0.1:{other.url.rpartition(':')[2]}/web-1.0.0.tgz",
            "http://user@127.0.0.1:1/web.tgz",
            "file:///etc/passwd",
            "oci://127.0.0.1:1/web",
        ]
        for url in elsewhere:
            held.index = f"apiVersion: v1\nentries: {{web: [{{apiVersion: v2, name: web, version: 1.0.0, urls: ['{url}']}}]}}"
            answer = await call(rig, "POST", content=document(held.url, credentials="charts"))
            assert "is not below one of WEIR_ADMIN_CHARTS" in problem_of(answer, 422, "invalid-chart").detail
        assert {path for path, _ in held.requests} == {"/charts/index.yaml"}
        assert other.requests == []
        # Of several versions, those that are here are taken.
        versions = [("2.0.0", elsewhere[0]), ("1.0.0", "web-1.0.0.tgz"), ("0.9.0", "none.tgz")]
        held.index = (
            "apiVersion: v1\nentries: {web: ["
            + ",".join(f"{{apiVersion: v2, name: web, version: {one}, urls: ['{url}']}}" for one, url in versions)
            + "]}"
        )
        made = await call(rig, "POST", content=document(held.url, credentials="charts"))
        assert made.status_code == 201, made.text
        assert other.requests == []


@pytest.mark.parametrize(
    "index", ["entries: [", "a: &a [*a]", "[]", "entries: {web: {}}", "entries: {web: [1, null, {urls: 3}]}", "\0"]
)
async def test_an_index_that_is_none(tmp_path: Path, index: str) -> None:
    async with repository() as held, releases(new_api(), tmp_path, "--admin-charts", held.url) as rig:
        put_secret(rig, username="user", password=PASSWORD)
        held.index = index
        answer = await call(rig, "POST", content=document(held.url, credentials="charts"))
        problem_of(answer, 422, "invalid-chart")


@pytest.mark.parametrize("within", ["", "charts/inner/"])
async def test_a_schema_leads_nowhere(tmp_path: Path, within: str) -> None:
    files = {
        "web/Chart.yaml": CHART,
        "web/templates/config.yaml": CONFIG,
        "web/charts/inner/Chart.yaml": CHART.replace("web", "inner"),
    }
    files[f"web/{within}values.yaml"] = "a: {b: {}}\n"
    secret = tmp_path / "secret.json"
    secret.write_text('{"type": "string"}')
    async with repository() as held, releases(new_api(), tmp_path) as rig:
        for field in (
            {"$schema": f"{held.url}/meta"},
            {"properties": {"a": {"$ref": f"{held.url}/secret"}}},
            {"properties": {"a": {"$ref": f"file://{secret}"}}},
            {"$id": f"{held.url}/", "properties": {"a": {"$ref": "secret"}}},
            {"$schema": "http://json-schema.org/draft-04/schema#", "id": f"{held.url}/", "properties": {"a": {"$ref": "x#/y"}}},
            {"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"a": {"$dynamicRef": f"{held.url}#x"}}},
        ):
            data = packed(files | {f"web/{within}values.schema.json": json.dumps(field)})
            answer = await call(rig, "PUT", "/web?dryRun=All", plain(data))
            assert answer.status_code == 200, answer.text
            # The name of the field as JSON may have it, and twice.
            twice = json.dumps(field).replace('"$ref"', '"$ref": "#", "\\u0024ref"').replace("$schema", "\\u0024schema")
            answer = await call(rig, "PUT", "/web?dryRun=All", plain(packed(files | {f"web/{within}values.schema.json": twice})))
            assert answer.status_code == 200, answer.text
        assert held.requests == []


async def test_a_schema_that_is_whole_is_used(tmp_path: Path) -> None:
    files = {"web/Chart.yaml": CHART, "web/templates/config.yaml": CONFIG}
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"text": {"type": "string"}},
        "properties": {"greeting": {"$ref": "#/definitions/text"}},
    }
    async with releases(new_api(), tmp_path) as rig:
        data = packed(files | {"web/values.schema.json": json.dumps(schema)})
        wrong = await call(rig, "PUT", "/web?dryRun=All", plain(data) | {"values": {"greeting": 1}})
        assert "got number, want string" in problem_of(wrong, 422, "invalid-chart").detail
        assert (await call(rig, "PUT", "/web?dryRun=All", plain(data) | {"values": {"greeting": "x"}})).status_code == 200
        for content in ("{", "[" * 100_000, "\ufeff{}"):
            answer = await call(rig, "PUT", "/web?dryRun=All", plain(packed(files | {"web/values.schema.json": content})))
            assert "values.schema.json is no JSON" in problem_of(answer, 422, "invalid-chart").detail


# -- the paths of helm-web-api ----------------------------------------------------------------------------------------


async def test_calls_of_helm_web_api(tmp_path: Path) -> None:
    """As its documentation has them, with a token."""
    flags = ("--admin-helm-namespace", "shop")
    async with repository() as held, releases(new_api(), tmp_path, "--admin-charts", held.url, *flags) as rig:
        put_secret(rig, username="user", password=PASSWORD)
        asked = {"chartName": "charts/Web", "releaseName": "web", "privateChartsRepo": held.url, "credentials": "charts"}
        made = await rig.client.post("/install", json=asked | {"values": {"greeting": "$(id)"}})
        assert (made.status_code, made.json()) == (200, {"status": "success", "serviceName": None, "releaseName": "web"}), (
            made.text
        )
        assert config(rig) == "$(id)"
        kept = await rig.client.post("/upgrade", json=asked | {"reuseValue": "true", "values": {"a.b[1].c\\.d": 1}})
        assert (kept.status_code, kept.json(), config(rig)) == (200, {"status": "success"}, "$(id)"), kept.text
        assert (await call(rig, "GET", "/web")).json()["values"] == {"greeting": "$(id)", "a": {"b": [None, {"c.d": 1}]}}
        form = {"chartName": "web", "releaseName": "web", "credentials": "charts", "values[greeting]": "x"}
        assert (await rig.client.post("/upgrade", data=form)).json() == {"status": "success"}
        assert config(rig) == "x"
        assert (await rig.client.post("/delete", json={"releaseName": "web"})).json() == {"status": "success"}
        assert config(rig) is None

        for path, body, status in (
            ("/delete", {"releaseName": "web"}, 404),
            ("/upgrade", asked, 404),
            ("/delete", {}, 422),
            ("/install", {}, 422),
            ("/Install", {}, 422),
            ("/install", asked | {"privateChartsRepo": "https://user:token@example.com"}, 422),
            ("/install", asked | {"values": {"a..b": 1}}, 422),
            ("/install", asked | {"releaseName": "--help"}, 422),
        ):
            refused = await rig.client.post(path, json=body)
            assert (refused.status_code, refused.json()["status"]) == (status, "failed"), refused.text
            assert refused.json()["reason"]
        nobody = await rig.client.post("/delete", json={"releaseName": "web"}, headers={"Authorization": "Bearer nonsense"})
        assert (nobody.status_code, nobody.json()["status"]) == (401, "failed")


async def test_without_the_setting_there_are_no_such_paths(tmp_path: Path) -> None:
    async with releases(new_api(), tmp_path) as rig:
        for path in ("/install", "/upgrade", "/delete"):
            assert (await rig.client.post(path, json={})).status_code == 404
