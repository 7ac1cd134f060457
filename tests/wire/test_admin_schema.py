"""Every call of the Admin API as its OpenAPI document describes it, by a generator that knows only this document."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from controller.admin import following, logs
from controller.admin.previews import calls
from tests.support.full import FULL
from tests.support.helm import helm
from tests.support.port_leases import entry
from tests.wire.admin import admin
from tests.wire.releases import new_api

CONFIGURATION = """
[checks]
# What a schema cannot say: two fields that exclude each other, a name that is another than in the path, an ETag of the past.
positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 410, 412, 422]
# Refused before the body was looked at: too large, or for another version.
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 412, 413, 415, 422]
"""


@pytest.mark.timeout(1200 if FULL else 600)
async def test_nothing_is_answered_that_is_not_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "WAIT_SECONDS", 0.05)  # nothing is ever served here
    monkeypatch.setattr(calls, "within", lambda seconds: asyncio.get_running_loop().time() + 0.05)
    monkeypatch.setattr(logs, "FOLLOW_SECONDS", 0.05)
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    api, ports = new_api(), ["--ports", "--port-quota", "100000", "--max-ports", "100000"]
    entry(api)
    flags = ["--admin-rate", "100000", "--admin-helm", _helm(tmp_path), *ports, "--previews"]
    async with admin(api, tmp_path / "routes.json", *flags) as rig:
        command = [str(Path(sys.executable).with_name("st")), "--config-file", "schemathesis.toml", "run"]
        command += [f"{str(rig.client.base_url).rstrip('/')}/openapi.json", "--header", "Authorization: Bearer adam"]
        # How long data takes to make says how busy the machine is, and nothing about the API.
        command += ["--suppress-health-check", "too_slow"]
        command += ["--checks", "all", "--max-examples", "100" if FULL else "8", "--no-color", "--seed", "1"]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert "27 selected / 27 total" in output.decode()


def _helm(directory: Path) -> str:
    """The real one takes seven minutes for a thousand calls; otherwise one that knows of no release."""
    if FULL:
        return helm()
    substitute = directory / "helm"
    substitute.write_text("#!/bin/sh\n[ $1 = list ] && echo '[]' && exit\necho 'Error: release: not found' >&2\nexit 1\n")
    substitute.chmod(0o755)
    return str(substitute)
