"""Gets a chart into a directory: an uploaded archive, or one that helm has fetched from a repository or a registry.

Only addresses that the operator has named are asked (WEIR_ADMIN_CHARTS): a caller could have the controller ask any server of the
cluster's network otherwise. Credentials are read from a Secret, and are in files, never in arguments.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from controller.admin.documents import Fault
from controller.admin.problems import Refused
from controller.admin.releases.archive import MAX_ARCHIVE, BadArchive, unpack
from controller.admin.releases.documents import Chart
from controller.admin.releases.helm import Helm, HelmFailed, Workspace
from controller.admin.releases.index import Version, index_of, permitted_versions
from controller.admin.releases.schemas import BadSchema, are_whole
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["Charts", "is_permitted"]

FETCH_SECONDS = 60.0
MAX_REASON = 500
DOCKER_CONFIG = ".dockerconfigjson"
REPOSITORY = "weir"
"""Name of the repository in helm's configuration. It is only ever one."""


class _Secret(msgspec.Struct, frozen=True):
    data: dict[str, str] = {}


def is_permitted(origin: str, sources: Sequence[str]) -> bool:
    """Whether an address is one of these, or below one."""
    return any(f"{origin}/".startswith(f"{source.rstrip('/')}/") for source in sources)


class Charts:
    """`sources` are the addresses below which charts may be."""

    def __init__(self, api: Api, helm: Helm, sources: Sequence[str]) -> None:
        self._api = api
        self._helm = helm
        self._sources = tuple(sources)

    def check(self, chart: Chart) -> None:
        """Raises Refused: 422 for an address that is not permitted."""
        for field, origin in (("oci", chart.oci), ("repository", chart.repository)):
            if origin is not None and not is_permitted(origin.rstrip("/"), self._sources):
                detail = "is not below one of WEIR_ADMIN_CHARTS, from which this controller takes charts"
                raise _wrong(field, detail)

    async def get(self, chart: Chart, namespace: str, workspace: Workspace) -> None:
        """Unpack the chart into the workspace. The caller's permission to read the credentials is checked before. Raises Refused
        and ApiError."""
        if chart.archive is not None:
            try:
                archive = base64.b64decode(chart.archive, validate=True)
            except binascii.Error as error:
                raise _wrong("archive", f"is not base64: {error}") from error
        else:
            archive = await self._fetched(chart, namespace, workspace)
        try:
            await asyncio.to_thread(unpack, archive, workspace.chart)
            workspace.checks_values = await asyncio.to_thread(are_whole, workspace.chart)
        except (BadArchive, BadSchema) as error:
            raise _wrong("archive", str(error)) from error

    async def _fetched(self, chart: Chart, namespace: str, workspace: Workspace) -> bytes:
        self.check(chart)
        secret = await self._secret(namespace, chart.credentials) if chart.credentials is not None else {}
        authority = [f"--ca-file={_ca(workspace, secret)}"] if chart.oci is not None and "ca.crt" in secret else []
        version = [f"--version={chart.version}"] if chart.version is not None else []
        options = [*version, f"--destination={workspace.downloads}"]
        try:
            if chart.oci is not None:
                _write_registry(workspace, chart.oci, secret)
                await self._helm.run(workspace, "pull", chart.oci, *options, *authority, seconds=FETCH_SECONDS)
            else:
                _write_repository(workspace, str(chart.repository), secret)
                output = await self._helm.run(workspace, "repo", "update", REPOSITORY, seconds=FETCH_SECONDS)
                if not workspace.index(REPOSITORY).exists():
                    raise HelmFailed(_why_not_updated(output))
                await self._leave_permitted(workspace, str(chart.repository), str(chart.name))
                await self._helm.run(workspace, "pull", f"{REPOSITORY}/{chart.name}", *options, seconds=FETCH_SECONDS)
        except HelmFailed as error:
            raise _wrong("oci" if chart.oci is not None else "repository", f"the chart cannot be fetched: {error}") from error
        found = await asyncio.to_thread(_only_file, workspace.downloads)
        if found is None:
            raise _wrong("oci" if chart.oci is not None else "repository", "helm has fetched something else than one chart")
        return found

    async def _leave_permitted(self, workspace: Workspace, repository: str, name: str) -> None:
        """Have helm see only those versions in the index that are below permitted addresses. Raises Refused when none is."""
        found = msgspec.json.decode(await self._helm.versions(workspace, REPOSITORY, name), type=list[Version])
        kept, others = permitted_versions(repository, found, lambda url: is_permitted(url, self._sources))
        if others and not kept:
            raise _wrong("repository", f"has {name} at {others[0][:200]}, which is not below one of WEIR_ADMIN_CHARTS")
        at = workspace.index(REPOSITORY)
        at.unlink()
        at.write_bytes(msgspec.json.encode(index_of(name, kept)))

    async def _secret(self, namespace: str, name: str) -> dict[str, bytes]:
        try:
            answer = await self._api.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
            data = msgspec.json.decode(answer, type=_Secret).data
            return {key: base64.b64decode(value, validate=True) for key, value in data.items()}
        except ApiError as error:
            if error.status == 404:
                raise _wrong("credentials", f"there is no Secret {name}") from error
            raise
        except ValueError as error:
            raise _wrong("credentials", f"the Secret {name} cannot be read") from error


