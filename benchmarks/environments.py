"""A uv environment for each contender, made once and kept in a scratch directory."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def environment(scratch: Path, name: str, requirements: tuple[str, ...]) -> Path:
    """Make, or find, the environment that holds these packages.

    Returns:
        Its Python.

    Raises:
        subprocess.CalledProcessError: uv could not install them.
    """
    mark = hashlib.sha256("\n".join((PYTHON, *requirements)).encode()).hexdigest()[:12]
    place = scratch / "environments" / f"{name}-{mark}"
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        _uv("venv", "--quiet", "--python", PYTHON, str(place))
        _uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(place / "bin/python"), *requirements)
        (place / "complete").touch()
    return place / "bin" / "python"


def clean_environment(**more: str) -> dict[str, str]:
    """Give the variables that a run sees: none of those that this process's own environment brought."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "", "PYTHONDONTWRITEBYTECODE": "", **more}


def _uv(*arguments: str) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise RuntimeError("The benchmark makes its environments with uv: pip install uv")
    subprocess.run([uv, *arguments], check=True, cwd=PROJECT)  # noqa: S603 - our own command
