"""Creates discovery sources from settings: files, DNS, a list of addresses, or Kubernetes.

The modules for Kubernetes are imported only when they are used.
"""

from __future__ import annotations

import re
from typing import Final

from fleet.defaults import RESYNC_SECONDS
from fleet.discovery.dns import DnsMembers
from fleet.discovery.documents import check_address
from fleet.discovery.files import FileBackends, FileMembers, FileRoutes
from fleet.discovery.fixed import FixedMembers
from fleet.discovery.sources import BackendSource, Member, MemberSource, RouteSource, SourceError

__all__ = ["open_backends", "open_members", "open_routes"]

_NAMESPACE: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_CONFIG_MAP: Final = re.compile(f"configmap:({_NAMESPACE})/({_NAME})")
_NAMESPACES: Final = re.compile(f"kubernetes:({_NAMESPACE}(?:,{_NAMESPACE})*)?")
_SERVICE: Final = re.compile(f"service:({_NAMESPACE})/({_NAME}):({_NAMESPACE})")


def open_routes(uri: str, *, resync: float = RESYNC_SECONDS) -> RouteSource:
    """The source for "file:PATH" or "configmap:NAMESPACE/NAME". Raises SourceError for another form."""
    if not uri.startswith("configmap:"):
        return FileRoutes(_path(uri, "routes", '"configmap:NAMESPACE/NAME"'), resync)
    namespace, name = _parts(_CONFIG_MAP, uri, "routes", "configmap:NAMESPACE/NAME")
    from fleet.discovery.kubernetes import client, listwatch, routes  # noqa: PLC0415

    client.check_credentials()
    return routes.KubernetesRoutes(client.open_api(), namespace, name, timing=listwatch.Timing(resync=resync))


def open_backends(uri: str, *, resync: float = RESYNC_SECONDS, direct: bool = True) -> BackendSource:
    """The source for "file:PATH", "kubernetes:" or "kubernetes:NAMESPACE,NAMESPACE". Raises SourceError for another form.

    `direct` is whether backends are pods, for targets that do not specify it; otherwise the Service's address is used.
    """
    if not uri.startswith("kubernetes:"):
        return FileBackends(_path(uri, "backends", '"kubernetes:" or "kubernetes:NAMESPACE,NAMESPACE"'), resync)
    (namespaces,) = _parts(_NAMESPACES, uri, "backends", "kubernetes:NAMESPACE,NAMESPACE")
    from fleet.discovery.kubernetes import backends, client, listwatch  # noqa: PLC0415

    client.check_credentials()
    listed = namespaces.split(",") if namespaces else []
    return backends.KubernetesBackends(client.open_api(), listed, timing=listwatch.Timing(resync=resync), direct=direct)


def open_members(uri: str, *, resync: float = RESYNC_SECONDS) -> MemberSource:
    """The source for "file:PATH", "dns:NAME:PORT", "service:NAMESPACE/NAME:PORTNAME" or "HOST:PORT,HOST:PORT".

    Raises SourceError for another form.
    """
    if uri.startswith("file:"):
        return FileMembers(_path(uri, "members"), resync)
    if uri.startswith("dns:"):
        return DnsMembers(uri.removeprefix("dns:"))
    if not (uri.startswith("service:") and "/" in uri):  # a host may be called "service"
        return FixedMembers(_listed(uri))
    namespace, name, port = _parts(_SERVICE, uri, "members", "service:NAMESPACE/NAME:PORTNAME")
    from fleet.discovery.kubernetes import client, listwatch, members  # noqa: PLC0415

    client.check_credentials()
    return members.KubernetesMembers(client.open_api(), namespace, name, port, timing=listwatch.Timing(resync=resync))


def _parts(form: re.Pattern[str], uri: str, what: str, said: str) -> tuple[str, ...]:
    match = form.fullmatch(uri)
    if match is None:
        raise SourceError(f'{what}: {uri!r} is not "{said}"')
    return match.groups("")


def _path(uri: str, what: str, others: str = "") -> str:
    path = uri.removeprefix("file:")
    if path == uri or not path:
        raise SourceError(f'{what}: {uri!r} is not "file:PATH"' + (f", nor {others}" if others else ""))
    return path


def _listed(uri: str) -> list[Member]:
    addresses = [address.strip() for address in uri.split(",")]
    try:
        for address in addresses:
            check_address(address, "members")
    except ValueError as error:
        raise SourceError(
            f'{error}, and {uri!r} is neither "file:PATH", "dns:NAME:PORT" nor "service:NAMESPACE/NAME:PORTNAME"'
        ) from error
    return [Member(name=address, address=address) for address in dict.fromkeys(addresses)]
