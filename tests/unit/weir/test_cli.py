"""Command-line arguments, and their errors, without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fleet.runtime.address import listening_host
from tests.support.broken import BROKEN
from weir.cli import app
from weir.engine.specfile import parse_spec
from weir.explain import _asked, _NoTableError
from weir.files import STARTER
from weir.queue import _picture
from weir.queue_reader import AppDemand, Queues
from weir.up import Request, _way_out

GOOD = "apps: [{name: a, hosts: [a.localhost], paths: [/x], command: x}]\n"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)


def _weir(*arguments: str, text: str = "") -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, list(arguments), input=text)
    return ended.exit_code, ended.stdout, ended.stderr


def test_check_tells_everything_and_runs_nothing(tmp_path: Path) -> None:
    text, faults = BROKEN[0]
    (tmp_path / "weir.yaml").write_text(text)
    code, out, err = _weir("check")
    assert (code, out) == (3, "")
    assert err.splitlines() == [f"weir.yaml:{fault}" for fault in faults]
    assert _weir("check", "-", text=text) == (3, "", err.replace("weir.yaml", "-"))
    (tmp_path / "other.yaml").write_text(GOOD)
    assert _weir("check", "other.yaml") == (0, "other.yaml: good, 1 app\n", "")
    assert _weir("check", "none.yaml") == (3, "", "none.yaml: No such file or directory\n")


def test_init_writes_a_good_file_and_never_over_another(tmp_path: Path) -> None:
    assert _weir("init") == (0, "weir.yaml: written; weir up runs it\n", "")
    assert (tmp_path / "weir.yaml").read_text() == STARTER
    (tmp_path / "weir.yaml").write_text("mine")
    assert _weir("init") == (3, "", "weir.yaml: is there already, and is left as it is\n")
    assert (tmp_path / "weir.yaml").read_text() == "mine"
    assert _weir("init", "other.yaml") == (0, "other.yaml: written; weir up other.yaml runs it\n", "")


def test_up_without_a_file_says_which_one_it_would_take() -> None:
    assert _weir("up") == (3, "", "weir.yaml: No such file or directory; weir init writes one\n")


def test_up_tells_that_a_typed_port_is_taken_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "weir.yaml").write_text("interceptors: 2\nports: {rpc: 7001}\n" + GOOD)
    code, _, err = _weir("up", "--port", "7000")
    assert code == 3
    assert err == "--port 7000: port 7001 is for the RPC server of interceptor-1, and for the proxy of interceptor-2\n"


def test_the_way_out_of_a_port_in_use(tmp_path: Path) -> None:
    spec = parse_spec("interceptors: 2\nports: {rpc: 7001}\n", tmp_path / "a.yaml").spec
    request = Request(
        file=tmp_path, port=None, host="", duration=None, ui=False, processes=False, state_dir=None, log_level="info"
    )
    assert _way_out(8081, spec, request) == "--port 0 takes a free one"
    assert _way_out(7001, spec, request) == "0 in the ports of the file takes a free one"


def test_times_are_durations_in_flags() -> None:
    code, _, err = _weir("up", "--duration", "1h30")
    assert code == 2
    assert "should be seconds, or a duration like 500ms, 10s, 1m30s" in " ".join(err.replace("│", "").split())


@pytest.mark.parametrize("host", ["localhost", "nowhere", "", "[127.0.0.1", "127.0.0.1:80"])
def test_a_host_that_is_no_address_is_reported_before_anything_starts(host: str) -> None:
    code, _, err = _weir("up", "--host", host)
    assert code == 2
    assert "is not an IP address" in " ".join(err.replace("│", "").split())
    assert ("127.0.0.1 and of ::1" in " ".join(err.replace("│", "").split())) == (host == "localhost")


def test_an_address_in_brackets_is_taken_for_one() -> None:
    assert listening_host("[::1]") == listening_host("::1") == "::1"


def test_a_log_level_that_is_none() -> None:
    code, _, err = _weir("up", "--log-level", "loud")
    assert code == 2
    assert "debug, info, warning, error" in " ".join(err.replace("│", "").split())


def test_the_version() -> None:
    code, out, _ = _weir("--version")
    assert code == 0
    assert out.startswith("weir ")


def test_no_completion_of_other_shells() -> None:
    assert _weir("completion", "tcsh")[0] == 2


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        (("http://web.localhost:8080/path?query", None), ("web.localhost:8080", "/path")),
        (("https://web.localhost", None), ("web.localhost", "/")),
        (("http://user:pass@[::1]:8080/a%20b#x", None), ("[::1]:8080", "/a%20b")),
        (("web.localhost", "/x?y"), ("web.localhost", "/x?y")),
        (("web.localhost", None), ("web.localhost", "/")),
        (("web.localhost:8080/api/x?y", None), ("web.localhost:8080", "/api/x")),
        (("web.localhost/", None), ("web.localhost", "/")),
        (("web.localhost?y", None), ("web.localhost", "/")),
        (("//web.localhost/x", None), ("web.localhost", "/x")),
        (("web.localhost/x?back=http://b/", None), ("web.localhost", "/x")),
        (("[::1]:8080/x", None), ("[::1]:8080", "/x")),
        (("::1", "/x"), ("::1", "/x")),
    ],
)
def test_what_is_explained(typed: tuple[str, str | None], asked: tuple[str, str]) -> None:
    assert _asked(*typed) == asked


@pytest.mark.parametrize(
    "typed",
    [
        ("http://a/x", "/y"),
        ("a/x", "/y"),
        ("ftp://a/", None),
        ("http://", None),
        ("/x", None),
        ("http://[::1/", None),
        ("nonsense url", None),
        ("nonsense url", "/x"),
        ("http://a b/x", None),
        ("a.localhost:99999", None),
        ("http://a.localhost:99999/x", None),
        ("a.localhost:many/x", None),
        ("bücher.localhost", None),
        ("[::1", None),
        ("", None),
    ],
)
def test_urls_that_are_none(typed: tuple[str, str | None]) -> None:
    with pytest.raises(_NoTableError):
        _asked(*typed)


@pytest.mark.parametrize("scheme", ["http://", "//", ""])
def test_a_pasted_url_is_explained(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "weir.yaml").write_text(
        "apps: [{name: web, hosts: [a.localhost], command: x}, {name: api, hosts: [a.localhost], paths: [/api], command: x}]\n"
    )
    code, out, _ = _weir("explain", f"{scheme}a.localhost:8080/api/x?y", "--file", "weir.yaml")
    assert (code, out.splitlines()[0]) == (0, "host a.localhost, path /api/x")
    assert out.splitlines()[-1] == "-> default/api"
    code, out, _ = _weir("explain", f"{scheme}a.localhost/", "--file", "weir.yaml")
    assert (code, out.splitlines()[-1]) == (0, "-> default/web")
    code, _, err = _weir("explain", f"{scheme}a.localhost/x", "/x", "--file", "weir.yaml")
    assert (code, err) == (3, "a URL has its path already: leave out the second one\n")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("nonsense url", "'nonsense url' is not a host, like web.localhost or web.localhost:8080\n"),
        ("a.localhost:99999/x", "'a.localhost:99999' is not a host: its port is not from 0 to 65535\n"),
    ],
)
def test_what_is_no_host_is_not_explained(tmp_path: Path, typed: str, told: str) -> None:
    (tmp_path / "weir.yaml").write_text("apps: [{name: a, hosts: ['*'], command: x}]\n")
    assert _weir("explain", typed, "--file", "weir.yaml") == (3, "", told)


@pytest.mark.parametrize("command", [("ps",), ("logs", "a"), ("wake", "a"), ("sleep", "a"), ("restart", "a")])
def test_when_none_runs(command: tuple[str, ...]) -> None:
    assert _weir(*command) == (1, "", "no weir up runs here\n")
    assert _weir(*command, "--of", "x.yaml") == (1, "", "no weir up runs x.yaml\n")


def _lines(readings: dict[str, Queues], *, height: int, width: int = 80) -> list[str]:
    """A picture of `weir queue --watch` on a terminal."""
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    return ["".join(part.text for part in line).rstrip() for line in console.render_lines(_picture(readings, console), pad=False)]


def _idle(count: int) -> dict[str, AppDemand]:
    return {f"app-{number:02}": AppDemand(f"app-{number:02}") for number in range(count)}


def test_watch_shows_interceptors_that_do_not_answer() -> None:
    queues = Queues({"a": AppDemand("a", held=1)}, ["i"], {"127.0.0.1:1": "UNAVAILABLE"})
    assert _lines({"": queues}, height=24)[-2:] == ["i", "127.0.0.1:1: UNAVAILABLE"]


@pytest.mark.parametrize("busy", [{"held": 1}, {"in_flight": 1}, {"connections": 1}])
def test_on_a_small_terminal_apps_with_requests_come_first(busy: dict[str, int]) -> None:
    apps = {**_idle(26), "web": AppDemand("web", **busy), "long": AppDemand("also-" * 40, requests_total=10**9)}
    lines = _lines({"": Queues(apps, ["interceptor-1"], {"127.0.0.1:1": "UNAVAILABLE " * 20})}, height=24)
    assert len(lines) == 23
    assert lines[1].split() == ["┃", "app", "┃", "held", "┃", "in", "flight", "┃", "connections", "┃", "requests", "┃"]
    assert [line.split()[1] for line in lines[3:5]] == ["web", f"{('also-' * 40)[:29]}…"]
    assert lines[-4].split()[1:3] == [str(28 - (len(lines) - 7)), "more"]
    assert lines[-2] == "interceptor-1"
    assert lines[-1].startswith("127.0.0.1:1: UNAVAILABLE")


def test_busy_apps_have_a_column_and_come_first() -> None:
    apps = {**_idle(26), "web": AppDemand("web", busy=2), "long": AppDemand("also-" * 40, held=1, requests_total=10**9)}
    lines = _lines({"": Queues(apps, ["interceptor-1"])}, height=24)
    assert len(lines) == 23
    head = ["┃", "app", "┃", "held", "┃", "in", "flight", "┃", "busy", "┃", "connections", "┃", "requests", "┃"]
    assert lines[1].split() == head
    assert sorted(line.split()[1] for line in lines[3:5]) == [f"{('also-' * 40)[:22]}…", "web"]


@pytest.mark.parametrize(
    ("work", "columns", "cut"),
    [({"busy_by_call": 3}, ["by", "call"], 19), ({"busy": 2, "busy_by_call": 3}, ["busy", "by", "call"], 12)],
)
def test_what_is_busy_by_a_call_has_a_column_of_its_own(work: dict[str, int], columns: list[str], cut: int) -> None:
    apps = {**_idle(26), "web": AppDemand("web", **work), "long": AppDemand("also-" * 40, held=1, requests_total=10**9)}
    lines = _lines({"": Queues(apps, ["interceptor-1"])}, height=24)
    assert len(lines) == 23
    assert [word for word in lines[1].split() if word != "┃"] == [
        "app",
        "held",
        "in",
        "flight",
        *columns,
        "connections",
        "requests",
    ]
    (web,) = [line.split("│") for line in lines if "│ web " in line]
    assert [cell.strip() for cell in web[4:-3]] == [str(number) for number in work.values()]
    assert f"{('also-' * 40)[:cut]}…" in " ".join(lines[3:5])


def test_all_apps_are_shown_where_there_is_room() -> None:
    lines = _lines({"": Queues(_idle(18), ["i"])}, height=24)
    assert len(lines) == 23
    assert not any("more" in line for line in lines)


def test_several_tables_share_a_small_terminal() -> None:
    readings = {
        "a.yaml": Queues(_idle(2), ["i"]),
        "b.yaml": Queues(_idle(30), ["j"], {f"[::1]:{port}": "no" for port in range(9)}),
    }
    lines = _lines(readings, height=30)
    assert len(lines) == 29
    assert [line for line in lines if "more" in line][1:] == ["5 more do not answer"]
    assert sum("app-01" in line for line in lines) == 2


@pytest.mark.parametrize("command", [("queue",), ("explain", "a.localhost")])
def test_the_file_that_none_runs_is_named(command: tuple[str, ...]) -> None:
    assert _weir(*command, "--of", "x.yaml")[2] == "no weir up runs x.yaml\n"


def test_what_comes_nearest_is_reported(tmp_path: Path) -> None:
    (tmp_path / "weir.yaml").write_text(GOOD)
    code, out, _ = _weir("explain", "aa.localhost", "--file", "weir.yaml")
    assert (code, out.splitlines()[-2:]) == (1, ["did you mean a.localhost (default/a)?", "-> no route (404)"])


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "http://[::1]:8080/"])
def test_where_the_list_of_apps_is_no_route_is_explained(tmp_path: Path, host: str) -> None:
    (tmp_path / "weir.yaml").write_text(GOOD)
    _, out, _ = _weir("explain", host, "--file", "weir.yaml")
    assert out.splitlines()[-2:] == ["weir up lists its apps there, unless list_apps is off", "-> no route (404)"]


PORTS = """
apps:
- {name: cache, command: x, ports: [{port: 6379}]}
- {name: names, command: x, ports: [{port: 53, protocol: UDP}]}
- {name: a, command: x, ports: [{port: 5432, server_names: [a.test]}]}
- name: b
  command: x
  ports: [{port: 5432, server_names: ["*.b.test"], alpn: [postgresql]}, {port: 5432, server_names: [c.test]}]
