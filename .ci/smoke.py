#!/usr/bin/env python
"""Use the installed wheel as a user does: every way of calling the tap, against a simulated Sage.

Argument: the directory that holds the programs of the environment that the wheel is installed in.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer

TAP = str(Path(sys.argv[1], "tap-sage-accounting"))


def call(*arguments: str) -> str:
    """Run the tap; tells what it wrote to stdout."""
    done = subprocess.run([TAP, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


def records(output: str) -> int:
    """Count the records among Singer messages."""
    return sum(json.loads(line)["type"] == "RECORD" for line in output.splitlines())


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
    sys.exit("--about does not tell the settings")
if not 0 < records(second) < records(first):
    sys.exit(f"the second run read {records(second)} records, the first {records(first)}")
print(f"{version}: {records(first)} records, then {records(second)} with the first run's state")  # noqa: T201
