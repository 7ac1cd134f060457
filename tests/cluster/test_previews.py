"""Previews on a real control plane: copies that sleep at zero, wake alone, follow their base, and go without a trace."""

import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import APP_IMAGE, ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, deployment, pods, replicas, service, until_ready
from tests.cluster.test_controller_scale import STILL_SECONDS, create_all
from tests.cluster.weir import NAMESPACE, TABLE, Answer, Weir, condition, http_scaled_object, until_condition
from tests.support.full import FULL
from tests.support.preview_chain import CLIENTS, COPIES, PASSES, PREVIEWS, SERVICES, answer, table

HTTP = "httpscaledobjects"
MANY = 500 if FULL else 200
"""Previews of one base."""
ROUNDS = 3
"""Cold starts of each kind, of which the middle one counts."""
SLOWER, LATER = 1.5, 1.0
"""How many times as long as an application alone a preview may take to wake, beside a difference in seconds that a busy machine
makes anyway."""
BYTES_IN_TABLE = 400
"""Most for each preview in the routing table, which has them within the entry of their base."""
BYTES_IN_MEMORY = 40_000
"""Most for each preview in an interceptor, whose allocator takes memory in larger pieces."""
ROLE = "weir-controller-previews"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS = ("pods", "services", "endpointslices", "deployments", "httpscaledobjects", "scaledobjects", "horizontalpodautoscalers")


def write_kustomization(directory: Path) -> None:
    """A user's kustomization: the overlay, with the component."""
    overlay, component = (
        os.path.relpath(ROOT / "deploy" / path, directory) for path in ("overlays/default", "components/previews/cluster")
    )
    (directory / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"namespace: {NAMESPACE}\nresources: [{overlay}]\ncomponents: [{component}]\n"
    )


THEIRS = {"base": "web", "name": "theirs"}
HOOK = {"name": "make", "image": APP_IMAGE, "command": ["/bin/sh", "-c", 'test "$WEIR_PREVIEW" = f1']}