- {name: all, hosts: ["*"], command: x}
"""
SHARED = (
    "TCP port 5432 is shared: the server name that clients ask for by TLS (SNI) decides, and the protocols they offer (ALPN)",
    "TCP 5432 (a.test): default/a",
    "TCP 5432 (*.b.test, postgresql): default/b",
    "TCP 5432 (c.test): default/b",
)
NOBODY = "-> no app takes clients without one of these names and protocols"


@pytest.mark.parametrize(
    ("typed", "code", "lines"),
    [
        ("127.0.0.1:6379", 0, ("TCP port 6379 takes connections, not requests: no host and no path matters", "-> default/cache")),
        ("localhost:53", 0, ("UDP port 53 takes flows, not requests: no host and no path matters", "-> default/names")),
        ("a.test:5432", 0, (*SHARED, "-> default/a")),
        ("C.test:5432", 0, (*SHARED, "-> default/b")),
        ("x.b.test:5432", 1, (*SHARED, NOBODY)),
        ("127.0.0.1:5432", 1, (*SHARED, NOBODY)),
        ("[::1]:5432", 1, (*SHARED, NOBODY)),
        ("127.0.0.1:8080", 0, ("-> default/all",)),
    ],
)
def test_whose_port_it_is_is_explained(tmp_path: Path, typed: str, code: int, lines: tuple[str, ...]) -> None:
    (tmp_path / "weir.yaml").write_text(PORTS)
    ended, out, err = _weir("explain", typed, "--file", "weir.yaml")
    assert (ended, err) == (code, "")
    assert tuple(out.splitlines()[-len(lines) :]) == lines
