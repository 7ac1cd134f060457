"""`weir preview` as a CI job types it, with a real Admin API: what is on standard output, and what the exit code tells."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.waiting import until
from tests.wire.test_admin_previews import ID, JOBS, Rig, rig, until_hook
from tests.wire.test_controller_previews import MADE, PREVIEWS

__all__ = ["rig"]  # the fixture

PATIENCE = 120


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("WEIR_TOKEN", "adam")


async def weir(held: Rig, *arguments: str, text: str = "", **environment: str) -> tuple[int, str, str]:
    command = (sys.executable, "-c", "import sys; sys.argv[0] = 'weir'; from weir.cli import main; main()")
    where = () if environment else ("--server", str(held.client.base_url).rstrip("/"), "--namespace", "shop")
    process = await asyncio.create_subprocess_exec(
        *(*command, *(() if environment else ("preview",)), *arguments, *where),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(text.encode()), PATIENCE)
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return process.returncode, out.decode(), err.decode()


F1 = ("--base", "web", "--name", "f1")


async def test_the_life_of_a_preview(rig: Rig) -> None:
    flags = (*F1, "--image", "web:f1", "--env", "A=1", "--request", "cpu=100m", "--max", "2", "--ttl", "72h")
    making = asyncio.create_task(weir(rig, "create", *flags))
    await rig.keda()
    code, out, err = await making
    assert (code, out) == (0, "https://f1.web.example.com/shop\n"), err
    assert "waiting until it is served" in err
    assert f"shop/{ID} is created, and served" in err.splitlines()
    spec = rig.api.objects[f"{PREVIEWS}/{ID}"]["spec"]
    assert spec == {
        "base": "web",
        "name": "f1",
        "ttl": "72h",
        "overrides": {
            "image": "web:f1",
            "env": {"A": "1"},
            "replicas": {"max": 2},
            "resources": {"requests": {"cpu": "100m"}},
        },
    }
    assert (await weir(rig, "create", *flags))[:2] == (0, out), "the same again"
    code, nothing, err = await weir(rig, "create", *F1, "--image", "web:2")
    assert (code, nothing) == (5, "")
    assert "says something else" in err
    code, said, _ = await weir(rig, "create", *F1, "--image", "web:2", "--replace", "-o", "json")
    assert (code, json.loads(said)["document"]["image"]) == (0, "web:2")

    code, out, _ = await weir(rig, "list")
    head, row = out.splitlines()
    assert (code, head.split()) == (0, ["NAME", "BASE", "PREVIEW", "STATE", "LAST", "USED", "LEFT", "URL", "REASON"])
    assert row.split() == [ID, "web", "f1", "asleep", "-", "-", "https://f1.web.example.com/shop"]
    assert (await weir(rig, "list", "--base", "other", "-o", "yaml"))[1] == "[]\n"
    await weir(rig, "create", *F1, "--image", "web:2", "--ttl", "1h", "--expires", "AfterCreation", "--replace")
    code, out, _ = await weir(rig, "extend", "f1", "--base", "web", "--for", "24h")
    assert (code, out.startswith(f"shop/{ID} lives until ")) == (0, True)
    code, out, _ = await weir(rig, "show", ID)
    assert (code, out.splitlines()[0]) == (0, f"shop/{ID}")
    assert "in 23h59m" in out
    assert (await weir(rig, "list"))[1].splitlines()[1].split()[5] == "23h59m"
    typed = f"weir preview delete --server {rig.client.base_url} --namespace shop web"
    asked = {"_WEIR_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    assert (await weir(rig, **asked))[1].split() == [ID]

    assert (await weir(rig, "delete", "f1"))[0] == 4, "of which base?"
    code, out, _ = await weir(rig, "delete", "f1", "--base", "web")
    assert (code, out) == (0, f"shop/{ID} is deleted\n")
    assert not [path for path in (*MADE, f"{PREVIEWS}/{ID}") if path in rig.api.objects]
    assert (await weir(rig, "delete", "f1", "--base", "web"))[0] == 4
    assert (await weir(rig, "delete", "f1", "--base", "web", "--ignore-missing"))[0] == 0


async def test_a_deletion_waits_for_hooks_after_and_fails_with_them(rig: Rig) -> None:
    hook = {"name": "database", "job": {"template": {"spec": {"containers": [{"name": "a", "image": "psql"}]}}}}
    document = yaml.safe_dump({"base": "web", "name": "f1", "after": [hook]})
    assert (await weir(rig, "create", "--no-wait", "-f", "-", text=document))[0] == 0
    await until(lambda: all(path in rig.api.objects for path in MADE))
    code, out, err = await weir(rig, "delete", ID, "--timeout", "1s")
    running = "AfterHookRunning: hook database has not ended yet"
    assert (code, out) == (8, f"shop/{ID} is being deleted, and its hooks after run: {running}\n"), err
    code, out, _ = await weir(rig, "show", ID)
    assert (code, [line.split(maxsplit=1) for line in out.splitlines()[1:7]].count(["reason", running])) == (0, 1), out
    assert "AfterHookRunning" in (await weir(rig, "list"))[1].splitlines()[1]
    deleting = asyncio.create_task(weir(rig, "delete", ID))
    await until(lambda: [write[:2] for write in rig.api.writes].count(("DELETE", f"{PREVIEWS}/{ID}")) == 2)
    failed = {"type": "Failed", "status": "True", "message": "no such \x1b[2Jhost"}
    rig.api.put(await until_hook(rig, "database"), status={"conditions": [failed]})
    code, out, err = await deleting
    assert (code, out) == (9, f"shop/{ID} is deleted\n"), err
    assert err.splitlines()[-1].startswith("AfterHookFailed: hook database: no such ")
    assert err.splitlines()[-1].endswith("host: what its hooks after were to remove may be left")
    assert "\x1b" not in err
    assert f"{PREVIEWS}/{ID}" not in rig.api.objects


async def test_the_exit_code_tells_what_is_wrong(rig: Rig) -> None:
    hook = {"name": "database", "job": {"template": {"spec": {"containers": [{"name": "a", "image": "psql"}]}}}}
    document = yaml.safe_dump({"base": "web", "name": "f1", "before": [hook]})
    making = asyncio.create_task(weir(rig, "create", "-f", "-", text=document))
    await until(lambda: f"{JOBS}/{ID}-database" in rig.api.objects)
    failed = {"type": "Failed", "status": "True", "message": "no such \x1b[2Jdatabase"}
    rig.api.put(f"{JOBS}/{ID}-database", status={"conditions": [failed]})
    code, out, err = await making
    assert (code, out) == (9, "")
    assert err.splitlines()[-1].startswith(f"shop/{ID} is written, and not-served: HookFailed: hook database: no such ")
    assert "\x1b" not in err
    code, out, err = await weir(rig, "create", "--base", "web", "--name", "f2", "--timeout", "1s")
    assert (code, out) == (8, ""), "KEDA says nothing"
    assert "not-served: " in err.splitlines()[-1]
    for wrong, code in (
        (("create", "--base", "web"), 2),
        (("create", *F1, "--env", "A"), 2),
        (("create", *F1, "--wake", "--no-wait"), 2),
        (("create", *F1, "--ttl", "soon"), 2),
        (("create", *F1, "--expires", "Never"), 2),
        (("list", "--local"), 2),
        (("create", "--base", "web", "--name", "a--b"), 3),
        (("show", "none"), 4),
        (("list", "--token", "nobody"), 6),
    ):
        found, out, err = await weir(rig, *wrong)
        assert (found, out) == (code, ""), (wrong, err)
    code, out, _ = await weir(rig, "create", *F1, "--image", "x", "--replace", "--dry-run")
    assert (code, yaml.safe_load(out)[0]["kind"]) == (0, "Preview")