def _ca(workspace: Workspace, secret: dict[str, bytes]) -> Path:
    at = workspace.path / "ca.crt"
    at.write_bytes(secret["ca.crt"])
    return at


def _text(secret: dict[str, bytes], key: str) -> str:
    try:
        return secret.get(key, b"").decode()
    except UnicodeDecodeError as error:
        raise _wrong("credentials", f"{key} of the Secret is no text") from error


def _why_not_updated(output: bytes) -> str:
    """Helm says the reason on its standard output, behind the name of the repository, and ends without an error."""
    _, _, reason = output.decode(errors="replace").partition("):\n")
    return reason.partition("\nUpdate Complete")[0].strip()[:MAX_REASON] or "its index cannot be fetched"


def _write_repository(workspace: Workspace, url: str, secret: dict[str, bytes]) -> None:
    entry = {
        "name": REPOSITORY,
        "url": url,
        "username": _text(secret, "username"),
        "password": _text(secret, "password"),
        "caFile": str(_ca(workspace, secret)) if "ca.crt" in secret else "",
        "pass_credentials_all": False,
    }
    content = {"apiVersion": "", "generated": "0001-01-01T00:00:00Z", "repositories": [entry]}
    workspace.write(workspace.repositories.name, content)


def _write_registry(workspace: Workspace, oci: str, secret: dict[str, bytes]) -> None:
    if DOCKER_CONFIG in secret:
        try:
            content = msgspec.json.decode(secret[DOCKER_CONFIG], type=dict[str, object])
        except ValueError as error:
            raise _wrong("credentials", f"{DOCKER_CONFIG} of the Secret is no JSON") from error
        # Without helpers, which would be programs that helm starts.
        workspace.write(workspace.registry.name, {"auths": content.get("auths") or {}})
    elif "username" in secret:
        pair = f"{_text(secret, 'username')}:{_text(secret, 'password')}"
        auths = {urlsplit(oci).netloc: {"auth": base64.b64encode(pair.encode()).decode()}}
        workspace.write(workspace.registry.name, {"auths": auths})


def _only_file(directory: Path) -> bytes | None:
    found = [at for at in directory.iterdir() if at.suffix == ".tgz"]
    if len(found) != 1:
        return None
    with found[0].open("rb") as file:
        return file.read(MAX_ARCHIVE + 1)


def _wrong(field: str, detail: str) -> Refused:
    return Refused(422, "invalid-chart", f"/chart/{field}: {detail}", errors=[Fault(detail=detail, pointer=f"/chart/{field}")])
