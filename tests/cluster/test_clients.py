"""The commands of the README with independent clients, grpcurl and ghz, against running pods."""

import asyncio
import json
import re
import shlex

import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import ROOT
from tests.cluster.objects import create_app
from tests.cluster.weir import NAMESPACE, Weir, http_scaled_object, until_condition

TOOLS = ROOT / "build" / "tools" / "bin"
CALLS = 2000
"""Calls of ghz; the number in the README takes too long for a test."""


def lines() -> list[list[str]]:
    """Every command in the README that runs one of the two."""
    commands = (ROOT / "README.md").read_text().replace("\\\n", " ").splitlines()
    return [shlex.split(command) for command in commands if command.startswith(("grpcurl ", "ghz "))]


async def run(words: list[str], interceptor: str, scaler: str) -> str:
    places = {"127.0.0.1:9090": f"{interceptor}:9090", "127.0.0.1:9091": f"{scaler}:9091", "20000": str(CALLS)}
    program, *rest = (places.get(word, word) for word in words)
    process = await asyncio.create_subprocess_exec(
        TOOLS / program, *rest, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode == 0, f"{shlex.join(words)}: {error.decode()}"
    return out.decode()


@pytest.fixture
async def hello(weir: Weir, api: Api) -> None:
    """The app that the README's commands call."""
    if await api.find(namespaced("deployments", "default", "hello")) is None:
        await create_app(api, "default", "hello")
        await api.create(namespaced("httpscaledobjects", "default"), http_scaled_object("default", "hello"))
    await until_condition(api, "httpscaledobjects", "default", "hello", "Ready", "True")


@pytest.mark.usefixtures("hello")
async def test_the_lines_of_the_readme(weir: Weir, api: Api) -> None:
    interceptor = next(iter((await weir.interceptors(api)).values()))
    scaler = (await api.get(namespaced("services", NAMESPACE, "weir-scaler")))["spec"]["clusterIP"]
    assert (await weir.get("hello.default", address=interceptor)).status == 200

    queue, table, spec, load = [await run(words, interceptor, scaler) for words in lines()]
    (size,) = [size for size in json.loads(queue)["apps"] if size["app"] == "default/hello"]
    assert size["requests_total"] == "1"
    assert json.loads(table)["version"]
    (metric,) = json.loads(spec)["metricSpecs"]
    assert (metric["metricName"], metric["targetSizeFloat"]) == ("weir-default-hello-concurrency", 5)
    assert re.search(rf"Count:\s+{CALLS}\b", load)
    assert re.search(rf"\[OK\]\s+{CALLS} responses", load), load
