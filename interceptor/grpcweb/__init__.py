"""gRPC-Web as gRPC and back: a browser cannot read trailers, so they follow the messages as one more frame. Pure."""
