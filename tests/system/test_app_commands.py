"""`weir app` with a real `weir up`, as users type it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness import ECHO, PATIENCE, Gate, Up, app, fetch, fleet, running_up, until
from weir.files import STARTER

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
COMMENTED = f"""\
# ours
apps:
  - name: web # the first
    hosts: [web.localhost]
    command: {ECHO}
    cooldown: 1
    activity_period: 1
# the end
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


async def weir(*arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "weir", "app", *arguments]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=300, check=False)
    return ended.returncode, ended.stdout, ended.stderr


async def shown(name: str) -> dict[str, Any]:
    code, out, err = await weir("show", name, "-o", "json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


async def commented(tmp_path: Path) -> Path:
    file = tmp_path / "fleet.yaml"
    file.write_text(COMMENTED)
    return file


async def test_the_five_commands_of_the_document(tmp_path: Path) -> None:
    block = DOCUMENT.read_text().partition("## Five commands")[2].partition("```\n")[2].partition("```")[0]
    commands = block.splitlines()
    assert len(commands) == 5
    assert shutil.which("curl")
    file = tmp_path / "weir.yaml"
    file.write_text(STARTER)  # as weir init writes it
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "weir"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m weir "$@"\n')
    program.chmod(0o755)
    async with running_up(tmp_path, file, "--host", "127.0.0.1") as up:
        environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "no_proxy": "*"}
        said = []
        for command in commands:
            typed = command.replace(":8080/", f":{up.port}/")
            ended = await asyncio.to_thread(
                subprocess.run, ["bash", "-ec", typed], env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            assert ended.returncode == 0, (typed, ended.stderr)
            said.append(ended.stdout)
        created, reached, updated, listed, deleted = said
        assert created == f"default/web is created\nhttp://web.localhost:{up.port}/\n"
        assert "Directory listing" in reached
        assert updated.startswith("default/web is updated\n")
        assert re.search(r"^web +awake +1/1 ", listed, re.MULTILINE)
        assert deleted == "default/web is deleted\n"
        assert file.read_text() == STARTER


async def test_a_life(tmp_path: Path) -> None:
    file = await commented(tmp_path)
    async with running_up(tmp_path, file) as up:
        flags = ("--command", ECHO, "--cooldown", "1", "--set", "activity_period=1", "--env", "A=no")
        code, out, err = await weir("create", "new", *flags)
        assert (code, out.splitlines()[0]) == (0, "default/new is created"), err
        assert err.splitlines()[:2] == [f"on weir up {file}", "changing fleet.yaml"]
        # It is served by now, and asleep.
        assert (await shown("new"))["state"] == "asleep"
        assert (await fetch(up.port, "new.localhost")).status == 200
        assert await weir("create", "new", *flags) == (0, out.replace("created", "there already, and is the same"), err_of(file))
        code, _, err = await weir("create", "new", "--command", "other")
        assert (code, err.splitlines()[-1]) == (5, "default/new exists and says something else: weir app update changes it")

        assert (await weir("update", "new", "--max", "2", "--env", "B=1", "--unset", "env.A"))[0] == 0
        found = await shown("new")
        assert (found["app"]["env"], found["max"], found["app"]["name"]) == ({"B": "1"}, 2, "new")
        code, out, _ = await weir("show", "new", "--document", "-o", "json")
        document = tmp_path / "new.json"
        document.write_text(json.dumps(json.loads(out) | {"max": 3}))
        assert (await weir("update", "new", "--file", str(document), "--unset", "env"))[0] == 0
        assert ((await shown("new"))["max"], "env" in (await shown("new"))["app"]) == (3, False)

        assert (await weir("update", "web", "--depends-on", "new,keep-awake=false"))[0] == 0
        code, out, _ = await weir("show", "web")
        assert re.search(r"^  needs +new \(only woken\)$", out, re.MULTILINE)
        assert [line for line in COMMENTED.splitlines() if line not in file.read_text().splitlines()] == []  # comments stay
        code, _, err = await weir("update", "new", "--depends-on", "web")
        assert (code, "depends_on: is a circle: new -> web -> new" in err) == (3, True), err
        code, _, err = await weir("update", "web", "--depends-on", "nobody")
        assert (code, "(--depends-on)" in err) == (3, True), err
        assert (await weir("update", "web", "--unset", "depends_on"))[0] == 0

        await until(lambda: not up.backends("new"))
        code, out, _ = await weir("wake", "new")
        assert (code, out.splitlines()[0]) == (0, "default/new is awake")
        code, out, _ = await weir("sleep", "new")
        assert (code, out.splitlines()[0]) == (0, "default/new is asleep")
        code, out, _ = await weir("list")
        assert [line.split()[0] for line in out.splitlines()] == ["NAME", "web", "new"]
        code, out, _ = await weir("list", "-o", "yaml")
        assert out.count("name: ") == 2

        code, out, _ = await weir("delete", "new", "--dry-run")
        assert code == 0
        assert "-  - name: new" in out
        assert (await weir("delete", "new"))[:2] == (0, "default/new is deleted\n")
        assert file.read_text() == COMMENTED
        assert (await fetch(up.port, "new.localhost")).status == 404
        assert (await weir("delete", "new"))[0] == 4


def err_of(file: Path) -> str:
    return f"on weir up {file}\nchanging {file.name}\n"


async def test_what_is_deleted_ends_before_the_command_does(tmp_path: Path) -> None:
    async with running_up(tmp_path, await commented(tmp_path)) as up:
        gate = Gate(tmp_path)
        slow = asyncio.create_task(fetch(up.port, "web.localhost", gate.path))
        await up.until_value("web", 1.0)
        deleting = asyncio.create_task(weir("delete", "web"))
        await until(lambda: "apps: []" in up.file.read_text())
        await asyncio.sleep(0.5)
        assert not deleting.done()
        gate.open()
        assert (await slow).status == 200
        code, _, err = await deleting
        assert (code, err.splitlines()[-1]) == (0, "waiting until its replicas have ended")
        assert not up.backends("web")


async def test_an_invalid_file_or_change_is_told_and_nothing_is_done(tmp_path: Path) -> None:
    file = await commented(tmp_path)
    async with running_up(tmp_path, file) as up:
        code, out, err = await weir("update", "web", "--max", "-1")
        assert (code, out, err.splitlines()[-1]) == (3, "", "max: should be at least 1 (--max)")
        code, _, err = await weir("create", "b", "--command", "x", "--host", "web.localhost")
        assert code == 3
        assert "asks for the same requests as apps[0]" in err
        for flags, told in (
            (("--set", "name=other"), "name: an app cannot be renamed: create another one, and delete this one"),
            (("--set", "namespace=other"), "namespace: an app cannot be renamed: create another one, and delete this one"),
            (("--unset", "nonsense"), "nonsense: is not a field"),
            (
                ("--set", 'command="a\\0b"'),
                f"{file}: apps[0].command: is not a value that can be read: 'a\\x00b'; it is left as it is",
            ),
        ):
            code, out, err = await weir("update", "web", *flags)
            assert (code, out, err.splitlines()[-1]) == (3, "", told)
        assert (await weir("update", "web", "--env", os.fsdecode(b"A=\xff")))[0] == 2
        assert (await weir("update", "web", "--set", "env=&a [*a]"))[0] == 2
        assert file.read_text() == COMMENTED
        up.write("apps: [")
        await up.logs("the last good file stays in force")
        code, _, err = await weir("create", "b", "--command", "x")
        assert (code, err.splitlines()[-1]) == (3, f"{file}: is invalid already, and is left as it is")
        assert file.read_text() == "apps: ["
        assert (await weir("wake", "web"))[0] == 0


async def test_commands_at_once_and_an_editor(tmp_path: Path) -> None:
    file = await commented(tmp_path)
    async with running_up(tmp_path, file) as up:
        names = [f"app-{number}" for number in range(4)]
        ended = await asyncio.gather(*(weir("create", name, "--command", ECHO) for name in names))
        assert [code for code, _, _ in ended] == [0] * 4, ended
        assert file.read_text().startswith(COMMENTED.removesuffix("# the end\n"))
        for name in names:
            assert (await fetch(up.port, f"{name}.localhost")).status == 200
        assert file.read_text().count("- name: ") == 5


async def test_an_interruption_says_what_it_leaves(tmp_path: Path) -> None:
    async with running_up(tmp_path, await commented(tmp_path)) as up:
        gate = Gate(tmp_path)
        slow = asyncio.create_task(fetch(up.port, "web.localhost", gate.path))
        await up.until_value("web", 1.0)
        command = [sys.executable, "-m", "weir", "app", "delete", "web"]
        process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        await until(lambda: "apps: []" in up.file.read_text())
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 130
        last = "interrupted: the file is changed, and weir up follows it: weir app show web tells"
        assert err.decode().splitlines()[-1] == last
        gate.open()
        await slow


async def test_on_a_terminal_one_line_tells_how_far_it_is(tmp_path: Path) -> None:
    async with running_up(tmp_path, await commented(tmp_path)):
        near, far = pty.openpty()
        command = [sys.executable, "-m", "weir", "app", "create", "new", "--command", ECHO]
        environment = {**os.environ, "TERM": "xterm-256color"}
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=far, env=environment)
        os.close(far)
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        seen = await asyncio.to_thread(_all, near)
        os.close(near)
        assert process.returncode == 0
        assert out.startswith(b"default/new is created\n")
        assert b"changing fleet.yaml" in seen
        assert seen.rstrip().endswith(b"\x1b[2K") or b"\x1b[?25h" in seen  # the line is gone, and the cursor is there


