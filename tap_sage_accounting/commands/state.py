"""Show up to when the lists of a state were read, forget lists, or set them back to a moment."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tap_sage_accounting.console.command_line import PlainCommand, UnreadableFileError, log_level, read_bytes, show
from tap_sage_accounting.console.logs import filter_handlers
from tap_sage_accounting.exceptions import SettingsError
from tap_sage_accounting.printable import did_you_mean, printable
from tap_sage_accounting.run.state_changes import Change, StateChange, business_of, partitions_of
from tap_sage_accounting.run.state_forms import bookmarks_of, read_state
from tap_sage_accounting.run.state_parts import BEGINNING
from tap_sage_accounting.run.state_view import ListState, list_states
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.timestamps import parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    Bookmarks = dict[str, Any]

DECLARED = {stream.name: stream for stream in STREAMS}
STREAM_WIDTH, MOMENT_WIDTH, ID_WIDTH = 33, 20, 60
"""Characters of columns, so that a line has no more than 80."""
MOST_LINES = 20
"""Lists that are named after a change: a change of everything has hundreds."""
MOST_NAMES = 3
"""Businesses that a message names."""
READ = {"whole": "whole in every run", "all": "not read whole yet"}
"""What stands in the place of a moment up to which a list was read."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of the command."""

    file: str
    streams: tuple[str, ...]
    businesses: tuple[str, ...]
    everything: bool
    forget: bool
    moment: str | None
    rows_are_gone: bool
    in_place: bool
    as_json: bool

    @property
    def changes(self) -> bool:
        """Whether the state is to change."""
        return self.forget or self.moment is not None

    def has(self, found: ListState) -> bool:
        """Return whether a list is among those that are named."""
        return (not self.streams or found.stream in self.streams) and (
            not self.businesses or found.business_id in self.businesses
        )

    def require_sense(self) -> None:
        """Refuse options that contradict each other, and a change without a name of what to change.

        Raises:
            UsageError: naming the options.
        """
        names = bool(self.streams or self.businesses)
        refusals = {
            "--forget and --set-back exclude each other.": self.forget and self.moment is not None,
            "--everything is for --forget and --set-back.": self.everything and not self.changes,
            "--everything stands alone: leave out --stream and --business.": self.everything and names,
            "Name what to change: --stream, --business or both, or --everything.": self.changes
            and not (names or self.everything),
            "--rows-are-gone is for --forget.": self.rows_are_gone and not self.forget,
            "--in-place is for --forget and --set-back.": self.in_place and not self.changes,
            "--in-place needs a file.": self.in_place and self.file == "-",
            "--json is for showing a state.": self.as_json and self.changes,
            "Name a file, or pipe a state into this command.": self.file == "-" and sys.stdin.isatty(),
        }
        for refusal, is_meant in refusals.items():
            if is_meant:
                raise click.UsageError(refusal)


@click.command(
    cls=PlainCommand,
    help=(
        "Show up to when each list of a state was read. Forget lists, so that the next run reads them from the "
        "beginning, or set them back to a moment. What is known of deletions is kept. FILE holds the state as it is or "
        "as `meltano state get` prints it. Without FILE, the state comes from the standard input. A changed state goes "
        "to the standard output, in the form in which it came."
    ),
)
@click.argument("file", default="-")
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Stream concerned; may be repeated.")
@click.option("--business", "businesses", multiple=True, metavar="ID", help="Business concerned; may be repeated.")
@click.option("--everything", is_flag=True, help="Change all streams of all businesses.")
@click.option("--forget", is_flag=True, help="Let the next run read these lists from the beginning.")
@click.option(
    "--set-back",
    "moment",
    metavar="MOMENT",
    help="Let the next run read what changed and what was deleted since, such as 2026-06-30T18:00:00Z.",
)
@click.option(
    "--rows-are-gone",
    is_flag=True,
    help="With --forget: the target has no rows of these lists any more, so forget what is known of deletions, too.",
)
@click.option("--in-place", is_flag=True, help="Write the changed state to FILE.")
@click.option("--json", "as_json", is_flag=True, help="Show JSON, for programs.")
def state(**options: Any) -> None:
    """Show or change a state."""
    logging.basicConfig(level=log_level("WARNING"))
    filter_handlers()
    wanted = Wanted(**options)
    wanted.require_sense()
    try:
        found = read_state(read_bytes(wanted.file))
    except UnreadableFileError as error:
        raise click.BadParameter(f"{printable(wanted.file)}: {error}", param_hint="FILE") from None
    bookmarks = bookmarks_of(found, DECLARED)
    if not isinstance(bookmarks, dict):
        raise SettingsError("The state has something else in the place of its bookmarks. Hand over another one.")
    _require_held(wanted, bookmarks)
    if wanted.changes:
        _change(wanted, found, bookmarks)
        return
    lists = [each for each in list_states(bookmarks, DECLARED) if wanted.has(each)]
    if wanted.as_json:
        show(*json.dumps([each.facts() for each in lists], indent=2).splitlines())
    else:
        show(*_table(lists))


