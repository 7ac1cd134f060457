"""Which source a setting opens, and what is said of one that opens none."""

from __future__ import annotations

import pytest

from fleet.discovery.dns import DnsMembers
from fleet.discovery.files import FileBackends, FileMembers, FileRoutes
from fleet.discovery.fixed import FixedMembers
from fleet.discovery.sources import Member, SourceError
from fleet.discovery.uri import open_backends, open_members, open_routes


def test_each_form_opens_its_source() -> None:
    assert isinstance(open_routes("file:/etc/weir/routes.json"), FileRoutes)
    assert isinstance(open_backends("file:backends.json"), FileBackends)
    assert isinstance(open_members("file:members.json"), FileMembers)
    assert isinstance(open_members("dns:interceptor.weir.svc:9090"), DnsMembers)


def test_a_list_of_addresses_names_each_member_by_its_address() -> None:
    source = open_members("127.0.0.1:9090, [::1]:9090,127.0.0.1:9090")
    assert isinstance(source, FixedMembers)
    assert source.current == (Member("127.0.0.1:9090", "127.0.0.1:9090"), Member("[::1]:9090", "[::1]:9090"))


@pytest.mark.parametrize("uri", ["", "routes.json", "file:", "http://example.com"])
def test_what_is_no_file_is_named(uri: str) -> None:
    with pytest.raises(SourceError, match=f"routes: '{uri}' is not \"file:PATH\""):
        open_routes(uri)
    with pytest.raises(SourceError, match="backends: "):
        open_backends(uri)


@pytest.mark.parametrize("uri", ["", "a", "a:", ":9090", "a:0", "a:65536", "a:9090,", "dns:", "dns:name", "dns:name:x", "file:"])
def test_what_names_no_members_is_refused(uri: str) -> None:
    with pytest.raises(SourceError, match=r"members|dns"):
        open_members(uri)
