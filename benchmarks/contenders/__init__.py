"""Who takes part: how each is installed, and how it is made to read some lists of some businesses."""

from __future__ import annotations

import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from benchmarks.environments import PROJECT, clean_environment, environment
from tap_sage_accounting import schemas
from tap_sage_accounting.client import SageStream, SingleObjectStream
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.sage import Address

HERE = Path(__file__).parent

Schema = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What one run is to read.

    Attributes:
        directory: the run's own, empty one.
        sage: where from.
        business_ids: the businesses.
        streams: the lists.
        page_size: records a request.
        concurrency: requests in flight, for those who can have several.
        stream_maps: the SDK's inline transformations.
        deselected: columns that are not wanted, by list.
        state: where to go on from.
    """

    directory: Path
    sage: Address
    business_ids: tuple[str, ...]
    streams: tuple[str, ...]
    page_size: int = 200
    concurrency: int = 8
    stream_maps: Mapping[str, Any] = field(default_factory=dict)
    deselected: Mapping[str, Iterable[str]] = field(default_factory=dict)
    state: Path | None = None


@dataclass(frozen=True)
class Command:
    """A command and the variables that it sees."""

    line: list[str]
    environment: dict[str, str]


def as_sent(schema: Schema) -> Schema:
    """Turn one of this tap's schemas into what Sage sends: decimals are strings, `path` is called `$path`."""
    changed: Schema = {key: part for key, part in schema.items() if key not in {"x-empty-is-null", "description"}}
    if "properties" in schema:
        changed["properties"] = {
            "$path" if name == "path" else name: as_sent(part)
            for name, part in schema["properties"].items()
            if name != "additional_attributes"
        }
    if "items" in schema:
        changed["items"] = as_sent(schema["items"])
    if "number" in schema.get("type", ()):
        changed["type"] = ["string", "null"]
    return changed


def described(stream: type[SageStream]) -> dict[str, Any]:
    """Describe a list to those who do not know it: what this tap asks for, neither more nor less."""
    return {
        "name": stream.name,
        "keys": list(stream.primary_keys),
        "params": {"attributes": "all", **dict.fromkeys(stream.flags, "true")},
        "replication_key": "updated_at" if stream.changed_since else None,
        "schema": as_sent(schemas.load(stream.name, stream.primary_keys)),
    }


STREAM_CLASSES = {stream.name: stream for stream in STREAMS}
LISTS = frozenset(name for name, stream in STREAM_CLASSES.items() if not issubclass(stream, SingleObjectStream))


class Contender(ABC):
    """One that takes part."""

    name: ClassVar[str]
    title: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]]

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.python = environment(scratch, self.name, self.requirements)

    @abstractmethod
    def command(self, job: Job) -> Command:
        """Write down what the job needs, and return the command that does it."""


