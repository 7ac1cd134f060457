"""The list of running `weir up` on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.discovery.files import write_members
from fleet.discovery.sources import Member
from weir.running import Running, directory, engines, proxy_ports, registered, rpc_addresses, running


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def _entry(tmp_path: Path, pid: int = 7) -> Running:
    return Running(pid, "/apps.yaml", str(tmp_path / "state"), "http://127.0.0.1:1", "secret")


def test_one_is_found_while_it_runs_and_by_its_user_only(tmp_path: Path, place: Path) -> None:
    assert running() == []
    with registered(_entry(tmp_path)):
        assert running() == [_entry(tmp_path)]
        assert running() == [_entry(tmp_path)]  # reading does not remove it
        assert place.stat().st_mode & 0o777 == 0o700
        assert (place / "7.json").stat().st_mode & 0o777 == 0o600
    assert running() == []


def test_what_one_that_was_killed_left_is_removed(place: Path) -> None:
    place.mkdir(mode=0o700)
    (place / "9.json").write_text('{"pid": 9, "file": "a", "state_directory": "b", "url": "c", "token": "d"}')
    assert running() == []
    assert list(place.iterdir()) == []


def test_a_directory_that_others_may_write_to_is_not_believed(tmp_path: Path, place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)
    assert running() == []
    with pytest.raises(PermissionError), registered(_entry(tmp_path)):
        pass


def test_where_interceptors_are_asked(tmp_path: Path) -> None:
    entry = _entry(tmp_path)
    assert (rpc_addresses(entry), proxy_ports(entry)) == ([], [])
    state = tmp_path / "state"
    state.mkdir()
    write_members(state / "members.json", [Member(name="i", address="127.0.0.1:5"), Member(name="j", address="[::1]:6")])
    (state / "components.json").write_text('[{"proxy_port": 8080}, {"proxy_port": null}, {"name": "scaler"}]')
    assert (rpc_addresses(entry), proxy_ports(entry)) == (["127.0.0.1:5", "[::1]:6"], [8080])


def test_one_is_found_by_its_file(tmp_path: Path) -> None:
    entry = _entry(tmp_path)
    with registered(entry):
        assert [*engines(None)] == [*engines(Path(entry.file))] == [entry]
        assert [*engines(tmp_path / "another.yaml")] == []


def test_the_directory_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEIR_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/5")
    assert directory() == Path("/run/user/5/weir")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert directory().name.startswith("weir-")
