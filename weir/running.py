"""The registry of the `weir up` that run on this machine: one file each, locked while the process lives.

The directory is accessible to this user only, because each file contains the secret of its engine's page.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.defaults import INTERCEPTOR_RPC_PORT

__all__ = ["DEFAULT_RPC_ADDRESS", "Running", "directory", "engines", "proxy_ports", "registered", "rpc_addresses", "running"]

DEFAULT_RPC_ADDRESS = f"127.0.0.1:{INTERCEPTOR_RPC_PORT}"
"""Default RPC address of an interceptor."""


@dataclass(frozen=True, slots=True)
class Running:
    """A running `weir up`."""

    pid: int
    file: str
    state_directory: str
    url: str
    """URL of its page: "http://127.0.0.1:PORT"."""
    token: str
    """The secret that its page requires."""


def directory() -> Path:
    """The directory of the registry: WEIR_RUNTIME_DIR, the user's runtime directory, or a directory of the user among the
    temporary files."""
    if named := os.environ.get("WEIR_RUNTIME_DIR"):
        return Path(named)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "weir"
    return Path(tempfile.gettempdir()) / f"weir-{os.getuid()}.run"


@contextmanager
def registered(entry: Running) -> Iterator[None]:
    """Register this process until the context ends. Raises OSError."""
    place = directory()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_ours(place):
        raise PermissionError(f"{place} belongs to somebody else, or others may write to it")
    path = place / f"{entry.pid}.json"
    fresh = path.with_suffix(".fresh")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # locked before it becomes visible, so that it never looks like a file of a dead process
        json.dump(asdict(entry), file)
        file.flush()
        fresh.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running() -> Sequence[Running]:
    """Those that run now, oldest first. Files of engines that were killed are removed."""
    place = directory()
    if not place.is_dir() or not _is_ours(place):
        return []
    entries = sorted(place.glob("*.json"), key=lambda path: path.name)
    return [entry for path in entries if (entry := _read(path)) is not None]


def engines(of: Path | None) -> Sequence[Running]:
    """Those that run a file ("-" is standard input); all when no file is given."""
    wanted = None if of is None else "-" if str(of) == "-" else str(of.resolve())
    return [engine for engine in running() if wanted in (None, engine.file)]


def rpc_addresses(engine: Running) -> Sequence[str]:
    """ "host:port" of the RPC server of each of its interceptors; none while it starts or just after it has ended."""
    # Few commands need it, and it loads the routing table and its decoder.
    from fleet.discovery.documents import decode_members  # noqa: PLC0415
    from fleet.discovery.sources import SourceError  # noqa: PLC0415

    with suppress(OSError, SourceError):
        members = decode_members((Path(engine.state_directory) / "members.json").read_bytes())
        return [member.address for member in members]
    return []


def proxy_ports(engine: Running) -> Sequence[int]:
    """Ports on which its interceptors accept requests."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        components = json.loads((Path(engine.state_directory) / "components.json").read_bytes())
        return [component["proxy_port"] for component in components if component.get("proxy_port")]
    return []


def _read(path: Path) -> Running | None:
    try:
        with path.open("r+", encoding="utf-8") as file:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
                return None
            return Running(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None  # the engine has just ended


def _is_ours(place: Path) -> bool:
    status = place.lstat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022 and not place.is_symlink()
