"""`weir app` as users type it, with a real Admin API: directly, and through a port-forward that it makes itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.kube_front import KubeFront, kube_front
from tests.support.waiting import until
from tests.wire.admin import AdminRig, admin, new_api, paths_of

PATIENCE = 120


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    for name in ("WEIR_TOKEN", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


async def weir(*arguments: str, text: str = "", **environment: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "weir", "app", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(text.encode()), PATIENCE)
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[AdminRig]:
    async with admin(new_api(), tmp_path / "routes.json", "--admin-rate", "1000") as held:
        yield held


def at(rig: AdminRig, token: str = "adam") -> tuple[str, ...]:  # noqa: S107  of a test
    return ("--server", f"http://127.0.0.1:{rig.controller.admin_port}", "--token", token, "--namespace", "shop")


async def test_a_life_directly(rig: AdminRig, tmp_path: Path) -> None:
    flags = ("--image", "example.com/web:1", "--env", "A=1", "--cooldown", "1m", "--no-wait")
    code, out, err = await weir("create", "web", *flags, *at(rig))
    assert (code, out) == (0, "shop/web is created\nhttp://web.shop/\n"), err
    assert err == f"on {at(rig)[1]}\n"
    code, out, _ = await weir("create", "web", *flags, *at(rig))
    assert (code, out.splitlines()[0]) == (0, "shop/web is there already, and is the same")
    code, _, err = await weir("create", "web", "--image", "other", *at(rig))
    assert code == 5
    assert "Conflict" in err

    code, out, _ = await weir("update", "web", "--max", "3", "--env", "B=2", "--unset", "environment.A", "--no-wait", *at(rig))
    assert code == 0
    code, out, _ = await weir("show", "web", "-o", "json", *at(rig))
    found = json.loads(out)
    assert (found["app"]["replicas"]["max"], found["app"]["environment"]) == (3, {"B": "2"})
    code, out, _ = await weir("show", "web", *at(rig))
    assert out.splitlines()[:2] == ["shop/web", "  state        asleep"]
    assert "from 0 to 3" in out

    code, document, _ = await weir("show", "web", "--document", *at(rig))
    (tmp_path / "web.yaml").write_text(document.replace("max: 3", "max: 4"))
    code, _, err = await weir("update", "web", "-f", str(tmp_path / "web.yaml"), "--no-wait", *at(rig))
    assert code == 0, err
    code, out, _ = await weir("show", "web", "--document", "-o", "json", *at(rig))
    assert json.loads(out)["replicas"]["max"] == 4
    assert (await weir("update", "none", "-f", str(tmp_path / "web.yaml"), *at(rig)))[0] == 2
    (tmp_path / "none.yaml").write_text("image: x\n")
    assert (await weir("update", "none", "-f", str(tmp_path / "none.yaml"), *at(rig)))[0] == 4
    code, _, err = await weir("update", "web", "--max", "5", "--if-match", found["etag"], "--no-wait", *at(rig))
    assert code == 5
    assert "it was changed meanwhile" in err

    code, out, _ = await weir("update", "web", "--max", "6", "--dry-run", *at(rig))
    assert code == 0
    assert "kind: HTTPScaledObject" in out
    code, out, _ = await weir("delete", "web", "--no-wait", *at(rig))
    assert (code, out) == (0, "shop/web is deleted\n")
    code, _, err = await weir("delete", "web", "--no-wait", *at(rig))
    assert code == 4
    assert not [path for path in paths_of() if path in rig.api.objects]


async def test_what_is_wrong_is_named(rig: AdminRig) -> None:
    code, out, err = await weir("create", "web", "--image", "x", "--max", "0", "--port", "0", *at(rig))
    assert (code, out) == (3, "")
    lines = err.splitlines()
    assert "ports[0].port: Input should be greater than or equal to 1 (--port)" in lines
    assert any(line.startswith("replicas.max: ") and line.endswith("(--min and --max)") for line in lines)
    code, _, err = await weir("create", "web", *at(rig))
    assert (code, err.splitlines()[-1]) == (3, "image: is missing (--image)")
    code, _, err = await weir("create", "web", "--image", "x", "--set", "nonsense=1", *at(rig))
    assert (code, err.splitlines()[-1]) == (3, "nonsense: is not a field")
    code, _, err = await weir("create", "web", "-f", "-", *at(rig), text="image: [")
    assert (code, err.splitlines()[-1].partition(":")[0]) == (3, "-")
    code, _, err = await weir("create", "web", "-f", "-", *at(rig), text="a: &a [x]\nb: *a")
    assert (code, err.splitlines()[-1]) == (3, "-: cannot be read: anchors are not taken here")
    assert not [path for path in paths_of() if path in rig.api.objects]


async def test_callers_without_permission(rig: AdminRig) -> None:
    code, _, err = await weir("list", *at(rig, "nobody"))
    assert code == 6
    assert err.splitlines()[-1] == "the token is not accepted, or not any more: it may have expired"
    rig.api.allowed = lambda attributes: False
    code, _, err = await weir("list", *at(rig))
    assert code == 6
    assert "list" in err.splitlines()[-1]
    assert "httpscaledobjects" in err.splitlines()[-1]
    code, _, err = await weir("list", "--server", at(rig)[1], "-n", "shop", WEIR_TOKEN="x\u202ey")  # noqa: S106
    assert (code, err.splitlines()[-1]) == (2, "the token is not one: it has characters that no header may have")


async def test_long_lists_come_in_pages(rig: AdminRig, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        await rig.call("POST", body={"name": f"app-{number}", "image": "x"})
    code, out, _ = await weir("list", *at(rig))
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["NAME", "READY", "REPLICAS", "URL", "REASON"]
    assert [row[0] for row in rows[1:]] == [f"app-{number}" for number in range(7)]
    code, out, _ = await weir("list", "-o", "json", *at(rig))
    assert [app["name"] for app in json.loads(out)] == [f"app-{number}" for number in range(7)]
    code, out, err = await weir("list", *at(rig)[:4], "--namespace", "empty")
    assert (code, out, err.splitlines()[-1]) == (0, "", "there are no apps")


@asynccontextmanager
async def forwarded(tmp_path: Path) -> AsyncIterator[tuple[AdminRig, KubeFront, Authority]]:
    authority = Authority()
    cert, key = authority.write(tmp_path, "tls", "weir-admin.weir-system.svc")
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    trust.check_hostname = False
    flags = ("--admin-tls-cert", str(cert), "--admin-tls-key", str(key), "--admin-rate", "1000")
    async with (
        admin(new_api(), tmp_path / "routes.json", *flags, scheme="https", verify=trust) as rig,
        kube_front(rig.controller.admin_port) as front,
    ):
        front.secret = {"ca.crt": authority.pem, "tls.crt": cert.read_bytes(), "tls.key": key.read_bytes()}
        front.write_kubeconfig(tmp_path / "kubeconfig", {"token": "adam"})
        yield rig, front, authority


async def test_by_a_kubeconfig_and_nothing_else(tmp_path: Path) -> None:
    async with forwarded(tmp_path) as (rig, front, _):
        code, out, err = await weir("create", "web", "--image", "x", "--no-wait")
        assert (code, out) == (0, "shop/web is created\nhttp://web.shop/\n"), err
        assert err == "on context test, namespace shop\n"
        assert all(path in rig.api.objects for path in paths_of())
        code, out, _ = await weir("list")
        assert out.splitlines()[1].startswith("web ")
        assert ("GET", "/api/v1/namespaces/weir-system/pods/weir-controller-0/portforward", "Bearer adam") in front.seen
        front.secret = {"tls.crt": (tmp_path / "tls.crt").read_bytes()}  # trusted by itself
        assert (await weir("list"))[0] == 0
        code, out, _ = await weir("list", "--namespace", "other")
        assert (code, out) == (0, "")


async def test_what_is_trusted(tmp_path: Path) -> None:
    async with forwarded(tmp_path) as (_, front, authority):
        (tmp_path / "ca.crt").write_bytes(authority.pem)
        (tmp_path / "other.crt").write_bytes(Authority("other").pem)
        front.secret = None
        code, _, err = await weir("list")
        assert (code, err.splitlines()[-1]) == (
            6,
            'Secret weir-system/weir-admin-tls (--ca FILE is instead of it): secrets "weir-admin-tls" is forbidden',
        )
        assert (await weir("list", "--ca", str(tmp_path / "ca.crt")))[0] == 0
        code, _, err = await weir("list", "--ca", str(tmp_path / "other.crt"))
        assert code == 7
        assert "CERTIFICATE_VERIFY_FAILED" in err
        front.services = ["elsewhere"]  # the certificate is for another name
        code, _, err = await weir("list", "--ca", str(tmp_path / "ca.crt"))
        assert code == 7
        assert "weir-admin.elsewhere.svc" in err


async def test_a_certificate_becomes_a_token_of_a_service_account(tmp_path: Path) -> None:
    async with forwarded(tmp_path) as (_, front, authority):
        cert, key = authority.write(tmp_path, "me", "me")
        front.write_kubeconfig(tmp_path / "kubeconfig", {"client-certificate": str(cert), "client-key": str(key)})
        # Client certificates are only read where the API server speaks TLS; this one does not.
        code, _, err = await weir("list")
        assert code == 6
        assert "its credentials cannot be used for the Admin API, which takes tokens" in err
        code, _, err = await weir("list", "--token-of", "deployer")
        assert (code, "not found" in err) == (4, True)
        front.tokens["shop/deployer"] = "adam"
        code, _, err = await weir("list", "--token-of", "deployer", "--audience", "weir")
        assert (code, err.splitlines()[0]) == (0, "on context test, namespace shop, as ServiceAccount shop/deployer")


async def test_plugins_for_credentials(tmp_path: Path) -> None:
    async with forwarded(tmp_path) as (_, front, _authority):
        plugin = tmp_path / "plugin"
        token = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "adam"}}
        plugin.write_text(f"#!/bin/sh\necho '{json.dumps(token)}'\n")
        plugin.chmod(0o755)
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}}
        front.write_kubeconfig(tmp_path / "kubeconfig", user)
        code, _, err = await weir("list")
        assert code == 0, err
        plugin.write_text("#!/bin/sh\nprintf 'log in \\033[2Jfirst' >&2; exit 1\n")
        code, _, err = await weir("list")
        assert code == 6
        assert "exec: process returned 1" in err
        assert "\x1b" not in err


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda front: front.services.clear(), 4, "there is no Service weir-system/weir-admin"),
        (lambda front: front.services.__setitem__(slice(None), ["a", "b"]), 1, "--weir-namespace says which, a, b"),
        (lambda front: front.pods.clear(), 7, "no pod of Service weir-system/weir-admin is ready"),
        (lambda front: setattr(front, "permits_forward", False), 7, "port-forward to pod weir-system/weir-controller-0"),
        (lambda front: setattr(front, "admin_port", 1), 7, ""),
    ],
)
async def test_a_way_that_is_broken(tmp_path: Path, change: Callable[[KubeFront], None], code: int, words: str) -> None:
    async with forwarded(tmp_path) as (_, front, _authority):
        change(front)
        ended, out, err = await weir("list")
        assert (ended, out) == (code, ""), err
        assert words in err


async def test_an_api_server_that_is_not_there(tmp_path: Path) -> None:
    KubeFront(1, url="http://127.0.0.1:1").write_kubeconfig(tmp_path / "kubeconfig", {"token": "adam"})
    code, _, err = await weir("list")
    assert code == 7
    assert "the API server cannot be reached" in err
    code, _, err = await weir("list", "--context", "other")
    assert code == 1
    assert "other" in err
    (tmp_path / "kubeconfig").write_text("- nonsense\n")
    assert (await weir("list"))[0] == 1


async def test_names_of_the_cluster_are_completed(tmp_path: Path) -> None:
    async with forwarded(tmp_path) as (rig, _, _authority):
        for name in ("web", "wiki", "own"):
            await rig.call("POST", body={"name": name, "image": "x"})
        for words, expected in (("weir app show w", ["web", "wiki"]), ("weir app show --namespace empty w", [])):
            environment = {"_WEIR_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
            # A shell waits for four seconds; a busy machine may take longer.
            code = "import sys; sys.argv = ['weir']; from weir.apps import names; names.SECONDS = 100; "
            code += "from weir.cli import main; main()"
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", code), stdout=subprocess.PIPE, env={**os.environ, **environment}
            )
            out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
            assert out.decode().split() == expected


class Hostile:
    """A server that answers what a test says, to every request."""

    def __init__(self, head: str, pieces: list[bytes], pause: float = 0.0) -> None:
        self.head, self.pieces, self.pause = head, pieces, pause
        self.requests: list[bytes] = []
        self.open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(f"HTTP/1.1 {self.head}\r\nConnection: close\r\n\r\n".encode())
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
            await asyncio.wait_for(reader.read(), self.pause or 0.01)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def hostile(head: str, *pieces: bytes, pause: float = 0.0) -> AsyncIterator[tuple[Hostile, tuple[str, ...]]]:
    told = Hostile(head, [*pieces], pause)
    server = await asyncio.start_server(told, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield told, ("--server", f"http://127.0.0.1:{port}", "--token", "t", "--namespace", "shop")
    finally:
        server.close()


ACTING, SAFE = "\x1b[2J\x1b]0;x\x07\u202e\x9b31m", "[2J]0;x31m"
EVENTS = "200 OK\r\nContent-Type: text/event-stream"
JSON = "200 OK\r\nContent-Type: application/json"
PROBLEM = "422 X\r\nContent-Type: application/problem+json"


def event(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(fields)}\n\n".encode()


async def test_progress_is_told_until_the_last_word() -> None:
    steps = [
        b": still there\n\n",
        event("progress", step="creating Deployment"),
        event("progress", step="waiting", reason="Propagating", message=f"1/2 interceptors {ACTING}serve"),
    ]
    done = event("done", outcome="served", created=True, app={"url": f"http://web.shop/{ACTING}"})
    async with hostile(EVENTS, *steps, done) as (server, flags):
        code, out, err = await weir("create", "web", "--image", "x", *flags)
        assert (code, out) == (0, f"shop/web is created\nhttp://web.shop/{SAFE}\n"), err
        assert err.splitlines()[1:] == ["asking", "creating Deployment", f"waiting: 1/2 interceptors {SAFE}serve"]
        assert server.requests[0].startswith(b"POST /v1/namespaces/shop/apps?wait=true ")
    for outcome in ("not-served", "not-awake", "unknown", "odd"):
        last = event("done", outcome=outcome, reason="Conflict", message="another object", app={"name": "web"})
        async with hostile(EVENTS, last) as (_, flags):
            code, _, err = await weir("wake", "web", *flags)
            assert (code, err.splitlines()[-1]) == (8, f"{outcome}: Conflict: another object")
    problem = {"status": 403, "detail": "quota", "step": "creating Service", "rolled_back": True}
    async with hostile(EVENTS, event("failed", problem=problem)) as (_, flags):
        code, _, err = await weir("create", "web", "--image", "x", *flags)
        assert code == 6
        assert err.splitlines()[-2:] == ["quota", "it failed at creating Service, and what was done before is undone"]
    async with hostile(EVENTS, event("progress", step="x")) as (_, flags):
        code, _, err = await weir("create", "web", "--image", "x", *flags)
        assert code == 7


async def test_an_interruption_says_what_it_leaves_open() -> None:
    async with hostile(EVENTS, event("progress", step="waiting"), pause=60) as (_, flags):
        command = (sys.executable, "-m", "weir", "app", "create", "web", "--image", "x", *flags)
        process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stderr is not None
        while await process.stderr.readline() != b"waiting\n":
            pass
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, out) == (130, b"")
        assert err == b"interrupted: it goes on there, and may be done: weir app show web --namespace shop tells\n"
    async with hostile(JSON, pause=60) as (server, flags):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "weir", "app", "list", *flags), stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        await until(lambda: server.open)
        await asyncio.sleep(0.2)  # it waits for the answer by then
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, err.splitlines()[-1]) == (130, b"interrupted")


async def test_waiting_ends() -> None:
    beats = [b": still there\n\n"] * 3
    async with hostile(EVENTS, *beats, pause=60) as (_, flags):
        code, _, err = await weir("create", "web", "--image", "x", "--timeout", "0", *flags)
        assert code == 8
        assert err.splitlines()[-2] == "still not done after 0 s; it goes on there"


@pytest.mark.parametrize(
    ("head", "body", "code"),
    [
        (JSON, b"", 1),
        (JSON, b"nonsense", 1),
        (JSON, b"[" * 100_000, 1),
        (JSON, b'[{"items": 1}]', 1),
        (JSON, b'{"items": [1]}', 1),
        (JSON, b'{"items": [], "next": "again"}', 1),
        (JSON, json.dumps({"items": [{"name": ACTING}]}).encode(), 0),
        (JSON, json.dumps({"items": [{"name": ["x"], "replicas": 7, "url": None, "ready": {}}]}).encode(), 0),
        ("200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json", b"\x1f\x8b", 1),
        ("302 X\r\nLocation: http://127.0.0.1:1/", b"", 1),
        ("502 X", b"<html>", 7),
        (PROBLEM, b"nonsense", 1),
        (PROBLEM, json.dumps({"errors": [{"pointer": f"/{ACTING}/0", "detail": ACTING}, 7, {}], "status": "x"}).encode(), 3),
        (PROBLEM, json.dumps({"title": ACTING, "detail": "x" * 100_000, "status": 422}).encode(), 3),
    ],
)
async def test_answers_of_a_server_that_is_none(head: str, body: bytes, code: int) -> None:
    async with hostile(head, body) as (_, flags):
        for command in ("list", "show"):
            ended, out, err = await weir(command, *(("web",) if command == "show" else ()), *flags)
            assert not {"\x1b", "\x07", "\u202e", "\x9b"} & {*out, *err}
            assert len(err) < 10_000
            if command == "list":
                assert ended == code, err


async def test_an_answer_without_an_end_is_cut() -> None:
    piece = b" " * (1 << 20)
    async with hostile(JSON, *[piece] * 80) as (_, flags):
        code, _, err = await weir("list", *flags)
        assert code == 1
        assert "is larger than" in err


async def test_logs_are_lines_without_what_a_terminal_acts_on() -> None:
    lines = f"[web-1] one {ACTING}\r\n[web-1] two".encode()
    async with hostile("200 OK\r\nContent-Type: text/plain", lines) as (server, flags):
        code, out, _ = await weir("logs", "web", "--follow", "--lines", "5", "--since", "1m", *flags)
        assert (code, out) == (0, f"[web-1] one {SAFE} \n[web-1] two\n")
        assert b"/shop/apps/web/logs?tailLines=5&follow=true&since=60 " in server.requests[0]


async def test_a_server_that_is_not_there() -> None:
    code, _, err = await weir("list", "--server", "http://127.0.0.1:1", "--token", "t")
    assert code == 7
    assert "127.0.0.1:1" in err.splitlines()[-1]
