"""Leases of ports on a real API server, with controllers that are killed meanwhile; and an application that is reached by one."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, deployment, pods, service, until_ready
from tests.cluster.test_admin import RBAC, admin
from tests.cluster.weir import NAMESPACE, Weir, http_scaled_object, until_condition
from tests.wire.flow_rig import UdpClient

__all__ = ["admin"]

COUNT, CALLERS, KILLS = 200, 20, 3
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
SERVICE = namespaced("services", NAMESPACE, "weir-interceptor")
SETTINGS = {
    "WEIR_PORT_LAST": str(20_000 + COUNT - 1),
    "WEIR_PORT_QUOTA": "1000",
    "WEIR_MAX_PORTS": "1000",
    "WEIR_ADMIN_RATE": "1000",
}


def write_kustomization(directory: Path) -> None:
    """The overlay with both components, and a range that can be exhausted."""
    overlay, access, ports = (
        os.path.relpath(ROOT / "deploy" / path, directory)
        for path in ("overlays/default", "components/admin/cluster", "components/ports")
    )
    env = "".join(f'            - {{name: {name}, value: "{value}"}}\n' for name, value in SETTINGS.items())
    (directory / "settings.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: weir-controller}\nspec:\n  template:\n    spec:\n"
        f"      containers:\n        - name: controller\n          env:\n{env}"
    )
    (directory / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"namespace: {NAMESPACE}\nresources: [{overlay}]\ncomponents: [{access}, {ports}]\npatches: [{{path: settings.yaml}}]\n"
    )


@pytest.fixture
async def client(  # noqa: PLR0917 - fixtures
    admin: tuple[str, ssl.SSLContext], cluster: Cluster, weir: Weir, api: Api, namespace: str, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """Calls of a ServiceAccount that may do in the namespace what a lease needs."""
    directory = tmp_path / "ports"
    directory.mkdir()
    write_kustomization(directory)
    rules = [{"apiGroups": ["http.keda.sh"], "resources": ["httpscaledobjects"], "verbs": ["create", "delete", "list"]}]
    subject = {"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"}
    await api.create(namespaced("serviceaccounts", namespace), {"metadata": {"name": "tenant"}})
    await api.create(f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "tenant"}, "rules": rules})
    binding = {"metadata": {"name": "tenant"}, "roleRef": role, "subjects": [subject]}
    await api.create(f"{RBAC}/namespaces/{namespace}/rolebindings", binding)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await api.create(f"{namespaced('serviceaccounts', namespace)}/tenant/token", asked))["status"]["token"]
    try:
        await cluster.kubectl("apply", "--server-side", "-k", str(directory))
        await weir.until_ready(api)
        address, trust = admin
        headers = {"Authorization": f"Bearer {token}"}
        base = f"https://{address}:9092/v1/namespaces/{namespace}/"
        async with httpx.AsyncClient(base_url=base, headers=headers, verify=trust, trust_env=False, timeout=60) as opened:
            yield opened
    finally:
        for lease in await api.list(LEASES, labelSelector="weir.dev/port-lease"):
            await api.delete(f"{LEASES}/{lease['metadata']['name']}")
        for kind in ("rolebindings", "roles"):
            await api.delete(f"{RBAC}/namespaces/{NAMESPACE}/{kind}/weir-controller-ports")
        await api.delete(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies/weir-interceptor-ports")


async def lease(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    """A lease, asked for until there is an answer: controllers come and go."""
    while True:
        try:
            answer = await client.post("ports", json={"name": name, "ttl": "1h"})
        except httpx.HTTPError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code in (200, 201):
            return dict(answer.json())
        assert answer.status_code in (429, 503), answer.text
        assert "no-port" not in answer.text, answer.text
        await asyncio.sleep(0.2)


async def kill_leader(cluster: Cluster, api: Api) -> None:
    leader = (await api.get(f"{LEASES}/weir-controller"))["spec"]["holderIdentity"]
    running = cluster.processes(NAMESPACE, "controller")
    for pid in [running[leader]] if leader in running else running.values():
        os.kill(pid, signal.SIGKILL)


async def service_ports(api: Api) -> list[Object]:
    return sorted((await api.get(SERVICE))["spec"]["ports"], key=lambda port: str(port["name"]))


async def asked_by_tcp(address: str, port: int) -> bytes:
    # EndpointSlices and nodes follow the Service's ports a moment later, and until then they refuse connections.
    await until(lambda: _accepts(address, port), "nodes lead the port to the interceptors")
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: any\r\n\r\n")
        return await asyncio.wait_for(reader.readline(), 120)
    finally:
        writer.close()


async def test_no_port_twice_none_lost_and_one_that_leads_to_its_app(
    cluster: Cluster, weir: Weir, api: Api, namespace: str, client: httpx.AsyncClient
) -> None:
    before = await service_ports(api)
    names = iter([f"app-{number}" for number in range(COUNT)])
    found: dict[str, dict[str, Any]] = {}

    async def caller() -> None:
        for name in names:
            found[name] = await lease(client, name)

    callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    for number in range(1, KILLS + 1):
        await until(lambda number=number: _reaches(found, number * COUNT // (KILLS + 1)), "some are leased")  # type: ignore[misc]
        await kill_leader(cluster, api)
    await asyncio.gather(*callers)
    ports = {port["port"] for port in found.values()}
    assert (len(found), len(ports)) == (COUNT, COUNT)
    kept = await api.list(LEASES, labelSelector="weir.dev/port-lease")
    assert {each["metadata"]["annotations"]["weir.dev/port-name"] for each in kept} == set(found)
    assert len(kept) == COUNT, "none that nobody knows of"
    await weir.until_ready(api, ["weir-controller"])
    full = await client.post("ports", json={})
    assert (full.status_code, full.json()["type"]) == (503, "urn:weir:problem:no-port"), full.text
    assert await service_ports(api) == before, "what nothing uses leads nowhere"

    port = found["app-0"]["port"]
    await create_app(api, namespace, "web")
    own = http_scaled_object(namespace, "web", ports=[{"lease": "app-0"}])
    await api.create(namespaced("httpscaledobjects", namespace), own)
    await until_condition(api, "httpscaledobjects", namespace, "web", "PortReady", "True")
    made = await api.get(namespaced("httpscaledobjects", namespace, "web"))
    place = {"protocol": "TCP", "port": port, "lease": "app-0", "entry": f"{NAMESPACE}/weir-interceptor", "address": weir.address}
    assert made["status"]["ports"] == [place]
    assert not await pods(api, namespace, "web")
    assert await asked_by_tcp(weir.address, port) == b"HTTP/1.1 200 OK\r\n"
    assert [each for each in await service_ports(api) if not each["name"].startswith("weir-")] == before
    await until_ready(api, namespace, "web", 0)

    await api.delete(namespaced("httpscaledobjects", namespace, "web"))
    await until(lambda: _is_gone(api, "tcp", port), "the lease is freed")
    await until(lambda: _is_as(api, before), "the Service has no port of it any more")

    released = await client.delete("ports/app-1")
    assert released.status_code == 204, released.text
    await flows_wake_their_app(weir, api, namespace)
    await until(lambda: _is_as(api, before), "the Service has no port of it any more")


async def flows_wake_their_app(weir: Weir, api: Api, namespace: str) -> None:
    """The first datagrams at a lease of UDP wake the application, and each of them is answered, once."""
    game = deployment("game")
    (container,) = game["spec"]["template"]["spec"]["containers"]
    container |= {"image": "datagrams", "ports": [{"containerPort": 9000, "protocol": "UDP"}]}
    del container["readinessProbe"]
    place = service("game") | {"spec": {"selector": {"app": "game"}, "ports": [{"port": 9000, "protocol": "UDP"}]}}
    await api.create(namespaced("deployments", namespace), game)
    await api.create(namespaced("services", namespace), place)
    udp = {"lease": "game", "protocol": "UDP", "servicePort": 9000, "idle": "2s"}
    target = {"name": "game", "kind": "Deployment", "apiVersion": "apps/v1", "service": "game", "port": 9000}
    await api.create(
        namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "game", ports=[udp], scaleTargetRef=target)
    )
    await until_condition(api, "httpscaledobjects", namespace, "game", "PortReady", "True")
    (leased,) = (await api.get(namespaced("httpscaledobjects", namespace, "game")))["status"]["ports"]
    assert (leased["protocol"], leased["lease"]) == ("UDP", "game")
    assert not await pods(api, namespace, "game")

    flow = UdpClient(weir.address, leased["port"])
    try:
        sent = [b"%d" % number for number in range(10)]
        # Nodes follow the Service's ports a moment later, and until then they drop datagrams.
        name, first = (await flow.insist(b"first")).split()
        flow.send(*sent)
        found: list[list[bytes]] = []
        while not found or found[-1][1] != sent[-1]:
            found.append((await flow.receive())[0].split())
    finally:
        flow.close()
    (pod,) = await pods(api, namespace, "game")
    assert {one[0].decode() for one in found} | {name.decode()} == {pod["metadata"]["name"]}
    assert first == b"first"
    assert [one[1] for one in found if one[1] != b"first"] == sent, "what was repeated before is answered as often"
    await until_ready(api, namespace, "game", 0)
    await api.delete(namespaced("httpscaledobjects", namespace, "game"))
    await until(lambda: _is_gone(api, "udp", leased["port"]), "the lease is freed")


async def _accepts(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    writer.close()
    return True


async def _reaches(found: dict[str, dict[str, Any]], count: int) -> bool:
    return len(found) >= count


async def _is_gone(api: Api, protocol: str, port: int) -> bool:
    return await api.find(f"{LEASES}/weir-port-{protocol}-{port}") is None


async def _is_as(api: Api, before: list[Object]) -> bool:
    return await service_ports(api) == before
