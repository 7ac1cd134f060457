"""A gRPC server: shop.Prices/Watch streams five prices of an article."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.wrappers_pb2 import StringValue


def watch(article: StringValue, context: grpc.ServicerContext) -> Iterator[StringValue]:
    if not article.value:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "which article?")
    for price in range(1, 6):
        yield StringValue(value=f"{article.value}: {price}.00")
        time.sleep(0.2)


if __name__ == "__main__":
    method = grpc.unary_stream_rpc_method_handler(watch, StringValue.FromString, StringValue.SerializeToString)
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Prices", {"Watch": method})])
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    server.wait_for_termination()
