"""A component that was given half of what belongs together ends before it listens: whole processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.source.test_security_settings import GROUPS, Group, _flag, _variable


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_component_with_half_a_set_ends_with_one_line_before_it_listens(group: Group, tmp_path: Path) -> None:
    """The ports that it is to listen on are taken: had it tried to, that would be its complaint."""
    component = group.settings.__name__.removesuffix("Settings").lower()
    ports = [field for field in group.settings.model_fields if field.endswith("port")]
    given = ("ca", "key")
    (tmp_path / "routes.json").write_text('{"routes": []}')
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in ports]
        flags = [f"{_flag(field)}={port}" for field, port in zip(ports, taken, strict=True)]
        flags += ["--host=127.0.0.1", f"--routes=file:{tmp_path}/routes.json", *group.flags(given)]
        ended = subprocess.run(
            [sys.executable, "-m", "weir", component, *flags],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={key: value for key, value in os.environ.items() if not key.startswith("WEIR_")},
        )
    cert, key, ca = (f"{_flag(group.parts[part])} ({_variable(group.parts[part])})" for part in ("cert", "key", "ca"))
    assert ended.stderr == f"error: {cert} is missing: {key} and {ca} need it\n"
    assert (ended.returncode, ended.stdout) == (3, "")