class SingerTap(Contender):
    """A tap: settings, a catalog with the wanted streams selected, perhaps a state."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._catalog: dict[str, Any] | None = None

    @property
    @abstractmethod
    def tap(self) -> Command:
        """The command without arguments."""

    @property
    def own_settings(self) -> tuple[str, ...]:
        """The names of the settings, out of all that a job has, that it knows."""
        return ("client_id", "client_secret", "refresh_token", "api_url", "token_url", "business_ids", "page_size")

    def discover(self) -> Command:
        """The command that prints the catalog, without any settings."""
        return Command([*self.tap.line, "--discover"], self.tap.environment)

    @override
    def command(self, job: Job) -> Command:
        given = {**vars(job.sage), "business_ids": list(job.business_ids), "page_size": job.page_size}
        given |= {"concurrency": job.concurrency, "token_store": f"sqlite:///{job.directory / 'tokens.sqlite'}"}
        settings = {name: given[name] for name in self.own_settings}
        if job.stream_maps:
            settings["stream_maps"] = job.stream_maps
        config, catalog = job.directory / "config.json", job.directory / "catalog.json"
        config.write_text(json.dumps(settings))
        catalog.write_text(json.dumps(self._selected(job)))
        state = ["--state", str(job.state)] if job.state else []
        return Command(
            [*self.tap.line, "--config", str(config), "--catalog", str(catalog), *state], self.tap.environment
        )

    def _selected(self, job: Job) -> dict[str, Any]:
        if self._catalog is None:
            given = self.discover()
            done = subprocess.run(given.line, env=given.environment, check=True, capture_output=True)  # noqa: S603 - ours
            self._catalog = json.loads(done.stdout)
        catalog: dict[str, Any] = json.loads(json.dumps(self._catalog))
        for stream in catalog["streams"]:
            unwanted = {("properties", column) for column in job.deselected.get(stream["stream"], ())}
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = stream["stream"] in job.streams
                elif tuple(entry["breadcrumb"]) in unwanted:
                    entry["metadata"]["selected"] = False
        return catalog


class Ours(SingerTap):
    """This tap."""

    name = "ours"
    title = "this tap"
    requirements = ("-e", str(PROJECT))

    @property
    @override
    def tap(self) -> Command:
        return Command([str(self.python.with_name("tap-sage-accounting"))], clean_environment())

    @property
    @override
    def own_settings(self) -> tuple[str, ...]:
        return (*super().own_settings, "auth_url", "token_store", "concurrency")


class Template(SingerTap):
    """A tap as the SDK's template teaches it."""

    name = "template"
    title = "SDK template tap"
    requirements = ("singer-sdk==0.54.9",)

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._package = scratch / "template" / "template_tap"
        shutil.rmtree(self._package, ignore_errors=True)
        shutil.copytree(HERE / "template_tap", self._package, ignore=shutil.ignore_patterns("__pycache__"))
        given = [described(stream) for stream in STREAMS]
        for stream in given:
            (self._package / "schemas" / f"{stream['name']}.json").write_text(json.dumps(stream.pop("schema")))
        (self._package / "streams.json").write_text(json.dumps(given))

    @property
    @override
    def tap(self) -> Command:
        return Command(
            [str(self.python), "-m", "template_tap.tap"], clean_environment(PYTHONPATH=str(self._package.parent))
        )


class Script(Contender):
    """A script beside this file that reads a job from a file."""

    script: ClassVar[str]
    variables: ClassVar[dict[str, str]] = {}

    @override
    def command(self, job: Job) -> Command:
        given = {
            **vars(job.sage),
            "directory": str(job.directory),
            "business_ids": job.business_ids,
            "page_size": job.page_size,
            "concurrency": job.concurrency,
            "streams": [described(STREAM_CLASSES[name]) for name in job.streams],
        }
        file = job.directory / "job.json"
        file.write_text(json.dumps(given))
        variables = {name: value.format(concurrency=job.concurrency) for name, value in self.variables.items()}
        return Command([str(self.python), str(HERE / self.script), str(file)], clean_environment(**variables))


class Dlt(Script):
    """The REST source of dlt."""

    name = "dlt"
    title = "dlt REST source"
    requirements = ("dlt==1.31.0",)
    script = "dlt_source.py"
    variables: ClassVar[dict[str, str]] = {
        "EXTRACT__WORKERS": "{concurrency}",
        "RUNTIME__REQUEST_MAX_ATTEMPTS": "20",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "CRITICAL",
    }


class Airbyte(Script):
    """A declarative source of the Airbyte CDK."""

    name = "airbyte"
    title = "airbyte-cdk declarative source"
    requirements = ("airbyte-cdk==7.39.1",)
    script = "airbyte_source.py"


class Bare(Script):
    """What could hardly be less."""

    name = "bare"
    title = "bare requests + orjson loop"
    requirements = ("requests>=2.32", "orjson>=3.10")
    script = "bare.py"


CONTENDERS: tuple[type[Contender], ...] = (Ours, Template, Dlt, Airbyte, Bare)
