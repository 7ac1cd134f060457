"""The harness itself: a plain Deployment runs, is reachable in every way, and ends with a grace period."""

import asyncio
import json
import socket

import httpx

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, until_ready


async def get(url: str, **options: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.get(url, headers=options)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_a_deployment_runs_and_answers(cluster: Cluster, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web", replicas=2)
    pods = await until_ready(api, namespace, "web", 2)
    names = {pod["metadata"]["name"] for pod in pods}
    assert {(await get(f"http://{pod['status']['podIP']}:8080/")).split()[0] for pod in pods} == names

    address = (await api.get(namespaced("services", namespace, "web")))["spec"]["clusterIP"]

    async def both() -> bool:
        return {(await get(f"http://{address}/")).split()[0] for _ in range(20)} == names

    await until(both, "the Service leads to both pods")
    found = await asyncio.to_thread(socket.gethostbyname, f"web.{namespace}.svc")
    assert found == address

    await api.merge(namespaced("deployments", namespace, "web"), {"spec": {"replicas": 0}})
    await until_ready(api, namespace, "web", 0)
    assert len(cluster.events("exited", namespace=namespace)) == 2
    assert not cluster.events("killed", namespace=namespace), "SIGTERM was enough"


async def test_a_pod_reads_its_config_and_speaks_with_its_own_token(cluster: Cluster, api: Api, namespace: str) -> None:
    await until(lambda: api.find(namespaced("configmaps", namespace, "kube-root-ca.crt")), "the namespace has the cluster's CA")
    await until(lambda: api.find(namespaced("serviceaccounts", namespace, "default")), "the namespace has its account")
    await api.create(namespaced("configmaps", namespace), {"metadata": {"name": "words"}, "data": {"greeting": "hello"}})
    token = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
    script = f"""
        cat /etc/words/greeting; echo " $POD at $(hostname -I)"; test "$WHOLE" = "hello $POD!" && echo whole
        curl -sS --cacert {token}/ca.crt -H "Authorization: Bearer $(cat {token}/token)" https://kubernetes.default.svc/api/v1/nodes
        sleep 60
    """
    container = {
        "name": "app",
        "image": "echo",
        "command": ["sh", "-c"],
        "args": [script],
        "env": [
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "words", "key": "greeting"}}},
            {"name": "WHOLE", "value": "$(GREETING) $(POD)!"},
        ],
        "volumeMounts": [{"name": "words", "mountPath": "/etc/words", "readOnly": True}],
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "words", "configMap": {"name": "words"}}],
        "terminationGracePeriodSeconds": 1,
    }
    await api.create(namespaced("pods", namespace), {"metadata": {"name": "reader"}, "spec": spec})

    async def refused() -> bool:
        return '"code": 403' in cluster.log(namespace, "reader", "app")

    await until_ready_pod(api, namespace, "reader")
    await until(refused, "the API server knows the pod's account, and refuses it the nodes")
    log = cluster.log(namespace, "reader", "app")
    address = (await api.get(namespaced("pods", namespace, "reader")))["status"]["podIP"]
    assert log.startswith(f"hello reader at {address} \nwhole\n"), log
    assert json.loads(log[log.index("{") :])["message"].startswith(
        f'nodes is forbidden: User "system:serviceaccount:{namespace}:default"'
    )


async def until_ready_pod(api: Api, namespace: str, name: str) -> None:
    async def running() -> bool:
        return bool((await api.get(namespaced("pods", namespace, name))).get("status", {}).get("podIP"))

    await until(running, f"{name} runs")
