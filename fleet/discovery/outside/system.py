"""How names are looked up on this machine: /etc/resolv.conf and /etc/hosts, read again when they change.

As the resolver of the C library does: name servers in their order, search list and ndots; names of the hosts file first.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, TypeVar

from fleet.routing.outside import is_dns_name
from fleet.runtime.address import LOOPBACK, LOOPBACKS
from fleet.runtime.files import read_regular

__all__ = ["HOSTS", "RESOLV_CONF", "System", "parse_hosts", "parse_resolv_conf"]

RESOLV_CONF: Final = Path("/etc/resolv.conf")
HOSTS: Final = Path("/etc/hosts")
MAX_BYTES: Final = 1 << 20
MAX_SERVERS: Final = 3
"""As in the C library (MAXNS)."""
MAX_SEARCH: Final = 32
"""Names of the search list, each of which is one more question; Kubernetes takes as many."""
MAX_NDOTS: Final = 15

T = TypeVar("T")


class ResolvConf(NamedTuple):
    """What the file says."""

    servers: tuple[str, ...] = (LOOPBACK,)
    search: tuple[str, ...] = ()
    ndots: int = 1

    def candidates(self, name: str) -> Iterator[str]:
        """The whole names to ask for, in their order, each with the dot at its end."""
        if name.endswith("."):
            yield name
            return
        dotted = name.count(".") >= self.ndots
        if dotted:
            yield f"{name}."
        for suffix in self.search:
            if is_dns_name(f"{name}.{suffix}"):
                yield f"{name}.{suffix}."
        if not dotted:
            yield f"{name}."


def parse_resolv_conf(data: bytes) -> ResolvConf:
    """What is not understood is left out, as everybody does who reads this file."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for line in data.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) < 2 or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and _is_address(words[1]):
            servers.append(words[1])
        elif words[0] in ("search", "domain"):  # the last one counts
            named = words[1:] if words[0] == "search" else words[1:2]
            search = tuple(bare for name in named if is_dns_name(bare := name.removesuffix(".")))[:MAX_SEARCH]
        elif words[0] == "options":
            for option in words[1:]:
                digits = option.removeprefix("ndots:")
                if digits != option and digits.isascii() and digits.isdigit() and len(digits) <= 4:
                    ndots = min(int(digits), MAX_NDOTS)
    return ResolvConf(tuple(servers[:MAX_SERVERS]) or (LOOPBACK,), search, ndots)


def parse_hosts(data: bytes) -> Mapping[str, tuple[str, ...]]:
    """Addresses by name, in lower case."""
    found: dict[str, dict[str, None]] = {}
    for line in data.decode("ascii", "replace").splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2 or not _is_address(words[0]) or "%" in words[0]:
            continue
        address = ipaddress.ip_address(words[0]).compressed
        for name in words[1:]:
            found.setdefault(name.lower().removesuffix("."), {})[address] = None
    return {name: tuple(addresses) for name, addresses in found.items()}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class _File(Generic[T]):
    """A file that is read again when it has changed. While it cannot be read, what it said last stays."""

    def __init__(self, path: Path, parse: Callable[[bytes], T], empty: T) -> None:
        self._path, self._parse, self._value = path, parse, empty
        self._seen: tuple[int, ...] = ()

    def value(self) -> T:
        try:
            state = os.stat(self._path)
            seen = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
            if seen != self._seen:
                self._value = self._parse(read_regular(self._path, MAX_BYTES))
                self._seen = seen
        except OSError:
            self._seen = ()
        return self._value


class System:
    """The two files."""

    def __init__(self, resolv_conf: Path = RESOLV_CONF, hosts: Path = HOSTS) -> None:
        self._resolv_conf = _File(resolv_conf, parse_resolv_conf, ResolvConf())
        nothing: Mapping[str, tuple[str, ...]] = MappingProxyType({})
        self._hosts = _File(hosts, parse_hosts, nothing)

    @property
    def resolv_conf(self) -> ResolvConf:
        return self._resolv_conf.value()

    def addresses(self, name: str) -> tuple[str, ...]:
        """Those that the hosts file has for a name, or those that "localhost" has in any case (RFC 6761 section 6.3)."""
        bare = name.lower().removesuffix(".")
        found = self._hosts.value().get(bare, ())
        if not found and (bare == "localhost" or bare.endswith(".localhost")):
            return LOOPBACKS
        return found
