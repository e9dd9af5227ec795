"""The command `sage-sandbox`: a simulated Sage on a port of this machine, for any tool that speaks the API."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from sage_sandbox.books import build_world
from sage_sandbox.faults import Faults
from sage_sandbox.server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Sequence

_WELCOME = """\
A simulated Sage Business Cloud Accounting, API v3.1, with {businesses} and {records:,} records.
  api_url        {server.api_url}
  auth_url       {server.auth_url}
  token_url      {server.token_url}
  revoke_url     {server.revoke_url}
  client_id      {server.client_id}
  client_secret  {server.client_secret}
  refresh_token  {refresh_token}
Get an access token (the refresh token changes each time):
  curl -s {server.token_url} -d grant_type=refresh_token -d refresh_token={refresh_token} \\
    --data-urlencode client_id={server.client_id} -d client_secret={server.client_secret}
Let a day of business pass:
  curl -s {server.base_url}/_sandbox/advance -d '{{"days": 1}}'
Ctrl-C stops it."""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    described = argparse.ArgumentParser(prog="sage-sandbox", description="Serve a simulated Sage Accounting API v3.1.")
    add = described.add_argument
    add("--version", action="version", version=f"%(prog)s {version('sage-sandbox')}")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8000, help="port to listen on, 0 for any (default: %(default)s)")
    add("--size", choices=("tiny", "demo", "large"), default="demo", help="how much there is (default: %(default)s)")
    add("--businesses", type=_positive, default=3, help="how many businesses (default: %(default)s)")
    add("--seed", type=int, default=1, help="the same seed makes the same books (default: %(default)s)")
    add("--ledger-entries", type=_positive, metavar="N", help="bulk history: ledger entries of each business")
    add("--days", type=int, default=0, help="let this many days of business pass before serving")
    add("--data-dir", type=Path, help="remember granted tokens here between runs")
    add("--latency", type=float, default=0.0, metavar="S", help="seconds that each answer takes")
    add("--rate-limit", type=_positive, metavar="N", help="requests a minute that are let through")
    add("--token-lifetime", type=float, default=300.0, metavar="S", help="life of access tokens (default: %(default)s)")
    return described


def make_server(arguments: argparse.Namespace) -> SandboxServer:
    """Build the books and the server that the arguments describe."""
    world = build_world(
        seed=arguments.seed,
        size=arguments.size,
        businesses=arguments.businesses,
        ledger_entries=arguments.ledger_entries,
    )
    faults = Faults(
        latency=arguments.latency,
        rate_limit=arguments.rate_limit,
        access_token_lifetime=arguments.token_lifetime,
    )
    server = SandboxServer(world, faults=faults, host=arguments.host, port=arguments.port, data_dir=arguments.data_dir)
    if arguments.days > 0:
        server.advance(arguments.days)
    return server


def welcome(server: SandboxServer) -> str:
    """Say what is served, where, and how to try it."""
    businesses = server.world.businesses.values()
    refresh_token = server.grants.newest_refresh_token() or "(none: log in at auth_url)"
    return _WELCOME.format(
        server=server,
        # An issued token is a kilobyte of noise; the client that it was given to has it.
        refresh_token=refresh_token if refresh_token == server.refresh_token else "(rotated: your client has it)",
        businesses=", ".join(f"{each.name} ({each.country}, {each.edition})" for each in businesses),
        records=sum(len(each.rows) for business in businesses for each in business.collections.values()),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C."""
    server = make_server(parser().parse_args(arguments))
    try:
        server.serve_forever(announce=lambda: print(welcome(server), flush=True))  # noqa: T201 - a command's output
    except OSError as error:
        print(f"sage-sandbox cannot listen: {error.strerror}. Choose another --port.", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
