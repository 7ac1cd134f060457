"""Where a setting says that discovery looks: "file:PATH", "dns:NAME:PORT", or a list of addresses."""

from __future__ import annotations

from fleet.discovery.dns import DnsMembers
from fleet.discovery.documents import check_address
from fleet.discovery.files import FileBackends, FileMembers, FileRoutes
from fleet.discovery.fixed import FixedMembers
from fleet.discovery.sources import BackendSource, Member, MemberSource, RouteSource, SourceError

__all__ = ["open_backends", "open_members", "open_routes"]


def open_routes(uri: str) -> RouteSource:
    """The source for "file:PATH". Raises SourceError for another form."""
    return FileRoutes(_path(uri, "routes"))


def open_backends(uri: str) -> BackendSource:
    """The source for "file:PATH". Raises SourceError for another form."""
    return FileBackends(_path(uri, "backends"))


def open_members(uri: str) -> MemberSource:
    """The source for "file:PATH", "dns:NAME:PORT" or "HOST:PORT,HOST:PORT". Raises SourceError for another form."""
    if uri.startswith("file:"):
        return FileMembers(_path(uri, "members"))
    if uri.startswith("dns:"):
        return DnsMembers(uri.removeprefix("dns:"))
    return FixedMembers(_listed(uri))


def _path(uri: str, what: str) -> str:
    path = uri.removeprefix("file:")
    if path == uri or not path:
        raise SourceError(f'{what}: {uri!r} is not "file:PATH"')
    return path


def _listed(uri: str) -> list[Member]:
    addresses = [address.strip() for address in uri.split(",")]
    try:
        for address in addresses:
            check_address(address, "members")
    except ValueError as error:
        raise SourceError(f'{error}, and {uri!r} is neither "file:PATH" nor "dns:NAME:PORT"') from error
    return [Member(name=address, address=address) for address in dict.fromkeys(addresses)]
