"""A small client of the API server: JSON and watches. Shares no code with the product's client, so that mistakes there show."""

import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

__all__ = ["Api", "ApiError", "Object", "Tls", "namespaced"]

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

_GROUPS = {
    "pods": "api/v1",
    "services": "api/v1",
    "nodes": "api/v1",
    "configmaps": "api/v1",
    "secrets": "api/v1",
    "limitranges": "api/v1",
    "serviceaccounts": "api/v1",
    "events": "api/v1",
    "namespaces": "api/v1",
    "deployments": "apis/apps/v1",
    "statefulsets": "apis/apps/v1",
    "endpointslices": "apis/discovery.k8s.io/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "horizontalpodautoscalers": "apis/autoscaling/v2",
    "customresourcedefinitions": "apis/apiextensions.k8s.io/v1",
    "apiservices": "apis/apiregistration.k8s.io/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "scaledobjects": "apis/keda.sh/v1alpha1",
    "httpscaledobjects": "apis/http.keda.sh/v1alpha1",
    "previews": "apis/weir.dev/v1alpha1",
    "interceptorroutes": "apis/http.keda.sh/v1beta1",
}


class ApiError(Exception):
    """The API server refused a request; .status is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:1000]}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of the client's certificate and key, and of the authority that it trusts."""

    ca: Path
    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.cert, self.key)
        return context


def namespaced(resource: str, namespace: str = "", name: str = "") -> str:
    """The path of a collection or of an object."""
    path = "/" + _GROUPS[resource]
    if namespace:
        path += f"/namespaces/{namespace}"
    path += f"/{resource}"
    return f"{path}/{name}" if name else path


class Api:
    """Use as `async with`."""

    def __init__(self, url: str, tls: Tls | None = None, *, token: str = "", ca: Path | None = None) -> None:
        verify = tls.context() if tls else ssl.create_default_context(cafile=str(ca))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Watches keep their connections for ever, so the pool has no limit.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=None)
        self._client = httpx.AsyncClient(
            base_url=url, verify=verify, timeout=120, limits=limits, headers=headers, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def call(
        self, method: str, path: str, body: Object | None = None, *, kind: str = "application/json", **query: Any
    ) -> Object:
        """Raises ApiError for 4xx and 5xx, httpx.HTTPError if the server cannot be reached."""
        content = None if body is None else json.dumps(body)
        answer = await self._client.request(method, path, content=content, params=query, headers={"Content-Type": kind})
        if answer.is_error:
            raise ApiError(answer.status_code, answer.text)
        loaded: Object = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
        return loaded

    async def get(self, path: str, **query: Any) -> Object:
        return await self.call("GET", path, **query)

    async def find(self, path: str) -> Object | None:
        """The object, or None if it does not exist."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, path: str, **query: Any) -> list[Object]:
        items: list[Object] = (await self.get(path, **query))["items"]
        return items

    async def create(self, path: str, body: Object) -> Object:
        return await self.call("POST", path, body)

    async def merge(self, path: str, body: Object) -> Object:
        return await self.call("PATCH", path, body, kind="application/merge-patch+json")

    async def delete(self, path: str, body: Object | None = None) -> None:
        """Delete an object. No error if it does not exist."""
        try:
            await self.call("DELETE", path, body)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def watch(self, path: str, version: str, **query: Any) -> AsyncIterator[tuple[str, Object]]:
        """Yields (type, object) until the server ends the stream."""
        params = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", **query}
        async with self._client.stream("GET", path, params=params, timeout=httpx.Timeout(120, read=None)) as answer:
            if answer.is_error:
                raise ApiError(answer.status_code, (await answer.aread()).decode())
            async for line in answer.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), line)
                yield event["type"], event["object"]

    async def follow(self, path: str, seen: Callable[[Object, bool], None], cleared: Callable[[], None], **query: Any) -> None:
        """Lists, then watches: seen(object, exists) for every change. Ends with the stream; the caller calls again.

        cleared() is called with every list, just before its objects, so nothing is forgotten while the API server is away.
        """
        listed = await self.get(path, **query)
        cleared()
        for item in listed["items"]:
            seen(item, True)
        async for kind, item in self.watch(path, listed["metadata"]["resourceVersion"], **query):
            if kind != "BOOKMARK":
                seen(item, kind != "DELETED")
