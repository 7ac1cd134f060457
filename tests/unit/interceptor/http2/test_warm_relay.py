"""The number of our functions that are called to relay one unary gRPC call from one session to another: an exact measure, unlike
time. An increase needs a reason.
"""

from __future__ import annotations

import pytest

from interceptor.http2.core.block_reader import BlockReader
from interceptor.http2.core.frames import read_head
from tests.support.calls import calls
from tests.support.compiled import COMPILED
from tests.support.h2_memory import frames_of
from tests.support.h2_relay import ANSWER, MESSAGE, REQUEST, RESPONSE, TRAILERS, Relay


@pytest.mark.skipif(COMPILED, reason="no calls of Python")
@pytest.mark.parametrize(("timeouts", "number"), [(False, 33), (True, 42)], ids=["as it is", "with a deadline"])
def test_calls_of_a_relayed_call(*, timeouts: bool, number: int) -> None:
    for _ in range(2):  # create objects that all connections share
        relay = Relay(timeouts=timeouts)
        for stream in range(1, 21, 2):  # index the repeated fields
            relay.relay(*relay.call(stream))
        request, answer = relay.call(21)
        with calls() as made:
            relay.relay(request, answer)
    assert made.total() == number, "more calls need a reason; fewer are the new number: " + ", ".join(sorted(made.elements()))


def test_what_is_relayed_is_what_was_sent() -> None:
    relay, backend, client = Relay(), BlockReader(Relay().client.config), BlockReader(Relay().client.config)
    relay.client.take_output()
    relay.backend.take_output()
    for stream in range(1, 41, 2):
        to_backend, to_client = relay.relay(*relay.call(stream))
        asked, message = frames_of(to_backend)
        assert (backend.fields(asked[3])[0], message[3]) == (REQUEST, MESSAGE)
        head, content, trailers = frames_of(to_client)
        assert (client.fields(head[3])[0], content[3], client.fields(trailers[3])[0]) == (RESPONSE, ANSWER, TRAILERS)
        assert read_head(to_client)[2] == stream
