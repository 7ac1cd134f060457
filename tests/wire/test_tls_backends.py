"""Backends over TLS: by which protocol, and whose certificate is good enough."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from fleet.discovery.sources import Backend
from fleet.routing.target import Target, TargetTls
from fleet.runtime.tls import TlsError
from interceptor.tls.policy import Policy
from interceptor.tls.upstream import HTTP1, BackendTls
from tests.support.certificates import Authority, of_version, replace
from tests.support.loopback import APP
from tests.wire.proxy_rig import eventually, proxy_rig
from tests.wire.tls_backend import ask, backend
from tests.wire.tls_client import relay

NAME = "a.default.svc"
MARK = b"this must not be seen on the wire. "


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> str:
    """A directory with the authority."""
    directory = tmp_path / "authorities"
    directory.mkdir()
    (directory / "ca.crt").write_bytes(authority.pem)
    return str(directory)


async def test_requests_and_large_bodies_over_tls(authority: Authority, tmp_path: Path, trusted: str) -> None:
    large = MARK * 40_000
    async with (
        backend(authority, tmp_path, NAME, body=large) as behind,
        relay(behind.port) as wire,
        proxy_rig(backends=0, backend_tls_ca_dirs=trusted) as rig,
    ):
        rig.sources.set(APP, [Backend("127.0.0.1", wire.port, "https")])
        for _ in range(2):
            post = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(large)
            head, body = await ask(rig, post + large)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == large
        assert b"X-Forwarded-Proto: http\r\n" in behind.received
        assert len(wire.kept) > 4 * len(large)
        assert MARK not in wire.kept
        assert rig.pooled == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [(NAME, "unable to get local issuer certificate"), ("b.default.svc", "Hostname mismatch")],
)
async def test_a_backend_whose_certificate_is_not_good_gets_no_request(
    authority: Authority, tmp_path: Path, trusted: str, name: str, told: str
) -> None:
    by = Authority("another") if name == NAME else authority
    async with (
        backend(by, tmp_path, name) as behind,
        proxy_rig(backends=0, backend_tls_ca_dirs=trusted, readiness_timeout=0.5) as rig,
    ):
        rig.sources.set(APP, [Backend("127.0.0.1", behind.port, "https")])
        head, body = await ask(rig)
        assert head.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 504 "))
        assert not behind.received
        (each,) = rig.endpoints
        assert told in each.last_error
        assert each.last_error.startswith("TLS: ")
        assert b"127.0.0.1" not in body


async def test_any_certificate_is_good_enough_only_where_that_is_said(authority: Authority, tmp_path: Path) -> None:
    async with (
        backend(Authority("another"), tmp_path, "other.test") as behind,
        proxy_rig(backends=0, backend_tls_skip_verify=True) as rig,
    ):
        rig.sources.set(APP, [Backend("127.0.0.1", behind.port, "https")])
        assert (await ask(rig))[1] == b"ok"


async def test_a_backend_that_does_not_agree_to_http2(authority: Authority, tmp_path: Path, trusted: str) -> None:
    async with (
        backend(authority, tmp_path, NAME, alpn=["http/1.1"]) as behind,
        proxy_rig(backends=0, backend_tls_ca_dirs=trusted, readiness_timeout=0.5) as rig,
    ):
        rig.sources.set(APP, [Backend("127.0.0.1", behind.port, "h2")])
        head, _ = await ask(rig)
        assert head.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 504 "))
        (each,) = rig.endpoints
        assert each.last_error


async def test_the_other_side_of_an_interceptor_is_a_backend_of_http2(authority: Authority, tmp_path: Path, trusted: str) -> None:
    """Two interceptors in a row, with HTTP/2 over TLS between them."""
    cert, key = authority.write(tmp_path, "server", NAME)
    files = {"proxy_tls_port": 0, "proxy_tls_cert": str(cert), "proxy_tls_key": str(key)}
    async with proxy_rig(**files) as behind, proxy_rig(backends=0, backend_tls_ca_dirs=trusted) as rig:  # type: ignore[arg-type]
        port = behind.interceptor.proxy_tls_port
        assert port is not None
        rig.sources.set(APP, [Backend("127.0.0.1", port, "h2")])
        assert (await ask(rig))[1] == b"ok"
        received = bytes(behind.backends[0].peers[0].received)
        assert b"x-forwarded-proto: http\r\n" in received  # as the first client came; loopback is a trusted proxy
        await eventually(lambda: len(behind.interceptor.proxy.clients) == 1)


async def test_authorities_are_read_again(authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ca.crt"
    path.write_bytes(authority.pem)
    tls = BackendTls(Policy(), [tmp_path])
    before = await tls.context(HTTP1)
    assert await tls.context(HTTP1) is before
    for number, broken in enumerate((b"broken", of_version(authority.pem, 7)), 1):
        replace(path, broken)
        for _ in range(2):
            assert await tls.context(HTTP1) is before
        assert caplog.text.count("the last good ones stay") == number
        replace(path, authority.pem)
        before = await tls.context(HTTP1)
    replace(path, Authority("new").pem)
    assert await tls.context(HTTP1) is not before


async def test_a_bundle_with_comments_is_believed(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").write_bytes("# Főtanúsítvány\n".encode() + authority.pem)
    context = await BackendTls(Policy(), [tmp_path]).context(HTTP1)
    assert any(one["issuer"] == ((("commonName", "authority"),),) for one in context.get_ca_certs())


def test_directories_that_hold_no_authority_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="no certificate of an authority"):
        BackendTls(Policy(), [tmp_path])
    with pytest.raises(TlsError, match="No such file or directory"):
        BackendTls(Policy(), [tmp_path / "missing"])


@pytest.mark.parametrize("target", [Target("default/a"), Target("default/a", 80), Target("default/a", "http", True)])
def test_the_name_is_that_of_the_service_unless_the_route_says_another(target: Target) -> None:
    assert target.server_name == NAME
    assert structs.replace(target, tls=TargetTls()).server_name == NAME
    assert structs.replace(target, tls=TargetTls("a.test")).server_name == "a.test"
