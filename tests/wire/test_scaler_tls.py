"""TLS and mTLS of the scaler: towards KEDA, and towards the interceptors; with files that change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from fleet.runtime.process import StartError
from fleet.runtime.tls import TlsFiles
from tests.support.certificates import Authority, replace
from tests.support.members import PlayedMember, playing
from tests.support.scalers import APP, Keda, a_scaler, eventually


def server_settings(directory: Path, authority: Authority, *, mutual: bool) -> dict[str, Any]:
    cert, key = authority.write(directory, "server")
    ca = directory / "ca.crt"
    ca.write_bytes(authority.pem)
    return {"tls_cert": str(cert), "tls_key": str(key)} | ({"tls_ca": str(ca)} if mutual else {})


def keda_with(port: int, ca: bytes, identity: tuple[bytes, bytes] | None = None) -> Keda:
    cert, key = identity or (None, None)
    credentials = grpc.ssl_channel_credentials(ca, private_key=key, certificate_chain=cert)
    return Keda(grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=(("grpc.use_local_subchannel_pool", 1),)))


async def answers(keda: Keda) -> bool:
    try:
        return bool(await keda.specs())
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    finally:
        await keda.close()


async def served_serial(port: int) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def test_keda_over_tls(tmp_path: Path) -> None:
    authority = Authority()
    async with a_scaler(**server_settings(tmp_path, authority, mutual=False)) as running:
        assert await answers(keda_with(running.scaler.port, authority.pem))
        assert not await answers(keda_with(running.scaler.port, Authority("other").pem))


async def test_keda_over_mtls(tmp_path: Path) -> None:
    authority, stranger = Authority(), Authority("stranger")
    async with a_scaler(**server_settings(tmp_path, authority, mutual=True)) as running:
        assert await answers(keda_with(running.scaler.port, authority.pem, authority.issue("keda")))
        assert not await answers(keda_with(running.scaler.port, authority.pem))
        assert not await answers(keda_with(running.scaler.port, authority.pem, stranger.issue("keda")))


async def test_a_new_server_certificate_is_shown_and_open_streams_go_on(tmp_path: Path) -> None:
    authority = Authority()
    member = PlayedMember()
    async with playing(member), a_scaler(member, **server_settings(tmp_path, authority, mutual=False)) as running:
        before = await served_serial(running.scaler.port)
        keda = keda_with(running.scaler.port, authority.pem)
        pushes = await keda.pushes()
        cert, _ = authority.write(tmp_path, "server")
        assert (
            await served_serial(running.scaler.port) == x509.load_pem_x509_certificate(cert.read_bytes()).serial_number != before
        )
        member.set(APP, held=1, total=1)
        await pushes.until(1)
        await keda.close()


def member_settings(directory: Path, authority: Authority, **changed: str) -> dict[str, Any]:
    cert, key = authority.write(directory, "scaler")
    ca = directory / "members.crt"
    replace(ca, authority.pem)
    return {"member_tls_cert": str(cert), "member_tls_key": str(key), "member_tls_ca": str(ca)} | changed


def a_secure_member(directory: Path, authority: Authority, *dns: str) -> PlayedMember:
    ca = directory / "scalers.crt"
    ca.write_bytes(authority.pem)
    return PlayedMember(tls=TlsFiles(*authority.write(directory, "member", *dns), ca=ca))


async def test_members_over_mtls(tmp_path: Path) -> None:
    authority = Authority()
    member = a_secure_member(tmp_path, authority)
    async with playing(member), a_scaler(member, **member_settings(tmp_path, authority)) as running:
        member.set(APP, held=1, total=1)
        await eventually(lambda: running.scaler._demand.held(APP) == 1)


async def test_members_found_by_address_show_the_name_of_the_fleet(tmp_path: Path) -> None:
    authority = Authority()
    member = a_secure_member(tmp_path, authority, "interceptor.weir")
    given = member_settings(tmp_path, authority, member_tls_name="interceptor.weir")
    async with playing(member), a_scaler(member, **given):
        assert member.streams == 1


async def test_members_that_do_not_know_the_scaler_are_not_heard(tmp_path: Path) -> None:
    authority, other = Authority(), Authority("other")
    member = a_secure_member(tmp_path, authority)
    (tmp_path / "scaler").mkdir()
    given = member_settings(tmp_path / "scaler", other)
    async with playing(member), a_scaler(member, heard=False, **given) as running:
        await eventually(lambda: all(state.tried for state in running.scaler._demand._members.values()))
        assert member.opened == 0
        # The right files arrive: the streams follow.
        member_settings(tmp_path / "scaler", authority)
        await eventually(lambda: member.streams == 1)


async def test_streams_are_opened_anew_with_a_new_certificate(tmp_path: Path) -> None:
    authority = Authority()
    member = a_secure_member(tmp_path, authority)
    async with playing(member), a_scaler(member, **member_settings(tmp_path, authority)) as running:
        member.set(APP, in_flight=2, total=2)
        await eventually(lambda: running.scaler._demand.level(APP) == 2)
        authority.write(tmp_path, "scaler")
        await eventually(lambda: member.opened == 2 and member.streams == 1)
        assert running.scaler._demand.level(APP) == 2
        assert await running.keda.value() == 2.0


async def test_certificates_that_do_not_fit_stop_the_start(tmp_path: Path) -> None:
    given = server_settings(tmp_path, Authority(), mutual=False)
    (tmp_path / "server.key").write_bytes(Authority().issue("x")[1])
    with pytest.raises(StartError, match="not the key of the certificate"):
        async with a_scaler(**given):
            pass
    given = member_settings(tmp_path, Authority(), member_tls_ca=str(tmp_path / "none.crt"))
    with pytest.raises(StartError, match=r"none\.crt: No such file"):
        async with a_scaler(**given):
            pass
