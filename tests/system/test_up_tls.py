"""`weir up --tls`: https for the hosts of the file, by certificates of the user's own authority, that follow the file."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.system.harness import PATIENCE, Up, app, fleet, running_up

NO_PORTS = {"proxy_tls": 0}


def port_of(up: Up) -> int:
    (interceptor,) = up.components("interceptor")
    port: int = interceptor["proxy_tls_port"]
    return port


async def ask(up: Up, host: str, authority: Path, client: tuple[Path, Path] | None = None) -> bytes:
    """The status line of an answer by https. Raises ssl.SSLError."""
    context = ssl.create_default_context(cafile=str(authority))
    if client is not None:
        context.load_cert_chain(*client)
    reader, writer = await asyncio.open_connection(up.near, port_of(up), ssl=context, server_hostname=host)
    writer.write(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
    said = await reader.read()
    writer.close()
    return said.partition(b"\r\n")[0]


async def served(up: Up, host: str, authority: Path) -> bool:
    try:
        return await ask(up, host, authority) == b"HTTP/1.1 200 OK"
    except ssl.SSLError:
        return False


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["in one process", "processes"])
async def test_https_for_the_hosts_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]) -> None:
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "authority"))
    authority = tmp_path / "authority" / "authority.crt"
    file: dict[str, Any] = fleet(app("one"), ports=NO_PORTS)
    async with running_up(tmp_path, file, "--tls", *flags) as up:
        assert await ask(up, "one.localhost", authority) == b"HTTP/1.1 200 OK"
        await up.logs(f"https://one.localhost:{port_of(up)}/", f"trust {authority} once")
        assert not await served(up, "two.localhost", authority)
        up.write(fleet(app("one"), app("two", hosts=["shop.test", "two.localhost"]), ports=NO_PORTS))
        for host in ("two.localhost", "shop.test", "one.localhost"):
            async with asyncio.timeout(PATIENCE):
                while not await served(up, host, authority):  # noqa: ASYNC110 -- another process tells nobody
                    await asyncio.sleep(0.05)


async def location(up: Up, port: int) -> bytes:
    """Where plaintext is redirected to."""
    reader, writer = await asyncio.open_connection(up.near, port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: one.localhost\r\nConnection: close\r\n\r\n")
    said = await reader.read()
    writer.close()
    return said.partition(b"\r\nLocation: ")[2].partition(b"\r\n")[0]


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["in one process", "processes"])
async def test_redirects_lead_to_the_port_for_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "authority"))
    file: dict[str, Any] = fleet(app("one"), ports=NO_PORTS, interceptors=2, interceptor={"proxy_plaintext": "redirect"})
    async with running_up(tmp_path, file, "--tls", *flags) as up:
        for interceptor in up.components("interceptor"):
            at = b"https://one.localhost:%d/x" % interceptor["proxy_tls_port"]
            assert await location(up, interceptor["proxy_port"]) == at


async def test_examples_are_by_https_where_plaintext_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "authority"))
    file: dict[str, Any] = fleet(app("one"), ports=NO_PORTS, interceptor={"proxy_plaintext": "off"})
    async with running_up(tmp_path, file, "--tls") as up:
        await up.logs(f"try: curl --cacert {tmp_path / 'authority' / 'authority.crt'} https://one.localhost:{port_of(up)}/")


async def test_clients_are_asked_for_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "authority"))
    authority, clients = tmp_path / "authority" / "authority.crt", Authority("clients")
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    file: dict[str, Any] = fleet(app("one"), ports=NO_PORTS, interceptor={"proxy_tls_ca": str(tmp_path / "clients.pem")})
    async with running_up(tmp_path, file, "--tls") as up:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(up, "one.localhost", authority)
        assert await ask(up, "one.localhost", authority, clients.write(tmp_path, "me")) == b"HTTP/1.1 200 OK"


async def test_without_it_there_is_no_port_for_tls(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("one"), ports=NO_PORTS)) as up:
        assert [component["proxy_tls_port"] for component in up.components("interceptor")] == [None]


async def test_a_port_that_terminates_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_TLS_DIRECTORY", str(tmp_path / "authority"))
    number = free_port()
    port = {"port": number, "tls": "terminate", "server_names": ["db.test"]}
    ended = {key: value for key, value in app("db", ports=[port]).items() if key != "hosts"}
    refused = f"TCP {number} (db.test) of app default/db terminates TLS, and there is no certificate: weir up --tls makes"
    async with running_up(tmp_path, fleet(app("one"), ports=NO_PORTS)) as up:
        up.write(fleet(app("one"), ended, ports=NO_PORTS))
        await up.logs(refused, "the last good file stays in force")
    command = [sys.executable, "-m", "weir", "up", str(up.file), "--port", "0", "--no-ui"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(PATIENCE):
        _, said = await process.communicate()
    assert (process.returncode, refused in said.decode()) == (3, True), said
    async with running_up(tmp_path, fleet(ended, ports=NO_PORTS), "--tls") as up:
        context = ssl.create_default_context(cafile=str(tmp_path / "authority" / "authority.crt"))
        reader, writer = await asyncio.open_connection(up.near, number, ssl=context, server_hostname="db.test")
        writer.write(b"GET / HTTP/1.1\r\nHost: any\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
