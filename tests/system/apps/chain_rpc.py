"""A service of a chain for tests that speaks gRPC alone: as `chain.py` beside it, with the header as metadata."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path
from typing import Any

import grpc

CHAIN = run_path(str(Path(__file__).with_name("chain.py")))
METHOD = "/chain.Chain/Call"


def called(request: bytes, context: grpc.ServicerContext) -> bytes:
    given = {name: str(value) for name, value in context.invocation_metadata()}
    answer = f"{os.environ['VERSION']} {given.get(CHAIN['HEADER'])}"
    if "NEXT" in os.environ:
        host, port = CHAIN["proxy"]()
        options = (("grpc.default_authority", os.environ["NEXT"]),)
        with grpc.insecure_channel(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", options=options) as channel:
            passed = tuple(CHAIN["passed_on"](given).items())
            call: Any = channel.unary_unary(METHOD)
            following: bytes = call(b"", metadata=passed, timeout=CHAIN["PATIENCE"])
        answer += f" > {following.decode()}"
    return answer.encode()


class Handler(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(called) if handler_call_details.method == METHOD else None


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Handler(),))
    server.add_insecure_port(f"{os.environ.get('BIND', '127.0.0.1')}:{os.environ['PORT']}")
    server.start()
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    over.wait()
    server.stop(5).wait()
