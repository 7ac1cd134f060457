"""The port for TLS, judged by others' tools: OpenSSL's client, and sslscan, which looks for all that is weak."""

from __future__ import annotations

import asyncio
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fleet.routing.route import Route, Rule, Target
from tests.support.certificates import Authority
from tests.support.loopback import APP
from tests.wire.proxy_backend import answer, ok
from tests.wire.proxy_rig import Rig, eventually
from tests.wire.test_http2_tools import CASES, TOOLS, needs_clients, run
from tests.wire.test_tls import port_of, rig_outcomes, tls_rig
from tests.wire.tls_client import connect, trusting

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
RENEWALS = 5
BESIDE = 4
"""Clients that open connections while certificates are renewed."""
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
needs_sslscan = pytest.mark.skipif(shutil.which("sslscan") is None, reason="sslscan is not installed")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Client:
    """`openssl s_client`, with a verified certificate."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said = ""

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    async def until(self, text: str) -> None:
        """Read on until it says this; fails when it ends before."""
        assert self._process.stdout is not None
        while text not in self.said:
            data = await asyncio.wait_for(self._process.stdout.read(1 << 16), 60)
            assert data, self.said
            self.said += data.decode(errors="replace")

    async def ended(self) -> str:
        """All that it says to its end."""
        assert self._process.stdout is not None
        self.said += (await asyncio.wait_for(self._process.stdout.read(), 60)).decode(errors="replace")
        await self._process.wait()
        return self.said


@asynccontextmanager
async def s_client(rig: Rig, authority: Authority, directory: Path, *options: str, name: str = "a.test") -> AsyncIterator[Client]:
    trusted = directory / "trusted.pem"
    trusted.write_bytes(authority.pem)
    verified = ("-CAfile", str(trusted), "-servername", name, "-verify_hostname", name, "-verify_return_error")
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{port_of(rig)}", *verified, *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def asked(rig: Rig, authority: Authority, directory: Path, *options: str, name: str = "a.test") -> str:
    """What it says of its connection, and the response to a request."""
    async with s_client(rig, authority, directory, "-ign_eof", *options, name=name) as client:
        client.write(GET)
        return await client.ended()


def is_answered(said: str) -> bool:
    return "Verify return code: 0 (ok)" in said and "\nHTTP/1.1 200 OK" in said


@needs_openssl
async def test_versions(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path) as rig:
        for version, options, passes in (
            ("TLSv1", ("-tls1",), False),
            ("TLSv1.1", ("-tls1_1",), False),
            ("TLSv1.2", ("-tls1_2",), True),
            ("TLSv1.3", ("-tls1_3",), True),
        ):
            said = await asked(rig, authority, tmp_path, *options, "-cipher", "ALL:@SECLEVEL=0")
            assert is_answered(said) == passes, said
            assert passes or "alert protocol version" in said, said  # it is the server who refuses
            assert not passes or f"New, {version}, Cipher is " in said, said
        assert rig_outcomes(rig) == {"failed": 2, "done": 2}


@needs_openssl
async def test_names_and_wildcards(authority: Authority, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    directory.mkdir()
    authority.write(directory, "wild", "*.a.test")
    authority.write(directory, "exact", "exact.a.test")
    async with tls_rig(authority, tmp_path, proxy_tls_directories=str(directory)) as rig:
        for name, passes in (
            ("a.test", True),
            ("x.a.test", True),
            ("exact.a.test", True),
            ("x.y.a.test", False),  # a wildcard stands for one label
            ("b.test", False),
        ):
            said = await asked(rig, authority, tmp_path, name=name)
            assert is_answered(said) == passes, said
            assert passes or "hostname mismatch" in said, said


@needs_openssl
@pytest.mark.parametrize(
    ("offered", "told"),
    [
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
        ("http/1.0,http/1.1", "ALPN protocol: http/1.1"),
        ("spdy/3", "No ALPN negotiated"),
    ],
)
async def test_protocols_that_are_offered(authority: Authority, tmp_path: Path, offered: str, told: str) -> None:
    """Who offers none that is spoken gets HTTP/1.1, as who offers nothing does, and can tell it from the handshake."""
    async with tls_rig(authority, tmp_path) as rig:
        if "h2" in offered:
            async with s_client(rig, authority, tmp_path, "-alpn", offered) as client:
                await client.until(told)
        else:
            said = await asked(rig, authority, tmp_path, "-alpn", offered)
            assert told in said
            assert is_answered(said), said


@needs_openssl
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_client_certificates(authority: Authority, tmp_path: Path, version: str) -> None:
    clients = Authority("clients")
    (tmp_path / "clients.crt").write_bytes(clients.pem)
    good, bad = clients.write(tmp_path, "good"), Authority("nobody").write(tmp_path, "bad")
    async with tls_rig(authority, tmp_path, proxy_tls_ca=str(tmp_path / "clients.crt")) as rig:
        for own, refusal in (
            (("-cert", str(good[0]), "-key", str(good[1])), ""),
            (("-cert", str(bad[0]), "-key", str(bad[1])), "alert unknown ca"),
            ((), "alert certificate required" if version == "-tls1_3" else "alert handshake failure"),
        ):
            said = await asked(rig, authority, tmp_path, version, *own)
            assert is_answered(said) == (not refusal), said
            assert refusal in said, said
        received = b"".join(bytes(peer.received) for peer in rig.backends[0].peers)
        assert received.count(b"GET ") == 1


@needs_openssl
async def test_a_client_cannot_renegotiate(authority: Authority, tmp_path: Path) -> None:
    async with tls_rig(authority, tmp_path) as rig, s_client(rig, authority, tmp_path, "-tls1_2") as client:
        await client.until("Verify return code: 0 (ok)")
        assert "Secure Renegotiation IS supported" in client.said  # so that nobody can put a request in front of it
        assert "Compression: NONE" in client.said
        client.write(b"R\n")
        assert "no renegotiation" in await client.ended()
        assert rig.backends[0].peers == []


@needs_openssl
async def test_certificates_are_renewed_under_load(authority: Authority, tmp_path: Path) -> None:
    """No handshake and no request fails meanwhile, and a connection from before goes on."""
    done = 0
    served: set[str] = set()
    async with tls_rig(authority, tmp_path) as rig, s_client(rig, authority, tmp_path) as old:
        await old.until("Verify return code: 0 (ok)")
        assert rig.interceptor._tls is not None
        certificates = rig.interceptor._tls.certificates
        over = asyncio.Event()

        async def load() -> None:
            nonlocal done
            while not over.is_set():
                async with connect(port_of(rig), trusting(authority)) as client:
                    served.update(client.served_by)
                    assert (await client.ask())[1] == b"ok"
                    done += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(BESIDE):
                group.create_task(load())
            for number in range(RENEWALS):
                before, name = done, f"r{number}.test"
                authority.write(tmp_path, "server", "a.test", name)
                await eventually(lambda name=name: name in certificates.certificates[0].names)  # type: ignore[misc]
                await eventually(lambda name=name: name in served)  # type: ignore[misc]
                await eventually(lambda before=before: done > before + BESIDE)  # type: ignore[misc]
            over.set()
        assert set(rig_outcomes(rig)) == {"done"}
        old.write(GET)
        await old.until("HTTP/1.1 200 OK")
        assert "r0.test" not in old.said


def weak(scan: ET.Element) -> Sequence[str]:
    """What sslscan shows in yellow or red, and what this port must not have."""
    found: list[str] = []
    for each in scan.iter():
        told = each.attrib
        if (
            each.tag == "protocol"
            and told["enabled"] == "1"
            and (told["type"], told["version"]) not in {("tls", "1.2"), ("tls", "1.3")}
        ):
            found.append(f"{told['type']} {told['version']}")
        elif each.tag == "cipher" and (
            told["strength"] not in {"strong", "acceptable"}
            or int(told["bits"]) < 128
            or not re.match(r"TLS_|ECDHE-.*(GCM|POLY1305)", told["cipher"])
        ):
            found.append(told["cipher"])
        elif each.tag == "group" and int(told["bits"]) < 112:
            found.append(told["name"])
        elif (
            (each.tag == "heartbleed" and told["vulnerable"] != "0")
            or (each.tag in {"renegotiation", "compression"} and told["supported"] != "0")
            or (each.tag == "fallback" and told["supported"] != "1")
            or (each.tag == "pk" and told["error"] != "false")
            or (each.tag == "connection-signature-algorithm" and re.search("sha1|md5|any|null", told["name"]))
            or (each.tag == "signature-algorithm" and re.search("sha1|md5", each.text or "", re.IGNORECASE))
        ):
            found.append(ET.tostring(each, encoding="unicode").strip())
    return found


@needs_sslscan
@pytest.mark.timeout(120)
@pytest.mark.parametrize("versions", ["1.2", "1.3", "1.2 to 1.3"])
async def test_sslscan_finds_nothing_weak(authority: Authority, tmp_path: Path, versions: str) -> None:
    """Its signature algorithms are not asked for: it takes long to try each."""
    least, _, most = versions.partition(" to ")
    async with tls_rig(authority, tmp_path, tls_min_version=least, tls_max_version=most or least) as rig:
        result = tmp_path / "scan.xml"
        code, said = await run("sslscan", "--no-colour", "--sni-name=a.test", f"--xml={result}", f"127.0.0.1:{port_of(rig)}")
        assert code == 0, said
        scan = ET.fromstring(result.read_text())  # noqa: S314 -- of a tool of ours
        assert weak(scan) == []
        enabled = {each.attrib["version"] for each in scan.iter("protocol") if each.attrib["enabled"] == "1"}
        assert enabled == {least, most or least}
        assert len(list(scan.iter("cipher"))) == {"1.2": 3, "1.3": 3, "1.2 to 1.3": 6}[versions]
        assert {each.attrib["sslversion"] for each in scan.iter("heartbleed")} == {f"TLSv{version}" for version in enabled}


@needs_clients
@pytest.mark.timeout(120)
async def test_every_case_of_h2spec_over_tls(authority: Authority, tmp_path: Path) -> None:
    """What does not begin with the preface gets no HTTP/1 here, as it does on the plaintext port: ALPN has said HTTP/2."""
    route = Route(app=APP, target=Target(APP), rules=(Rule(hosts=("127.0.0.1",)),))
    async with tls_rig(authority, tmp_path, answer(ok(b"x" * 100)), routes=[route]) as rig:
        code, said = await run(TOOLS / "h2spec", "--strict", "-t", "-k", "--host", "127.0.0.1", "--port", str(port_of(rig)))
        assert re.search(rf"{CASES} tests, {CASES} passed, 0 skipped, 0 failed", said), said[-2000:]
        assert code == 0
        assert rig.backends[0].peers


def test_what_is_weak_is_seen() -> None:
    scan = ET.fromstring(  # noqa: S314 -- our own
        '<ssltest><protocol type="tls" version="1.0" enabled="1"/><protocol type="tls" version="1.1" enabled="0"/>'
        '<renegotiation supported="1" secure="0"/><compression supported="1"/><heartbleed sslversion="TLSv1.2" vulnerable="1"/>'
        '<cipher strength="weak" bits="56" cipher="DES-CBC-SHA"/><cipher strength="acceptable" bits="128" cipher="AES128-SHA"/>'
        '<group bits="80" name="secp160k1"/><fallback supported="0"/><pk error="true"/>'
        "<signature-algorithm>sha1WithRSAEncryption</signature-algorithm></ssltest>"
    )
    assert len(weak(scan)) == 10
