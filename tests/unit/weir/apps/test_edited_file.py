"""The file of `weir up` is replaced as a whole, or left as it is."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from weir.apps import edited_file
from weir.apps.edited_file import change_file, digest_now
from weir.apps.failure import NotDoneError
from weir.apps.file_edit import CannotEditError, with_app
from weir.engine.specfile import SpecFile, digest_of

GOOD = "# ours\napps:\n  - {name: a, hosts: [a.localhost], command: x}\n"


def added(name: str, **fields: object) -> edited_file.Change:
    def change(text: str, _: SpecFile) -> str:
        return with_app(text, {"name": name, "hosts": [f"{name}.localhost"], "command": "x", **fields})

    return change


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "apps.yaml"
    path.write_text(GOOD)
    path.chmod(0o640)
    return path


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_it_is_changed_behind_a_link_with_its_permissions(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    edited = change_file(link, added("b"))
    assert file.read_text() == edited.after != GOOD
    assert (edited.before, edited.file.digest, digest_now(link)) == (GOOD, digest_of(edited.after), digest_of(edited.after))
    assert [app.name for app in edited.file.spec.apps] == ["a", "b"]
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert left(tmp_path) == ["apps.yaml", "link.yaml"]


def test_without_writing(file: Path) -> None:
    assert change_file(file, added("b"), write=False).after != GOOD
    assert file.read_text() == GOOD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"apps: [", "is invalid already, and is left as it is"),
        (b"apps: [{name: a}]", "is invalid already, and is left as it is"),
        (b"\xff", "is not UTF-8 text; it is left as it is"),
    ],
)
def test_an_invalid_file_is_not_touched(file: Path, text: bytes, told: str) -> None:
    file.write_bytes(text)
    before = file.stat()
    with pytest.raises(NotDoneError, match=told) as error:
        change_file(file, added("b"))
    assert error.value.code == 3
    assert (file.read_bytes(), file.stat().st_ino) == (text, before.st_ino)


def test_a_change_that_makes_it_invalid_names_the_field(file: Path, tmp_path: Path) -> None:
    with pytest.raises(NotDoneError) as error:
        change_file(file, added("b", max=-1))
    assert error.value.lines == ("max: should be at least 1",)
    assert file.read_text() == GOOD

    def cannot(text: str, _: SpecFile) -> str:
        raise CannotEditError("it is odd")

    with pytest.raises(NotDoneError, match="it is odd; it is left as it is"):
        change_file(file, cannot)
    with pytest.raises(NotDoneError, match="No such file or directory"):
        change_file(tmp_path / "none.yaml", added("b"))
    with pytest.raises(NotDoneError, match="standard input"):
        change_file(Path("-"), added("b"))
    assert left(tmp_path) == ["apps.yaml"]


def test_an_editor_that_saves_meanwhile_loses_nothing(file: Path) -> None:
    saved = GOOD + "# of the editor\n"
    changes = 0

    def change(text: str, spec: SpecFile) -> str:
        nonlocal changes
        changes += 1
        if changes == 1:
            file.write_text(saved)
        return added("b")(text, spec)

    change_file(file, change)
    assert changes == 2
    assert "# of the editor" in file.read_text()
    assert "name: b" in file.read_text()


def test_a_program_that_saves_all_the_time_is_not_waited_for(file: Path) -> None:
    def change(text: str, spec: SpecFile) -> str:
        file.write_text(text + "#\n")
        return added("b")(text, spec)

    with pytest.raises(NotDoneError, match="another program keeps changing it") as error:
        change_file(file, change)
    assert error.value.code == 5


def test_commands_at_once_lose_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edited_file, "LOCK_SECONDS", 300.0)  # on a busy machine too
    names = [f"app-{number}" for number in range(6)]
    threads = [threading.Thread(target=change_file, args=(file, added(name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    edited = change_file(file, lambda text, _: text)
    assert sorted(app.name for app in edited.file.spec.apps) == sorted(["a", *names])


def test_a_command_that_hangs_is_not_waited_for_for_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edited_file, "LOCK_SECONDS", 0.1)
    held = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(NotDoneError, match="another command is changing a file there"):
            change_file(file, added("b"))
    finally:
        os.close(held)
