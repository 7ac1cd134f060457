"""A listener: when it accepts, when it pauses, and what happens to connections in between."""

from __future__ import annotations

import logging
import resource
from functools import partial

import pytest

from interceptor.listener import DESCRIPTORS_PER_CLIENT, SCARCE, SPARE_DESCRIPTORS, room_for_clients
from tests.support.listener_playbook import ListenerStage
from tests.support.manual_loop import play_in_time

STARTED = """
> starts
< bound to 192.0.2.1:0 for requests
< server opened
"""
SCRIPTS = {
    "its port is known once it listens, and kept afterwards": """
> port
< port 0
> starts
< bound to 192.0.2.1:0 for requests
< server opened
> port
< port 4711 started
> close
< server closed
< socket closed
> port
< port 4711
""",
    "while it pauses it has no server": STARTED + """
> pause
< server closed
> pause
> resume
< server opened
> resume_for_nothing
> pause
< server closed
> port
< port 4711 started
""",
    "one server, however often it is resumed": STARTED + """
> pause
< server closed
> resume_twice
< server opened
""",
    "a pause before there is a server again": STARTED + """
> pause
< server closed
> resume_and_pause
< server opened
> pause
< server closed
> resume
< server opened
""",
    "without files it tries again until there are": """
> no_files 2
> starts
< bound to 192.0.2.1:0 for requests
> at 0.09
> at 0.15
> at 0.19
> at 0.2
< server opened
""",
    "without files after a pause": STARTED + """
> pause
< server closed
> no_files 1
> resume
> resume
> at 0.1
< server opened
> pause
< server closed
> resume
< server opened
""",
    "closed while it waits for files": STARTED + """
> pause
< server closed
> no_files 1
> resume
> close
< socket closed
> at 1
""",
    "closed while it is resumed": STARTED + """
> pause
< server closed
> resume_and_close
< socket closed
> at 1
> resume
""",
    "closed: who waits is taken in, but not who has left": STARTED + """
> queue a b- c
> close
< server closed
< a blocks: False
< b blocks: False
< c blocks: False
< socket closed
< a taken in
< c taken in
> close
> resume_for_nothing
""",
    "closed while it pauses: the same": STARTED + """
> pause
< server closed
> queue a
> close
< a blocks: False
< socket closed
< a taken in
""",
    "closed before it was started": """
> resume_for_nothing
> close
> resume_for_nothing
""",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_listener(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play_in_time(partial(ListenerStage, monkeypatch), script)


def test_that_there_is_no_room_is_logged_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    again = "\n> at {0}\n> pause\n< server closed\n> resume\n< server opened"
    play_in_time(partial(ListenerStage, monkeypatch), STARTED + "".join(again.format(at) for at in (5, 14.9, 15, 24.9, 30)))
    assert caplog.messages == ["no room for more client connections: those that come wait until others have left"] * 3


def test_that_there_are_no_files_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    script = "> no_files 1\n> starts\n< bound to 192.0.2.1:0 for requests\n> at 0.1\n< server opened"
    play_in_time(partial(ListenerStage, monkeypatch), script)
    assert caplog.messages == ["cannot accept connections yet: Too many open files"]


FEW, MANY = 1000, 100_000


@pytest.mark.parametrize(
    ("files", "wanted", "room", "level"),
    [
        (resource.RLIM_INFINITY, MANY, MANY, None),
        (SPARE_DESCRIPTORS + DESCRIPTORS_PER_CLIENT * FEW, FEW, FEW, None),
        (SPARE_DESCRIPTORS + DESCRIPTORS_PER_CLIENT * FEW, MANY, FEW, logging.WARNING),
        (SPARE_DESCRIPTORS + DESCRIPTORS_PER_CLIENT * SCARCE, MANY, SCARCE, logging.DEBUG),
        (SPARE_DESCRIPTORS + DESCRIPTORS_PER_CLIENT * MANY, FEW, FEW, None),
        (SPARE_DESCRIPTORS, FEW, 1, logging.WARNING),
        (10, FEW, 1, logging.WARNING),
    ],
)
def test_room_for_clients(
    files: int, wanted: int, room: int, level: int | None, *, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (files, resource.RLIM_INFINITY))
    assert room_for_clients(wanted) == room
    assert [record.levelno for record in caplog.records] == ([] if level is None else [level])
