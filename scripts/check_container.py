#!/usr/bin/env python
"""Run the container image as its documentation says: read-only, as nobody in particular, against a simulated Sage.

The image is run by Docker, or by nothing but Linux. Then what buildah built is mounted read-only, and the tap started
in it under the image's user. One run has nothing writable at all, and its tokens are in PostgreSQL. Another keeps them
in /data. Without either, no token may be spent.

    docker build --tag tap-sage-accounting . && python scripts/check_container.py tap-sage-accounting
    buildah build --isolation chroot --tag tap-sage-accounting . && python scripts/check_container.py --buildah ...
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Done = subprocess.CompletedProcess[str]


class Image(Protocol):
    """An image that can be run."""

    def run(self, *arguments: str, environment: Mapping[str, str], writable: Mapping[Path, str]) -> Done:
        """Run its entrypoint with a read-only root; `writable` maps directories of this machine to the image's."""


@dataclass(frozen=True)
class WithDocker(Image):
    """An image that Docker knows."""

    name: str

    @override
    def run(self, *arguments: str, environment: Mapping[str, str], writable: Mapping[Path, str]) -> Done:
        limits = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host"]
        variables = [f"--env={name}" for name in environment]
        volumes = [f"--volume={here}:{there}" for here, there in writable.items()]
        command = ["docker", "run", "--rm", *limits, *variables, *volumes, self.name, *arguments]
        return finished(command, {**os.environ, **environment})


@dataclass(frozen=True)
class Mounted(Image):
    """An image's unpacked root, and what its configuration says."""

    root: Path
    user: str
    entrypoint: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"

    @override
    def run(self, *arguments: str, environment: Mapping[str, str], writable: Mapping[Path, str]) -> Done:
        root, lines = shlex.quote(str(self.root)), ["set -e"]
        for there in writable.values():
            (self.root / there.lstrip("/")).mkdir(parents=True, exist_ok=True)
        lines += [f"mount --bind {root} {root}", f"mount -o remount,bind,ro {root}", f"mount --rbind /dev {root}/dev"]
        lines.append(f"mount --rbind /proc {root}/proc")
        lines += [f"mount --bind {here} {root}{there}" for here, there in writable.items()]
        inside = f'cd {self.workdir}; exec "$@"'
        lines.append(
            f"exec chroot --userspec={self.user} --groups= {root} /bin/sh -c "
            + shlex.join([inside, "sh", *self.entrypoint, *arguments])
        )
        command = ["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", "\n".join(lines)]
        return finished(command, {**self.variables, **environment})


@contextmanager
def with_buildah(name: str) -> Iterator[Image]:
    """Mount an image that buildah built."""
    container = output_of("buildah", "from", "--pull-never", name)
    try:
        config = json.loads(output_of("buildah", "inspect", "--type=image", name))["OCIv1"]["config"]
        yield Mounted(
            Path(output_of("buildah", "mount", container)),
            config["User"],
            config["Entrypoint"],
            dict(each.split("=", 1) for each in config["Env"]),
            config["WorkingDir"],
        )
    finally:
        output_of("buildah", "rm", container)


def output_of(*command: str) -> str:
    """Run a program that must succeed; give what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def finished(command: list[str], environment: Mapping[str, str]) -> Done:
    """Run a program to its end."""
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603


def records(done: Done) -> int:
    """Count the records of a run that must have succeeded.

    Raises:
        SystemExit: it failed; with the end of what it had to say.
    """
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}\n{done.stderr[-4000:]}")
    return sum(json.loads(line)["type"] == "RECORD" for line in done.stdout.splitlines())


@contextmanager
def sage() -> Iterator[SandboxServer]:
    """Start a small simulated Sage."""
    with SandboxServer(build_world(size="tiny", businesses=1, frozen=True)) as server:
        yield server


def settings(server: SandboxServer, **more: str) -> dict[str, str]:
    """Give the tap's settings as variables."""
    told_by_sage = {name: str(value) for name, value in server.tap_config(**more).items()}
    return {f"TAP_SAGE_ACCOUNTING_{name.upper()}": value for name, value in told_by_sage.items()}


def check_nothing_writable(image: Image, postgres: str) -> None:
    """Run with nothing to write to: refused before a token is spent, unless the tokens are in PostgreSQL."""
    directory = Path(postgres.rpartition("host=")[2])
    directory.chmod(0o711)  # the server's socket is in it, and the image's user must reach that
    with sage() as server:
        done = image.run("--config=ENV", environment=settings(server), writable={})
        if done.returncode == 0 or server.grants.refreshes:
            raise SystemExit("Without a place for tokens, a token was spent.")
        [reason] = [line for line in done.stderr.splitlines() if "token store" in line]
        print(f"nothing writable, no token store: refused, no token spent\n  {reason}")
        variables = settings(server, token_store=postgres)
        found = records(image.run("--config=ENV", environment=variables, writable={directory: str(directory)}))
        print(f"nothing writable, tokens in PostgreSQL: {found} records, {server.grants.refreshes} renewal")


def check_tokens_in_data(image: Image) -> None:
    """Run twice with a directory at /data: the second run lives on the tokens that the first one kept there."""
    # What the image's user makes, another one cannot delete.
    with sage() as server, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        (data := Path(scratch, "data")).mkdir()
        Path(scratch).chmod(0o755)
        data.chmod(0o777)  # who checks need not be root
        for _ in range(2):
            found = records(image.run("--config=ENV", environment=settings(server), writable={data: "/data"}))
        [kept] = data.iterdir()
        print(f"tokens in /data: {found} records, {server.grants.refreshes} renewal in two runs")
        if server.grants.refreshes != 1 or server.grants.refusals:
            raise SystemExit("The second run did not find the tokens of the first one.")
        if kept.stat().st_uid == 0:
            raise SystemExit("The tap ran as root.")


def main() -> None:
    """Check an image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--buildah", action="store_true", help="the image is one of buildah's; needs root")
    options = parser.parse_args()
    with ExitStack() as stack:
        image = stack.enter_context(with_buildah(options.image)) if options.buildah else WithDocker(options.image)
        done = image.run("--version", environment={}, writable={})
        print(done.stdout.strip() or done.stderr)
        check_nothing_writable(image, stack.enter_context(postgres_server()))
        check_tokens_in_data(image)


if __name__ == "__main__":
    main()
