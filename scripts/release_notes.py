#!/usr/bin/env python
"""Print what CHANGELOG.md says of a version, as the text of its release; fail when it says nothing.

python scripts/release_notes.py v1.2.3
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"
TAG = re.compile(r"v(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)")
HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\S+))?$", flags=re.MULTILINE)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
LINK = re.compile(r"^\[[^\]]+\]: \S+$", flags=re.MULTILINE)


class UnreadyError(Exception):
    """The version cannot be released; the message says why."""


def release_notes(changelog: str, tag: str) -> str:
    """Find the section of a version.

    Args:
        changelog: text in the form of Keep a Changelog: a heading `## [1.2.3] - 2026-01-31` for each version.
        tag: `v` and the version.

    Raises:
        UnreadyError: the tag is no version, or the version has no section, no date or no entries.
    """
    if not (found := TAG.fullmatch(tag)):
        raise UnreadyError(f"{tag!r} is no tag of a version: write it like v1.2.3, or v1.2.3rc1.")
    version = found[1]
    headings = list(HEADING.finditer(changelog))
    sections = [each for each in headings if each["version"] == version]
    if not sections:
        raise UnreadyError(f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD': move its entries there.")
    if len(sections) > 1:
        raise UnreadyError(f"CHANGELOG.md has {len(sections)} sections for {version}.")
    [heading] = sections
    if not DATE.fullmatch(heading["date"] or ""):
        raise UnreadyError(f"The section for {version} in CHANGELOG.md needs the day of the release: YYYY-MM-DD.")
    following = next((each.start() for each in headings if each.start() > heading.start()), len(changelog))
    notes = LINK.sub("", changelog[heading.end() : following]).strip()
    if not re.search(r"^- \S", notes, flags=re.MULTILINE):
        raise UnreadyError(f"The section for {version} in CHANGELOG.md has no entries.")
    return notes


def main() -> int:
    """Print the notes of the tag that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag")
    parser.add_argument("--changelog", type=Path, default=CHANGELOG)
    options = parser.parse_args()
    try:
        print(release_notes(options.changelog.read_text(encoding="utf-8"), options.tag))
    except UnreadyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
