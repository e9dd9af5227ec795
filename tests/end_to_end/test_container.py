"""The container image, without an engine: what gets into it, that its steps work, and how it runs.

scripts/check_container.py runs a built image, read-only and as its user.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
INSTRUCTION = re.compile(r"^([A-Z]+) +((?:.*\\\n)*.*)$", flags=re.MULTILINE)
DOCKERFILE = [
    (name, value.replace("\\\n", " "))
    for name, value in INSTRUCTION.findall(
        "".join(
            line for line in (ROOT / "Dockerfile").read_text().splitlines(keepends=True) if not line.startswith("#")
        )
    )
]
STAGES = [index for index, (name, _) in enumerate(DOCKERFILE) if name == "FROM"]
FINAL = DOCKERFILE[STAGES[-1] :]


def values(name: str, instructions: list[tuple[str, str]] = DOCKERFILE) -> list[str]:
    return [value for instruction, value in instructions if instruction == name]


def sources() -> list[str]:
    """What is copied from the repository, as the Dockerfile words it."""
    return [source for value in values("COPY") if not value.startswith("--from") for source in value.split()[:-1]]


def reaches_the_builder(path: str) -> bool:
    """Apply .dockerignore as Docker does: the last line that matches the path, or a directory above it, decides."""
    parts = path.split("/")
    candidates = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        spellings = [pattern, pattern.removeprefix("**/")] if pattern.startswith("**/") else [pattern]
        if line and not line.startswith("#") and any(fnmatch.filter(candidates, each) for each in spellings):
            ignored = not line.startswith("!")
    return not ignored


# What gets in


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    for source in sources():
        if not source.startswith("dist"):
            assert (ROOT / source).exists(), source
            assert reaches_the_builder(source), source
    assert reaches_the_builder("tap_sage_accounting/schemas/shared.json")
    assert reaches_the_builder("dist/tap_sage_accounting-1.2.3-py3-none-any.whl")


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".meltano/meltano.db",
        ".venv/bin/python",
        "config.json",
        "tests/conftest.py",
        "tokens.sqlite",
        "tap_sage_accounting/.env",
        "tap_sage_accounting/tokens.sqlite-wal",
    ],
)
def test_secrets_and_state_never_reach_the_builder(path: str) -> None:
    assert not reaches_the_builder(path)


# Its steps


def test_the_builder_is_the_pinned_uv() -> None:
    [command] = [value for value in values("RUN") if "pip install" in value and "sed" in value]
    [extraction] = re.findall(r'"\$\((sed .*?)\)"', command)
    reported = subprocess.run(["sh", "-c", extraction], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"uv==[\d.]+\n", reported)


def test_everything_that_is_installed_is_pinned() -> None:
    installs = [part for value in values("RUN") for part in value.split("&&") if "uv pip install" in part]
    assert len(installs) == 2
    assert all("--constraint .ci/requirements.txt" in part for part in installs)


def test_what_is_copied_is_enough_for_the_wheel(tmp_path: Path) -> None:
    for source in sources():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / source).exists():
            (tmp_path / source).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / source, tmp_path / source)
    [step] = [value for value in values("RUN") if "uv build" in value]
    # The programs of the project's own environment and of the system: uv and the build tools come with the first.
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-ec", step.replace("/opt/build/bin/python", shlex.quote(sys.executable))],
        cwd=tmp_path,
        env={**environment, "VERSION": "1.2.3"},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(tmp_path / "dist" / "tap_sage_accounting-1.2.3-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    assert "tap_sage_accounting/schemas/shared.json" in names
    assert "tap_sage_accounting-1.2.3.dist-info/licenses/LICENSE" in names


def test_a_wheel_that_is_there_is_the_one_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (released := tmp_path / "dist" / "tap_sage_accounting-1.2.3-py3-none-any.whl").write_bytes(b"released")
    [step] = [value for value in values("RUN") if "uv build" in value]
    subprocess.run(["sh", "-ec", step], cwd=tmp_path, env={"VERSION": "1.2.3", "PATH": "/usr/bin:/bin"}, check=True)
    assert released.read_bytes() == b"released"
    [install] = [part for value in values("RUN") for part in value.split("&&") if "[postgres]" in part]
    assert "dist/tap_sage_accounting-${VERSION}-py3-none-any.whl" in install


# How it runs


def test_the_image_runs_as_a_user_whom_kubernetes_knows_not_to_be_root() -> None:
    [user] = values("USER", FINAL)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


def test_the_images_entrypoint_is_the_tap_itself_so_that_signals_reach_it() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    [program] = json.loads(values("ENTRYPOINT", FINAL)[0])
    assert program in scripts


def test_the_image_says_where_it_comes_from() -> None:
    labels = " ".join(values("LABEL", FINAL))
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
    assert 'version="${VERSION}"' in labels


# The manifest for Kubernetes


@pytest.fixture(scope="module")
def cron_job() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "kubernetes" / "cronjob.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    return manifest


def pod(cron_job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def test_the_pod_can_write_to_its_scratch_directory_only_and_is_nobody(cron_job: dict[str, Any]) -> None:
    [container] = pod(cron_job)["containers"]
    limits = container["securityContext"]
    assert limits["readOnlyRootFilesystem"] is True
    assert limits["allowPrivilegeEscalation"] is False
    assert limits["capabilities"] == {"drop": ["ALL"]}
    assert pod(cron_job)["securityContext"]["runAsNonRoot"] is True
    assert pod(cron_job)["securityContext"]["runAsUser"] > 0
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert {volume["name"] for volume in pod(cron_job)["volumes"] if "emptyDir" in volume} == set(mounts)
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert variables["MELTANO_SYS_DIR_ROOT"].startswith(mounts["working-files"])


def test_secrets_come_from_a_secret(cron_job: dict[str, Any]) -> None:
    [container] = pod(cron_job)["containers"]
    assert [source for source in container["envFrom"] if "secretRef" in source]
    assert not [each for each in container["env"] if "SECRET" in each["name"] or "URL" in each["name"]]


def test_runs_of_the_same_state_do_not_overlap(cron_job: dict[str, Any]) -> None:
    assert cron_job["spec"]["concurrencyPolicy"] == "Forbid"
    assert pod(cron_job)["restartPolicy"] == "Never"


def test_the_pod_runs_what_the_project_defines(cron_job: dict[str, Any]) -> None:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text())
    *_, environment, run, extractor, loader = pod(cron_job)["containers"][0]["args"]
    assert run == "run"
    assert environment in {each["name"] for each in project["environments"]}
    assert extractor in {each["name"] for each in project["plugins"]["extractors"]}
    assert loader in {each["name"] for each in project["plugins"]["loaders"]}
