"""The doctor, run on a simulated Sage as a person runs it; all tests share what it found."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from sage_sandbox.books import PLANS, Conventions, advance, build_world
from sage_sandbox.server import SandboxServer
from tap_sage_accounting.commands.doctor import command
from tap_sage_accounting.commands.doctor.text import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sage_sandbox.faults import Fault
    from sage_sandbox.store import Business, World
    from sage_sandbox.traffic import LoggedRequest
    from tap_sage_accounting.commands.doctor.look import Look

CONFIRMED, CONTRADICTED, UNDECIDED = "confirmed", "contradicted", "not decidable here"


@dataclass(frozen=True)
class Seen:
    """What a person saw of a run of the doctor.

    Attributes:
        exit_code: of the command.
        text: what it printed.
        looks: what it prints for programs, by business.
        requests: what Sage served meanwhile.
    """

    exit_code: int
    text: str
    looks: list[dict[str, Any]]
    requests: list[LoggedRequest]

    @property
    def found(self) -> dict[str, Any]:
        """What was found out about the only business."""
        [found] = self.looks
        return found

    @property
    def assumptions(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = self.found["assumptions"]
        return found

    @property
    def verdicts(self) -> dict[str, str]:
        return {each: says["verdict"] for each, says in self.assumptions.items()}

    @property
    def contradicted(self) -> set[str]:
        return {each for each, says in self.verdicts.items() if says == CONTRADICTED}

    def evidence(self, assumption: str) -> str:
        return self.assumptions[assumption]["evidence"]

    @property
    def verdict(self) -> str:
        """What is said of the business as a whole."""
        return " ".join(self.text.partition("\n\n")[0].splitlines()[1:])

    @property
    def asked(self) -> int:
        """Requests to the API."""
        return sum(each.path.startswith("/v3.1") for each in self.requests)

    @property
    def token_requests(self) -> int:
        return sum(each.path == "/token" for each in self.requests)

    def statuses(self, name: str) -> set[int]:
        return {each.status for each in self.requests if each.path == f"/v3.1/{name}"}


def see(server: SandboxServer, directory: Path, *options: str, **settings: Any) -> Seen:
    """Run the doctor on a running Sage."""
    config = directory / "config.json"
    store = f"sqlite:///{directory / 'tokens.sqlite'}"
    config.write_text(json.dumps(server.tap_config(**{"token_store": store, "patience": 2, **settings})))
    looks: list[dict[str, Any]] = []

    def noted(look: Look, **options: bool) -> Iterator[str]:
        looks.append(look.facts())
        return lines_of(look, **options)

    before = len(server.requests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "lines_of", noted)
        result = CliRunner().invoke(command.doctor, ["--config", str(config), *options])
    assert result.exit_code in (0, 1), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return Seen(result.exit_code, result.output, looks, list(server.requests)[before:])


def made_world(plan: int = 0, **conventions: Any) -> bytes:
    """Books of one kind of business, in which records were made, changed, voided and deleted."""
    plans = [replace(PLANS[plan], conventions=Conventions(**conventions))]
    world = build_world(size="tiny", businesses=1, frozen=True, plans=plans)
    advance(world, days=6, seed=1)
    return pickle.dumps(world)


def only(server: SandboxServer) -> Business:
    """The only business of a Sage."""
    [business] = server.world.businesses.values()
    return business


def seen_with(
    world: bytes | World,
    directory: Path,
    *faults: Fault,
    switches: Mapping[str, Any] | None = None,
    prepare: Callable[[SandboxServer], object] = lambda _: None,
    **settings: Any,
) -> Seen:
    """Run the doctor on a Sage of its own, with switches and faults."""
    with SandboxServer(pickle.loads(world) if isinstance(world, bytes) else world) as server:
        server.faults.update(dict(switches or {}))
        for fault in faults:
            server.faults.add(fault)
        prepare(server)
        return see(server, directory, **settings)
