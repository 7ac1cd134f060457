"""A real MQTT broker, mosquitto, as an application of `weir up`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

__all__ = ["broker", "needs_mosquitto"]

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None or shutil.which("mosquitto_sub") is None, reason="needs mosquitto and its clients"
)


def broker(directory: Path, *ports: dict[str, Any], websockets: bool = False, **fields: Any) -> dict[str, Any]:
    """One listener, as the application has one port. mosquitto 2.0 does not start with one for WebSocket alone."""
    lines = ["allow_anonymous true", "persistence false", "listener $PORT 127.0.0.1"]
    lines += ["protocol websockets", "listener 0 $f.socket"] if websockets else []
    lines += ["user root"] if os.geteuid() == 0 else []  # another user may not enter the test's directory
    words = "\\n".join(lines)
    command = f'f=$(mktemp -p {directory}) && printf "{words}\\n" > $f && exec {MOSQUITTO} -c $f'
    return {
        "name": "mqtt", "command": command, "cooldown": 1, "activity_period": 1, "drain": 1, "ports": list(ports), **fields
    }  # fmt: skip