@pytest.fixture(scope="module")
def making(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The fleet with the component, for the tests of this module."""
    directory = tmp_path_factory.mktemp("previews")
    write_kustomization(directory)

    async def install() -> None:
        await installed.kubectl("apply", "--server-side", "-k", str(directory))
        await until_installed()

    async def remove() -> None:
        async with installed.api() as api:
            await api.delete(f"{RBAC}/clusterrolebindings/{ROLE}")
            await api.delete(f"{RBAC}/clusterroles/{ROLE}")
        await Weir.install(installed)
        await until_installed()

    async def until_installed() -> None:
        async with installed.api() as api:
            await Weir.until_ready(api)

    try:
        asyncio.run(install())
        yield
    finally:
        asyncio.run(remove())


def of(answer: Answer) -> str:
    """The Deployment whose pod has answered."""
    assert answer.status == 200, answer.text
    return answer.text.split()[0].rsplit("-", 2)[0]


def preview(name: str, /, **spec: object) -> dict[str, object]:
    whole = {"base": "web", "overrides": {"env": {"OWN": name}}, **spec}
    return {"apiVersion": "weir.dev/v1alpha1", "kind": "Preview", "metadata": {"name": name}, "spec": whole}


async def test_copies_wake_alone_follow_their_base_and_go_without_a_trace(
    making: None, weir: Weir, api: Api, namespace: str
) -> None:
    host = f"web.{namespace}"

    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", previews={}))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    before = await _objects(api, namespace)
    hook = {"name": "make", "job": {"template": {"spec": {"containers": [HOOK]}}}}
    for name, more in (("f1", {"before": [hook]}), ("f2", {})):
        await api.create(namespaced("previews", namespace), preview(name, **more))
        await until_condition(api, "previews", namespace, name, "Ready", "True")
    assert (await api.get(namespaced("previews", namespace, "f1")))["status"]["hooksDone"] == ["make"]
    assert not [one for one in await api.list(namespaced("pods", namespace)) if one["status"]["phase"] != "Succeeded"]

    assert of(await weir.get(f"f1.{host}")) == "web--f1"
    assert await replicas(api, namespace, "web") == await replicas(api, namespace, "web--f2") == 0
    assert of(await weir.get(host)) == "web"
    assert len(await pods(api, namespace, "web")) == 1
    assert len(await pods(api, namespace, "web--f1")) == 1, "its label has another value"
    assert await _addresses(api, namespace, "web") == {pod["status"]["podIP"] for pod in await pods(api, namespace, "web")}

    await api.merge(namespaced("deployments", namespace, "web"), {"spec": {"revisionHistoryLimit": 3}})
    await until(lambda: _has_history(api, namespace, 3), "the copies follow")
    copy = await api.get(namespaced("deployments", namespace, "web--f1"))
    assert {"name": "OWN", "value": "f1"} in copy["spec"]["template"]["spec"]["containers"][0]["env"]
    for name in ("web", "web--f1"):
        await until_ready(api, namespace, name, 0)

    await api.delete(namespaced("previews", namespace, "f1"))
    await api.merge(namespaced("previews", namespace, "f2"), {"spec": {"ttl": "1s", "expires": "AfterCreation"}})
    await until(lambda: _is_as(api, namespace, before), "everything that was made is gone")
    assert of(await weir.get(f"f1.{host}")) == "web"


async def _objects(api: Api, namespace: str) -> set[tuple[str, str]]:
    found = {
        (kind, one["metadata"]["name"]) for kind in (*KINDS, "previews") for one in await api.list(namespaced(kind, namespace))
    }
    return {(kind, name) for kind, name in found if kind not in ("pods", "endpointslices") or "--" in name}


async def _is_as(api: Api, namespace: str, before: set[tuple[str, str]]) -> bool:
    return await _objects(api, namespace) == before


async def _addresses(api: Api, namespace: str, service: str) -> set[str]:
    """Of the endpoints of a Service."""
    slices = await api.list(namespaced("endpointslices", namespace), labelSelector=f"kubernetes.io/service-name={service}")
    return {address for each in slices for endpoint in each.get("endpoints") or () for address in endpoint["addresses"]}


async def _has_history(api: Api, namespace: str, limit: int) -> bool:
    found = [await api.get(namespaced("deployments", namespace, f"web--{name}")) for name in ("f1", "f2")]
    return all(one["spec"]["revisionHistoryLimit"] == limit for one in found)


async def create_chain(weir: Weir, api: Api, namespace: str, kind: str) -> None:
    """The services of tests/support/preview_chain.py with their previews. They stay awake once they are."""
    for name, following in zip(SERVICES, (*SERVICES[1:], None), strict=True):
        env = {"VERSION": name, "PORT": "8080", "BIND": "0.0.0.0", "PROXY": f"{weir.address}:8080"}
        env |= {} if following is None else {"NEXT": f"{following}.{namespace}", "PASSES": PASSES[name]}
        workload, found_at = deployment(name, env=env), service(name)
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        # A request of a probe would go down the chain.
        container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
        container["image"] = "chain"
        if kind == "grpc":
            container["image"] = "chain-rpc"
            found_at["spec"]["ports"][0]["appProtocol"] = "grpc"
        await api.create(namespaced("deployments", namespace), workload)
        await api.create(namespaced("services", namespace), found_at)
        made = http_scaled_object(namespace, name, previews=PREVIEWS, scaledownPeriod=1200)
        await api.create(namespaced(HTTP, namespace), made)
    for name in SERVICES:
        await until_condition(api, HTTP, namespace, name, "Ready", "True")
        for copy in COPIES[name]:
            overrides = {"env": {"VERSION": f"{name}@{copy}"}}
            made = preview(f"{name}-{copy}", base=name, name=copy, overrides=overrides)
            await api.create(namespaced("previews", namespace), made)
    for name in SERVICES:
        for copy in COPIES[name]:
            await until_condition(api, "previews", namespace, f"{name}-{copy}", "Ready", "True")


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_chain_of_services_with_copies_of_some(making: None, weir: Weir, api: Api, namespace: str, kind: str) -> None:
    await create_chain(weir, api, namespace, kind)
    clients = CLIENTS[kind]
    first = next(iter(clients.values()))

    async def awake() -> set[str]:
        return {pod["metadata"]["labels"]["app"] for pod in await api.list(namespaced("pods", namespace))}

    assert await awake() == set()
    # Only the second of the three differs: all as for everybody, and exactly one more wakes.
    assert await first(weir.address, 8080, f"web.{namespace}", {}) == answer(None)
    assert await awake() == {"web", "api", "db"}
    assert await first(weir.address, 8080, f"f2.web.{namespace}", {}) == answer("f2")
    assert await awake() == {"web", "api", "api--f2", "db"}

    for protocol, ask in clients.items():
        for asked in table(lambda name: f"{name}.{namespace}"):
            found = await ask(weir.address, 8080, asked.host, asked.fields)
            assert found == asked.answer, (protocol, asked)
    assert await awake() == {"web", "web--f1", "api", "api--f1", "api--f2", "db"}


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("making")
async def test_many_previews_of_one_base_asleep(
    cluster: Cluster, weir: Weir, api: Api, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asleep = {"pollingInterval": 3600, "scaledownPeriod": 3600}  # nothing sleeps again while this lasts
    alone = [f"alone{number}" for number in range(2 * ROUNDS)]
    for name in ("web", *alone):
        await create_app(api, namespace, name)
        more: dict[str, object] = {"previews": {}} if name == "web" else {}
        await api.create(namespaced(HTTP, namespace), http_scaled_object(namespace, name, **asleep, **more))
    for name in ("web", *alone):
        await until_condition(api, HTTP, namespace, name, "Ready", "True")
    async with other_tenant(api, namespace) as theirs:
        before = [await seconds_to_wake(weir, f"{name}.{namespace}", name) for name in alone[:ROUNDS]]
        pods_before = {pod["metadata"]["name"] for pod in await api.list(namespaced("pods", namespace))}
        memory, entry = interceptor_memory(cluster), await bytes_of_entry(api, f"{namespace}/web")

        began = time.monotonic()
        names = [f"p{number:03}" for number in range(MANY)]
        await create_all(api, namespaced("previews", namespace), [preview(name) for name in names])
        await until_all_ready(api, namespace)
        made = time.monotonic() - began
        assert {pod["metadata"]["name"] for pod in await api.list(namespaced("pods", namespace))} == pods_before
        grown = {pod: (rss - memory[pod]) / MANY for pod, rss in interceptor_memory(cluster).items() if pod in memory}
        in_table = (await bytes_of_entry(api, f"{namespace}/web") - entry) / MANY

        beside, among = list[float](), list[float]()
        for name, single in zip(names[:: MANY // ROUNDS], alone[ROUNDS:], strict=False):
            among.append(await seconds_to_wake(weir, f"{name}.web.{namespace}", f"web--{name}"))
            beside.append(await seconds_to_wake(weir, f"{single}.{namespace}", single))
        assert len(await api.list(namespaced("pods", namespace))) == len(pods_before) + 2 * ROUNDS
        with capsys.disabled():
            print(  # noqa: T201 - what was measured
                f"\n{MANY} previews of one base: all ready after {made:.1f} s; {in_table:.0f} bytes each in the routing table, "
                f"{', '.join(f'{each / 1000:.1f}' for each in grown.values())} KB each in the interceptors; awake after "
                f"{middle(among)}, an application alone after {middle(beside)} beside them and {middle(before)} without them"
            )
        await hostile_names_get_the_base(weir, namespace, theirs)
        assert not await api.list(namespaced("pods", theirs))
    assert 0 < in_table <= BYTES_IN_TABLE
    assert set(grown) == set(memory), "no interceptor was started anew"
    assert max(grown.values()) <= BYTES_IN_MEMORY
    assert statistics.median(among) <= SLOWER * statistics.median(beside) + LATER


@asynccontextmanager
async def other_tenant(api: Api, namespace: str) -> AsyncIterator[str]:
    """A namespace with an application of the same name, and a preview of it."""
    theirs = f"{namespace}-t"
    await api.create(namespaced("namespaces"), {"metadata": {"name": theirs}})
    try:
        for name, more in (("web", {"previews": {}}), ("web--theirs", {"hosts": None, "previewOf": THEIRS})):
            await create_app(api, theirs, name)
            await api.create(namespaced(HTTP, theirs), http_scaled_object(theirs, name, **more))
        for name in ("web", "web--theirs"):
            await until_condition(api, HTTP, theirs, name, "Ready", "True")
        yield theirs
    finally:
        await api.delete(namespaced("namespaces", name=theirs))


async def hostile_names_get_the_base(weir: Weir, namespace: str, theirs: str) -> None:
    host = f"web.{namespace}"
    for name in (
        "theirs",
        "web--theirs",
        f"{theirs}/web--theirs",
        f"theirs.web.{theirs}",
        "p001,p002",
        "p001/../theirs",
        "j" * 8192,
    ):
        for field in ({"uber-ctx-key": name}, {"uber-ctx-key": name, "baggage": f"uber-ctx-key={name}"}):
            assert of(await weir.get(host, headers=field)) == "web", name[:80]
    assert of(await weir.get(f"theirs.{host}")) == "web"
    assert of(await weir.get(host, headers={"uber-ctx-key": "p000"})) == "web--p000"


async def seconds_to_wake(weir: Weir, host: str, deployment: str) -> float:
    answer = await weir.get(host)
    assert of(answer) == deployment
    return answer.seconds


def middle(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s [{min(seconds):.2f}–{max(seconds):.2f}]"


def interceptor_memory(cluster: Cluster) -> dict[str, int]:
    """Resident bytes of each interceptor."""
    running = cluster.processes(NAMESPACE, "interceptor")
    return {pod: int(psutil.Process(pid).memory_info().rss) for pod, pid in running.items()}


async def bytes_of_entry(api: Api, app: str) -> int:
    """Of an application in the routing table, its previews included."""
    table = json.loads((await api.get(namespaced("configmaps", NAMESPACE, TABLE)))["data"]["table.json"])
    (entry,) = [route for route in table["routes"] if route["app"].startswith(app)]
    return len(json.dumps(entry, separators=(",", ":")))


async def until_all_ready(api: Api, namespace: str) -> None:
    """Wait for every preview; fails if there is no progress."""
    done = 0

    async def more() -> int:
        every = await api.list(namespaced("previews", namespace))
        found = sum(condition(one, "Ready").get("status") == "True" for one in every)
        return found if found > done else 0

    while done < MANY:
        done = await until(more, f"more than {done} of {MANY} are ready", patience=STILL_SECONDS, pause=1)
