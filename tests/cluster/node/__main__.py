"""`python -m tests.cluster.node --url URL ...`: runs the node until it is terminated."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.cluster.api import Api, Tls
from tests.cluster.network import DNS_ADDRESS, Sandboxes
from tests.cluster.node.agent import Agent, keep_running
from tests.cluster.node.dns import DnsServer
from tests.cluster.node.kubelet import serve_kubelet
from tests.cluster.node.pod import Node
from tests.cluster.node.policies import Policies
from tests.cluster.node.services import Services


async def main(options: argparse.Namespace) -> None:
    sandboxes = Sandboxes()
    sandboxes.fill()
    async with Api(options.url, Tls(options.ca, options.cert, options.key)) as api, asyncio.TaskGroup() as group:
        node = Node(api, sandboxes, json.loads(options.images), options.cwd, options.directory)
        agent, services = Agent(node, group), Services(api)
        await agent.register()
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "pods": agent.run,
            "networks": agent.keep_spare_networks,
            "services": services.run,
            "policies": Policies(api).run,
            "kubelet": partial(serve_kubelet, options.directory, agent.address_of),
        }
        for what, work in works.items():
            group.create_task(keep_running(what, work), name=what)
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: DnsServer(services.lookup), local_addr=(DNS_ADDRESS, 53))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("url", "images"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("ca", "cert", "key", "directory", "cwd"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
    asyncio.run(main(_options()))  # asyncio starts a process in a third of the time of uvloop
