"""The commands that ask a running `weir up`, as users type them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.system import harness
from tests.system.harness import ECHO, PATIENCE, Gate, Up, app, fetch, fleet, running_up, start_up, until


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))


@dataclass(frozen=True)
class Shared:
    """Engines for tests that only ask them. Each is started once for each family of addresses."""

    directory: Path
    running: dict[Path, list[Up]] = field(default_factory=dict)

    async def engines(self, monkeypatch: pytest.MonkeyPatch, *files: Sequence[str]) -> list[Up]:
        """An engine for each of these files, given by the names of their apps; the test sees no others."""
        home = self.directory / f"{len(files)}-at-{harness.address.replace(':', '_')}"
        monkeypatch.setenv("WEIR_RUNTIME_DIR", str(home / "run"))
        running = self.running.setdefault(home, [])
        for number, names in list(enumerate(files))[len(running) :]:
            (home / str(number)).mkdir(parents=True)
            running.append(await start_up(home / str(number), fleet(*map(app, names))))
        return running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("shared"))
    yield shared
    for up in itertools.chain(*shared.running.values()):
        up.end()


@pytest.fixture
async def one(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> Up:
    """The only engine here, with the apps web and own."""
    (up,) = await shared.engines(monkeypatch, ["web", "own"])
    return up


@pytest.fixture
async def two(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> list[Up]:
    """The two engines here: both have an app web, and the second has an app of its own."""
    return await shared.engines(monkeypatch, ["web"], ["web", "own"])


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "weir", *arguments], capture_output=True, text=True, timeout=300, check=False)


async def _weir(*arguments: str) -> tuple[int, str]:
    ended = await asyncio.to_thread(_run, *arguments)
    return ended.returncode, ended.stdout or ended.stderr


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_apps_are_shown_woken_restarted_and_put_to_sleep(tmp_path: Path, flags: tuple[str, ...]) -> None:
    web = app("web", command=f"echo started; {ECHO}", cooldown=1000, activity_period=1000)
    async with running_up(tmp_path, fleet(web, app("always", min=1)), *flags) as up:
        assert await _weir("wake", "web") == (0, "default/web wakes up; without a request it sleeps again after 1000 s\n")
        await until(lambda: up.backends("web"))
        code, out = await _weir("ps", "-o", "json")
        shown = {row["app"]: row for row in json.loads(out)}
        assert (code, shown["default/web"]["ready"], shown["default/web"]["desired"]) == (0, 1, 1)
        assert shown["default/web"]["file"] == str(up.file)
        (first,) = shown["default/web"]["pids"]
        assert int((await fetch(up.port, "web.localhost")).body) == first

        code, out = await _weir("restart", "default/web")
        assert (code, out) == (0, "default/web: a new replica takes the place of the old one\n")
        await until(lambda: up.log.count("| started") == 2)
        await until(lambda: len(up.backends("web")) == 1)
        assert (await fetch(up.port, "web.localhost")).status == 200

        code, out = await _weir("logs", "web", "-n", "1")
        assert code == 0
        assert out.endswith(" | started\n")

        gate = Gate(tmp_path)
        slow = asyncio.create_task(fetch(up.port, "web.localhost", gate.path))
        await up.until_value("web", 1.0)
        assert await _weir("sleep", "web") == (1, "default/web is busy: 1 request or connection\n")
        gate.open()
        assert (await slow).status == 200
        assert await _asleep("web") == "default/web goes to sleep\n"
        await until(lambda: not up.backends("web"))
        assert await _weir("sleep", "web") == (0, "default/web is asleep already\n")
        assert await _weir("sleep", "always") == (1, "default/always never sleeps: its min is 1\n")
        assert await _weir("wake", "wbe") == (1, "there is no app wbe; did you mean web?\n")
        code, out = await _weir("ps", "--of", str(up.file))
        assert out.splitlines()[0].split() == ["app", "replicas", "held", "in", "flight", "pids", "state"]

        assert (await fetch(up.port, "web.localhost")).status == 200  # it still wakes by itself
        code, out = await _weir("queue", "--json")
        assert (code, json.loads(out)["members"]) == (0, ["interceptor-1"])
        code, out = await _weir("explain", f"http://web.localhost:{up.port}/x?y")
        assert (code, out.splitlines()[-1]) == (0, "-> default/web")
    assert await _weir("ps") == (1, "no weir up runs here\n")


async def _asleep(name: str) -> str:
    """Interceptors tell that a request is over a moment after its answer."""
    while True:
        code, out = await _weir("sleep", name)
        if code == 0:
            return out
        assert "is busy" in out


async def test_two_engines_are_told_apart(two: list[Up]) -> None:
    first, _ = two
    assert (await _weir("wake", "own"))[0] == 0
    code, out = await _weir("wake", "web")
    assert code == 1
    assert out.startswith("several weir up have an app web: --of FILE says which")
    assert (await _weir("wake", "web", "--of", str(first.file)))[0] == 0
    assert len(json.loads((await _weir("ps", "-o", "json"))[1])) == 3


async def test_the_queues_and_tables_of_two_engines_are_told_apart(two: list[Up]) -> None:
    first, second = two
    await fetch(second.port, "web.localhost")
    readings = [json.loads(line) for line in (await _weir("queue", "--json"))[1].splitlines()]
    counts = {reading["file"]: {row["app"]: row["requests_total"] for row in reading["apps"]} for reading in readings}
    assert counts == {str(first.file): {"default/web": 0}, str(second.file): {"default/own": 0, "default/web": 1}}
    assert len((await _weir("queue", "--json", "--of", str(first.file)))[1].splitlines()) == 1
    assert (await _weir("explain", "own.localhost"))[0] == 0
    code, out = await _weir("explain", "web.localhost")
    assert (code, out.partition(",")[0]) == (3, "several weir up have a route for that: --of FILE says which")
    assert (await _weir("explain", "web.localhost", "--of", str(first.file)))[0] == 0
    assert (await _weir("explain", f"http://web.localhost:{second.port}/"))[0] == 0


@pytest.mark.parametrize(("typed", "offered"), [("", ["own", "web"]), ("w", ["web"]), ("default/o", ["default/own"]), ("x", [])])
@pytest.mark.usefixtures("one")
async def test_names_of_apps_are_completed(typed: str, offered: list[str]) -> None:
    environment = {**os.environ, "_WEIR_COMPLETE": "complete_bash", "COMP_WORDS": f"weir wake {typed}", "COMP_CWORD": "2"}
    asked = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", "import sys; sys.argv = ['weir']; from weir.cli import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert sorted(asked.stdout.split()) == offered


async def test_lines_are_followed_until_the_engine_ends(tmp_path: Path) -> None:
    web = app("web", command=f"echo started; {ECHO}", min=1)
    async with running_up(tmp_path, fleet(web)) as up:
        await up.logs("| started")
        command = [sys.executable, "-m", "weir", "logs", "-f", "web"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:  # noqa: ASYNC220
            assert following.stdout is not None
            assert await asyncio.to_thread(following.stdout.readline) == "web/1 | started\n"
            os.kill(int((await fetch(up.port, "web.localhost")).body), signal.SIGKILL)
            assert await asyncio.to_thread(following.stdout.readline) == "web/1 | started\n"
            await up.stop()
            assert await asyncio.to_thread(following.wait, PATIENCE) == 0


def test_a_file_from_standard_input_and_a_log_in_json(tmp_path: Path) -> None:
    text = yaml.safe_dump(fleet(app("web", min=1, command=f"echo started; {ECHO}"), ports={"proxy": 0}))
    command = [sys.executable, "-m", "weir", "up", "-", "--duration", "500ms", "--log-json"]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "ready\n")
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert any(line["logger"] == "web/1" and line["message"] == "started" for line in lines)


async def test_a_component_has_a_level_of_its_own(tmp_path: Path) -> None:
    levels = {"interceptor": {"log_level": "debug"}, "scaler": {"log_level": "error", "concurrency_window": 0.5}}
    async with running_up(tmp_path, {**fleet(app("web")), **levels}, "--log-level", "warning") as up:
        assert (await fetch(up.port, "web.localhost")).status == 200
        await up.logs(" DEBUG   interceptor.")
        assert " INFO    weir" not in up.log


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
def test_a_port_in_use_is_named_first_with_the_way_out(tmp_path: Path, flags: tuple[str, ...]) -> None:
    file = tmp_path / "fleet.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file.write_text(f"ports: {{proxy: {port}}}\napps: [{{name: a, hosts: [a], command: sleep 100}}]\n")
        ended = _run("up", str(file), "--no-ui", *flags)
        assert ended.returncode == 3
        last = ended.stderr.splitlines()[-1]
        assert last.startswith(f"error: port {port} is in use: ")
        assert last.endswith("; --port 0 takes a free one")
        file.write_text(f"ports: {{proxy: 0, scaler: {port}}}\napps: [{{name: a, hosts: [a], command: sleep 100}}]\n")
        assert _run("up", str(file), "--no-ui", *flags).stderr.endswith("; 0 in the ports of the file takes a free one\n")


async def test_a_component_that_has_never_served_is_not_told_to_have_ended(one: Up, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("apps: []\n")
    code, out = await _weir("up", str(tmp_path / "other.yaml"), "--port", str(one.port), "--host", one.near)
    assert (code, out.splitlines()[0].partition(":")[0]) == (3, "error")


@pytest.mark.parametrize(
    "arguments", [["check"], ["ps"], ["ps", "-o", "json"], ["queue"], ["schema"], ["up", "--duration", "1s", "--port", "0"]]
)
@pytest.mark.parametrize("output", [">/dev/full", ">&-", "<&- >&- 2>&-"])
async def test_an_output_that_takes_nothing_is_reported_in_a_line(one: Up, arguments: list[str], output: str) -> None:
    command = f'"$0" -m weir {" ".join(arguments)} {one.file if arguments[0] in ("check", "up") else ""} {output}'
    shell = ["/bin/sh", "-c", command, sys.executable]
    ended = await asyncio.to_thread(subprocess.run, shell, capture_output=True, text=True, timeout=300, check=False)
    full = output == ">/dev/full"
    assert ended.returncode == (0 if not full else 3 if arguments[0] == "up" else 1)
    assert "Traceback" not in ended.stderr
    assert (ended.stderr.endswith(": No space left on device\n") and "\nerror: cannot write" in f"\n{ended.stderr}") == full
    assert "Exception ignored" not in ended.stderr


@pytest.mark.usefixtures("one")
async def test_watch_is_redrawn_in_place() -> None:
    shown = await asyncio.to_thread(_watched)
    assert "default/web" in shown
    assert "\x1b[1A" in shown  # back up, over the last picture


def _watched() -> str:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    command = [sys.executable, "-m", "weir", "queue", "--watch"]
    shown = ""
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        for shown in _screens(ours):
            if shown.count("default/web") >= 2:
                process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    return shown


def _screens(terminal: int) -> Iterator[str]:
    data = b""
    with (
        os.fdopen(terminal, "rb", buffering=0) as reader,
        contextlib.suppress(OSError),
    ):  # how Linux tells that the other end closed
        while chunk := reader.read(65536):
            data += chunk
            yield data.decode(errors="replace")
