"""What users copy and read: the same settings everywhere, definitions that work, and files that keep their promises."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from support.package_index import PACKAGE_INDEX
from support.pages import block_with
from tap_sage_accounting.settings import CONFIG_JSONSCHEMA
from tap_sage_accounting.streams import STREAMS

ROOT = Path(__file__).parents[2]
DECLARED: dict[str, dict[str, Any]] = CONFIG_JSONSCHEMA["properties"]
REQUIREMENTS = (ROOT / ".ci" / "requirements.txt").read_text()
JSON_TYPES = {"date_iso8601": "string", "decimal": "number", "options": "string"}
"""JSON types of Meltano's kinds of settings, where they are called differently."""
TEXT_FILES = [
    path
    for pattern in (
        "*",
        ".ci/*",
        ".github/**/*",
        "demo/**/*",
        "packages/**/*",
        "scripts/*",
        "tests/**/*",
        "tap_sage_accounting/**/*",
        "workbench/**/*",
    )
    for path in ROOT.glob(pattern)
    if path.parent.name != "__pycache__"
    and path.is_file()
    and path.suffix not in (".lock", ".pyc", ".png", ".sqlite")
    and not path.name.startswith(".coverage")
]


PROJECTS = {
    project["project"]["name"]: project
    for place in (".", "packages/sage-sandbox", "demo", "workbench")
    for project in [tomllib.loads((ROOT / place / "pyproject.toml").read_text())]
}
"""What pyproject.toml says of each distribution, by its name."""


