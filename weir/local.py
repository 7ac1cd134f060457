"""`weir ps`, `logs`, `wake`, `sleep` and `restart`: requests to the page of a `weir up` that runs on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from fleet.runtime.terminal import complain, one_line, say
from weir.running import Running, engines

__all__ = [
    "EngineError",
    "EngineRefused",
    "EngineSilent",
    "app_names",
    "ask_engine",
    "engine_client",
    "engine_with",
    "run_logs",
    "run_order",
    "run_ps",
]

EXIT_NOT_DONE = 1
TIMEOUT = 30.0
"""Seconds for an answer. The slowest answers ask every interceptor."""
_COLUMNS = ("app", "replicas", "held", "in flight", "pids", "ports", "state")
"""The state is the last column, because it may contain a long reason. The ports are left out where no app has one."""


class EngineError(Exception):
    """The command was not carried out; the message is one line."""


class EngineSilent(EngineError):
    """It does not answer: it ends, or is stopped."""


class EngineRefused(EngineError):
    """It does not do that now, as the app is busy, kept warm, or not what it is taken for."""


def run_ps(of: Path | None, *, as_json: bool) -> int:
    """Print the apps of every running engine, or of the one that runs the file `of`; returns the exit code."""
    asked = engines(of)
    if not asked:
        return _none(of)
    try:
        found = [{**app, "file": engine.file, "pid": engine.pid} for engine in asked for app in ask_engine(engine, "ps")["apps"]]
    except EngineError as error:
        complain(str(error))
        return EXIT_NOT_DONE
    if as_json:
        say(json.dumps(found))
        return 0
    rows = [_COLUMNS, *(_row(app) for app in found)]
    if not any(app.get("ports") for app in found):
        at = _COLUMNS.index("ports")
        rows = [(*row[:at], *row[at + 1 :]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for app in found:
        if suggestion := app.get("suggestion"):
            say(one_line(f"{app['app']}: {suggestion}"))
    return 0


def app_names(typed: str) -> Sequence[str]:
    """Completions: names of running apps that begin with what was typed; with namespace once that was typed."""
    found: list[str] = []
    for engine in engines(None):
        with suppress(EngineError):
            found += (one_line(name) for app in ask_engine(engine, "ps")["apps"] for name in _names(app))
    whole = "/" in typed
    return [name for name in dict.fromkeys(found) if name.startswith(typed) and ("/" in name) == whole]


def run_order(verb: str, name: str, of: Path | None) -> int:
    """Wake, sleep or restart an app, and print the result; returns the exit code."""
    try:
        say(ask_engine(engine_with(name, of), verb, {"name": name})["told"])
    except EngineError as error:
        complain(str(error))
        return EXIT_NOT_DONE
    return 0


def run_logs(name: str, of: Path | None, *, follow: bool, lines: int) -> int:
    """Print the last lines of an app; with `follow`, continue until interrupted or the engine ends."""
    try:
        engine = engine_with(name, of)
        body = {"name": name, "lines": lines, "follow": follow}
        with engine_client(engine, read=None) as client, client.stream("POST", "/logs", json=body) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise EngineError(_why(answer))
            for line in answer.iter_lines():
                entry = json.loads(line)
                say(f"{entry['speaker']} | {entry['line']}")
    except EngineError as error:
        complain(str(error))
        return EXIT_NOT_DONE
    except (httpx.HTTPError, KeyboardInterrupt):
        return 0  # the engine has ended, or standard output was closed
    return 0


def _none(of: Path | None) -> int:
    complain("no weir up runs here" if of is None else f"no weir up runs {of}")
    return EXIT_NOT_DONE


def engine_with(name: str, of: Path | None) -> Running:
    """The engine that is meant: the only one, or the only one that has the app. Raises EngineError."""
    asked = engines(of)
    if not asked:
        raise EngineError("no weir up runs here" if of is None else f"no weir up runs {of}")
    if len(asked) == 1:
        return asked[0]
    having, silent = [], None
    for engine in asked:
        try:
            apps = ask_engine(engine, "ps")["apps"]
        except EngineSilent as error:  # it may be ending just now, and the app be another's
            silent = error
            continue
        if any(name in _names(app) for app in apps):
            having.append(engine)
    if not having and silent is not None:
        raise silent
    if not having:
        raise EngineError(f"none of the {len(asked)} weir up that run here has an app {name}")
    if len(having) > 1:
        raise EngineError(f"several weir up have an app {name}: --of FILE says which, {', '.join(one.file for one in having)}")
    return having[0]


def _names(app: Mapping[str, Any]) -> tuple[str, str]:
    return str(app["app"]), str(app["app"]).partition("/")[2]


def engine_client(engine: Running, *, read: float | None = TIMEOUT) -> httpx.Client:
    # Proxies of the environment are for other machines.
    timeout = httpx.Timeout(TIMEOUT, read=read)
    return httpx.Client(
        base_url=engine.url, trust_env=False, timeout=timeout, headers={"Authorization": f"Bearer {engine.token}"}
    )


def ask_engine(engine: Running, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One call of its page. Raises EngineError."""
    try:
        with engine_client(engine) as client:
            answer = client.post(f"/{what}", json=body or {})
    except httpx.HTTPError as error:
        raise EngineSilent(f"weir up {engine.pid} ({engine.file}) does not answer: {error}") from error
    if answer.status_code != httpx.codes.OK:
        refused = answer.status_code == httpx.codes.CONFLICT
        raise (EngineRefused if refused else EngineError)(_why(answer))
    state: dict[str, Any] = answer.json()
    return state


def _why(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"the engine answered {answer.status_code}"


def _row(app: Mapping[str, Any]) -> tuple[str, ...]:
    replicas = f"{app['ready']}/{app['desired']}"
    pids = ",".join(str(pid) for pid in app["pids"]) or "-"
    ports = ", ".join(dict.fromkeys(f"{port['protocol']} {port['port']}" for port in app.get("ports", ()))) or "-"
    return (one_line(app["app"]), replicas, str(app["held"]), str(app["in_flight"]), pids, ports, one_line(app["state"]))
