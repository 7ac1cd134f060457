"""Apps that go on working after their answers, on a real KEDA: leases by a field of an answer and by a pod's own call."""

import asyncio
import base64
import json
import os
import signal
import ssl
import time
from typing import Any

import pytest

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.objects import deployment, replicas, service, until_ready
from tests.cluster.test_admin import admin
from tests.cluster.weir import NAMESPACE, Weir, condition, http_scaled_object, until_condition
from tests.support.full import FULL

__all__ = ["admin"]

COOLDOWN = 10 if FULL else 2
JOB = 120 if FULL else 30
"""Seconds: the job survives many cooldowns, and the activity period."""
MOST = 60 if FULL else 30
SECRETS = "/run/weir"


def busy_app(namespace: str, name: str, kept: str) -> Object:
    """With a token of its own for the call about the app `kept`, and the authority of the Admin API."""
    url = f"https://weir-admin.{NAMESPACE}.svc:9092/v1/namespaces/{namespace}/apps/{kept}/busy"
    env = {
        "PORT": "8080",
        "LISTEN": "0.0.0.0",
        "WEIR_BUSY_URL": url,
        "WEIR_BUSY_TOKEN_FILE": f"{SECRETS}/token/token",
        "WEIR_BUSY_CA": f"{SECRETS}/ca/ca.crt",
    }
    made = deployment(name, env=env, grace=1)
    pod = made["spec"]["template"]["spec"]
    token = {"serviceAccountToken": {"audience": "weir-busy", "expirationSeconds": 3600, "path": "token"}}
    pod["volumes"] = [
        {"name": "token", "projected": {"sources": [token]}},
        {"name": "ca", "configMap": {"name": "weir-admin-ca"}},
    ]
    container = pod["containers"][0]
    container["image"] = "busy"
    container["volumeMounts"] = [{"name": name, "mountPath": f"{SECRETS}/{name}", "readOnly": True} for name in ("token", "ca")]
    return made


@pytest.fixture
async def home(admin: tuple[str, ssl.SSLContext], api: Api, namespace: str) -> str:
    """A namespace whose pods may call the Admin API, and know its authority."""
    secret = await api.get(namespaced("secrets", NAMESPACE, "weir-admin-tls"))
    data = {"ca.crt": base64.b64decode(secret["data"]["ca.crt"]).decode()}
    await api.create(namespaced("configmaps", namespace), {"metadata": {"name": "weir-admin-ca"}, "data": data})
    await api.merge(namespaced("namespaces", name=namespace), {"metadata": {"labels": {"weir-admin": "enabled"}}})
    return namespace


async def start(api: Api, namespace: str, name: str, *, kept: str = "", **spec: Any) -> None:
    await api.create(namespaced("deployments", namespace), busy_app(namespace, name, kept or name))
    await api.create(namespaced("services", namespace), service(name))
    spec = {"maxBusy": "1h", "activityPeriod": "1s", "scaledownPeriod": COOLDOWN, **spec}
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, name, **spec))
    await until_condition(api, "httpscaledobjects", namespace, name, "Ready", "True")
    await until_condition(api, "httpscaledobjects", namespace, name, "Busy", "False")


async def call(weir: Weir, namespace: str, name: str, duration: str) -> Object:
    """Have the pod call; returns the answer to it."""
    answer = await weir.get(f"{name}.{namespace}", f"/call/{duration}")
    assert answer.status == 202, answer.text
    status, _, said = answer.text.partition(" ")
    assert status == "200", answer.text
    return dict(json.loads(said))


async def stays(api: Api, namespace: str, name: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert await replicas(api, namespace, name) == 1, "stopped at its work"
        await asyncio.sleep(0.5)


async def a_job_survives_many_cooldowns(weir: Weir, api: Api, home: str, way: str) -> None:
    await start(api, home, way)
    assert (await weir.get(f"{way}.{home}")).status == 202
    address = ""
    if way == "answer":
        # The interceptor that passes an answer on has the lease, so it has to pass on the 0 as well.
        address = next(iter((await weir.interceptors(api)).values()))
        assert (await weir.get(f"{way}.{home}", "/say/20m", address=address)).status == 202
        words = "a replica works on and keeps it awake: after an answer (Weir-Keep-Awake)"
    else:
        assert (await call(weir, home, way, "20m"))["seconds"] == 1200
        words = "a replica works on and keeps it awake: by its own call"
    said = await until_condition(api, "httpscaledobjects", home, way, "Busy", "True")
    assert (said["reason"], said["message"]) == ("KeptAwake", words)
    await stays(api, home, way, JOB)
    if way == "answer":
        assert (await weir.get(f"{way}.{home}", "/say/0", address=address)).status == 202
    else:
        assert (await call(weir, home, way, "0"))["until"] is None
    await until_condition(api, "httpscaledobjects", home, way, "Busy", "False")
    await until_ready(api, home, way, 0, patience=180)


async def a_crash_frees_it_within_its_time(cluster: Cluster, weir: Weir, api: Api, home: str) -> None:
    await start(api, home, "crash")
    await weir.get(f"crash.{home}")
    await call(weir, home, "crash", f"{JOB / 2:g}s")
    (process,) = (pid for pod, pid in cluster.processes(home, "app").items() if pod.startswith("crash-"))
    os.kill(process, signal.SIGKILL)
    # Its node starts it anew, and nobody renews the lease.
    await until_ready(api, home, "crash", 0, patience=JOB / 2 + 120)
    await until_condition(api, "httpscaledobjects", home, "crash", "Busy", "False")


async def a_hostile_app_sleeps_by_the_routes_maximum(weir: Weir, api: Api, home: str) -> None:
    """It renews its lease five times a second, for a thousand hours each."""
    await start(api, home, "hostile", maxBusy=f"{MOST}s")
    assert (await weir.get(f"hostile.{home}", "/insist/1000h")).status == 202
    last = time.monotonic()
    await until_condition(api, "httpscaledobjects", home, "hostile", "Busy", "True")
    await stays(api, home, "hostile", MOST - 2 - (time.monotonic() - last))
    await until_ready(api, home, "hostile", 0, patience=MOST + 120)


async def test_leases_end_when_they_should(cluster: Cluster, weir: Weir, api: Api, home: str) -> None:
    """At once, because each of them mostly waits."""
    async with asyncio.TaskGroup() as group:
        for way in ("answer", "call"):
            group.create_task(a_job_survives_many_cooldowns(weir, api, home, way))
        group.create_task(a_crash_frees_it_within_its_time(cluster, weir, api, home))
        group.create_task(a_hostile_app_sleeps_by_the_routes_maximum(weir, api, home))


async def test_nobody_keeps_another_app_awake(weir: Weir, api: Api, home: str) -> None:
    await start(api, home, "other")
    await start(api, home, "job", kept="other")
    answer = await weir.get(f"job.{home}", "/call/20m")
    assert answer.text.startswith("403 "), answer.text
    assert json.loads(answer.text.partition(" ")[2])["type"] == "urn:weir:problem:not-a-backend"
    assert condition(await api.get(namespaced("httpscaledobjects", home, "other")), "Busy")["status"] == "False"
