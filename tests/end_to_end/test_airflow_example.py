"""The example for Airflow, as far as it can be known without Airflow; scripts/check_airflow.py runs it for real."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest
import yaml

from tap_sage_accounting.settings import CONFIG_JSONSCHEMA

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "airflow" / "dags" / "sage.py"
BUILT = """\
12:00:01  Reconciliation, Harbour Lights Trading Ltd, 2026-06-30: outstanding_amounts differs by 10.0000 (expected 5).
12:00:02  Failure in test sage_reconciliation_errors (tests/sage_reconciliation_errors.sql)
"""
"""What dbt prints where a check differs, in tests/end_to_end/test_finance_meltano.py."""
BUSINESSES = {f"{number:032x}": f"Harbour {number}" for number in range(50)}


class FailedError(Exception):
    """What Airflow's own exception says: no other try."""


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, with nothing in the place of Airflow."""
    operators = "airflow.providers.standard.operators"
    for name in ("airflow", "airflow.sdk", "airflow.exceptions", f"{operators}.bash", f"{operators}.empty"):
        monkeypatch.setitem(sys.modules, name, MagicMock(AirflowFailException=FailedError))
    specification = importlib.util.spec_from_file_location("sage", FILE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_example_names_what_the_project_defines(example: ModuleType) -> None:
    plugins = yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]
    extractors = {example.EXTRACTOR, *(extractor for extractor, _ in example.DAGS.values())}
    assert extractors <= {plugin["name"] for plugin in plugins["extractors"]}
    assert example.LOADER in {plugin["name"] for plugin in plugins["loaders"]}
    assert example.MODELS in {
        plugin["name"] for plugin in plugins["utilities"] if "build" in plugin.get("commands", {})
    }
    assert "prod" in {each["name"] for each in yaml.safe_load((ROOT / "meltano.yml").read_text())["environments"]}


def test_the_variables_that_the_example_sets_are_settings() -> None:
    named = set(re.findall(r"TAP_SAGE_ACCOUNTING_([A-Z][A-Z_]+)", FILE.read_text()))
    assert {"BUSINESS_IDS", "REQUESTS_PER_MINUTE"} <= named
    assert {name.lower() for name in named} <= set(CONFIG_JSONSCHEMA["properties"])


def test_the_examples_commands_are_ones_that_a_shell_understands(example: ModuleType) -> None:
    subprocess.run(["bash", "-n"], input=example.PREPARE, text=True, check=True)


def test_a_task_for_each_business_has_a_state_of_its_own(example: ModuleType) -> None:
    tasks = example.shards_of(BUSINESSES, 0)
    assert [json.loads(task["TAP_SAGE_ACCOUNTING_BUSINESS_IDS"]) for task in tasks] == [[key] for key in BUSINESSES]
    assert [task["SAGE_SHARD"] for task in tasks] == list(BUSINESSES)
    assert [task["SAGE_SHARD_NAME"] for task in tasks] == list(BUSINESSES.values())


def test_groups_hold_every_business_once(example: ModuleType) -> None:
    tasks = example.shards_of(BUSINESSES, 4)
    held = [key for task in tasks for key in json.loads(task["TAP_SAGE_ACCOUNTING_BUSINESS_IDS"])]
    assert len(tasks) == 4
    assert sorted(held) == sorted(BUSINESSES)


def test_a_business_that_comes_or_goes_moves_no_other_to_another_state(example: ModuleType) -> None:
    def states(businesses: dict[str, str]) -> dict[str, str]:
        tasks = example.shards_of(businesses, 4)
        return {
            key: task["SAGE_SHARD"] for task in tasks for key in json.loads(task["TAP_SAGE_ACCOUNTING_BUSINESS_IDS"])
        }

    before = states(BUSINESSES)
    _gone, *rest = BUSINESSES
    after = states({"f" * 32: "New", **{key: BUSINESSES[key] for key in rest}})
    assert {key: after[key] for key in rest} == {key: before[key] for key in rest}


def test_another_number_of_groups_means_other_states(example: ModuleType) -> None:
    few, more = ({task["SAGE_SHARD"] for task in example.shards_of(BUSINESSES, count)} for count in (4, 5))
    assert not few & more


def test_the_tasks_together_keep_to_the_applications_limit(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("SAGE_REQUESTS_PER_MINUTE", "100")
    monkeypatch.setenv("SAGE_SLOTS", "8")
    example: ModuleType = request.getfixturevalue("example")
    [share] = {task["TAP_SAGE_ACCOUNTING_REQUESTS_PER_MINUTE"] for task in example.shards_of(BUSINESSES, 0)}
    assert share == "12"


@pytest.mark.parametrize(
    ("printed", "code", "error"),
    [
        (
            BUILT,
            1,
            "The books do not tie. Harbour Lights Trading Ltd, 2026-06-30: outstanding_amounts differs by 10.0000 ",
        ),
        ("12:00:01  Database Error\n", 1, "returned non-zero exit status 1"),
        ("12:00:01  Completed successfully\n", 0, None),
    ],
    ids=["differs", "no database", "ties"],
)
def test_models_that_do_not_tie_fail_their_task_with_the_figures_and_are_not_tried_again(
    example: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    printed: str,
    code: int,
    error: str | None,
) -> None:
    (tmp_path / "printed").write_text(printed)
    (tmp_path / "meltano").write_text(f"#!/bin/sh\ncat '{tmp_path}/printed'\nexit {code}\n")
    (tmp_path / "meltano").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    expected = FailedError if printed == BUILT else subprocess.CalledProcessError
    with pytest.raises(expected, match=re.escape(error)) if error else nullcontext():
        example.build_models()
    assert printed in capfd.readouterr().out
