"""The pages for developers name what exists, and their diagram shows the layers that are enforced."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tap_sage_accounting"
PAGES = sorted((ROOT / "docs" / "development").rglob("*.md"))
PATH = re.compile(r"`((?:[\w.-]+/)+(?:[\w.-]+)?|[\w-]+\.(?:py|md|toml|yml|json|sql))`")
"""Something in a page that is a path: it holds a slash, or ends as a file does."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_path_on_a_page_for_developers_exists(page: Path) -> None:
    named = PATH.findall(page.read_text())
    assert [path for path in named if not any((base / path).exists() for base in (PACKAGE, ROOT))] == []


def test_the_architecture_page_says_where_everything_is_and_describes_each_package() -> None:
    page = (ROOT / "docs" / "development" / "architecture.md").read_text()
    assert len(PATH.findall(page.partition("## Where is what")[2])) > 30
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {name for name in packages if f"| `{name}/` |" not in page} == set()


def layers() -> list[list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each.get("containers") == [PACKAGE.name]]
    return [layer.split(" | ") for layer in contract["layers"]]


def test_the_diagram_shows_the_layers_that_import_linter_holds() -> None:
    diagram = (ROOT / "docs" / "assets" / "architecture.svg").read_text()
    drawn = re.findall(r'<text class="layer"[^>]*>([^<]+)<', diagram)
    assert [name for text in drawn for name in text.split(" · ")] == [name for layer in layers() for name in layer]


def test_the_layers_in_the_notes_for_assistants_are_in_their_order() -> None:
    height = {name: number for number, layer in enumerate(layers()) for name in layer}
    [block] = re.findall(r"```text\n(.*?)```", (ROOT / "CLAUDE.md").read_text(), flags=re.DOTALL)
    named = [name for line in block.splitlines() for name in re.findall(r"\w+", line.partition("  ")[0])]
    assert len(named) > 15
    assert [height[name] for name in named] == sorted(height[name] for name in named)


def test_the_diagram_is_what_its_script_draws_and_its_stations_exist() -> None:
    script = ROOT / "scripts" / "draw_architecture.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    diagram = (ROOT / "docs" / "assets" / "architecture.svg").read_text()
    stations = re.findall(r'<text class="path"[^>]*>\d+ ([^<]+)<', diagram)
    assert len(stations) > 15
    assert [module for module in stations if not (PACKAGE / module).is_file()] == []
