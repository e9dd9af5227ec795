"""Load the demonstration's books, build the finance models, and renew the answers on the models' pages.

    uv run python scripts/answer_examples.py

`tests/end_to_end/test_demo.py` compares the answers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sage_demo.run import BUSINESSES
from sage_sandbox.books import build_world
from sage_workbench.finance_warehouse import loaded
from sage_workbench.mart_examples import write_answers


def main() -> None:
    """Renew the answers."""
    world = build_world(size="demo", businesses=BUSINESSES)
    with tempfile.TemporaryDirectory() as scratch, loaded(world, Path(scratch)) as warehouse:
        warehouse.dbt.run("run")
        write_answers(warehouse.records)


if __name__ == "__main__":
    main()
