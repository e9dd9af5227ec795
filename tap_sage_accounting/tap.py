"""The tap: its settings and streams, and what all of them share during a run.

The ways to the tokens are imported where they are used: discovery needs none of them.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from click import STRING
from singer_sdk import Tap
from singer_sdk.cli import plugin_cli
from singer_sdk.exceptions import (
    ConfigValidationError,
    MapExpressionError,
    StreamMapConfigError,
)
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.singerlib import Catalog
from typing_extensions import override

from tap_sage_accounting.api.rate_limiter import RequestGate
from tap_sage_accounting.client import SageStream
from tap_sage_accounting.environment import load_env_file, read_settings
from tap_sage_accounting.exceptions import SettingsError
from tap_sage_accounting.extraction.businesses import Business, visible_businesses
from tap_sage_accounting.extraction.scheduler import ReadScheduler
from tap_sage_accounting.extraction.services import Services
from tap_sage_accounting.redaction import SecretFilter, install
from tap_sage_accounting.run.lifecycle import RunLifecycle
from tap_sage_accounting.run.report import RunReport
from tap_sage_accounting.run.state import State
from tap_sage_accounting.run.state_forms import bookmarks_of, read_state
from tap_sage_accounting.run.writer import WholeMessageWriter
from tap_sage_accounting.settings import (
    CONFIG_JSONSCHEMA,
    start_date_problems,
    stream_map_problems,
    text_problems,
    unknown_settings,
    value_problems,
    version_problems,
)
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.streams.deletions import Deletions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import click
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import CatalogEntry

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.auth.manager import TokenManager
    from tap_sage_accounting.auth.store import TokenStore
    from tap_sage_accounting.auth.tokens import Tokens
    from tap_sage_accounting.stream_maps.check import StreamMapCheck


THREADS_PER_REQUEST = 8
"""Threads for each request that may be in flight: some wait for their turn, for a limit, or for a fault to pass."""


class TapSageAccounting(RunLifecycle):
    """Extracts everything that Sage Business Cloud Accounting lets one read."""

    name = "tap-sage-accounting"
    package_name = "tap-sage-accounting"
    config_jsonschema: ClassVar[dict[str, Any]] = deepcopy(CONFIG_JSONSCHEMA)  # the SDK adds its own settings to it

    began_at: datetime
    """A moment that is not after the beginning of the run."""

    lost_businesses: frozenset[str] = frozenset()
    """Businesses that earlier runs read and the user no longer sees."""

    def __init__(self, *, catalog: Any = None, **options: Any) -> None:
        if catalog is not None and not isinstance(catalog, Catalog):
            from tap_sage_accounting.catalog import CatalogCheck  # noqa: PLC0415

            check = CatalogCheck(catalog)
            check.report(self.logger)
            catalog = check.catalog
        super().__init__(catalog=catalog, **options)
        self.metrics_logger.setLevel(logging.INFO if self.config.get("log_metrics") else logging.WARNING)
        if (setting := self.config.get("batch_config")) and isinstance(self.message_writer, WholeMessageWriter):
            from tap_sage_accounting.run.batches import Batches  # noqa: PLC0415

            self.message_writer.batches = Batches(setting, self.name)

    @override
    def discover_streams(self) -> list[SageStream]:
        return [stream(tap=self) for stream in STREAMS]

    @override
    def setup_mapper(self) -> None:
        """Check the catalog and the stream maps; where there is nothing to check, `prepare_run` makes the maps.

        Raises:
            ConfigValidationError: the catalog or a stream map cannot work.
        """
        self.stream_map_definitions = deepcopy(self.config.get("stream_maps") or {})  # the SDK takes things out of it
        if self.input_catalog is not None:
            self._follow_catalog(self.selected_names)
        check = self._check_stream_maps() if self.stream_map_definitions else None
        try:
            super(Tap, self).setup_mapper()
            if check is not None or self.config.get("flattening_enabled"):
                self._prepare_stream_maps()
        except (StreamMapConfigError, MapExpressionError, ValueError, AttributeError, TypeError) as error:
            raise ConfigValidationError("The stream maps are not right", errors=[str(error)]) from error
        if check is not None:
            check.require_own_tables({name: self.mapper.stream_maps[name] for name in self.selected_names})

    @property
    def selected_names(self) -> list[str]:
        """The streams that are selected."""
        return [name for name, stream in self.streams.items() if stream.selected]

    def _prepare_stream_maps(self) -> None:
        for name in self.selected_names:
            self.prepare_stream_maps(name)

    def _check_stream_maps(self) -> StreamMapCheck:
        from tap_sage_accounting.stream_maps.check import StreamMapCheck  # noqa: PLC0415

        streams = cast("dict[str, SageStream]", self.streams)
        check = StreamMapCheck(self.stream_map_definitions, self.config.get("stream_map_config") or {}, streams)
        check.require()
        return check

    def _follow_catalog(self, names: list[str]) -> None:
        """Let the records of streams follow the schemas of the catalog, and say where it differs from the tap's.

        Raises:
            ConfigValidationError: no record can follow one of them.
        """
        from tap_sage_accounting.catalog import difference_of, problem_of  # noqa: PLC0415
        from tap_sage_accounting.records.conformance import SchemaError  # noqa: PLC0415

        different, problems = {}, []
        for name in names:
            try:
                if columns := cast("SageStream", self.streams[name]).follow(self._entry(name)):
                    different[name] = columns
            except SchemaError as error:
                problems.append(problem_of(name, error))
        if problems:
            raise ConfigValidationError("The catalog is not right", errors=problems)
        if different:
            self.logger.warning(difference_of(different))

    def prepare_stream_maps(self, name: str) -> None:
        """Make a stream's maps from its entry in the catalog, unless that was done."""
        if name not in self.mapper.stream_maps:
            self.mapper.register_raw_streams_from_catalog(Catalog({name: self._entry(name)}))

    def _entry(self, name: str) -> CatalogEntry:
        """Find a stream's entry in the catalog; the discovered one where the catalog has none."""
        given = self.input_catalog.get(name) if self.input_catalog else None
        return given or self.streams[name]._singer_catalog_entry  # noqa: SLF001 - the SDK makes those of all streams

    # The command line

    @plugin_cli
    def cli(cls) -> click.Command:  # noqa: N805 - a property of the class
        """The command, whose failures are said in a line each."""
        from tap_sage_accounting.console.command_line import PlainCommand, read_bytes_option, read_option  # noqa: PLC0415
        from tap_sage_accounting.console.logs import set_up_logging  # noqa: PLC0415

        set_up_logging()
        command = cls.get_singer_command()
        readers = {"catalog": read_option, "state": read_bytes_option}
        for option in command.params:
            if option.name in readers:
                option.type, option.callback = STRING, readers[option.name]
        return PlainCommand(
            say=partial(cls.logger.error, "%s"),
            name=command.name,
            callback=command.callback,
            params=command.params,
            help=command.help,
            context_settings=command.context_settings,
        )

    @override
    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        from tap_sage_accounting.console.command_line import read_settings_options, require_log_level  # noqa: PLC0415

        require_log_level()
        return read_settings_options(ctx, param, value)

    @override
    @classmethod
    def invoke(  # type: ignore[override] # there, files are open and not read
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,
        state: bytes | None = None,
        catalog: dict[str, Any] | None = None,
    ) -> None:
        super(Tap, cls).invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=lambda version: cls.logger.info("%s", version))  # as a line of the tap's
        earlier = None if state is None else {"state": read_state(state)}
        tap = cls(config=config.config, catalog=catalog, state=earlier, parse_env_config=config.parse_env)
        tap.sync_all()

    # Settings

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - a property of the class
        """Read settings from the environment, and those that it lacks from `.env` in the working directory.

        The SDK has no hook for this. By itself it takes the `.env` of any directory above the installed packages, and
        lets it win over the environment.
        """
        load_env_file(".env")
        cls.append_builtin_config(cls.config_jsonschema)
        return read_settings(cls.config_jsonschema, cls._env_var_prefix, os.environ)

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Add to the schema's checks what a schema cannot check, so that nothing wrong is found only by a request."""
        if not raise_errors and not self.config:
            return []  # discovery needs no settings
        self.secrets.learn(self.config.get("client_secret"))
        problems = unknown_settings(self.config, self.known_settings())
        problems += start_date_problems(self.config)
        if problems_of_maps := stream_map_problems(self.config):
            raise ConfigValidationError("The settings are not right", errors=problems + problems_of_maps)
        with suppress(ConfigValidationError):  # the SDK fills in the defaults; its words would show secrets
            super()._validate_config()
        problems += value_problems(self.config, self.config_jsonschema)
        problems += text_problems(self.config, self.known_settings())
        if self.config.get("batch_config") is not None and not problems:
            from tap_sage_accounting.run.batches import problems as batch_problems  # noqa: PLC0415

            problems += batch_problems(self.config)
        if not problems and raise_errors:
            problems += self._address_problems()
        if problems and raise_errors:
            raise ConfigValidationError("The settings are not right", errors=problems, schema=self.config_jsonschema)
        return problems

    @classmethod
    def known_settings(cls) -> dict[str, Any]:
        """All settings: the tap's own and those that the SDK adds."""
        cls.append_builtin_config(cls.config_jsonschema)
        properties: dict[str, Any] = cls.config_jsonschema["properties"]
        return properties

    def _address_problems(self) -> list[str]:
        """Check that the addresses are safe to send secrets to, and that the token store opens."""
        from tap_sage_accounting.auth.store import TokenStoreError  # noqa: PLC0415
        from tap_sage_accounting.transport.urls import require_safe_url  # noqa: PLC0415

        problems = []
        try:
            for setting in ("api_url", "auth_url", "token_url"):
                require_safe_url(self.config[setting], setting)
            problems += version_problems(self.config["api_url"])
            self.token_store.check()
        except (ConfigValidationError, TokenStoreError) as error:
            problems.append(str(error))
        return problems

    # The state of earlier runs

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the state of earlier runs.

        Raises:
            SettingsError: it is not a state of this tap.
        """
        self._earlier = State(bookmarks_of(state, self.streams.keys()) if state else {})
        if self._earlier.bookmarks:
            self.state["bookmarks"] = self._earlier.bookmarks

    def _check_state(self, services: Services) -> None:
        streams = [stream for stream in self.streams.values() if isinstance(stream, SageStream) and stream.selected]
        self._earlier.check_partitions(streams, {*services.businesses}, services.began_at)
        if self._earlier.bookmarks:
            self.state["bookmarks"] = self._earlier.bookmarks
        self._earlier.report(services.name_of)
        if not streams:
            self.logger.warning("No stream is selected, so nothing is read.")
        elif not self.reads:
            self.logger.warning(
                "Only '%s' is selected, so nothing is read: it collects what the reads of other streams find. Select "
                "those, too.",
                Deletions.name,
            )

    # What the streams of a run share

    @cached_property
    def report(self) -> RunReport:
        """What became of each read."""
        return RunReport()

    @cached_property
    def gate(self) -> RequestGate:
        """The door through which every request goes."""
        return RequestGate(concurrency=self.config["concurrency"], per_minute=self.config.get("requests_per_minute"))

    @cached_property
    def secrets(self) -> SecretFilter:
        """What keeps the logs of this process free of secrets."""
        return install(filter(None, map(self.config.get, ("client_secret", "refresh_token", "token_store_key"))))

    @cached_property
    def token_store(self) -> TokenStore:
        """Where the rotating tokens live between runs."""
        from tap_sage_accounting.auth.store import TokenStore, default_store_url  # noqa: PLC0415

        keys = [key.strip() for key in (self.config.get("token_store_key") or "").split(",") if key.strip()]
        return TokenStore(self.config.get("token_store") or default_store_url(), encryption_keys=keys)

    @property
    def user_agent(self) -> str:
        """How requests introduce themselves."""
        return self.config.get("user_agent") or f"{self.name}/{self.plugin_version}"

    @cached_property
    def tokens(self) -> TokenManager:
        """The one holder of this run's tokens."""
        from tap_sage_accounting.auth.manager import TokenManager  # noqa: PLC0415

        return TokenManager(
            client_id=self.config["client_id"],
            client_secret=self.config["client_secret"],
            refresh_token=self.config.get("refresh_token"),
            token_url=self.config["token_url"],
            store=self.token_store,
            user_agent=self.user_agent,
            on_rotate=self.on_rotate,
            on_secret=self.secrets.learn,
        )

    @property
    def on_rotate(self) -> Callable[[Tokens], None] | None:
        """What is told of new tokens before they are used, where the tokens are kept by others than the store."""
        return None

    @cached_property
    def connection(self) -> HttpClient:
        """The one way to Sage."""
        from tap_sage_accounting.api.http_client import HttpClient  # noqa: PLC0415

        return HttpClient(
            tokens=self.tokens,
            gate=self.gate,
            api_url=self.config["api_url"].rstrip("/"),
            user_agent=self.user_agent,
            connections=self.config["concurrency"],
            patience=self.config["patience"],
        )

    @cached_property
    def executor(self) -> ThreadPoolExecutor:
        """The threads that ask ahead. The gate lets no more through than are allowed; the others wait at it."""
        return ThreadPoolExecutor(THREADS_PER_REQUEST * self.config["concurrency"], thread_name_prefix="request")

    @cached_property
    def reads(self) -> list[tuple[SageStream, Context | None]]:
        """What the run reads, in order: each stream of each business."""
        chosen = [stream for stream in self.streams.values() if isinstance(stream, SageStream) and stream.selected]
        businesses: list[Context] = [{"business_id": business.id} for business in self.businesses]
        return [
            (stream, context)
            for stream in chosen
            if not isinstance(stream, Deletions)
            for context in (businesses if stream.per_business else (None,))
        ]

    @cached_property
    def scheduler(self) -> ReadScheduler:
        """What starts reads before their turn."""
        return ReadScheduler(self.reads, self.config["concurrency"], self.gate.is_throttled)

    @cached_property
    def businesses(self) -> tuple[Business, ...]:
        """The businesses to extract, in the order in which Sage lists them.

        Raises:
            SettingsError: `business_ids` names one that the user cannot see, or there is none at all.
        """
        listed, self.began_at = visible_businesses(self.connection, self.executor)
        visible = {business.id: business for business in listed}
        if (nameless := visible.pop("", None)) is not None:
            self.report.fail(
                "businesses",
                nameless.name or "a business without a name",
                "Sage lists it without an id, so nothing of it can be read. Report it to Sage.",
            )
        self._log_changed_businesses(visible)
        wanted = self.config.get("business_ids") or list(visible)
        if strangers := [business_id for business_id in wanted if business_id not in visible]:
            raise SettingsError(
                f"business_ids contains businesses this user has no access to: {', '.join(strangers)}. Available: "
                f"{'; '.join(map(str, visible.values())) or 'none'}."
            )
        if not visible:
            raise SettingsError(
                "Sage lists no business for this user. Give them access to one, or log in as another user."
            )
        return tuple(business for business in visible.values() if business.id in wanted)

    def _log_changed_businesses(self, visible: Mapping[str, Business]) -> None:
        """Name the businesses that earlier runs did not read, and those that they read and the user no longer sees."""
        bookmarks = self.state.get("bookmarks", {}).values()
        partitions = [partition for each in bookmarks for partition in each.get("partitions", ())]
        known = {partition["context"]["business_id"] for partition in partitions}
        self.lost_businesses = frozenset(known - visible.keys())
        for business_id in sorted(self.lost_businesses):
            self.logger.warning(
                "Business %s, which earlier runs read, is no longer among those that this user sees. Its rows stay as "
                "they are.",
                business_id,
            )
        for business_id, business in visible.items():
            if known and business_id not in known:
                self.logger.info("No earlier run read %s.", business)

    # The run

    @override
    def prepare_run(self) -> None:
        # Requested here, so that no stream is blamed when there is no token or no such business.
        self.logger.info("Extracting %s.", "; ".join(map(str, self.businesses)))
        services = self._services()
        for stream in self.streams.values():
            if isinstance(stream, SageStream):
                stream.services = services
        self._check_state(services)
        self._prepare_stream_maps()

    def _services(self) -> Services:
        deletions = self.streams[Deletions.name]
        return Services(
            http_client=self.connection,
            executor=self.executor,
            scheduler=self.scheduler,
            checkpoints=self.checkpoints,
            report=self.report,
            businesses={business.id: business for business in self.businesses},
            lost_businesses=self.lost_businesses,
            began_at=self.began_at,
            stream_maps=self.stream_map_definitions,
            prepare_stream_maps=self.prepare_stream_maps,
            end_files=self._end_files,
            add_deletion=deletions.add if isinstance(deletions, Deletions) and deletions.selected else _ignore,
        )

    @override
    def foresee_deletions(self) -> None:
        """Note in the state of lists that are read for the first time that their deletions matter from now on.

        This goes before any of their rows. A run that is killed has delivered some of them, and knows of it only from
        the state.
        """
        first = [stream.begin_first_read(context) for stream, context in self.reads]
        if any(first):
            self.checkpoints.write()

    def _end_files(self) -> None:
        """Complete the files of a read, where records go into files."""
        if isinstance(self.message_writer, WholeMessageWriter):
            self.message_writer.end_files()

    @override
    def count_planned(self) -> int:
        return self.scheduler.planned if "scheduler" in vars(self) else 0

    @override
    def wait_for_refresh(self) -> None:
        if "tokens" in vars(self):
            self.tokens.wait_for_refresh()


def _ignore(row: Record) -> None:
    """Write nothing: the stream `deletions` is not selected."""
