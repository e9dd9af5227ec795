#!/usr/bin/env python
"""Change where the repository is public, in every file that names it; by itself, check that all agree.

python scripts/public_address.py https://github.com/acme/tap-sage-accounting

The place is the URL `Repository` in pyproject.toml. Other files name it because nothing can look it up for them:
badges, definitions that are copied, commands on pages.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = "pyproject.toml"
FILES = ("*.md", "*.toml", "*.yaml", "*.yml", ".github/CODEOWNERS", "docs/**/*.md", "examples/**/*", "transform/*.md")
ADDRESS = re.compile(r"https://(?P<host>[\w.-]+)/(?P<owner>[\w-]+)/(?P<name>[\w.-]+?)(?:\.git)?/?")
NAME = "tap-sage-accounting"
"""The end of every mention, whatever the repository is called elsewhere."""
MENTIONS = (
    re.compile(rf"(?P<before>https://)(?P<place>(?!ghcr\.)[\w.-]+/[\w-]+)(?=/{NAME}\b)"),
    re.compile(rf"(?P<before>ghcr\.io/|--repo )(?P<place>[\w-]+)(?=/{NAME}\b)"),
    re.compile(r"(?P<before>^[/*]\S* +@)(?P<place>[\w-]+)$", flags=re.MULTILINE),
)
"""Where a file names the host and the owner, or the owner alone: addresses, images, who reviews."""


def files(root: Path) -> list[Path]:
    """List the files that may name the repository."""
    found = {path for pattern in FILES for path in root.glob(pattern) if path.is_file()}
    return sorted(path for path in found if path.parent.name != "__pycache__")


def place_of(root: Path) -> tuple[str, str]:
    """Return the host and the owner that pyproject.toml has."""
    address = tomllib.loads((root / PROJECT).read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    return parts(address)


def parts(address: str) -> tuple[str, str]:
    """Split an address into host and owner.

    Raises:
        ValueError: it is none of a repository of this name.
    """
    found = ADDRESS.fullmatch(address)
    if not found or found["name"] != NAME:
        raise ValueError(f"{address} is no address of a repository: write it like https://github.com/acme/{NAME}.")
    return found["host"], found["owner"]


def rewritten(text: str, host: str, owner: str) -> str:
    """Return a text with each mention changed."""
    for pattern in MENTIONS:
        text = pattern.sub(
            lambda found: found["before"] + (f"{host}/{owner}" if "/" in found["place"] else owner),
            text,
        )
    return text


def main() -> int:
    """Check, or change where an address is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?")
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args()
    try:
        host, owner = parts(options.address) if options.address else place_of(options.root)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    stale = False
    for path in files(options.root):
        text = path.read_text(encoding="utf-8")
        if (new := rewritten(text, host, owner)) == text:
            continue
        if options.address:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(options.root)}: changed\n")
        else:
            stale = True
            sys.stderr.write(f"{path.relative_to(options.root)} names another place than {PROJECT}.\n")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
