#!/usr/bin/env python
"""Measure how long discovery takes, side by side with the smallest tap that the Singer SDK allows.

Both programs are started in turn, so that whatever else the machine does meets both. Prints the medians and exits with
1 when discovery takes more than 1.5 times as long.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

BOUND = 1.5
BARE_TAP = """
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th


class Things(RESTStream):
    name = path = "things"
    url_base = "https://bare.example"
    schema = th.PropertiesList(th.Property("id", th.StringType)).to_dict()


class BareTap(Tap):
    name = "bare-tap"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self):
        return [Things(tap=self)]


BareTap.cli()
"""
OUR_TAP = """
from tap_sage_accounting.tap import TapSageAccounting

TapSageAccounting.cli()
"""


def seconds(program: Path) -> float:
    """Run discovery once; give the processor's seconds of user and system, which other work disturbs least."""
    before = os.times()
    subprocess.run([sys.executable, program, "--discover"], check=True, capture_output=True)  # noqa: S603
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> int:
    """Measure both and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        programs = {name: Path(scratch, f"{name}.py") for name in ("bare", "ours")}
        programs["bare"].write_text(BARE_TAP)
        programs["ours"].write_text(OUR_TAP)
        taken: dict[str, list[float]] = {"bare": [], "ours": []}
        for _ in range(rounds):
            for name, program in programs.items():
                taken[name].append(seconds(program))
    bare, ours = median(taken["bare"]), median(taken["ours"])
    print(f"bare tap: {bare:.2f} s, this tap: {ours:.2f} s, {ours / bare:.2f} times (median of {rounds} runs)")
    return int(ours > BOUND * bare)


if __name__ == "__main__":
    sys.exit(main())
