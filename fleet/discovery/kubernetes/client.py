"""Requests to the Kubernetes API server: raw JSON in answers and streams, and one exception type.

The official client handles credentials and connections; it is imported at the first request. Retries are the callers' business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from fleet.discovery.sources import SourceError

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from kubernetes.aio.client import ApiClient

__all__ = ["FETCHED_ALONE", "Api", "ApiError", "Query", "Stream", "check_credentials", "open_api"]

REQUEST_SECONDS: Final = 30.0
"""Seconds for one request. A server that needs longer for one page is overloaded, and the next attempt may reach another one."""
CONNECT_SECONDS: Final = 5.0
FETCHED_ALONE: Final = 16
"""Up to this many new objects of a kind are fetched one by one; for more, one full list costs the server less."""
MAX_ANSWER_BYTES: Final = 256 << 20
"""Maximum size of an answer; more than a page of five hundred of the largest objects normally takes."""
MAX_COMPLAINT_BYTES: Final = 64 << 10
JSON: Final = "application/json"
USER_AGENT: Final = "weir"
TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

Query = Iterable[tuple[str, str]]


class ApiError(SourceError):
    """The API server returned an error, or could not be reached: then `status` is 0. `retry_after` is in seconds; `causes` are
    the reasons that it gives for programs."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None, causes: Collection[str] = ()) -> None:
        super().__init__(" ".join(message.split()))
        self.status = status
        self.retry_after = retry_after
        self.causes = causes


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: tuple[_Cause, ...] | None = None


class _Status(msgspec.Struct, frozen=True):
    """Kind Status of meta/v1, the body of an error response."""

    message: str = ""
    reason: str = ""
    details: _Details | None = None


class Stream:
    """A watch as bytes. Silence of more than `silence` seconds is an error, because a half-open connection never ends by
    itself."""

    def __init__(self, response: ClientResponse, silence: float) -> None:
        self._response = response
        self._silence = silence

    async def read(self) -> bytes:
        """The next bytes, at least one; empty when the server has ended the watch. Raises ApiError."""
        with _errors_of(f"watch {self._response.url.path}"):
            async with asyncio.timeout(self._silence):
                return await self._response.content.readany()


class _Session:
    """A client with one set of credentials, and the number of its users: it may be closed only when no stream uses it."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.users = 0


class Api:
    """Requests with the credentials that `load` returns; they are loaded again after the server has refused them."""

    def __init__(self, load: Callable[[], Awaitable[ApiClient]]) -> None:
        self._load = load
        self._loading = asyncio.Lock()
        self._session: _Session | None = None

    async def get(self, path: str, query: Query = ()) -> bytes:
        """GET a path; returns the body. Raises ApiError."""
        return await self.request("GET", path, query=query)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: object = None,
        content_type: str = JSON,
        seconds: float = REQUEST_SECONDS,
    ) -> bytes:
        """Send a JSON body, with any of the patch types; returns the body of the answer. Raises ApiError."""
        with _errors_of(f"{method} {path}"):
            async with asyncio.timeout(seconds), self._using() as session:
                response = await self._send(session, method, path, query, body=body, content_type=content_type)
                try:
                    return await _content(response, MAX_ANSWER_BYTES)
                finally:
                    response.release()

    @asynccontextmanager
    async def stream(self, path: str, query: Query, *, silence: float) -> AsyncIterator[Stream]:
        """Open a watch. Raises ApiError."""
        with _errors_of(f"watch {path}"):
            async with self._using() as session:
                async with asyncio.timeout(REQUEST_SECONDS):
                    response = await self._send(session, "GET", path, query)
                try:
                    yield Stream(response, silence)
                finally:
                    response.close()

    async def close(self) -> None:
        """Call it after every request and stream has ended."""
        session, self._session = self._session, None
        if session is not None:
            await session.client.close()  # type: ignore[no-untyped-call]

    async def _send(
        self, session: _Session, method: str, path: str, query: Query, *, body: object = None, content_type: str = JSON
    ) -> ClientResponse:
        from aiohttp import ClientSSLError, ClientTimeout  # noqa: PLC0415  # with the client, see above

        client = session.client
        # No compression: the network is near, and compressing costs more CPU on both sides than it saves.
        headers = {"Accept": JSON, "Accept-Encoding": "identity", "Content-Type": content_type}
        method, url, headers, body, _ = await client.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        timeout = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        try:
            answer = await client.rest_client.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
        except ClientSSLError:
            self._forget(session)  # the certificate authority may have changed
            raise
        response: ClientResponse = answer.response
        if response.status >= 300:
            await self._refuse(session, response)
        return response

    async def _refuse(self, session: _Session, response: ClientResponse) -> None:
        try:
            body = await _content(response, MAX_COMPLAINT_BYTES)
        finally:
            response.close()
        if response.status == 401:
            self._forget(session)
        status, (message, causes) = response.status, _said(body)
        raise ApiError(
            f"{response.method} {response.url.path}: {status} {message or response.reason or ''}",
            status=status,
            retry_after=_seconds(response.headers.get("Retry-After")),
            causes=causes,
        )

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[_Session]:
        async with self._loading:
            session = self._session = self._session or _Session(await self._load())
        session.users += 1
        try:
            yield session
        finally:
            session.users -= 1
            if session is not self._session and not session.users:
                await session.client.close()  # type: ignore[no-untyped-call]

    def _forget(self, session: _Session) -> None:
        """Load the credentials again for the next request; requests under way continue with the old ones."""
        if self._session is session:
            self._session = None


def check_credentials() -> None:
    """Raise SourceError when there are no credentials for an API server."""
    if _in_pod() or any(Path(part).expanduser().is_file() for part in _kubeconfig().split(os.pathsep)):
        return
    raise SourceError(f"kubernetes: this is no pod with a service account, and there is no kubeconfig {_kubeconfig()!r}")


def open_api() -> Api:
    """An Api with the pod's service account, or else with KUBECONFIG (default ~/.kube/config)."""
    return Api(_load)


async def _load() -> ApiClient:
    from kubernetes.aio.client import ApiClient, Configuration  # noqa: PLC0415  # costs 45 MB
    from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config  # noqa: PLC0415

    configuration = Configuration()
    try:
        if _in_pod():
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                _kubeconfig(), client_configuration=configuration, persist_config=False
            )
        client = ApiClient(configuration)
    except (ConfigException, OSError, ValueError) as error:
        raise ApiError(f"kubernetes credentials: {error}") from error
    client.user_agent = USER_AGENT
    return client


def _in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and TOKEN_FILE.is_file()


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


@contextlib.contextmanager
def _errors_of(what: str) -> Iterator[None]:
    """Convert connection errors of the client to ApiError."""
    from aiohttp import ClientError  # noqa: PLC0415  # with the client, see above

    try:
        yield
    except TimeoutError as error:
        raise ApiError(f"{what}: nothing was heard in time") from error
    except (ClientError, OSError) as error:
        raise ApiError(f"{what}: {str(error) or type(error).__name__}") from error


async def _content(response: ClientResponse, limit: int) -> bytes:
    parts, size = [], 0
    while part := await response.content.readany():
        size += len(part)
        if size > limit:
            raise ApiError(f"{response.url.path}: the answer is larger than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _said(body: bytes) -> tuple[str, tuple[str, ...]]:
    """The message of an error response, and its causes."""
    try:
        status = msgspec.json.decode(body, type=_Status)
    except ValueError:
        return body[:200].decode(errors="replace"), ()
    causes = () if status.details is None else status.details.causes or ()
    return status.message or status.reason, tuple(cause.reason for cause in causes)


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds. Its other form, a date, is not used by API servers."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
