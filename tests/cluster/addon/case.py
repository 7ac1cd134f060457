"""One case: a namespace, the objects that a user creates in it, requests to the add-on's proxy, and expected results."""

import asyncio
import contextlib
import itertools
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx

from tests.cluster.addon.objects import PROXY, PROXY_TLS, deployment, http_scaled_object, route, scaled_object, service
from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.weir import until_condition
from tests.support.certificates import Authority

__all__ = ["Case", "Run", "run_cases"]

AT_ONCE = 8
"""Cases that run at the same time; most of the time they wait for a cooldown."""
LOADS = 2
"""Loads at the same time; few, because a small machine must keep up with them."""
ATTEMPTS = 3
PAUSE = 0.1
"""Seconds between two requests of a load."""
MADE_UP = 1.0
"""Seconds by which a load may be late and still catch up with its rate."""
LOOK = 0.5
"""Seconds between two checks of a count that must not change."""


class Case:
    """Fails with AssertionError. Its namespace is deleted at the end. `loads` limits the loads of all cases together."""

    def __init__(self, name: str, cluster: Cluster, api: Api, *, client: httpx.AsyncClient, loads: asyncio.Semaphore) -> None:
        words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name.removeprefix("Test"))
        self.namespace = "e2e-" + words.replace("_", "-").strip("-")[:50]
        self.cluster, self.api, self._client, self._loads = cluster, api, client, loads
        self._addresses: dict[str, str] = {}

    def host(self, below: str = "") -> str:
        """A host that only this case uses."""
        return f"{below}.{self.namespace}.test" if below else f"{self.namespace}.test"

    async def app(
        self, name: str, *, replicas: int = 0, port_name: str = "", app_protocol: str = "", kind: str = "Deployment", **how: str
    ) -> str:
        """Create a workload and its Service, and wait until the replicas are ready. Returns the name of both."""
        made = deployment(name, replicas=replicas, kind=kind, **how)
        await self.api.create(namespaced(f"{kind.lower()}s", self.namespace), made)
        found = service(name, port_name=port_name, app_protocol=app_protocol)
        await self.api.create(namespaced("services", self.namespace), found)
        if replicas:
            await self.until_replicas(name, replicas)
        return name

    async def route(self, name: str, app: str, **spec: Any) -> str:
        """Create an InterceptorRoute, and wait until it is Ready. The add-on's tests then wait two seconds for interceptors."""
        await self.api.create(namespaced("interceptorroutes", self.namespace), route(name, app, **spec))
        await until_condition(self.api, "interceptorroutes", self.namespace, name, "Ready", "True")
        return name

    async def update_route(self, name: str, **spec: Any) -> None:
        path = namespaced("interceptorroutes", self.namespace, name)
        await self.api.merge(path, {"spec": spec})
        await until_condition(self.api, "interceptorroutes", self.namespace, name, "Ready", "True")

    async def scaled(self, name: str, app: str, of: str, **spec: Any) -> None:
        """Create a ScaledObject for an InterceptorRoute."""
        made = scaled_object(name, app, metadata={"interceptorRoute": of}, **spec)
        await self.api.create(namespaced("scaledobjects", self.namespace), made)

    async def routed(self, app: str, *, of: str = "", so: Mapping[str, Any] | None = None, **spec: Any) -> None:
        """Create an app at zero with a route and a ScaledObject; `of` is the suffix of their names."""
        await self.app(app, **{name: spec.pop(name) for name in ("image", "secret", "app_protocol") if name in spec})
        await self.route(f"ir-{of or app}", app, **spec)
        await self.scaled(f"so-{of or app}", app, f"ir-{of or app}", **(so or {}))

    async def http_scaled(self, app: str, *, annotations: Mapping[str, str] | None = None, **spec: Any) -> None:
        """Create an HTTPScaledObject with the app's name, and wait until it is Ready."""
        made = http_scaled_object(app, app, **spec)
        made["metadata"]["annotations"] = dict(annotations or {})
        await self.api.create(namespaced("httpscaledobjects", self.namespace), made)
        await until_condition(self.api, "httpscaledobjects", self.namespace, app, "Ready", "True")

    async def send(self, host: str, path: str = "", *, method: str = "GET", proxy: str = PROXY, **options: Any) -> httpx.Response:
        """Send a request to the add-on's proxy."""
        headers = {"Host": host, **options.pop("headers", {})}
        return await self._client.request(method, f"http://{await self.resolved(proxy)}{path}", headers=headers, **options)

    async def send_over_tls(self, host: str, authority: Authority) -> httpx.Response:
        """The same by TLS, with the proxy's certificate verified for that host."""
        trusting = ssl.create_default_context(cadata=authority.pem.decode())
        async with httpx.AsyncClient(verify=trusting, trust_env=False, timeout=120) as client:
            url, named = f"https://{await self.resolved(PROXY_TLS)}", {"sni_hostname": host}
            return await client.get(url, headers={"Host": host}, extensions=named)

    async def reaches(self, app: str, host: str, path: str = "", *, proxy: str = PROXY, **headers: str) -> None:
        """Check for a 200 of that app for that path. Underscores in header names mean hyphens."""
        answer = await self.send(host, path, proxy=proxy, headers=_headers(headers))
        assert answer.status_code == 200, f"{host}{path}: {answer.status_code} {answer.text}"
        named, line, *_ = answer.text.splitlines()
        assert (named, line.split()[1]) == (f"Hostname: {app}", path or "/"), f"{host}{path}: {answer.text}"

    async def rejected(self, host: str, path: str = "", **headers: str) -> None:
        answer = await self.send(host, path, headers=_headers(headers))
        assert answer.status_code == 404, f"{host}{path}: {answer.status_code} {answer.text}"

    async def status(self, host: str, path: str, expected: int, **options: Any) -> None:
        answer = await self.send(host, path, **options)
        assert answer.status_code == expected, f"{host}{path}: {answer.status_code} {answer.text}"

    async def replicas(self, app: str, kind: str = "Deployment") -> int:
        """The number of ready replicas."""
        found = await self.api.get(namespaced(f"{kind.lower()}s", self.namespace, app))
        return int(found.get("status", {}).get("readyReplicas", 0))

    async def until_replicas(self, app: str, count: int, *, kind: str = "Deployment", more: bool = False) -> None:
        """Wait until `count` replicas are ready; with `more`, at least `count`."""

        async def there() -> bool:
            found = await self.replicas(app, kind)
            return found >= count if more else found == count

        await until(there, f"{self.namespace}/{app} has {count} ready replicas")

    async def stable(self, app: str, count: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            assert await self.replicas(app) == count, f"{self.namespace}/{app} has left {count} replicas"
            await asyncio.sleep(LOOK)

    @contextlib.asynccontextmanager
    async def load(self, host: str, path: str = "") -> AsyncIterator[None]:
        """Send ten requests a second while the block runs, however slow the responses are; all must be 200."""
        sent: list[asyncio.Task[httpx.Response]] = []
        async with self._loads:
            sender = asyncio.create_task(self._send_on(host, path, sent), name=f"load on {host}")
            try:
                yield
            finally:
                sender.cancel()
                answers = await asyncio.gather(*sent, return_exceptions=True)
        told = Counter(repr(found) if isinstance(found, BaseException) else str(found.status_code) for found in answers)
        assert set(told) == {"200"}, f"{host}: {told}"

    async def resolved(self, place: str) -> str:
        """The address of a host, cached, because hundreds of lookups would wait for the few resolver threads."""
        if place not in self._addresses:
            name, port = place.split(":")
            found = await asyncio.get_running_loop().getaddrinfo(name, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
            self._addresses[place] = f"{found[0][4][0]}:{port}"
        return self._addresses[place]

    async def curl(self, name: str, *words: str) -> bool:
        """Whether curl succeeds in a pod of the namespace, within three attempts, like the Jobs of the add-on's tests."""
        account = namespaced("serviceaccounts", self.namespace, "default")
        await until(lambda: self.api.find(account), "the namespace has its account")
        for attempt in range(ATTEMPTS):
            if await self._curl_once(f"{name}-{attempt}", words):
                return True
        return False

    async def _curl_once(self, name: str, words: tuple[str, ...]) -> bool:
        container = {"name": "curl-client", "image": "curlimages/curl", "command": ["curl", *words]}
        spec = {"containers": [container], "restartPolicy": "Never", "automountServiceAccountToken": False}
        await self.api.create(namespaced("pods", self.namespace), {"metadata": {"name": name}, "spec": spec})

        async def ended() -> str | None:
            phase = (await self.api.get(namespaced("pods", self.namespace, name)))["status"].get("phase")
            return phase if phase in {"Succeeded", "Failed"} else None

        return await until(ended, f"{name} has ended") == "Succeeded"

    async def _send_on(self, host: str, path: str, sent: list[asyncio.Task[httpx.Response]]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number in itertools.count():
            sent.append(asyncio.create_task(self.send(host, path), name=f"request {number} to {host}"))
            # Catch up with delays of up to a second, so that the rate does not depend on the speed of a busy machine.
            due = max(due + PAUSE, loop.time() - MADE_UP)
            await asyncio.sleep(due - loop.time())


Run = Callable[[Case], Awaitable[None]]


async def run_cases(cluster: Cluster, cases: Mapping[str, Run]) -> dict[str, Exception | None]:
    """Run the cases. Returns the error of each; None for success."""
    limits = httpx.Limits(max_connections=None)
    places, loads = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(LOADS)
    async with cluster.api() as api, httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as client:

        async def outcome(name: str, run: Run) -> Exception | None:
            async with places:
                case = Case(name, cluster, api, client=client, loads=loads)
                path = namespaced("namespaces")
                try:
                    await api.create(path, {"metadata": {"name": case.namespace}})
                    await run(case)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is this case's
                    return error
                finally:
                    await api.delete(f"{path}/{case.namespace}")
                return None

        found = await asyncio.gather(*(outcome(name, run) for name, run in cases.items()))
    return dict(zip(cases, found, strict=True))


def _headers(words: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in words.items()}
