#!/usr/bin/env python
"""Use the installed wheel as a user does: every command, and every way of calling the tap, against a simulated Sage.

Argument: the directory that holds the programs of the environment that the wheel is installed in, without extras. The
environment that this runs in needs the simulated Sage only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer

PROGRAMS = Path(sys.argv[1])
COMMANDS = """
from importlib.metadata import distribution
print(*(each.name for each in distribution("tap-sage-accounting").entry_points.select(group="console_scripts")))
"""


def run(program: str, *arguments: str) -> str:
    """Run a program of the environment; return its stdout, or end with its error."""
    command = [str(PROGRAMS / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        sys.exit(f"{program} {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


def call(*arguments: str) -> str:
    """Run the tap; return its stdout."""
    return run("tap-sage-accounting", *arguments)


def records(output: str) -> int:
    """Count the records among Singer messages."""
    return sum(json.loads(line)["type"] == "RECORD" for line in output.splitlines())


commands = run("python", "-c", COMMANDS).split()
for command in commands:
    if command not in run(command, "--help"):
        sys.exit(f"{command} --help does not name the command")

with tempfile.TemporaryDirectory() as directory, SandboxServer(build_world(size="tiny")) as sage:
    config, catalog, state = (Path(directory, name) for name in ("config.json", "catalog.json", "state.json"))
    store = f"sqlite:///{directory}/tokens.sqlite"
    config.write_text(json.dumps({**sage.tap_config(), "token_store": store}), encoding="utf-8")

    version = call("--version").strip()
    about = call("--about", "--format=markdown")
    catalog.write_text(call("--discover"), encoding="utf-8")
    call("--config", str(config), "--test")
    first = call("--config", str(config), "--catalog", str(catalog))
    states = [line for line in first.splitlines() if json.loads(line)["type"] == "STATE"]
    state.write_text(json.dumps(json.loads(states[-1])["value"]), encoding="utf-8")
    second = call("--config", str(config), "--catalog", str(catalog), "--state", str(state))

if "client_id" not in about:
    sys.exit("--about does not list the settings")
if not 0 < records(second) < records(first):
    sys.exit(f"the second run read {records(second)} records, the first {records(first)}")
counts = f"{records(first)} records, then {records(second)} with the first run's state"
print(f"{version}: {len(commands)} commands; {counts}")  # noqa: T201
