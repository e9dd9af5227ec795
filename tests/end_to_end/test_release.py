"""A release says what is new, publishes nothing that was not tried, and runs nothing that is not pinned."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tap_sage_accounting.airbyte.spec import specification

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "release_notes.py"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- What is to come.

## [1.3.0rc1] - 2026-02-02

- A first look.

## [1.2.3] - 2026-01-31

### Fixed

- Pennies.

## [1.2.2] - 2026-01-30

## [1.2.1]

- No day.

[Unreleased]: https://example.com/compare
[1.2.3]: https://example.com/releases
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("release_notes", SCRIPT)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    return found


def commands(job: dict[str, Any]) -> list[str]:
    return [step.get("run") or step["uses"].partition("@")[0] for step in job["steps"]]


# The changelog


def test_the_notes_of_a_release_are_its_section_and_nothing_else(script: ModuleType) -> None:
    assert script.release_notes(CHANGELOG, "v1.2.3") == "### Fixed\n\n- Pennies."
    assert script.release_notes(CHANGELOG, "v1.3.0rc1") == "- A first look."


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("v1.2.4", "no section"),
        ("v1.2.2", "no entries"),
        ("v1.2.1", "needs the day"),
        ("1.2.3", "no tag of a version"),
        ("vUnreleased", "no tag of a version"),
    ],
)
def test_a_version_of_which_the_changelog_says_nothing_is_not_released(
    script: ModuleType, tag: str, reason: str
) -> None:
    with pytest.raises(script.UnreadyError, match=reason):
        script.release_notes(CHANGELOG, tag)


def test_a_version_has_one_section(script: ModuleType) -> None:
    with pytest.raises(script.UnreadyError, match="2 sections"):
        script.release_notes(CHANGELOG + "\n## [1.2.3] - 2026-01-31\n\n- Again.\n", "v1.2.3")


def test_the_projects_own_changelog_can_be_released(script: ModuleType) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changelog
    notes = script.release_notes(changelog + "\n## [9.9.9] - 2026-01-31\n\n- This.\n", "v9.9.9")
    assert notes == "- This."


def test_the_newest_version_is_the_same_wherever_it_is_named(script: ModuleType) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = re.findall(r"^## \[(\d\S*)\]", changelog, flags=re.MULTILINE)[0]
    assert script.release_notes(changelog, f"v{version}")
    assert yaml.safe_load((ROOT / "transform" / "dbt_project.yml").read_text())["version"] == version
    assert f"--build-arg VERSION={version} " in (ROOT / "docs" / "platforms" / "containers.md").read_text()


def test_the_versions_said_to_be_supported_are_those_that_the_project_declares() -> None:
    page = (ROOT / "docs" / "operations" / "upgrading.md").read_text()
    said = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, flags=re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pythons = [each.rpartition(" ")[2] for each in project["project"]["classifiers"] if re.search(r":: 3\.", each)]
    declared = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["postgres"]]
    assert said["Python"] == f"{pythons[0]} to {pythons[-1]}"
    assert project["project"]["requires-python"] == f">={pythons[0]}"
    assert "singer-sdk[msgspec]~=0.54.9" in declared
    assert said["Singer SDK"].startswith("0.54, from 0.54.9 on.")
    assert yaml.safe_load((ROOT / "meltano.yml").read_text())["requires_meltano"] == ">=4.0"
    assert said["Meltano"] == "4.0 or newer"
    assert yaml.safe_load((ROOT / "transform" / "dbt_project.yml").read_text())["require-dbt-version"][0] == ">=1.11.0"
    assert said["dbt, for the finance models"].startswith("1.11,")
    assert said["Airbyte's protocol"].startswith(f"{specification()['protocol_version']}. ")
    assert "psycopg[binary]>=3.2" in declared
    readme = (ROOT / "README.md").read_text()
    for badge in (f"Python {said['Python']}", "Singer SDK 0.54", "Meltano 4", "dbt 1.11"):
        assert f"[![{badge}](" in readme


def test_the_command_fails_so_that_the_workflow_stops(tmp_path: Path) -> None:
    (changelog := tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    arguments: list[str | Path] = [sys.executable, SCRIPT, "--changelog", changelog]
    reported = subprocess.run([*arguments, "v1.2.3"], capture_output=True, text=True, check=False)
    assert (reported.returncode, reported.stdout) == (0, "### Fixed\n\n- Pennies.\n")
    refused = subprocess.run([*arguments, "v9.9.9"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "## [9.9.9] - YYYY-MM-DD" in refused.stderr


# The workflow


def test_every_action_is_pinned_to_a_commit_whose_version_is_named() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for line in path.read_text().splitlines():
            if "uses:" in line:
                found = re.fullmatch(r"(?:- )?uses: ([\w-]+/[\w/-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", line.strip())
                assert found, f"{path.name}: {line.strip()}"
                pins.setdefault(found[1], set()).add(found[2])
    assert len(pins) > 5
    assert {name: commits for name, commits in pins.items() if len(commits) > 1} == {}


def test_every_base_image_of_ours_is_pinned_to_a_digest() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"[\w.:-]+@sha256:[0-9a-f]{64}", base) for base in bases)
    # Airbyte's image is built on the one that was built before it, whose digest the workflow passes on.
    steps = workflow("release")["jobs"]["image"]["steps"]
    [source] = [step for step in steps if step.get("id") == "source"]
    assert "@${{ steps.push.outputs.digest }}" in source["with"]["build-args"]


def test_the_changelog_decides_before_anything_is_built() -> None:
    steps = commands(workflow("release")["jobs"]["build"])
    [notes] = [index for index, step in enumerate(steps) if "scripts/release_notes.py" in step]
    assert notes < steps.index(".ci/run") < min(index for index, step in enumerate(steps) if "uv build" in step)


def test_nothing_is_published_that_was_not_built_and_tried_before() -> None:
    jobs = workflow("release")["jobs"]
    assert ".ci/run" in commands(jobs["build"])
    assert jobs["image"]["needs"] == "build"
    assert set(jobs["publish"]["needs"]) == {"build", "image"}
    assert jobs["announce"]["needs"] == "publish"
    steps = commands(jobs["image"])
    tried = min(index for index, step in enumerate(steps) if "scripts/check_container.py" in step)
    pushed = [index for index, step in enumerate(jobs["image"]["steps"]) if step.get("with", {}).get("push")]
    assert pushed
    assert tried < min(pushed)


def test_every_image_is_attested() -> None:
    steps = workflow("release")["jobs"]["image"]["steps"]
    pushed = {f"${{{{ steps.{step['id']}.outputs.digest }}}}" for step in steps if step.get("with", {}).get("push")}
    assert pushed == {step["with"]["subject-digest"] for step in steps if "attest" in step.get("uses", "")}


@pytest.mark.parametrize(
    ("tag", "tags"),
    [
        ("v1.2.3", ["1.2.3", "1.2", "latest"]),
        ("v1.3.0rc1", ["1.3.0rc1"]),
    ],
)
def test_only_a_final_version_is_the_latest(tmp_path: Path, tag: str, tags: list[str]) -> None:
    [names] = [step for step in workflow("release")["jobs"]["image"]["steps"] if step.get("id") == "names"]
    output = tmp_path / "output"
    given = {"GITHUB_REF_NAME": tag, "GITHUB_REPOSITORY": "Someone/Tap-Sage", "GITHUB_OUTPUT": str(output)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", names["run"]], env=given, check=True)
    reported = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert reported["tags"].split(",") == [f"ghcr.io/someone/tap-sage:{each}" for each in tags]
    assert reported["source"] == "ghcr.io/someone/source-sage-accounting"


def test_the_package_is_built_once() -> None:
    everything = [step for job in workflow("release")["jobs"].values() for step in commands(job)]
    assert sum("uv build" in step for step in everything) == 1


def test_publishing_needs_no_stored_secret() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert "secrets." not in text
    assert workflow("release")["permissions"] == {"contents": "read"}
    assert workflow("release")["jobs"]["publish"]["permissions"] == {"id-token": "write"}


def test_the_scripts_that_the_workflows_call_are_there() -> None:
    called = re.findall(r"(?:^|\s)((?:scripts|\.ci)/[\w.]+)", "".join(path.read_text() for path in WORKFLOWS))
    assert {"scripts/release_notes.py", "scripts/check_container.py", ".ci/sbom", ".ci/run"} <= set(called)
    assert [name for name in called if not (ROOT / name).is_file()] == []


def test_what_lists_the_parts_of_an_installation_is_pinned_by_hash() -> None:
    pins = (ROOT / ".ci" / "release-requirements.txt").read_text()
    assert re.search(r"^cyclonedx-bom==\S+ \\\n +--hash=sha256:", pins, flags=re.MULTILINE)
    assert "://" not in pins
    assert "index" not in pins
    assert "--require-hashes --requirement .ci/release-requirements.txt" in (ROOT / ".ci" / "sbom").read_text()
