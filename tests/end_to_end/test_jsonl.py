"""Everything lands in files through target-jsonl, which keeps records as they come.

It pins libraries so old that it needs a separate environment, as Meltano gives it one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.equality import differences
from sage_workbench.listings import key_of
from sage_workbench.pipeline import ALL, PROGRAMS, Books, catalog_of, pipe
from support.surroundings import OUTSIDE

if TYPE_CHECKING:
    from sage_workbench.pipeline import Command, Record

TARGET = "target-jsonl==0.1.4"
LONG = "12345678901234567890.1234567891"


@pytest.fixture(scope="module")
def target_jsonl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the target, which uv does from its cache when it has been done before."""
    uv = Path(sys.executable).with_name("uv")
    environment = tmp_path_factory.mktemp("target") / "venv"
    python = environment / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, environment], env=OUTSIDE, check=True)
    install: Command = [uv, "pip", "install", "-q", "--python", str(python), TARGET]
    done = subprocess.run(install, env=OUTSIDE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return environment / "bin" / "target-jsonl"


def test_every_value_of_every_record_lands(target_jsonl: Path, tmp_path: Path) -> None:
    world = build_world(size="tiny", businesses=6, frozen=True)
    product = next(iter(next(iter(world.businesses.values())).collections["products"].rows.values()))
    product.change({"cost_price": LONG}, None)
    (lines := tmp_path / "lines").mkdir()
    with SandboxServer(world) as server:
        server.faults.detail_flags_on_lists = True
        config = server.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}")
        files: dict[str, Record] = {
            "tap": config,
            "catalog": catalog_of(config, ALL),
            "target": {"destination_path": str(lines), "do_timestamp_file": False},
        }
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        tap: Command = [
            PROGRAMS / "tap-sage-accounting",
            f"--config={tmp_path / 'tap.json'}",
            f"--catalog={tmp_path / 'catalog.json'}",
        ]
        state = pipe(tap, [target_jsonl, f"--config={tmp_path / 'target.json'}"], tmp_path)
        books = Books.of(server)

    rows = {
        (file.stem, row.get("business_id", ""), key_of(row)): row
        for file in lines.glob("*.jsonl")
        for row in (json.loads(line, parse_float=Decimal) for line in file.read_text().splitlines())
    }
    assert {place[0] for place in rows} == ALL
    assert set(books.alive) <= set(rows)
    assert {place: found for place in books.alive if (found := differences(books.alive[place], rows[place]))} == {}
    for (name, business_id), body in books.objects.items():
        [row] = [row for place, row in rows.items() if place[:2] == (name or "businesses", business_id)]
        assert differences(body, row) == [], name
    assert Decimal(LONG) in {row.get("cost_price") for place, row in rows.items() if place[0] == "products"}
    assert json.loads(state)["bookmarks"].keys() >= ALL - {"deletions", "user"}
