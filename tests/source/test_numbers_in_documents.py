"""Numbers that documents repeat in sentences are those of the constants. Tables of settings and fields are generated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.table import MAX_TABLE_ANSWER_BYTES
from fleet.routing.check_answers import MAX_ANSWER_BYTES
from fleet.routing.codec import MAX_ROUTES
from interceptor.app.admission import LONGEST_PATIENCE
from interceptor.backends.endpoint import FIRST_PAUSE, LONGEST_PAUSE, URGENT_PAUSE
from interceptor.backends.probes import ANSWER_SECONDS, CONNECT_SECONDS
from interceptor.core.deadlines import HORIZON
from interceptor.core.sizes import MAX_REQUEST_FIELDS, MAX_REQUEST_HEAD, MAX_TARGET_BYTES
from interceptor.drain import TUNNEL_GRACE_SECONDS
from interceptor.exchange.body import MAX_REPLAY_BYTES
from interceptor.grpcweb.text import MAX_PIECES
from interceptor.http1.large_reply import MAX_PART_BYTES
from interceptor.http2.backend import SILENCE_SECONDS
from interceptor.http2.core.config import Config
from interceptor.proxy_protocol.header import LONGEST_V1, LONGEST_V2
from interceptor.settings import InterceptorSettings
from tests.support.budget import BUDGET, TOTAL
from weir.engine.supervisor import STABLE_AFTER

DOCS = Path(__file__).parents[2] / "docs"
KIB, MIB = 1 << 10, 1 << 20


def _default(setting: str) -> Any:
    return InterceptorSettings.model_fields[setting].default


REPEATED = [
    ("architecture", f"with up to {MAX_REPLAY_BYTES // KIB} KiB of body"),
    ("architecture", f"no sockets; {BUDGET:g} seconds of CPU a test at most"),
    ("../CONTRIBUTING", f"takes {BUDGET:g} seconds of CPU at most, and all together {TOTAL:g} ("),
    ("architecture", f"still in memory ({MAX_REPLAY_BYTES // KIB} KiB at most)"),
    ("architecture", f"is looked at within {HORIZON:g} s (`HORIZON`)"),
    ("architecture", f"Pauses double up to {LONGEST_PAUSE:g} s"),
    ("architecture", f"since it was last ready for {STABLE_AFTER:g} s"),
    ("kubernetes", f"Limits: {MAX_ANSWER_BYTES // MIB} MiB per object, and {MAX_TABLE_ANSWER_BYTES // MIB} MiB for"),
    ("local", f"a body (at most {MAX_ANSWER_BYTES // MIB} MiB)"),
    ("migration", f"| {_default('max_held'):,} and {_default('max_held_bytes') // MIB} MiB per application and interceptor"),
    ("migration", f"| {_default('readiness_timeout'):g} s, unless set; `0s` is no limit |"),
    ("migration", f"| {MAX_ANSWER_BYTES // MIB} MiB per object, {MAX_TABLE_ANSWER_BYTES // MIB} MiB together"),
    ("operations", f"If nothing has come on it for {SILENCE_SECONDS:g} seconds"),
    ("operations", f"has waited {LONGEST_PATIENCE:g} s with backends ready"),
    (
        "operations",
        f"Probes start after {FIRST_PAUSE:g} s, with pauses growing to {LONGEST_PAUSE:g} s, or every {URGENT_PAUSE:g} s",
    ),
    ("operations", f"A probe may take {CONNECT_SECONDS:g} s, or `timeouts.connect`"),
    ("operations", f"answer a GET with 200 to 399 within {ANSWER_SECONDS:g} s"),
    ("operations", f"may have {Config().streams} streams open, and {Config().connection_window // MIB} MiB under way"),
    ("operations", f"version 1 (up to {LONGEST_V1} bytes) or 2 (up to {LONGEST_V2 // KIB} KiB;"),
    ("operations", f"{MAX_PART_BYTES // KIB} KiB of a page of the route's own"),
    ("operations", f"`max_early_bytes` over all connections; {_default('head_timeout'):g} s for a head"),
    ("operations", f"Tunnels run until {TUNNEL_GRACE_SECONDS:g} s before the end"),
    (
        "threat-model",
        f"{MAX_REQUEST_HEAD // KIB} KiB a head, {MAX_TARGET_BYTES // KIB} KiB a target, {MAX_REQUEST_FIELDS} fields;",
    ),
    ("threat-model", f"at most {MAX_PIECES} pieces in one read"),
    ("threat-model", f"may have {MAX_ROUTES:,} routes and {MAX_TABLE_ANSWER_BYTES // MIB} MiB of bodies"),
]


@pytest.mark.parametrize(("document", "words"), REPEATED)
def test_what_a_document_repeats_is_true(document: str, words: str) -> None:
    assert words in " ".join((DOCS / f"{document}.md").read_text().split())
