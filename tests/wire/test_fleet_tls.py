"""TLS and mTLS of the RPC server and the channels to it, with real handshakes."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from fleet.runtime.channels import ChannelFactory
from fleet.runtime.rpc import RpcServer
from fleet.runtime.tls import TlsError, TlsFiles
from tests.support.certificates import Authority, replace
from tests.support.health import check

SECONDS = 60


class Pki:
    """One authority, and the files of a server and of a client."""

    def __init__(self, directory: Path, *, mutual: bool) -> None:
        self.directory = directory
        self.authority = Authority()
        self.ca = directory / "ca.crt"
        self.ca.write_bytes(self.authority.pem)
        self.server = TlsFiles(*self.authority.write(directory, "server"), ca=self.ca if mutual else None)
        self.client = TlsFiles(*self.authority.write(directory, "client"), ca=self.ca)


@asynccontextmanager
async def serving(tls: TlsFiles) -> AsyncIterator[int]:
    server = RpcServer("127.0.0.1", 0, tls=tls)
    port = await server.start()
    await server.set_serving(True)
    # gRPC must keep what it calls back at every handshake.
    gc.collect()
    try:
        yield port
    finally:
        await server.stop(0)


@asynccontextmanager
async def started(factory: ChannelFactory) -> AsyncIterator[ChannelFactory]:
    await factory.start()
    try:
        yield factory
    finally:
        await factory.close()


async def healthy(channel: grpc.aio.Channel) -> bool:
    """Whether a call succeeds; the channel is closed then."""
    async with channel:
        try:
            return await check(channel) == "SERVING"
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            return False


def with_credentials(port: int, ca: bytes, cert: bytes | None = None, key: bytes | None = None) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(ca, private_key=key, certificate_chain=cert)
    # Without the local pool a second channel would take over the first one's connection, and make no handshake.
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=(("grpc.use_local_subchannel_pool", 1),))


async def served_serial(port: int) -> int:
    """Serial number of the certificate that the server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


async def test_tls_without_client_certificates(tmp_path: Path) -> None:
    pki = Pki(tmp_path, mutual=False)
    async with serving(pki.server) as port:
        assert await healthy(with_credentials(port, pki.authority.pem))
        assert not await healthy(with_credentials(port, Authority("other").pem))
        assert not await healthy(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))


async def test_client_certificates_are_required_when_there_is_an_authority(tmp_path: Path) -> None:
    pki = Pki(tmp_path, mutual=True)
    stranger = Authority("stranger").issue("client")
    async with serving(pki.server) as port:
        async with started(ChannelFactory(pki.client)) as factory:
            assert await healthy(factory.open(f"127.0.0.1:{port}"))
        assert not await healthy(with_credentials(port, pki.authority.pem))
        assert not await healthy(with_credentials(port, pki.authority.pem, *stranger))


async def test_the_server_follows_its_files(tmp_path: Path) -> None:
    pki = Pki(tmp_path, mutual=False)
    async with serving(pki.server) as port:
        for _ in range(3):
            assert await served_serial(port) == serial(pki.server.cert)
            assert await served_serial(port) == serial(pki.server.cert)
            pki.authority.write(tmp_path, "server")
        open_before = with_credentials(port, pki.authority.pem)
        assert await check(open_before) == "SERVING"
        other = Authority("other")
        other.write(tmp_path, "server")
        assert await served_serial(port) == serial(pki.server.cert)
        assert await healthy(with_credentials(port, other.pem))
        assert not await healthy(with_credentials(port, pki.authority.pem))
        # A change is for new connections; the open ones go on.
        assert await healthy(open_before)


async def test_the_server_follows_the_authority_of_its_clients(tmp_path: Path) -> None:
    pki = Pki(tmp_path, mutual=True)
    other = Authority("other")
    newcomer = other.issue("client")
    async with serving(pki.server) as port:
        assert not await healthy(with_credentials(port, pki.authority.pem, *newcomer))
        replace(pki.ca, other.pem)
        assert await healthy(with_credentials(port, pki.authority.pem, *newcomer))
        assert not await healthy(with_credentials(port, pki.authority.pem, *pki.authority.issue("client")))


async def test_half_a_change_keeps_the_last_good_pair(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pki = Pki(tmp_path, mutual=False)
    before = serial(pki.server.cert)
    cert, key = pki.authority.issue("server")
    async with serving(pki.server) as port:
        with caplog.at_level(logging.WARNING):
            replace(pki.server.cert, cert)
            assert await served_serial(port) == before
            assert await served_serial(port) == before
        assert len(caplog.records) == 1
        assert f"{pki.server.key}: not the key of the certificate" in caplog.text
        replace(pki.server.key, key)
        assert await served_serial(port) == serial(pki.server.cert) != before


async def test_channels_follow_their_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pki = Pki(tmp_path, mutual=True)
    other = Authority("other")
    async with serving(pki.server) as port, started(ChannelFactory(pki.client)) as factory:
        address = f"127.0.0.1:{port}"
        changed = asyncio.Event()
        factory.subscribe(changed.set)
        other.write(tmp_path, "client")
        await asyncio.wait_for(changed.wait(), SECONDS)
        assert not await healthy(factory.open(address))
        changed.clear()
        pki.authority.write(tmp_path, "client")
        await asyncio.wait_for(changed.wait(), SECONDS)
        assert await healthy(factory.open(address))
        with caplog.at_level(logging.WARNING):
            pki.client.key.unlink()
            for _ in range(3):
                factory._reread(pki.client)
        assert caplog.text.count(f"{pki.client.key}: No such file") == 1
        assert await healthy(factory.open(address))


async def test_a_member_dialled_by_address_shows_the_name_of_the_fleet(tmp_path: Path) -> None:
    pki = Pki(tmp_path, mutual=True)
    pki.authority.write(tmp_path, "server", "interceptor.weir")
    async with serving(pki.server) as port:
        async with started(ChannelFactory(pki.client)) as factory:
            assert not await healthy(factory.open(f"127.0.0.1:{port}"))
        async with started(ChannelFactory(pki.client, server_name="interceptor.weir")) as factory:
            assert await healthy(factory.open(f"127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("server.crt", None, r"server\.crt: No such file"),
        ("server.crt", b"nothing", r"server\.crt: not a certificate"),
        ("server.key", b"nothing", r"server\.key: not a private key"),
        ("server.key", "other", r"server\.key: not the key of the certificate"),
        ("ca.crt", b"", r"ca\.crt: not a certificate"),
    ],
)
async def test_files_that_cannot_be_used_are_named_at_the_start(
    tmp_path: Path, name: str, content: bytes | str | None, message: str
) -> None:
    pki = Pki(tmp_path, mutual=True)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else pki.authority.issue("server")[1])
    before = asyncio.all_tasks()
    with pytest.raises(TlsError, match=message):
        await RpcServer("127.0.0.1", 0, tls=pki.server).start()
    with pytest.raises(TlsError, match=message):
        await ChannelFactory(pki.server).start()
    assert asyncio.all_tasks() == before
