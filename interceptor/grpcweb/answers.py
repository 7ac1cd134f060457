"""Responses of the proxy's own to calls of gRPC-Web. Pure."""

from __future__ import annotations

from interceptor.core.grpc import GRPC, kind_of, kind_of_fields, status_fields
from interceptor.core.messages import Request
from interceptor.core.replies import Reply
from interceptor.grpcweb.call import is_text, trailers_frame, web_content_type
from interceptor.grpcweb.text import encode_text

__all__ = ["own_answer"]


def own_answer(head: Request, reply: Reply) -> Reply:
    """The reply in the form that the client of a request reads: for a call of gRPC-Web, a status; for all others as it is. So is
    a route's own response that is one of gRPC-Web."""
    if head.method != b"POST":
        return reply
    fields = head.match_fields()
    if kind_of_fields(fields) <= GRPC or any(name.lower() == b"content-type" and kind_of(value) for name, value in reply.fields):
        return reply
    text = is_text(fields)
    frame = trailers_frame(status_fields(reply))
    return Reply(200, (web_content_type(b"+proto", text=text),), encode_text(frame) if text else frame, reply.reason)