def _require_held(wanted: Wanted, bookmarks: Bookmarks) -> None:
    """Refuse names of which the state holds nothing.

    Raises:
        SettingsError: naming one, and what was probably meant.
    """
    held = {name: {*map(business_of, partitions_of(found))} - {None} for name, found in bookmarks.items()}
    known = [each for each in set().union(*held.values()) if each is not None]
    for name in wanted.streams:
        if name not in DECLARED:
            raise SettingsError(f"There is no stream {name!r}{did_you_mean(name, DECLARED)}")
        if DECLARED[name].collected:
            raise SettingsError(f"'{name}' is not read: it collects what reads of other streams find. Name those.")
        if name not in held:
            raise SettingsError(f"The state holds nothing of '{name}': the next run reads it from the beginning.")
    for business_id in wanted.businesses:
        if business_id not in known:
            raise SettingsError(
                f"The state holds nothing of business {business_id!r}{did_you_mean(business_id, known, _some(known))}"
            )
        if wanted.streams and not any(business_id in held[name] for name in wanted.streams):
            names = ", ".join(wanted.streams)
            raise SettingsError(f"The state holds nothing of business {business_id!r} for these streams: {names}.")
    for name in wanted.streams if wanted.businesses else ():
        if not held[name].intersection(wanted.businesses):
            raise SettingsError(f"The state holds nothing of '{name}' for these businesses.")


def _some(business_ids: Iterable[str]) -> str:
    named = sorted(business_ids)
    more = f" and {len(named) - MOST_NAMES} more" if len(named) > MOST_NAMES else ""
    return f"; it holds {', '.join(named[:MOST_NAMES]) or 'none'}{more}."


# Changes


def _change(wanted: Wanted, found: Any, bookmarks: Bookmarks) -> None:
    moment = None if wanted.moment is None else _moment_of(wanted.moment)
    before = _encoded(found), _encoded(bookmarks)
    change = StateChange(
        streams=frozenset(wanted.streams),
        businesses=frozenset(wanted.businesses),
        moment=moment,
        entirely=wanted.rows_are_gone,
    )
    changes = [each for each in change.apply(bookmarks, DECLARED) if not DECLARED[each.stream].collected]
    if not changes:
        raise SettingsError("The state holds nothing that could be changed of what is named.")
    after = _encoded(found), _encoded(bookmarks)
    if after[0] == before[0] and after[1] != before[1]:
        raise SettingsError("The state is a text inside of JSON. Hand it over as `meltano state get` prints it.")
    if not wanted.in_place:
        show(after[0])
    elif after != before:
        _replace(Path(wanted.file), after[0])
    show(*_summary(changes), err=True)


def _moment_of(text: str) -> datetime:
    try:
        moment = parse_moment(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no moment: write 2026-06-30 or 2026-06-30T18:00:00Z.") from None
    if moment < BEGINNING:
        raise SettingsError(f"{text!r} lies before 1970, and before everything in Sage: use --forget.")
    return moment


def _encoded(found: Any) -> str:
    """Return JSON in one line that any terminal can show."""
    try:
        return json.dumps(found).replace("\x7f", "\\u007f")
    except RecursionError:
        raise SettingsError("The state is nested too deeply. Hand over the value of the last STATE message.") from None


def _replace(file: Path, content: str) -> None:
    """Replace the content of a file at once: a reader finds all of the old or all of the new.

    Raises:
        SettingsError: that is impossible, and the file is as it was.
    """
    target = file.resolve()
    if not target.is_file():
        raise SettingsError(f"{file} stays as it was, because it is not a regular file.")
    written: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".state-", delete=False) as temporary:
            written = Path(temporary.name)
            temporary.write(f"{content}\n")
            temporary.flush()
            os.fsync(temporary.fileno())
        _give_to_owner_of(target, written)
        shutil.copymode(target, written)
        written.replace(target)
    except OSError as error:
        if written is not None:
            written.unlink(missing_ok=True)
        raise SettingsError(f"{file} stays as it was, because it cannot be replaced: {error.strerror}.") from None


def _give_to_owner_of(target: Path, written: Path) -> None:
    """Give a file the owner and the group of the one that it replaces, which others read: it may be root that runs.

    Raises:
        PermissionError: it has another owner, and this user may give nothing away.
    """
    owner, own = target.stat(), written.stat()
    if hasattr(os, "chown") and (owner.st_uid, owner.st_gid) != (own.st_uid, own.st_gid):
        os.chown(written, owner.st_uid, owner.st_gid)


def _summary(changes: list[Change]) -> Iterator[str]:
    for change in sorted(changes, key=lambda each: each.before == each.after)[:MOST_LINES]:
        of = f"'{change.stream}'" + (f" of {change.business_id}" if change.business_id else "")
        if change.before != change.after:
            done = f"Set back to {change.after}" if change.after else "Forgotten"
            yield f"{done}: {of}, which was read until {change.before}."
        else:
            start = f"from {change.before} on" if change.before else "from the beginning"
            yield f"Unchanged: the next run reads {of} {start} in any case."
    if len(changes) > MOST_LINES:
        yield f"And {len(changes) - MOST_LINES} more lists."


# The table


def _table(lists: list[ListState]) -> Iterator[str]:
    if not lists:
        yield "The state holds nothing: the next run reads everything from the beginning."
    last: str | None = ""
    for each in lists:
        if each.business_id != last:
            if last != "":
                yield ""
            last = each.business_id
            yield f"Business {printable(last)[:ID_WIDTH]}" if last else "User"
            yield _row("STREAM", "READ UNTIL", "DELETIONS UNTIL")
        ids = "" if each.known_ids is None else f"{each.known_ids:,} ids known"
        yield _row(each.stream, each.read_until or READ[each.read], each.deletions_until or ids).rstrip()
        if each.rows_before_cut is not None:
            yield f"    cut short: the next run goes on after {each.rows_before_cut:,} rows"
        if each.all_lists_read_at is not None:
            yield f"    all lists of the business were read at {each.all_lists_read_at}"


def _row(stream: str, until: str, deletions: str) -> str:
    return f"  {stream:{STREAM_WIDTH}} {until:{MOMENT_WIDTH}} {deletions}"
