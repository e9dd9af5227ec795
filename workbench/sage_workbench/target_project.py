"""A fresh copy of the example project, whose targets load a simulated Sage, and what reads back what they wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sage_workbench import emulators
from sage_workbench.pipeline import ALL, PROGRAMS, catalog_of
from sage_workbench.target_tables import read_bigquery, read_duckdb, read_jsonl, read_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sage_sandbox.server import SandboxServer
    from sage_workbench.target_tables import Read

ROOT = Path(__file__).parents[2]

TAP = "tap-sage-accounting"
SCHEMA = "sage"
GIVEN = "--given"
"""The end of the name of a loader whose requirements were given."""
EMULATED = {
    "target-snowflake": (emulators.SNOWFLAKE, emulators.TARGET_SNOWFLAKE),
    "target-bigquery": ("", emulators.TARGET_BIGQUERY),
}
"""What the clouds' targets need besides, and the program that leads them to an emulator."""
SNOWFLAKE = {"account": "any", "user": "any", "password": "any", "warehouse": "any", "database": "BOOKS"}


@dataclass(frozen=True)
class Entrant:
    """A target, how it is used, and how what it wrote is read.

    Attributes:
        label: its name in the table.
        loader: its name in meltano.yml.
        read: reads it back.
        settings: of the loader.
        decimals: the tap's setting.
        is_batch: records travel in files.
        is_loaded: the target before has loaded it, and only another way of reading is meant.
        packages: whose versions are named.
    """

    label: str
    loader: str
    read: Callable[[Project, Entrant], Read]
    settings: Mapping[str, str] = field(default_factory=dict)
    decimals: str = "number"
    is_batch: bool = False
    is_loaded: bool = False
    packages: tuple[str, ...] = ()

    @property
    def settings_of_tap(self) -> str:
        """Return the settings of the tap that it was used with, as the table shows them."""
        others = [f"`decimals: {self.decimals}`"] * (self.decimals != "number") + ["`batch_config`"] * self.is_batch
        return "".join(f", {other}" for other in others)

    @property
    def suffix(self) -> str:
        """Return what keeps its bookmarks apart from those of the same target, used otherwise."""
        return f"{self.decimals}-{self.is_batch}"


class MeltanoError(Exception):
    """Meltano, or what it started, failed; the message ends with what they wrote."""


class Project:
    """A fresh copy of the project, on a simulated Sage of six businesses."""

    def __init__(self, directory: Path, server: SandboxServer, database: str, given: Mapping[str, str]) -> None:
        self.directory = directory / "project"
        self.output = self.directory / "output"
        for name in ("output", "snow", "files"):
            (self.directory / name).mkdir(parents=True)
        shutil.copy(ROOT / "logging.yaml", self.directory)
        self.server = server
        self.database = database
        self.settings = server.tap_config(token_store=f"sqlite:///{directory / 'tokens.sqlite'}", deletion_sweep_days=0)
        self.properties = {
            (entry["stream"], name): part
            for entry in catalog_of({**self.settings, "reference_ids": True}, ALL)["streams"]
            for name, part in entry["schema"]["properties"].items()
        }
        self.variables: dict[str, str] = {}
        self._write_loaders(given)

    def _write_loaders(self, given: Mapping[str, str]) -> None:
        """Copy meltano.yml, with emulators' loaders in the place of the clouds', and with those that were given."""
        project = yaml.safe_load((ROOT / "meltano.yml").read_text())
        loaders = project["plugins"]["loaders"]
        for loader in loaders:
            if loader["name"] in EMULATED:
                loader["executable"] = str(self.directory / loader["name"])
                loader["pip_url"] += f" {EMULATED[loader['name']][0]}"
        known = {loader["name"] for loader in loaders}
        for name, requirements in given.items():
            own = {"inherit_from": name} if name in known else {"namespace": name.replace("-", "_"), "executable": name}
            loaders.append({"name": f"{name}{GIVEN}", **own, "pip_url": requirements})
        (self.directory / "meltano.yml").write_text(yaml.safe_dump(project))

    def python(self, loader: str) -> Path:
        """Return the Python of a loader's environment."""
        return self.directory / ".meltano" / "loaders" / loader / "venv" / "bin" / "python"

    def install(self, loader: str) -> None:
        """Install a loader, and the program that leads it to its emulator."""
        self.meltano("install", "loader", loader)
        if loader in EMULATED:
            program = self.directory / loader
            program.write_text(
                EMULATED[loader][1].format(python=self.python(loader), directory=self.directory / "snow")
            )
            program.chmod(0o755)

    def meltano(self, *arguments: str, **settings: str) -> None:
        """Run Meltano in it.

        Raises:
            MeltanoError: it failed.
        """
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MELTANO_", "TAP_", "TARGET_"))}
        prefix = TAP.upper().replace("-", "_")
        environment = {
            **kept,
            **{f"{prefix}_{name.upper()}": str(value) for name, value in self.settings.items()},
            f"{prefix}__SELECT": '["*.*", "!runs.*", "!run_reads.*"]',
            "TARGET_POSTGRES_SQLALCHEMY_URL": self.database,
            **self.variables,
            **settings,
            # Nothing that is not in the project: no hub, and no settings of the user's.
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
        }
        command = [str(PROGRAMS / "meltano"), "--environment=prod", *arguments]
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MeltanoError(f"{' '.join(command)[:200]} failed:\n{(done.stdout + done.stderr)[-3000:]}")

    def load(self, entrant: Entrant, **settings: object) -> None:
        """Run the pipeline into a target."""
        prefix = entrant.loader.upper().replace("-", "_")
        tap: dict[str, object] = {"decimals": entrant.decimals, **settings}
        if entrant.is_batch:
            tap["batch_config"] = json.dumps({"storage": {"root": (self.directory / "files").as_uri()}})
        self.meltano(
            "run",
            f"--state-id-suffix={entrant.suffix}",
            TAP,
            entrant.loader,
            **{f"{TAP.upper().replace('-', '_')}_{name.upper()}": str(value) for name, value in tap.items()},
            **{f"{prefix}_{name.upper()}": value for name, value in entrant.settings.items()},
        )

    def versions(self, entrant: Entrant) -> str:
        """Return a target's name with the versions of the packages that matter."""
        python = self.python(entrant.loader) if self.python(entrant.loader).exists() else Path(sys.executable)
        program = "import sys, importlib.metadata as m; print(*(m.version(name) for name in sys.argv[1:]))"
        done = subprocess.run([python, "-c", program, *entrant.packages], check=True, capture_output=True, text=True)
        if not entrant.packages:
            return entrant.label
        first, *others = done.stdout.split()
        named = zip(entrant.packages[1:], others, strict=True)
        return " ".join([entrant.label, first, *(f"with {name} {version}" for name, version in named)])


