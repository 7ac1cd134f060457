"""`weir up` end to end: apps sleep, wake, grow, change and end, through the real contracts."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fleet.routing.codec import decode_json
from fleet.routing.route import Affinity, Route
from tests.system import harness
from tests.system.harness import ECHO, PATIENCE, Answer, Gate, Up, app, fetch, fleet, gone, running_up, until

DEMO = Path(__file__).parents[2] / "deploy" / "examples" / "local" / "demo.yaml"
SPAWN_LIMIT = 0.010
"""Seconds from a cold request to the start of the process, as the product promises them."""
WATCHED = 4.0
"""Seconds, less than the pause between two looks at the file: an edit that takes longer was not noticed when it was made."""
NOISE = 5.0
"""How much more a wake may take, on a shared machine, than what it promises and a bare start of the same program there."""


def _demo(directory: Path) -> Path:
    """The demo on free ports, and soon asleep."""
    text = yaml.safe_load(DEMO.read_text())
    text["ports"] = {}
    for spec in text["apps"]:
        spec |= {"cwd": str(DEMO.parent), "cooldown": 1, "activity_period": 1, "drain": 0.5}
    file = directory / "demo.yaml"
    file.write_text(yaml.safe_dump(text))
    return file


async def test_the_demo_wakes_streams_and_sleeps(tmp_path: Path) -> None:
    async with running_up(tmp_path, _demo(tmp_path)) as up:
        hello, slow = await asyncio.gather(fetch(up.port, "hello.localhost"), fetch(up.port, "slow.localhost"))
        assert (hello.status, slow.status) == (200, 200)
        assert slow.seconds >= 3.0
        reader, writer = await asyncio.open_connection(up.near, up.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: ticker.localhost\r\n\r\n")
        await reader.readuntil(b"data: 2")
        assert len(up.backends("ticker")) == 1
        writer.close()
        await writer.wait_closed()
        await until(lambda: not any(up.backends(name) for name in ("hello", "slow", "ticker")))


async def _client(port: int, host: str, stop: asyncio.Event, answers: list[Answer]) -> None:
    while not stop.is_set():
        answers.append(await fetch(port, host))


async def test_two_hundred_clients_take_an_app_from_zero_to_three_and_back(tmp_path: Path) -> None:
    web = app("web", max=3, target=10, env={"DELAY": "0.1"}, scale_down_window=1)
    async with running_up(tmp_path, fleet(web)) as up:
        stop, answers = asyncio.Event(), list[Answer]()
        async with asyncio.TaskGroup() as clients:
            for _ in range(200):
                clients.create_task(_client(up.port, "web.localhost", stop, answers))
            await until(lambda: len({answer.body for answer in answers}) == 3, what="three processes answer")
            stop.set()
        assert {answer.status for answer in answers} == {200}
        await until(lambda: not up.backends("web"))
        await up.logs("-> 3 replicas")


async def test_a_cold_request_starts_a_process_within_milliseconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"a{number}" for number in range(20)]
    apps = [app(name, command=f"date +%s.%N > {name}.stamp; {ECHO}", cwd=str(tmp_path)) for name in names]
    delays, totals, bare = [], [], []
    async with running_up(tmp_path, fleet(*apps, poll_interval=1)) as up:
        for name in names:
            bare.append(await asyncio.to_thread(_bare_start))
            sent = time.time()
            answer = await fetch(up.port, f"{name}.localhost")
            assert answer.status == 200
            delays.append(float((tmp_path / f"{name}.stamp").read_text()) - sent)
            totals.append(answer.seconds)
    median = statistics.median(delays)
    with capsys.disabled():
        print(  # noqa: T201  a figure for whoever reads the run
            f"\ncold request to process: median {median * 1e3:.1f} ms, most {max(delays) * 1e3:.1f} ms;"
            f" to the answer: median {statistics.median(totals) * 1e3:.0f} ms"
        )
    assert median < NOISE * (SPAWN_LIMIT + statistics.median(bare))


def _bare_start() -> float:
    """Seconds until a shell tells the time, with nobody in between."""
    asked = time.time()
    return float(subprocess.run(["sh", "-c", "date +%s.%N"], capture_output=True, check=True, timeout=PATIENCE).stdout) - asked


async def test_edits_change_routes_and_apps_without_a_failed_request(tmp_path: Path) -> None:
    web = app("web", min=1, env={"DELAY": "0.01", "VERSION": "1"}, drain=0.5)
    async with running_up(tmp_path, fleet(web)) as up:
        stop, answers = asyncio.Event(), list[Answer]()
        async with asyncio.TaskGroup() as clients:
            for _ in range(5):
                clients.create_task(_client(up.port, "web.localhost", stop, answers))
            await until(lambda: answers)

            up.write(fleet(web, app("new")))
            assert (await _eventually_found(up.port, "new.localhost")).status == 200

            up.write(fleet({**web, "hosts": ["web.localhost", "other.localhost"]}, app("new")))
            assert (await _eventually_found(up.port, "other.localhost")).body.endswith(" 1")

            up.write("apps:\n- name: web\n  maximum: 3\n")
            await up.logs("fleet.yaml:3: apps[0].maximum: is not a field", "the last good file stays in force")
            assert (await fetch(up.port, "new.localhost")).status == 200

            up.write(fleet({**web, "env": {"DELAY": "0.01", "VERSION": "2"}}))
            await until(lambda: answers[-1].body.endswith(" 2"))
            assert (await _eventually(up.port, "new.localhost", 404)).status == 404
            await until(lambda: len(up.backends("web")) == 1 and not up.backends("new"))
            already = len(answers)
            await until(lambda: len(answers) > already + 20)
            stop.set()
        assert {answer.status for answer in answers} == {200}
        assert {answer.body.split()[1] for answer in answers} == {"1", "2"}


async def _eventually(port: int, host: str, status: int) -> Answer:
    while (answer := await fetch(port, host)).status != status:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return answer


async def _eventually_found(port: int, host: str) -> Answer:
    return await _eventually(port, host, 200)


async def test_a_process_that_crashes_is_started_again_and_the_request_is_answered(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web", min=1))) as up:
        pid = int((await fetch(up.port, "web.localhost")).body)
        os.kill(pid, signal.SIGKILL)
        await up.logs("ended with SIGKILL; starts again in")
        answer = await fetch(up.port, "web.localhost")
        assert answer.status == 200
        assert int(answer.body) != pid


async def test_a_process_that_cannot_live_is_tried_with_longer_and_longer_pauses(tmp_path: Path) -> None:
    web = app("web", command="echo I cannot; exit 7", min=1)
    async with running_up(tmp_path, fleet(web)) as up:
        await up.logs(*(f"ended with exit code 7; starts again in {pause} s" for pause in (0.25, 0.5, 1)), "web/1 | I cannot")


async def test_min_is_kept_and_max_is_cut_by_an_edit(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web", min=3, drain=0))) as up:
        await until(lambda: len(up.backends("web")) == 3)
        up.write(fleet(app("web", min=1, max=1, drain=0)))
        await until(lambda: len(up.backends("web")) == 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_a_signal_ends_everything_with_exit_code_0(tmp_path: Path, number: int, flags: tuple[str, ...]) -> None:
    async with running_up(tmp_path, fleet(app("web")), *flags) as up:
        assert (await fetch(up.port, "web.localhost")).status == 200
        processes = up.processes()
        assert len(processes) >= 2
        assert await up.stop(number) == 0
        assert [pid for pid in processes if not gone(pid)] == []


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_nothing_is_left_after_kill_9(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with running_up(tmp_path, fleet(app("web")), *flags) as up:
        assert (await fetch(up.port, "web.localhost")).status == 200
        processes = up.processes()
        await up.stop(signal.SIGKILL)
        await until(lambda: all(gone(pid) for pid in processes))


async def test_a_request_in_hand_is_finished_before_the_end(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web", min=1))) as up:
        await until(lambda: up.backends("web"))
        gate = Gate(tmp_path)
        answer = asyncio.create_task(fetch(up.port, "web.localhost", gate.path))
        await up.until_value("web", 1.0)
        stopped = asyncio.create_task(up.stop())
        await asyncio.sleep(0.5)
        assert not stopped.done()
        gate.open()
        assert (await answer).status == 200
        assert await stopped == 0


async def test_ends_by_itself_after_the_duration(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web")), "--duration", "0.5") as up:
        assert await asyncio.to_thread(up.process.wait, PATIENCE) == 0


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_interceptors_come_and_go_with_the_file(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with running_up(tmp_path, fleet(app("web"), interceptors=2), *flags) as up:
        assert up.members() == ["interceptor-1", "interceptor-2"]
        up.write(fleet(app("web"), interceptors=3))
        await until(lambda: len(up.members()) == len(up.ports) == 3)
        assert (await fetch(up.ports[2], "web.localhost")).status == 200
        up.write(fleet(app("web"), interceptors=1))
        await until(lambda: up.members() == ["interceptor-1"])
        assert (await fetch(up.port, "web.localhost")).status == 200


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet(app("web", min=1), app("other"), ports={"proxy": 0})))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    command = [sys.executable, "-m", "weir", "up", str(file), "--duration", str(PATIENCE)]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        shown, asked = "", False
        for shown in _screens(ours):
            if not asked and re.search(r"\bweb .* 1/1 .* ready", shown):
                process.send_signal(signal.SIGTERM)
                asked = True
        assert process.wait(PATIENCE) == 0
    assert "curl http://web.localhost:" in shown
    assert re.search(r"\bweb .* 1/1 .* ready", shown)
    assert re.search(r"\bother .* 0/0 .* asleep", shown)


def _screens(terminal: int) -> Iterator[str]:
    """All that was shown so far, each time that there is more, until the other end closes."""
    data = b""
    with os.fdopen(terminal, "rb", buffering=0) as reader:
        try:
            while chunk := reader.read(65536):
                data += chunk
                yield re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))
        except OSError:
            pass  # how Linux tells that the other end has closed


async def test_a_second_engine_does_not_take_the_same_state(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web"))) as up:
        command = [sys.executable, "-m", "weir", "up", str(up.file), "--port", "0", "--state-dir", str(up.state)]
        second = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE)
        assert second.returncode == 3
        assert "another engine keeps its state there" in second.stderr
        assert (await fetch(up.port, "web.localhost")).status == 200


async def test_output_that_nobody_reads_stops_no_request(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    chatty = f"{sys.executable} -c 'while True: print(\"x\" * 1000, flush=True)' & {ECHO}"
    file.write_text(yaml.safe_dump(fleet(app("web", command=chatty, min=1))))
    command = [sys.executable, "-m", "weir", "up", str(file), "--port", "0", "--state-dir", str(tmp_path / "state")]
    command += ["--host", harness.address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: ASYNC220
    with process:
        try:
            assert process.stdout is not None
            assert await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE) == "ready\n"
            up = Up(process, file, tmp_path / "state", tmp_path / "none")
            assert (await fetch(up.port, "web.localhost")).status == 200
            await asyncio.sleep(2.0)  # some hundred times what a pipe takes
            assert (await fetch(up.port, "web.localhost", timeout=PATIENCE)).status == 200
            assert await up.stop() == 0
        finally:
            process.kill()


async def test_answers_of_a_file_follow_its_edits_and_those_of_the_files_that_it_names(tmp_path: Path) -> None:
    page = tmp_path / "soon.html"
    page.write_text("<p>soon")
    sleeping = app("web", placeholder={"file": "soon.html"}, static=[{"paths": ["/healthz"], "body": "ok"}])

    def routed() -> Route:
        return decode_json((up.state / "routes.json").read_bytes()).apps["default/web"]

    def shown() -> bytes | None:
        placeholder = routed().cold_start.placeholder
        return placeholder.response.body if placeholder else None

    async with running_up(tmp_path, fleet(sleeping)) as up:
        assert (shown(), routed().static_routes[0].response.body) == (b"<p>soon", b"ok")
        processes = up.processes()
        page.write_text("<p>now")
        assert await until(lambda: shown() == b"<p>now") < WATCHED
        up.write(fleet(app("web", maintenance=True, affinity={"cookie": "weir"})))
        assert await until(lambda: routed().maintenance) < WATCHED
        assert routed().affinity == Affinity(cookie="weir")
        up.write(fleet(app("web", placeholder={"file": "none.html"})))
        await until(lambda: "fleet.yaml:" in up.log and "none.html: No such file" in up.log)
        assert routed().maintenance is not None
        assert up.processes() == processes


async def test_what_requests_meet_while_an_app_sleeps_is_as_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "soon.html").write_text("<p>soon")
    static = [{"paths": ["/healthz"], "body": "asleep"}, {"user_agents": ["*bot*"], "status": 404, "always": True}]
    web = app("web", placeholder={"file": "soon.html"}, static=static, cooldown=60, env={"VERSION": "web"})
    never = app("never", command="exec sleep 1000", fallback="sorry", timeouts={"readiness": "500ms"})
    down = app("down", maintenance={"body": "Back at 14:00"})
    sorry = app("sorry", min=1, env={"VERSION": "sorry"})
    async with running_up(tmp_path, fleet(web, never, sorry, down)) as up:
        await until(lambda: up.backends("sorry"))
        probed = await fetch(up.port, "web.localhost", "/healthz")
        found = await fetch(up.port, "web.localhost", "/", "User-Agent: a bot")
        assert [(one.status, one.body) for one in (probed, found)] == [(200, "asleep"), (404, "")]
        assert (await fetch(up.port, "down.localhost")).body == "Back at 14:00"
        await asyncio.sleep(0.5)
        assert not up.backends("web"), "none of these wakes it"
        assert not up.backends("down")
        shown = await fetch(up.port, "web.localhost", "/", "Accept: text/html")
        assert (shown.status, shown.body) == (503, "<p>soon")
        program = await fetch(up.port, "web.localhost", "/")
        assert program.body.endswith("web"), "it waits"
        assert (await fetch(up.port, "web.localhost", "/", "Accept: text/html")).body == program.body
        assert (await fetch(up.port, "web.localhost", "/healthz")).body == program.body, "not static any more"
        assert (await fetch(up.port, "web.localhost", "/", "User-Agent: a bot")).status == 404
        assert (await fetch(up.port, "never.localhost")).body.endswith("sorry")
