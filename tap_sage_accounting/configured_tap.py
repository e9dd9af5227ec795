"""The tap's command line, its settings, checked before any request, and what they lead to: tokens and a client.

What few commands need is imported where it is used.
"""

from __future__ import annotations

import os
from contextlib import suppress
from copy import deepcopy
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from click import STRING
from singer_sdk import Tap
from singer_sdk.cli import plugin_cli
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from typing_extensions import override

from tap_sage_accounting.exceptions import TokenStoreError
from tap_sage_accounting.given_settings import (
    load_env_file,
    problems_of,
    read_settings,
    stream_map_problems,
    version_problems,
)
from tap_sage_accounting.redaction import SecretFilter, install
from tap_sage_accounting.run.lifecycle import RunLifecycle
from tap_sage_accounting.run.state_forms import read_state
from tap_sage_accounting.settings import CONFIG_JSONSCHEMA, SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import click

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.auth.manager import TokenManager
    from tap_sage_accounting.auth.store import TokenStore
    from tap_sage_accounting.auth.tokens import Tokens
    from tap_sage_accounting.files.store import FileStore


class ConfiguredTap(RunLifecycle):
    """A tap with the command line and the settings of this one, which reaches Sage."""

    name = "tap-sage-accounting"
    package_name = "tap-sage-accounting"
    config_jsonschema: ClassVar[dict[str, Any]] = deepcopy(CONFIG_JSONSCHEMA)  # the SDK adds its own settings to it

    # The command line

    @plugin_cli
    def cli(cls) -> click.Command:  # noqa: N805 - a property of the class
        """The command, whose failures are a line each."""
        from tap_sage_accounting.console.command_line import (  # noqa: PLC0415
            PlainCommand,
            read_bytes,
            read_json_object,
            reading,
        )
        from tap_sage_accounting.console.logs import set_up_logging  # noqa: PLC0415

        set_up_logging()
        command = cls.get_singer_command()
        readers = {"catalog": reading(read_json_object), "state": reading(read_bytes)}
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
        """Check what a schema cannot, so that no request finds it; the SDK has no hook for checks of settings."""
        if not raise_errors and not self.config:
            return []  # discovery needs no settings
        _ = self.secrets  # before anything is logged
        self.append_builtin_config(self.config_jsonschema)
        schema = self.config_jsonschema
        if stream_map_problems(self.config):  # which stop the SDK's check
            raise ConfigValidationError("The settings are not right", errors=problems_of(self.config, schema))
        with suppress(ConfigValidationError):  # the SDK fills in the defaults; its words would show secrets
            super()._validate_config()
        problems = problems_of(self.config, schema)
        if self.config.get("batch_config") is not None and not problems:
            from tap_sage_accounting.run.batches import problems as batch_problems  # noqa: PLC0415

            problems += batch_problems(self.config)
        if self.config.get("attachments_url") and not problems:
            from tap_sage_accounting.files.store import problems as place_problems  # noqa: PLC0415

            problems += place_problems(self.config["attachments_url"])
        if not problems and raise_errors:
            problems += self._address_problems()
        if problems and raise_errors:
            raise ConfigValidationError("The settings are not right", errors=problems, schema=schema)
        return problems

    @classmethod
    def known_settings(cls) -> dict[str, Any]:
        """All settings: the tap's own and those that the SDK adds."""
        cls.append_builtin_config(cls.config_jsonschema)
        properties: dict[str, Any] = cls.config_jsonschema["properties"]
        return properties

    def _address_problems(self) -> list[str]:
        """Check that the addresses are safe to send secrets to, and that the token store opens."""
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

    @cached_property
    def secrets(self) -> SecretFilter:
        """What keeps the logs of this process free of secrets."""
        return install(map(self.config.get, SECRETS))

    @cached_property
    def token_store(self) -> TokenStore:
        """Where the rotating tokens live between runs."""
        from tap_sage_accounting.auth.store import TokenStore  # noqa: PLC0415

        keys = [key.strip() for key in (self.config.get("token_store_key") or "").split(",") if key.strip()]
        return TokenStore(self.config.get("token_store"), encryption_keys=keys)

    @cached_property
    def file_store(self) -> FileStore | None:
        """Where files of attachments are stored; None where they are not fetched."""
        if not (url := self.config.get("attachments_url")):
            return None
        from tap_sage_accounting.files.store import FileStore  # noqa: PLC0415

        return FileStore(url)

    # The way to Sage

    @property
    def user_agent(self) -> str:
        """How requests introduce themselves."""
        return self.config.get("user_agent") or f"{self.name}/{self.plugin_version}"

    @cached_property
    def tokens(self) -> TokenManager:
        """The tokens of this run."""
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
        """What receives new tokens before they are used, where others than the store keep them."""
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
            observations=self.report.observations,
        )

    @override
    def limit_shared(self) -> AbstractContextManager[None]:
        from tap_sage_accounting.api.usage_exchange import UsageExchange  # noqa: PLC0415

        return UsageExchange(self.gate, partial(self.token_store.usage_table, self.config["client_id"])).running()

    @override
    def wait_for_refresh(self) -> None:
        if "tokens" in vars(self):
            self.tokens.wait_for_refresh()

    @override
    def disconnect(self) -> None:
        super().disconnect()
        if "connection" in vars(self):
            self.connection.close()
