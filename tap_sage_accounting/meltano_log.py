"""How this project's logging.yaml writes the log of Meltano, of which every command loads this module.

With such a file, Meltano by itself leaves `--log-level` and `--log-format` aside. Here they count. Meltano is imported
where it is used, since the tap does not need it.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

CHATTER = (
    "Inserting with SQL",
    "completed processing",
    "Skipping parse of env var",
    " state backend",
    "Need help fixing",
)
"""Of target-postgres a line for each batch, and others that follow the last words of the tap."""
CAUSE = re.compile(r"[\w.]*(?:Error|Exception)\b.*: ")
"""How the line of a traceback begins that says what happened; SQLAlchemy writes more below it."""
TRACEBACK = "Traceback (most recent call last):"
"""The first line of a traceback; those below it are indented, up to the last one."""
LOADERS = "meltano.plugin.stderr.loaders."
"""What the loggers of loaders' lines begin with."""
RUNS = "meltano.cli.run"
"""The logger of "Run completed" and the like; failures are errors and still shown."""


def __getattr__(name: str) -> Any:
    """Give logging.yaml the level of its root: that of Meltano, and low enough to see what loaders write."""
    if name == "LEVEL":
        return min(logging.INFO, chosen_level())
    raise AttributeError(name)


def chosen_level() -> int:
    """Return the level of `--log-level`, of the environment or of meltano.yml."""
    from meltano.core.logging.utils import parse_log_level  # noqa: PLC0415

    return parse_log_level(str(_setting("cli.log_level")[0] or "info").lower())


def formatter() -> logging.Formatter:
    """Make the formatter of `--log-format`, of the environment or of meltano.yml; by itself, one without colours."""
    from meltano.core.logging import console_log_formatter  # noqa: PLC0415
    from meltano.core.logging.utils import LogFormat, default_config  # noqa: PLC0415

    name, is_chosen = _setting("cli.log_format")
    if name is None or not is_chosen:
        return console_log_formatter(colors=False, include_keys=["err"])
    [made] = default_config("info", log_format=LogFormat(name))["formatters"].values()
    factory = made.pop("()")
    found = factory(**made)
    found.logger = logging.getLogger()  # without one, the format `plain` fails for what Python's own loggers write
    return cast("logging.Formatter", found)


def _setting(name: str) -> tuple[str | None, bool]:
    """Return a setting of Meltano's, and whether somebody set it; outside of a project there are none."""
    from meltano.core.error import ProjectNotFound  # noqa: PLC0415
    from meltano.core.project import Project  # noqa: PLC0415
    from meltano.core.settings_store import SettingValueStore  # noqa: PLC0415

    with suppress(ProjectNotFound):
        value, about = Project.find(activate=False).settings.get_with_metadata(name)
        return value, about["source"] is not SettingValueStore.DEFAULT
    return None, False


class WithoutChatter(logging.Filter):
    """Leaves out what loaders and Meltano say of their work, and nothing of what goes wrong.

    A loader that ends early may leave Meltano with a broken pipe. Of that, Meltano writes a hundred lines and more
    below those of the loader, which say why. One line takes their place, and repeats the cause. Of a loader's own
    traceback, the last line stays, which says what happened.
    """

    def __init__(self) -> None:
        super().__init__()
        self._level = chosen_level()
        self._last = self._cause = ""
        self._is_explained = False
        self._in_traceback: set[str] = set()

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if self._level <= logging.DEBUG:
            return True
        said: Mapping[str, Any] = record.msg if isinstance(record.msg, dict) else {"event": record.msg}
        event = str(said.get("event", ""))
        if record.name.startswith(LOADERS) and event.strip():
            if self._is_of_traceback(record.name, event):
                return False
            self._remember(record.name.removeprefix(LOADERS), event.strip())
        if event.lower().endswith("loader failed") or _is_broken_pipe(record, said):
            return self._explain(record)
        if record.levelno < self._level or (record.name == RUNS and record.levelno < logging.WARNING):
            return False
        return not any(words in str(record.msg) for words in CHATTER)

    def _is_of_traceback(self, loader: str, line: str) -> bool:
        """Check whether a line leads to a traceback's last one, which begins in the first column."""
        if line.startswith(TRACEBACK):
            self._in_traceback.add(loader)
        elif not line[0].isspace():
            self._in_traceback.discard(loader)
        return loader in self._in_traceback

    def _remember(self, loader: str, line: str) -> None:
        self._last = f"{loader} ended early: {line}"
        if CAUSE.match(line):
            self._cause = self._last

    def _explain(self, record: logging.LogRecord) -> bool:
        """Put the loader's own line in the place of the first traceback, and nothing in that of the others."""
        if self._is_explained or not self._last:
            return not self._is_explained
        self._is_explained = True
        line = self._cause or self._last
        record.msg = {**record.msg, "event": line, "exc_info": None} if isinstance(record.msg, dict) else line
        record.args, record.exc_info, record.exc_text = (), None, None
        return True


def _is_broken_pipe(record: logging.LogRecord, said: Mapping[str, Any]) -> bool:
    """Check whether a record is about a pipe whose reader ended."""
    found = said.get("exc_info") or record.exc_info
    error = found[1] if isinstance(found, tuple) else found
    return isinstance(error, BrokenPipeError)
