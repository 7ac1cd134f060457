"""Where the apps of a command are: in a cluster, or in a running `weir up`, by what was typed or by what is there."""

# ruff: noqa: PLC0415  what a place needs is imported when it is opened

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from weir.apps.backend import Backend
from weir.apps.failure import UsageError
from weir.running import engines

if TYPE_CHECKING:  # an HTTP client takes a third of the time in which a command starts, and few commands need one
    import ssl

    import httpx

    from weir.apps.admin_client import AdminClient

__all__ = ["Where", "opened", "opened_cluster"]

TOKEN_VARIABLE = "WEIR_TOKEN"  # noqa: S105  the name of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The options, as they were typed."""

    local: bool = False
    cluster: bool = False
    of: Path | None = None
    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    server: str | None = None
    token: str | None = None
    ca: Path | None = None
    token_of: str | None = None
    audience: str | None = None
    weir_namespace: str | None = None

    @property
    def _cluster_options(self) -> list[str]:
        named = ("context", "kubeconfig", "server", "token", "ca", "token_of", "audience", "weir_namespace")
        return [f"--{name.replace('_', '-')}" for name in named if getattr(self, name) is not None]

    def is_local(self) -> bool:
        """Raises UsageError."""
        asked_local = [name for name, typed in (("--local", self.local), ("--of", self.of)) if typed]
        asked_cluster = [*(["--cluster"] if self.cluster else []), *self._cluster_options]
        if asked_local and asked_cluster:
            raise UsageError(f"{asked_local[0]} and {asked_cluster[0]}: an app is in a weir up or in a cluster")
        if asked_local or asked_cluster:
            return bool(asked_local)
        return self.namespace is None and bool(engines(None))


@contextmanager
def opened(where: Where) -> Iterator[Backend]:
    """The place, until the context ends. Raises NotDoneError."""
    if where.is_local():
        from weir.apps.here import Here  # it loads the engine's description of its file

        yield Here(where.of, where.namespace)
        return
    from weir.apps.cluster import Cluster

    with opened_cluster(where) as (client, namespace, place):
        yield Cluster(client, namespace, place)


@contextmanager
def opened_cluster(where: Where, *, what: str = "") -> Iterator[tuple[AdminClient, str, str]]:
    """The Admin API, the namespace that is meant, and words for both. `what` is asked of it, if only clusters have
    that. Raises NotDoneError."""
    if where.local or where.of is not None:
        raise UsageError(f"{'--local' if where.local else '--of'}: {what} are in a cluster")
    with ExitStack() as stack:
        yield _cluster(where, stack, what)


def _cluster(where: Where, stack: ExitStack, what: str) -> tuple[AdminClient, str, str]:
    from weir.apps.admin_client import AdminClient

    token = where.token or os.environ.get(TOKEN_VARIABLE)
    if where.server is not None and token is not None:
        client = stack.enter_context(_client(_checked_url(where.server), token, _trust(where.ca), None))
        return AdminClient(client), where.namespace or "default", where.server
    from weir.apps.kube import Kube, has_kubeconfig  # it loads the client of Kubernetes

    if not has_kubeconfig(where.kubeconfig):
        raise UsageError(_no_cluster(what))
    kube = Kube(where.kubeconfig, where.context)
    namespace = where.namespace or kube.namespace
    whose = ""
    if token is None:
        token, whose = kube.token(namespace, where.token_of, where.audience)
    place = f"context {kube.context}, namespace {namespace}" + (f", as ServiceAccount {whose}" if whose else "")
    if where.server is not None:
        client = stack.enter_context(_client(_checked_url(where.server), token, _trust(where.ca), None))
        return AdminClient(client), namespace, f"{where.server}, {place}"
    from weir.apps.tunnel import tunnel

    service = kube.service(where.weir_namespace)
    trust = None if service.is_plaintext else _trust(where.ca, None if where.ca else kube.authority(service))
    way = stack.enter_context(tunnel(lambda: kube.opened(service, kube.pod(service))))
    client = stack.enter_context(_client(service.url, token, trust, way.path))
    return AdminClient(client, trouble=lambda: way.problem), namespace, place


def _no_cluster(what: str) -> str:
    server = "--server with --token names an Admin API"
    if what == "previews":
        where = "previews of a file are its previews:, and weir up FILE serves them"
        return f"previews are objects of a cluster, and there is no kubeconfig: {server}; {where}"
    if what == "releases":
        return f"releases are in a cluster, and there is no kubeconfig: {server}"
    return f"no weir up runs here, and there is no kubeconfig: weir up FILE starts a local one, and {server}"


def _client(url: str, token: str, trust: ssl.SSLContext | None, socket: Path | None) -> httpx.Client:
    """`socket` is what connections are made to, whatever the URL says."""
    import ssl

    import httpx

    from weir.apps.admin_client import TIMEOUT

    if not (token.isascii() and token.isprintable() and token.strip() == token and token):
        raise UsageError("the token is not one: it has characters that no header may have")
    verify = trust if trust is not None else ssl.create_default_context()
    headers = {"Authorization": f"Bearer {token}"}
    if socket is None:
        return httpx.Client(base_url=url, verify=verify, headers=headers, timeout=TIMEOUT)
    transport = httpx.HTTPTransport(verify=verify, uds=os.fspath(socket))
    return httpx.Client(base_url=url, transport=transport, headers=headers, timeout=TIMEOUT, trust_env=False)


def _trust(file: Path | None, pem: str | None = None) -> ssl.SSLContext:
    """Whom to trust: those of a file, those given, or those of the system. Raises UsageError."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=None if file is None else os.fspath(file), cadata=pem)
    except (OSError, ValueError) as error:
        what = f"--ca {file}" if file is not None else "the Secret's certificate"
        raise UsageError(f"{what}: {error.strerror if isinstance(error, OSError) and error.strerror else error}") from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a certificate that is trusted by itself needs no authority
    return context


def _checked_url(server: str) -> str:
    """A token is not sent in plaintext to another machine. Raises UsageError."""
    try:
        parts = urlsplit(server)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"--server {server}: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise UsageError(f"--server {server}: should be a URL, like https://weir.example.com:9092")
    if parts.scheme == "http" and not _is_loopback(host):
        raise UsageError(f"--server {server}: should be https, because the token would be read by everybody on the way")
    return server.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
