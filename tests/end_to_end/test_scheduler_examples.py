"""The examples for schedulers that do not run here: what they name exists, and what can be checked of them is right."""

from __future__ import annotations

import getpass
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest
import yaml

from tap_sage_accounting.settings import CONFIG_JSONSCHEMA

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FAILED = """\
2026-06-30T18:00:01.000000Z [error    ] tap-sage-accounting--transactional Failed: 'contacts' of Harbour: no answer
2026-06-30T18:00:02.000000Z [error    ] meltano      Block run completed            err='Extractor failed'
"""
"""What Meltano logs where the tap fails."""
FILES = sorted(
    path
    for name in ("github-actions", "kestra", "kubernetes", "prefect", "systemd")
    for path in (EXAMPLES / name).iterdir()
    if path.is_file()
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_an_example_names_settings_plugins_and_schedules_that_exist(file: Path) -> None:
    text = file.read_text()
    named = {name.lower() for name in re.findall(r"\bTAP_SAGE_ACCOUNTING_([A-Z][A-Z_]+)", text)}
    assert named <= set(CONFIG_JSONSCHEMA["properties"])
    project = yaml.safe_load((ROOT / "meltano.yml").read_text())
    plugins = {plugin["name"] for kind in project["plugins"].values() for plugin in kind}
    assert set(re.findall(r"\btap-sage-accounting--\w+|\btarget-\w+", text)) <= plugins
    schedules = {schedule["name"] for schedule in project["schedules"]}
    assert set(re.findall(r"\bsage@(\w+)\.service", text)) <= schedules


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_units_are_ones_that_systemd_understands(tmp_path: Path) -> None:
    for unit in (EXAMPLES / "systemd").iterdir():
        text = unit.read_text().replace("ExecStart=/opt/pipeline/bin/meltano", f'ExecStart="{sys.executable}"')
        text = text.replace("User=sage", f"User={getpass.getuser()}")
        (tmp_path / unit.name.replace("sage@.", "sage@hourly.")).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    own = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "sage" in line]
    assert (len(units), own) == (2, [])


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the flow, with decorators in the place of Prefect that leave functions alone."""
    monkeypatch.setitem(
        sys.modules, "prefect", MagicMock(task=lambda **_: lambda each: each, flow=lambda **_: lambda each: each)
    )
    specification = importlib.util.spec_from_file_location("sage", EXAMPLES / "prefect" / "sage.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_flow_that_fails_says_why(flow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meltano").write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{FAILED}END\nexit 1\n")
    (tmp_path / "meltano").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RuntimeError, match="Failed: 'contacts' of Harbour"):
        flow.sage("hourly")
    (tmp_path / "meltano").write_text('#!/bin/sh\necho "$@" >arguments\n')
    monkeypatch.chdir(tmp_path)
    flow.sage("hourly")
    assert (tmp_path / "arguments").read_text() == "--cwd /opt/sage --environment prod schedule run hourly\n"