def load_yaml(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return document


def extractor() -> dict[str, Any]:
    plugins = load_yaml("meltano.yml")["plugins"]["extractors"]
    found: dict[str, Any] = next(plugin for plugin in plugins if plugin["name"] == "tap-sage-accounting")
    return found


def tap(*arguments: str) -> str:
    program = Path(sys.executable).with_name("tap-sage-accounting")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout


# Settings


def test_about_lists_the_declared_settings() -> None:
    about = json.loads(tap("--about", "--format=json"))["settings"]["properties"]
    for name, schema in DECLARED.items():
        assert about[name]["description"] == schema["description"], name
        assert about[name].get("default") == schema.get("default"), name
        assert about[name].get("secret") == schema.get("secret"), name


@pytest.mark.parametrize("definition", [extractor(), load_yaml("plugin.yaml")], ids=["meltano.yml", "plugin.yaml"])
def test_meltanos_definition_has_the_declared_settings(definition: dict[str, Any]) -> None:
    settings = {setting["name"]: setting for setting in definition["settings"]}
    assert list(settings)[: len(DECLARED)] == list(DECLARED)
    for name, schema in DECLARED.items():
        assert settings[name]["description"] == schema["description"], name
        assert settings[name].get("value") == schema.get("default"), name
        assert settings[name].get("sensitive", False) == schema.get("secret", False), name
        types = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
        assert types - {"null"} == {JSON_TYPES.get(settings[name]["kind"], settings[name]["kind"])}, name
        assert [each["value"] for each in settings[name].get("options", [])] == schema.get("enum", []), name


def test_the_readme_lists_the_settings_that_most_people_need_as_declared() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", _readme_part("settings"), flags=re.MULTILINE))
    assert rows.keys() >= set(CONFIG_JSONSCHEMA["required"])
    for name, row in rows.items():
        schema = DECLARED[name]
        assert schema["description"] in row
        assert ("Secret." in row) == schema.get("secret", False), name
        assert ("default" not in schema) or f"`{schema['default']}`" in row, name


def test_the_readme_stays_short_and_says_what_the_project_says_elsewhere() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert f"[{len(STREAMS)} streams]" in text
    assert " · ".join(f"`{name}`" for name in extractor()["capabilities"]) in text
    assert text.index("(docs/assets/demo.svg)") < text.index("## Why")


def test_the_recording_shows_what_the_page_about_the_demonstration_shows() -> None:
    recording = html.unescape((ROOT / "docs" / "assets" / "demo.svg").read_text())
    shown = block_with("docs/start/demo.md", "== What an accountant checks first ==").text.splitlines()
    assert len(shown) > 12
    for line in shown:
        assert f">{line.partition(' requests')[0]}" in recording


def _readme_part(name: str) -> str:
    return (ROOT / "README.md").read_text().split(f"<!-- {name}:begin -->")[1].split(f"<!-- {name}:end -->")[0]


def test_the_environment_example_names_every_setting_and_demands_the_required_ones() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for name in DECLARED:
        comment = "" if name in CONFIG_JSONSCHEMA["required"] else "# "
        assert any(line.startswith(f"{comment}TAP_SAGE_ACCOUNTING_{name.upper()}=") for line in lines), name


def test_the_script_finds_nothing_stale() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sync_settings.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_logo_is_shown_by_the_readme_the_documentation_and_airbyte() -> None:
    logo = ROOT / "docs" / "assets" / "logo.svg"
    assert (ROOT / "airbyte" / load_yaml("airbyte/metadata.yaml")["data"]["icon"]).read_text() == logo.read_text()
    assert str(logo.relative_to(ROOT)) in (ROOT / "README.md").read_text()
    assert (ROOT / "mkdocs.yml").read_text().count(f" {logo.relative_to(ROOT / 'docs')}\n") == 2  # logo and favicon


# Meltano's definitions


def test_no_definition_needs_a_plugin_hub() -> None:
    definitions = [plugin for plugins in load_yaml("meltano.yml")["plugins"].values() for plugin in plugins]
    assert {"tap-sage-accounting", "target-postgres", "target-jsonl", "demo"} <= {each["name"] for each in definitions}
    for definition in [*definitions, load_yaml("plugin.yaml")]:
        assert definition.keys() & {"namespace", "inherit_from"}, definition["name"]


def test_both_definitions_of_the_tap_offer_the_same() -> None:
    here, elsewhere = extractor(), load_yaml("plugin.yaml")
    assert here["capabilities"] == elsewhere["capabilities"]
    assert here["commands"] == elsewhere["commands"]
    assert here["select"] == elsewhere["select"]
    assert here["settings"] == elsewhere["settings"]
    assert elsewhere["pip_url"].startswith("git+https://")  # no index has it, so a name could be anybody's


def test_the_tap_and_its_definitions_name_the_same_capabilities() -> None:
    about = json.loads(tap("--about", "--format=json"))
    assert sorted(about["capabilities"]) == extractor()["capabilities"] == load_yaml("plugin.yaml")["capabilities"]


def test_the_commands_of_meltanos_definition_are_installed() -> None:
    scripts = {script for project in PROJECTS.values() for script in project["project"].get("scripts", ())}
    plugins = [plugin for plugins in load_yaml("meltano.yml")["plugins"].values() for plugin in plugins]
    own = [plugin for plugin in plugins if plugin["name"] in ("tap-sage-accounting", "demo")]
    called = {plugin["executable"] for plugin in own}
    called |= {each["executable"] for plugin in own for each in plugin["commands"].values() if "executable" in each}
    assert called <= scripts


@pytest.mark.meltano
def test_another_project_adds_the_tap_without_a_hub(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "meltano.yml").write_text("requires_meltano: '>=4.0'\nsend_anonymous_usage_stats: false\n")
    block = block_with("docs/platforms/meltano.md", "meltano add")
    assert f"\n{block.text}\n" in (ROOT / "README.md").read_text()
    subprocess.run(
        ["bash", "-c", block.text.replace("/path/to/tap-sage-accounting", shlex.quote(str(ROOT)))],
        cwd=project,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        check=True,
        capture_output=True,
    )
    (added,) = yaml.safe_load((project / "meltano.yml").read_text())["plugins"]["extractors"]
    assert added["pip_url"] == load_yaml("plugin.yaml")["pip_url"]
    assert [setting["name"] for setting in added["settings"]] == [
        s["name"] for s in load_yaml("plugin.yaml")["settings"]
    ]
    assert list(added["commands"]) == ["login", "status", "doctor", "state", "logout"]


def test_the_selections_for_different_rates_divide_the_streams() -> None:
    plugins = {plugin["name"]: plugin for plugin in load_yaml("meltano.yml")["plugins"]["extractors"]}
    hourly, daily = (
        {rule.removesuffix(".*") for rule in plugins[f"tap-sage-accounting--{name}"]["select"]}
        for name in ("transactional", "reference")
    )
    left_out = {rule.strip("!").removesuffix(".*") for rule in extractor()["select"] if rule.startswith("!")}
    streams = {stream["tap_stream_id"] for stream in json.loads(tap("--discover"))["streams"]}
    assert {"sales_invoices", "ledger_entries"} <= hourly
    assert {"countries", "currencies"} <= daily
    assert hourly | daily | left_out == streams
    assert hourly & daily == {"deletions"}
    assert not left_out & (hourly | daily)


def test_telemetry_is_off() -> None:
    assert load_yaml("meltano.yml")["send_anonymous_usage_stats"] is False


# What CI installs and runs


def test_every_direct_dependency_is_pinned_by_hash() -> None:
    project = PROJECTS["tap-sage-accounting"]
    groups = [each for group in project["dependency-groups"].values() for each in group if isinstance(each, str)]
    extras = [each for extra in project["project"]["optional-dependencies"].values() for each in extra]
    dependencies = [each for one in PROJECTS.values() for each in one["project"]["dependencies"]]
    for requirement in [*dependencies, *extras, *groups]:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
        if name not in PROJECTS:
            assert re.search(rf"^{re.escape(name)}==\S+ .*\\\n +--hash=sha256:", REQUIREMENTS, flags=re.MULTILINE), name


def test_the_pins_name_no_address() -> None:
    assert "://" not in REQUIREMENTS
    assert "index" not in REQUIREMENTS


def test_the_workflow_runs_what_the_local_script_runs() -> None:
    workflow = load_yaml(".github/workflows/ci.yml")
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert {".ci/run", ".ci/run tests", ".ci/newcomer"} <= set(steps)


def test_the_newest_sdk_and_the_one_to_come_are_tried_by_schedule() -> None:
    job = load_yaml(".github/workflows/sdk.yml")["jobs"]["tests"]
    assert "\n  schedule:\n  - cron: " in (ROOT / ".github" / "workflows" / "sdk.yml").read_text()
    assert ["git+" in each["requirement"] for each in job["strategy"]["matrix"]["sdk"]] == [False, True]
    assert job["steps"][-1]["run"].startswith(".ci/run sdk ")


BEGINNING = "python3 -m venv .uv && .uv/bin/pip install uv && .uv/bin/uv run"
"""Of both commands of the README: it needs no more than Python, wherever that may come from."""


def test_ci_runs_the_commands_of_the_readme_as_they_stand_there() -> None:
    script = (ROOT / ".ci" / "newcomer").read_text()
    assert ".ci/newcomer --pinned" in (ROOT / ".ci" / "run").read_text()
    for end in ("meltano run demo", "pytest"):
        assert f"\n{BEGINNING} {end}\n" in (ROOT / "README.md").read_text()
        assert f"command_of_the_readme '{end}'" in script


def test_the_documentation_begins_as_the_readme_does() -> None:
    documents = [path for path in (ROOT / "docs").rglob("*.md") if "pip install uv" in path.read_text()]
    assert len(documents) > 2
    for path in documents:
        for line in path.read_text().splitlines():
            assert "pip install uv" not in line or line.startswith(BEGINNING.removesuffix(" run")), path.name


def test_no_file_names_a_package_registry() -> None:
    offenders = [
        str(path.relative_to(ROOT))
        for path in TEXT_FILES
        if path.name != "package_index.py" and PACKAGE_INDEX.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert len(TEXT_FILES) > 50
    assert not offenders


# Where the repository is public


def public_address(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "public_address.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_all_files_name_the_place_that_the_project_has() -> None:
    done = public_address()
    assert done.returncode == 0, done.stderr
    place = PROJECTS["tap-sage-accounting"]["project"]["urls"]["Repository"]
    for name in ("README.md", "plugin.yaml", "transform/README.md", "docs/platforms/meltano.md"):
        assert place in (ROOT / name).read_text(), name


@pytest.fixture
def copy_of_what_names_it(tmp_path: Path) -> Path:
    for path in TEXT_FILES + list((ROOT / "docs").rglob("*.md")) + list((ROOT / "transform").glob("*.md")):
        if path.suffix in (".md", ".toml", ".yaml", ".yml") or path.name == "CODEOWNERS":
            (copy := tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    return tmp_path


def test_one_command_changes_the_place_in_all_files(copy_of_what_names_it: Path) -> None:
    owner = urlsplit(PROJECTS["tap-sage-accounting"]["project"]["urls"]["Repository"]).path.split("/")[1]
    root = f"--root={copy_of_what_names_it}"
    assert public_address(root, "https://github.com/acme-books/tap-sage-accounting.git").returncode == 0
    assert public_address(root).returncode == 0
    texts = {str(path): path.read_text() for path in copy_of_what_names_it.rglob("*") if path.is_file()}
    former = re.compile(rf"[@/ ]{owner}(?:/tap-sage-accounting|$)", flags=re.MULTILINE)
    assert [path for path, text in texts.items() if former.search(text)] == []
    assert sum("acme-books" in text for text in texts.values()) >= 7
    containers = (copy_of_what_names_it / "docs" / "platforms" / "containers.md").read_text()
    assert "ghcr.io/acme-books/tap-sage-accounting" in containers


def test_what_python_compiled_names_no_place(copy_of_what_names_it: Path) -> None:
    (compiled := copy_of_what_names_it / "examples" / "dagster" / "__pycache__" / "sage.pyc").parent.mkdir(parents=True)
    compiled.write_bytes(b"\xf3\x0d\x0d\x0a")
    assert public_address(f"--root={copy_of_what_names_it}").returncode == 0


@pytest.mark.parametrize("name", ["README.md", "plugin.yaml", ".github/CODEOWNERS", "docs/platforms/containers.md"])
def test_a_file_that_names_another_place_is_found(copy_of_what_names_it: Path, name: str) -> None:
    owner = urlsplit(PROJECTS["tap-sage-accounting"]["project"]["urls"]["Repository"]).path.split("/")[1]
    file = copy_of_what_names_it / name
    file.write_text(re.sub(rf"([/@]){owner}\b", r"\1somebody-else", file.read_text(), count=1))
    done = public_address(f"--root={copy_of_what_names_it}")
    assert done.returncode == 1
    assert done.stderr == f"{name} names another place than pyproject.toml.\n"


@pytest.mark.parametrize(
    "address", ["acme", "https://github.com/acme", "https://github.com/acme/another", "ftp://a/b/c"]
)
def test_what_is_no_address_of_the_repository_is_refused(copy_of_what_names_it: Path, address: str) -> None:
    done = public_address(f"--root={copy_of_what_names_it}", address)
    assert done.returncode == 1
    assert "is no address of a repository" in done.stderr
    assert public_address(f"--root={copy_of_what_names_it}").returncode == 0


# Documents


def test_links_between_documents_lead_somewhere() -> None:
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (ROOT / target).exists(), f"{document.name} links to {target}"


def test_the_wheel_and_the_licence_agree() -> None:
    assert {project["project"]["license"] for project in PROJECTS.values()} == {"Apache-2.0"}
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()
    assert (ROOT / "packages" / "sage-sandbox" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
