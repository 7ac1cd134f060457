"""Credentials, requests and errors of the Kubernetes API as discovery sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kubernetes.aio.config import incluster_config

from fleet.discovery.kubernetes import client
from fleet.discovery.kubernetes.client import Api, ApiError, check_credentials, open_api
from fleet.discovery.sources import SourceError
from tests.support.apiserver import ApiServer, Fault
from tests.support.waiting import until

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_an_answer_is_its_body(server: ApiServer, api: Api) -> None:
    server.put(f"{MAPS}/a", data={"x": "y"})
    answer = json.loads(await api.get(f"{MAPS}/a"))
    assert answer["data"] == {"x": "y"}
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer first"
    assert request.headers["user-agent"] == "weir"
    assert request.headers["accept-encoding"] == "identity"


async def test_a_query_arrives_as_it_was(server: ApiServer, api: Api) -> None:
    await api.get(MAPS, [("labelSelector", "kubernetes.io/service-name=web,a in (b, c)"), ("limit", "5")])
    assert server.requests[0].query == {"labelSelector": "kubernetes.io/service-name=web,a in (b, c)", "limit": "5"}


async def test_an_answer_that_says_no_is_an_error_with_what_it_says(server: ApiServer, api: Api) -> None:
    server.fail(429, headers={"Retry-After": "7"})
    with pytest.raises(ApiError, match=f"GET {MAPS}: 429 a fault") as refused:
        await api.get(MAPS)
    assert (refused.value.status, refused.value.retry_after) == (429, 7.0)
    assert isinstance(refused.value, SourceError)
    with pytest.raises(ApiError) as missing:
        await api.get(f"{MAPS}/none")
    assert (missing.value.status, missing.value.retry_after) == (404, None)


@pytest.mark.parametrize(
    ("details", "causes"),
    [
        ({"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}, {}]}, ("NamespaceTerminating", "")),
        ({"causes": None, "name": "x"}, ()),
        ({}, ()),
        (None, ()),
    ],
)
async def test_an_error_has_the_causes_that_programs_read(server: ApiServer, api: Api, details: object, causes: object) -> None:
    server.faults.append(Fault(lambda request: True, 403, more={"details": details}))
    with pytest.raises(ApiError, match="403 a fault") as refused:
        await api.get(MAPS)
    assert refused.value.causes == causes


async def test_a_server_that_cannot_be_asked_is_an_error_without_status(server: ApiServer, api: Api) -> None:
    await server.down()
    with pytest.raises(ApiError, match=f"GET {MAPS}: ") as error:
        await api.get(MAPS)
    assert error.value.status == 0
    assert "\n" not in str(error.value)
    await server.up()


async def test_an_answer_that_does_not_come_is_not_waited_for(server: ApiServer, api: Api) -> None:
    server.list_gate.clear()
    with pytest.raises(ApiError, match="nothing was heard in time"):
        await api.request("GET", MAPS, seconds=0.05)


async def test_an_answer_without_end_is_refused(server: ApiServer, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1000)
    server.put(f"{MAPS}/a", data={"x": "y" * 2000})
    with pytest.raises(ApiError, match="larger than 1000 bytes"):
        await api.get(f"{MAPS}/a")


async def test_a_stream_is_cut_when_it_is_left(server: ApiServer, api: Api) -> None:
    async with api.stream(MAPS, [("watch", "1"), ("resourceVersion", "0")], silence=5) as stream:
        server.put(f"{MAPS}/a", data={})
        assert b"ADDED" in await stream.read()
        assert len(server.watches) == 1
    await until(lambda: not server.watches)


async def test_silence_is_an_error(server: ApiServer, api: Api) -> None:
    async with api.stream(MAPS, [("watch", "1"), ("resourceVersion", "0")], silence=0.05) as stream:
        with pytest.raises(ApiError, match=r"watch \S+: nothing was heard in time"):
            await stream.read()


@asynccontextmanager
async def in_a_pod(server: ApiServer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """The files of a service account. The client speaks only TLS there, which is another test's; so the scheme is replaced."""
    token, authority = directory / "token", directory / "ca.crt"
    token.write_text("mounted")
    authority.write_text("-")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    monkeypatch.setattr(client, "TOKEN_FILE", token)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    whole = incluster_config.InClusterConfigLoader._load_config

    def load_plain(loader: incluster_config.InClusterConfigLoader) -> None:
        whole(loader)  # type: ignore[no-untyped-call]
        loader.host = loader.host.replace("https:", "http:")
        loader.ssl_ca_cert = None

    monkeypatch.setattr(incluster_config.InClusterConfigLoader, "_load_config", load_plain)
    yield token


async def test_a_pod_uses_its_service_account_and_a_token_that_was_renewed(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_a_pod(server, tmp_path, monkeypatch) as token:
        check_credentials()
        api = open_api()
        await api.get(MAPS)
        assert server.requests[-1].headers["authorization"] == "bearer mounted"
        token.write_text("renewed")
        server.fail(401)
        with pytest.raises(ApiError, match="401"):
            await api.get(MAPS)
        await api.get(MAPS)
        assert server.requests[-1].headers["authorization"] == "bearer renewed"
        await api.close()


async def test_a_kubeconfig_that_leads_nowhere_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    check_credentials()
    with pytest.raises(ApiError, match="kubernetes credentials: "):
        await open_api().get(MAPS)
