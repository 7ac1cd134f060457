"""`weir check`, `weir init` and `weir schema`: commands on the file of apps that run nothing."""

from __future__ import annotations

import json
from pathlib import Path

from fleet.defaults import PROXY_PORT
from fleet.runtime.terminal import complain, say
from weir.engine.schema import file_schema
from weir.engine.specfile import SpecError, load_spec

__all__ = ["STARTER", "run_check", "run_init", "run_schema"]

EXIT_WRONG_FILE = 3

STARTER = f"""\
# Apps for weir up: each sleeps until a request comes for it. `weir check` tells what is wrong in this file,
# docs/local.md has every field. Edits are applied while it runs.

# defaults: # for all apps that do not say otherwise
#   cooldown: 5m

apps:
  - name: hello
    hosts: [hello.localhost] # then http://hello.localhost:{PROXY_PORT}/
    command: python3 -m http.server $PORT --bind 127.0.0.1 # a line for the shell; it listens on $PORT of 127.0.0.1
    # port: 3000 # for an app that always listens there; then it has one replica
    # cwd: ./hello
    # env: {{LOG_LEVEL: debug, PUBLIC_URL: "http://127.0.0.1:$PORT"}}
    # env_file: .env
    # readiness: {{path: /healthz}} # when a port that accepts is not enough
    # min: 0 # replicas while nobody asks
    max: 4 # replicas under load
    target: 10 # requests at once that one replica should carry
    cooldown: 30s # from the last request to sleep
    # placeholder: true # a page for browsers while it starts
"""


def run_check(file: Path) -> int:
    """Print everything that is wrong; returns the exit code."""
    try:
        spec = load_spec(file).spec
    except SpecError as error:
        for line in error.lines:
            complain(line)
        return EXIT_WRONG_FILE
    count = len(spec.apps)
    say(f"{file}: good, {count} {'app' if count == 1 else 'apps'}")
    return 0


def run_init(file: Path) -> int:
    """Write an example file; returns the exit code."""
    try:
        with file.open("x", encoding="utf-8") as fresh:
            fresh.write(STARTER)
    except FileExistsError:
        complain(f"{file}: is there already, and is left as it is")
        return EXIT_WRONG_FILE
    except OSError as error:
        complain(f"{file}: {error.strerror or error}")
        return EXIT_WRONG_FILE
    say(f"{file}: written; weir up {'' if str(file) == 'weir.yaml' else f'{file} '}runs it".replace("  ", " "))
    return 0


def run_schema() -> int:
    """Print the schema."""
    for line in json.dumps(file_schema(), indent=2).splitlines():
        say(line)
    return 0
