"""The cluster's network: a point-to-point link and a namespace per pod; nftables translates the addresses of Services.

Pods reach each other, Services and the API server through the harness's namespace, like through a node; network policies are
enforced there. Runs only inside `tests.cluster.namespace`.
"""

import itertools
import os
import subprocess
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.namespace import INSIDE

__all__ = [
    "API_ADDRESS",
    "DNS_ADDRESS",
    "NODE_ADDRESS",
    "SERVICE_RANGE",
    "Endpoint",
    "Opening",
    "Sandbox",
    "Sandboxes",
    "ServicePort",
    "open_network",
    "write_policies",
    "write_services",
]

NODE_ADDRESS = "10.200.0.1"
"""Address of the node, the API server and everything outside pods. Not loopback, which EndpointSlices refuse."""
SERVICE_RANGE = "10.96.0.0/16"
API_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
GATEWAY = "169.254.1.1"
"""The pods' default gateway: an address of the harness's namespace, the same on every pod's link."""
SPARE = 12
"""Networks created in advance, so that starting a pod does not wait for the kernel."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The network of one pod."""

    name: str
    address: str

    @property
    def enter(self) -> tuple[str, ...]:
        return ("nsenter", f"--net=/run/netns/{self.name}", "--")


@dataclass(frozen=True, slots=True)
class Endpoint:
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ServicePort:
    address: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Opening:
    """Sources that may reach a TCP port of a pod; None means all."""

    sources: frozenset[str] | None
    port: int | None


def open_network() -> None:
    """Set up the node's address, forwarding, and a route for the addresses of Services. Called once, first."""
    assert os.environ.get(INSIDE) == "1", "only inside tests.cluster.namespace"
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _ip([f"addr add {address}/32 dev lo" for address in (NODE_ADDRESS, DNS_ADDRESS, GATEWAY)])
    _ip([f"route add {SERVICE_RANGE} dev lo src {NODE_ADDRESS}"])
    Path("/etc/resolv.conf").write_text(f"nameserver {DNS_ADDRESS}\nsearch svc.cluster.local cluster.local\noptions ndots:5\n")


class Sandboxes:
    """Creates networks of pods in advance, and reuses the address that has been free for longest."""

    def __init__(self) -> None:
        self._free: deque[Sandbox] = deque()
        self._numbers = itertools.count(2)  # 10.244.0.0 and .1 are not used

    def fill(self) -> None:
        """Create networks until SPARE of them are free."""
        while len(self._free) < SPARE:
            self._free.append(self._make())

    def take(self) -> Sandbox:
        return self._free.popleft() if self._free else self._make()

    def offer(self, sandbox: Sandbox) -> None:
        self._free.append(sandbox)

    def _make(self) -> Sandbox:
        number = next(self._numbers)
        name = f"pod{number}"
        sandbox = Sandbox(name, f"10.244.{number >> 8}.{number & 255}")
        _ip((f"netns add {name}", f"link add {name} type veth peer name eth0 netns {name}", f"link set {name} up"))
        _ip((f"route add {sandbox.address}/32 dev {name} src {NODE_ADDRESS}",))
        _ip(
            (
                f"addr add {sandbox.address}/32 dev eth0",
                "link set lo up",
                "link set eth0 up",
                f"route add {GATEWAY} dev eth0 scope link",
                f"route add default via {GATEWAY} dev eth0",
            ),
            namespace=name,
        )
        return sandbox


def write_services(services: Mapping[ServicePort, Sequence[Endpoint]]) -> None:
    """Replaces every translation in one transaction. A Service without endpoints refuses connections, as on a node."""
    rules = "\n".join(_rule(service, endpoints) for service, endpoints in sorted(services.items(), key=str) if endpoints)
    document = f"""
table ip weir {{}}
delete table ip weir
table ip weir {{
    chain services {{
{rules}
    }}
    chain arriving {{ type nat hook prerouting priority dstnat; jump services; }}
    chain own {{ type nat hook output priority -100; jump services; }}
    chain refuse {{
        ip daddr {DNS_ADDRESS} accept
        ip daddr {SERVICE_RANGE} meta l4proto tcp reject with tcp reset
        ip daddr {SERVICE_RANGE} reject
    }}
    chain forwarded {{ type filter hook forward priority filter; jump refuse; }}
    chain sent {{ type filter hook output priority filter; jump refuse; }}
}}
"""
    subprocess.run(["nft", "-f", "-"], input=document, text=True, check=True, capture_output=True)


def write_policies(pods: Mapping[str, Iterable[Opening]]) -> None:
    """Replaces every rule in one transaction: only these sources may reach these pods. Replies are always allowed."""
    chains = "\n".join(_chain(address, openings) for address, openings in sorted(pods.items()))
    jumps = ", ".join(f"{address} : jump {_chain_name(address)}" for address in sorted(pods))
    document = f"""
table ip policies {{}}
delete table ip policies
table ip policies {{
{chains}
    chain forwarded {{
        type filter hook forward priority filter
        ct state established,related accept
        {f"ip daddr vmap {{ {jumps} }}" if jumps else ""}
    }}
}}
"""
    subprocess.run(["nft", "-f", "-"], input=document, text=True, check=True, capture_output=True)


def _chain(address: str, openings: Iterable[Opening]) -> str:
    rules = "\n        ".join(sorted(rule for opening in openings if (rule := _opening(opening))))
    return f"    chain {_chain_name(address)} {{\n        {rules}\n        drop\n    }}"


def _chain_name(address: str) -> str:
    return "pod-" + address.replace(".", "-")


def _opening(opening: Opening) -> str:
    if opening.sources is not None and not opening.sources:
        return ""
    source = "" if opening.sources is None else f"ip saddr {{ {', '.join(sorted(opening.sources))} }} "
    port = "" if opening.port is None else f"tcp dport {opening.port} "
    return f"{source}{port}accept"


def _rule(service: ServicePort, endpoints: Sequence[Endpoint]) -> str:
    match = f"ip daddr {service.address} {service.protocol} dport {service.port}"
    if len(endpoints) == 1:
        return f"{match} dnat to {endpoints[0].address}:{endpoints[0].port}"
    choices = ", ".join(f"{number} : {endpoint.address} . {endpoint.port}" for number, endpoint in enumerate(endpoints))
    return f"{match} dnat to numgen random mod {len(endpoints)} map {{ {choices} }}"


def _ip(commands: Sequence[str], *, namespace: str = "") -> None:
    where = ["-n", namespace] if namespace else []
    subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(commands), text=True, check=True, capture_output=True)