def _postgres(project: Project, _: Entrant) -> Read:
    return read_postgres(project.database, SCHEMA)


def _jsonl(project: Project, _: Entrant) -> Read:
    return read_jsonl(project.output, project.properties)


def _duckdb(project: Project, entrant: Entrant) -> Read:
    sources = {stream: f'{SCHEMA}."{stream}"' for stream in ALL}
    database = project.directory / entrant.settings.get("path", "output/warehouse.duckdb")
    return read_duckdb(project.python(entrant.loader), str(database), sources, project.properties)


def _exported(project: Project, entrant: Entrant) -> Read:
    project.meltano("run", "parquet:export")
    sources = {stream: f"'{project.output}/parquet/{SCHEMA}_{stream}.parquet'" for stream in ALL}
    return read_duckdb(project.python(entrant.loader), ":memory:", sources, project.properties)


def _parquet(project: Project, entrant: Entrant) -> Read:
    directory = project.directory / entrant.settings["destination_path"]
    files = "read_parquet('{}/{}/*.parquet', union_by_name=true, filename=true) order by filename, file_row_number"
    sources = {stream: f"({files.format(directory, stream)})" for stream in ALL}
    return read_duckdb(project.python("target-duckdb"), ":memory:", sources, project.properties)


def _snowflake(project: Project, entrant: Entrant) -> Read:
    schema = entrant.settings["default_target_schema"].upper()
    sources = {stream: f'{schema}."{stream.upper()}"' for stream in ALL}
    return read_duckdb(
        project.python(entrant.loader), str(project.directory / "snow" / "BOOKS.db"), sources, project.properties
    )


def _bigquery(project: Project, entrant: Entrant) -> Read:
    variables = {**os.environ, **project.variables}
    place = entrant.settings["dataset"]
    return read_bigquery(project.python(entrant.loader), variables, place, ALL, project.properties)


ENTRANTS = (
    Entrant("target-postgres", "target-postgres", _postgres, packages=("meltanolabs-target-postgres",)),
    Entrant("target-jsonl", "target-jsonl", _jsonl, packages=("target-jsonl",)),
    Entrant("target-duckdb", "target-duckdb", _duckdb, packages=("target-duckdb", "duckdb")),
    Entrant("Parquet, from it", "target-duckdb", _exported, is_loaded=True),
    Entrant(
        "target-duckdb",
        "target-duckdb",
        _duckdb,
        {"path": "output/text.duckdb"},
        decimals="text",
        packages=("target-duckdb", "duckdb"),
    ),
    Entrant(
        "target-snowflake",
        "target-snowflake",
        _snowflake,
        SNOWFLAKE | {"default_target_schema": "sage"},
        decimals="text",
        packages=("meltanolabs-target-snowflake", "fakesnow"),
    ),
    Entrant(
        "target-snowflake",
        "target-snowflake",
        _snowflake,
        SNOWFLAKE | {"default_target_schema": "files"},
        decimals="text",
        is_batch=True,
        packages=("meltanolabs-target-snowflake", "fakesnow"),
    ),
    Entrant(
        "target-bigquery",
        "target-bigquery",
        _bigquery,
        {"dataset": "sage"},
        decimals="text",
        packages=("z3-target-bigquery",),
    ),
    Entrant(
        "target-bigquery",
        "target-bigquery",
        _bigquery,
        {"dataset": "files"},
        decimals="text",
        is_batch=True,
        packages=("z3-target-bigquery",),
    ),
)
"""The targets of meltano.yml."""
ALSO = {
    "target-duckdb": (
        Entrant(
            "target-duckdb",
            f"target-duckdb{GIVEN}",
            _duckdb,
            {"path": "output/given.duckdb"},
            packages=("target-duckdb", "duckdb"),
        ),
        Entrant(
            "target-duckdb",
            f"target-duckdb{GIVEN}",
            _duckdb,
            {"path": "output/given-text.duckdb"},
            decimals="text",
            packages=("target-duckdb", "duckdb"),
        ),
    ),
    "target-parquet": tuple(
        Entrant(
            "target-parquet",
            f"target-parquet{GIVEN}",
            _parquet,
            {"destination_path": f"output/{decimals}", "max_flatten_level": "0"},
            decimals=decimals,
            packages=("target-parquet",),
        )
        for decimals in ("number", "text")
    ),
}
"""Targets that no package index has, by the name that their requirements are given for."""
