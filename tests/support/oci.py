"""A registry of charts, as far as pulls need it: OCI's distribution specification over TLS, behind a password or behind tokens
that a password buys (the Docker Registry v2 token protocol)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.support.certificates import Authority

__all__ = ["PASSWORD", "USER", "Registry", "registry"]

USER, PASSWORD = "reader", "pass word:'$(id)"
SERVICE = "charts"
MANIFEST, CONFIG, LAYER = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.cncf.helm.config.v1+json",
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
)
Auth = Literal["basic", "bearer"]


class _Answer(NamedTuple):
    status: str
    body: bytes = b""
    fields: Mapping[str, str] = {}


class Registry:
    """What it has, and who has asked."""

    def __init__(self, auth: Auth, pem: bytes) -> None:
        self.host = ""
        self.pem = pem
        """Of the authority that has signed its certificate."""
        self.requests: list[tuple[str, str]] = []
        """Method with path, and how the caller has proved itself: "", "Basic" or "Bearer"."""
        self._auth = auth
        self._tokens: dict[str, str] = {}
        """The scope of each."""
        self._blobs: dict[str, bytes] = {}
        self._tags: dict[str, dict[str, str]] = {}
        """Repository, tag: the manifest's digest."""

    @property
    def login(self) -> dict[str, str]:
        """An entry of `auths`, as docker writes it."""
        return {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}

    def put(self, repository: str, version: str, packed: bytes) -> None:
        """Store a packed chart."""
        config = json.dumps({"name": repository.rpartition("/")[2], "version": version, "apiVersion": "v2"}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._stored(config) | {"mediaType": CONFIG},
            "layers": [self._stored(packed) | {"mediaType": LAYER}],
        }
        self._tags.setdefault(repository, {})[version] = str(self._stored(json.dumps(manifest).encode())["digest"])

    def _stored(self, blob: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        self._blobs[digest] = blob
        return {"digest": digest, "size": len(blob)}

    def answer(self, method: str, target: str, authorization: str) -> _Answer:
        scheme, _, proof = authorization.partition(" ")
        self.requests.append((f"{method} {target.partition('?')[0]}", scheme))
        knows = proof == self.login["auth"]
        url = urlsplit(target)
        if url.path == "/token":
            return self._token(parse_qs(url.query)) if (scheme, knows) == ("Basic", True) else _Answer("401 Unauthorized")
        repository, _, rest = url.path.removeprefix("/v2/").rpartition("/")
        repository, _, kind = repository.rpartition("/")
        scope = f"repository:{repository}:pull"
        if self._auth == "basic":
            challenge, permitted = f'Basic realm="{SERVICE}"', (scheme, knows) == ("Basic", True)
        else:
            challenge = f'Bearer realm="https://{self.host}/token",service="{SERVICE}",scope="{scope}"'
            permitted = scheme == "Bearer" and self._tokens.get(proof) == scope
        if not permitted:
            return _Answer("401 Unauthorized", _error("UNAUTHORIZED"), {"WWW-Authenticate": challenge})
        return self._content(repository, kind, rest)

    def _token(self, query: Mapping[str, list[str]]) -> _Answer:
        token = secrets.token_urlsafe(16)
        if query.get("service") == [SERVICE] and len(query.get("scope", ())) == 1:
            self._tokens[token] = query["scope"][0]
        return _Answer("200 OK", json.dumps({"token": token}).encode(), {"Content-Type": "application/json"})

    def _content(self, repository: str, kind: str, rest: str) -> _Answer:
        tags = self._tags.get(repository, {})
        if (kind, rest) == ("tags", "list") and tags:
            return _Answer("200 OK", json.dumps({"name": repository, "tags": sorted(tags)}).encode())
        digest = tags.get(rest, rest) if kind == "manifests" else rest
        blob = self._blobs.get(digest) if kind in ("manifests", "blobs") else None
        if blob is None:
            return _Answer("404 Not Found", _error("MANIFEST_UNKNOWN"))
        media = MANIFEST if kind == "manifests" else "application/octet-stream"
        return _Answer("200 OK", blob, {"Docker-Content-Digest": digest, "Content-Type": media})


def _error(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()


@asynccontextmanager
async def registry(directory: Path, auth: Auth) -> AsyncIterator[Registry]:
    """One that listens on loopback. Its certificate is made in the directory."""
    authority = Authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.write(directory, "registry"))
    held = Registry(auth, authority.pem)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = line.split(" ")
            named = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
            answer = held.answer(method, target, named.get("authorization", ""))
            fields = {"Content-Length": str(len(answer.body)), "Connection": "close", **answer.fields}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            body = b"" if method == "HEAD" else answer.body
            writer.write(f"HTTP/1.1 {answer.status}\r\n{head}\r\n".encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a client that does not trust the certificate leaves
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    held.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield held
    finally:
        server.close()
