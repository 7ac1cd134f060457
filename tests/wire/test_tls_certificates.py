"""Certificates of the proxy's port for TLS: which one a client gets, how they change, and who is asked for one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection
from pathlib import Path

import pytest

from fleet.runtime.tls import TlsError, TlsFiles
from interceptor.tls.certificates import Certificates
from interceptor.tls.policy import Policy
from interceptor.tls.store import find
from tests.support.certificates import Authority, as_pem, der_of, of_version, replace
from tests.wire.proxy_rig import eventually, proxy_rig
from tests.wire.test_tls import port_of, tls_rig
from tests.wire.tls_client import connect, trusting


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def store(authority: Authority, directory: Path, **names: Collection[str]) -> Path:
    """A directory of certificates, by the name of the file."""
    directory.mkdir(exist_ok=True)
    for name, hosts in names.items():
        authority.write(directory, name, *hosts)
    return directory


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("a.test", "a.test"),
        ("A.TEST", "a.test"),
        ("x.a.test", "*.a.test"),
        ("exact.a.test", "exact.a.test"),
        ("b.test", "b.test"),
    ],
)
async def test_a_client_gets_the_certificate_of_the_name(authority: Authority, tmp_path: Path, asked: str, served: str) -> None:
    directory = store(authority, tmp_path / "store", wild=["*.a.test"], exact=["exact.a.test"], b=["b.test"])
    async with (
        tls_rig(authority, tmp_path, proxy_tls_directories=str(directory)) as rig,
        connect(port_of(rig), trusting(authority), asked) as client,
    ):
        assert served in client.served_by


async def test_a_name_that_no_certificate_has_gets_the_default_one(authority: Authority, tmp_path: Path) -> None:
    context = trusting(authority)
    context.check_hostname = False
    directory = store(authority, tmp_path / "store", wild=["*.b.test"])
    async with tls_rig(authority, tmp_path, proxy_tls_directories=str(directory)) as rig:
        for name in ("c.test", "x.y.b.test", "test", "x", "127.0.0.1"):
            async with connect(port_of(rig), context, name) as client:
                assert client.served_by == ("a.test",), name


async def test_the_certificates_of_directories_are_enough(authority: Authority, tmp_path: Path) -> None:
    directory = store(authority, tmp_path / "store", z=["z.test"], b=["b.test"])
    context = trusting(authority)
    context.check_hostname = False
    async with proxy_rig(proxy_tls_port=0, proxy_tls_directories=str(directory)) as rig:
        for name, served in (("z.test", "z.test"), ("b.test", "b.test"), ("unknown.test", "b.test")):
            async with connect(port_of(rig), context, name) as client:
                assert client.served_by == (served,)


async def test_a_new_certificate_is_used_without_ending_a_connection(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path) as rig, connect(port_of(rig), trusting(authority)) as old:
        assert rig.interceptor._tls is not None
        certificates = rig.interceptor._tls.certificates
        for name in ("b.test", "c.test"):
            authority.write(tmp_path, "server", name)
            await eventually(lambda name=name: certificates.certificates[0].names == (name,))  # type: ignore[misc]
            async with connect(port_of(rig), trusting(authority), name) as new:
                assert new.served_by == (name,)
                assert (await new.ask())[1] == b"ok"
        assert (await old.ask())[1] == b"ok"
        assert old.served_by == ("a.test",)


async def test_broken_files_leave_the_last_certificate_in_use(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_rig(authority, tmp_path) as rig:
        assert rig.interceptor._tls is not None
        certificates = rig.interceptor._tls.certificates
        for path, content, told in (
            ("server.crt", b"broken", "server.crt: not a certificate in PEM"),
            ("server.crt", authority.issue("other", "a.test")[0], "server.key: not the key of the certificate in"),
            ("server.crt", of_version(authority.issue("other", "a.test")[0], 7), "server.crt: not a certificate in PEM"),
        ):
            replace(tmp_path / path, content)
            await eventually(lambda told=told: any(told in fault for fault in certificates.faults.values()))  # type: ignore[misc]
            (row,) = certificates.shown()
            assert told in row.problem
            assert told in caplog.text
            async with connect(port_of(rig), trusting(authority)) as client:
                assert (await client.ask())[1] == b"ok"
        (tmp_path / "server.crt").unlink()
        await eventually(lambda: any("No such file" in fault for fault in certificates.faults.values()))
        async with connect(port_of(rig), trusting(authority)) as client:
            assert client.served_by == ("a.test",)
        authority.write(tmp_path, "server", "a.test", "new.test")
        await eventually(lambda: not certificates.faults)
        async with connect(port_of(rig), trusting(authority), "new.test") as client:
            assert "new.test" in client.served_by


async def test_the_volume_of_a_secret_is_followed(authority: Authority, tmp_path: Path) -> None:
    """Kubernetes replaces a symbolic link to a directory, and the files are links through it."""
    volume = tmp_path / "volume"
    volume.mkdir()

    def publish(at: str, name: str) -> None:
        real = volume / f"..{at}"
        real.mkdir()
        cert, key = authority.issue(name, name)
        for file, content in (("tls.crt", cert), ("tls.key", key), ("ca.crt", authority.pem)):
            (real / file).write_bytes(content)
            if not (volume / file).is_symlink():
                (volume / file).symlink_to(f"..data/{file}")
        (volume / "..new").symlink_to(real.name)
        (volume / "..new").rename(volume / "..data")

    publish("1", "a.test")
    async with proxy_rig(proxy_tls_port=0, proxy_tls_directories=str(volume)) as rig:
        assert rig.interceptor._tls is not None
        certificates = rig.interceptor._tls.certificates
        assert [one.names for one in certificates.certificates] == [("a.test",)]
        publish("2", "b.test")
        await eventually(lambda: [one.names for one in certificates.certificates] == [("b.test",)])
        store(authority, volume, more=["c.test"])  # a certificate that is new in the directory
        await eventually(lambda: len(certificates.certificates) == 2)


@pytest.mark.parametrize("required", [True, False])
async def test_client_certificates(authority: Authority, tmp_path: Path, required: bool) -> None:
    clients = Authority("clients")
    ca = tmp_path / "clients.crt"
    ca.write_bytes(clients.pem)
    wanted = "required" if required else "optional"
    good, bad = clients.write(tmp_path, "good"), Authority("nobody").write(tmp_path, "bad")
    async with tls_rig(authority, tmp_path, proxy_tls_ca=str(ca), proxy_tls_client_certs=wanted) as rig:
        async with connect(port_of(rig), trusting(authority, own=good)) as client:
            assert (await client.ask())[1] == b"ok"
        ended = clients.write(tmp_path, "ended", ended=True)
        for own, passes in ((None, not required), (bad, False), (ended, False)):
            try:
                async with connect(port_of(rig), trusting(authority, own=own)) as client:
                    await client.ask()
                    assert passes
            except (OSError, asyncio.IncompleteReadError):
                assert not passes


async def test_another_authority_of_clients(authority: Authority, tmp_path: Path) -> None:
    """One that cannot be used changes nothing: clients of the last one are let in, and no others."""
    clients, others = Authority("clients"), Authority("others")
    replace(ca := tmp_path / "clients.crt", "# Főtanúsítvány\n".encode() + clients.pem)
    mine, theirs = clients.write(tmp_path, "mine"), others.write(tmp_path, "theirs")
    async with tls_rig(authority, tmp_path, proxy_tls_ca=str(ca)) as rig:
        assert rig.interceptor._tls is not None
        certificates = rig.interceptor._tls.certificates

        async def passes(own: tuple[Path, Path]) -> bool:
            try:
                async with connect(port_of(rig), trusting(authority, own=own)) as client:
                    return (await client.ask())[1] == b"ok"
            except (OSError, asyncio.IncompleteReadError):
                return False

        for content in (b"", b"broken", of_version(others.pem, 7), as_pem(der_of(others.pem).replace(b"others", b"\xff" * 6))):
            replace(ca, content)
            await eventually(lambda: bool(certificates.faults))
            assert (await passes(mine), await passes(theirs)) == (True, False)
            replace(ca, clients.pem)
            await eventually(lambda: not certificates.faults)
        before = certificates.context
        replace(ca, others.pem)
        await eventually(lambda: certificates.context is not before)
        assert (await passes(mine), await passes(theirs)) == (False, True)


async def test_versions_and_suites_are_those_that_are_set(authority: Authority, tmp_path: Path) -> None:
    suite = "ECDHE-ECDSA-AES128-GCM-SHA256"
    settings = {"tls_max_version": "1.2", "tls_cipher_suites": suite, "tls_curves": "P-384,P-256"}
    async with tls_rig(authority, tmp_path, **settings) as rig:
        async with connect(port_of(rig), trusting(authority)) as client:
            assert client.session.cipher()[:2] == (suite, "TLSv1.2")  # type: ignore[index]
        newer = trusting(authority)
        newer.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with connect(port_of(rig), newer):
                pass
        other = trusting(authority)
        other.set_ecdh_curve("secp521r1")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with connect(port_of(rig), other):
                pass


async def test_a_key_that_no_allowed_suite_can_use_is_an_error_at_the_start(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"\.crt: no handshake is possible: its key needs a cipher suite of ECDSA"):
        async with tls_rig(authority, tmp_path, tls_max_version="1.2", tls_cipher_suites="ECDHE-RSA-AES128-GCM-SHA256"):
            pass


async def test_curves_that_cost_the_server_more_than_the_client_are_not_offered(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path) as rig:
        for curve, passes in (("X25519", True), ("prime256v1", True), ("secp521r1", True), ("X448", False), ("ffdhe8192", False)):
            client = trusting(authority)
            client.minimum_version = ssl.TLSVersion.TLSv1_3
            client.set_ecdh_curve(curve)
            try:
                async with connect(port_of(rig), client) as connected:
                    assert (await connected.ask())[1] == b"ok"
            except (ssl.SSLError, ConnectionError):
                assert not passes, curve
            else:
                assert passes, curve


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("server.crt", b"no certificate", "server.crt: not a certificate in PEM"),
        ("server.key", b"no key", "server.key: not a private key in PEM without a password"),
        ("server.key", None, "server.key: No such file or directory"),
    ],
)
async def test_a_broken_certificate_at_the_start(
    authority: Authority, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    cert, key = authority.write(tmp_path, "server", "a.test")
    path = tmp_path / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TlsError, match=told):
        await Certificates(TlsFiles(cert, key), (), policy=Policy()).start()


def test_what_a_directory_must_not_lack(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="No such file or directory"):
        find(None, [tmp_path / "missing"])
    with pytest.raises(TlsError, match="no certificate in"):
        find(None, [tmp_path])
    (tmp_path / "lonely.pem").write_bytes(authority.issue("x")[0])
    with pytest.raises(TlsError, match="there is no key for this certificate"):
        find(None, [tmp_path])
    (tmp_path / "lonely-key.pem").write_bytes(authority.issue("x")[1])
    (tmp_path / "below").mkdir()
    authority.write(tmp_path / "below", "tls")
    assert [pair.cert.name for pair in find(None, [tmp_path]).pairs] == ["tls.crt", "lonely.pem"]
