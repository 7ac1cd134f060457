"""The state table of streams, each state with each input, according to RFC 9113 5.1."""

from __future__ import annotations

import pytest

from interceptor.http2.core.states import FAULTS, INPUTS, NEXT, STATES, WIDTH

EXPECTED = """
                  IDLE                OPEN         HALF_LOCAL   HALF_REMOTE          CLOSED
RECV_HEADERS      OPEN                OPEN         HALF_LOCAL   STREAM_CLOSED_FAULT  CONNECTION_CLOSED
RECV_HEADERS_END  HALF_REMOTE         HALF_REMOTE  CLOSED       STREAM_CLOSED_FAULT  CONNECTION_CLOSED
RECV_DATA         CONNECTION_PROTOCOL OPEN         HALF_LOCAL   STREAM_CLOSED_FAULT  CONNECTION_CLOSED
RECV_DATA_END     CONNECTION_PROTOCOL HALF_REMOTE  CLOSED       STREAM_CLOSED_FAULT  CONNECTION_CLOSED
RECV_RESET        CONNECTION_PROTOCOL CLOSED       CLOSED       CLOSED               IGNORED
RECV_UPDATE       CONNECTION_PROTOCOL OPEN         HALF_LOCAL   HALF_REMOTE          IGNORED
SEND_HEADERS      OPEN                OPEN         NOT_ALLOWED  HALF_REMOTE          NOT_ALLOWED
SEND_HEADERS_END  HALF_LOCAL          HALF_LOCAL   NOT_ALLOWED  CLOSED               NOT_ALLOWED
SEND_DATA         NOT_ALLOWED         OPEN         NOT_ALLOWED  HALF_REMOTE          NOT_ALLOWED
SEND_DATA_END     NOT_ALLOWED         HALF_LOCAL   NOT_ALLOWED  CLOSED               NOT_ALLOWED
SEND_RESET        NOT_ALLOWED         CLOSED       CLOSED       CLOSED               NOT_ALLOWED
"""
CASES = [
    (state, line.split()[0], expected)
    for line in EXPECTED.strip().splitlines()[1:]
    for state, expected in zip(STATES, line.split()[1:], strict=True)
]


def test_the_table_is_whole() -> None:
    assert len(INPUTS) == WIDTH
    assert len(NEXT) == WIDTH * len(STATES) == len(CASES)


@pytest.mark.parametrize(("state", "given", "expected"), CASES)
def test_what_each_input_leads_to(state: str, given: str, expected: str) -> None:
    after = NEXT[STATES.index(state) * WIDTH + INPUTS.index(given)]
    assert (STATES[after] if after >= 0 else FAULTS[-after - 1]) == expected