def _all(terminal: int) -> bytes:
    seen = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            seen += piece
    except OSError:  # the other side is closed
        pass
    return seen


async def test_several_engines(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    async with running_up(first, fleet(app("web"), app("own"))) as one, running_up(second, fleet(app("web"))) as two:
        code, _, err = await weir("create", "new", "--command", ECHO)
        assert code == 1
        assert f"several weir up run here: --of FILE says which, {one.file}, {two.file}" in err
        assert (await weir("create", "new", "--command", ECHO, "--of", str(two.file)))[0] == 0
        assert (await weir("show", "new"))[0] == (await weir("show", "own"))[0] == 0
        assert (await weir("show", "web"))[0] == 4
        assert await _names(two) == ["web", "new"]


async def _names(up: Up) -> list[str]:
    code, out, _ = await weir("list", "--of", str(up.file), "-o", "json")
    assert code == 0
    return [each["name"] for each in json.loads(out)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_of_names(tmp_path: Path, shell: str) -> None:
    async with running_up(tmp_path, fleet(app("web"), app("wiki"), app("own"))):
        words = "weir app show w"
        environment = {**os.environ, "_WEIR_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, "COMP_CWORD": "3"}
        environment |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        command = [sys.executable, "-c", "import sys; sys.argv = ['weir']; from weir.cli import main; main()"]
        asked = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert "web" in asked.stdout
        assert "wiki" in asked.stdout
        assert "own" not in asked.stdout
