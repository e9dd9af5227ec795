"""Files of attachments go to a bucket, through the package that reaches S3 and a server that speaks like it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.attached_files import asked_for, attach, first, in_books
from sage_workbench.pipeline import PROGRAMS, catalog_of
from sage_workbench.plain_books import plain_world
from sage_workbench.processes import TIMEOUT
from sage_workbench.small_sage import free_port
from support.surroundings import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sage_workbench.pipeline import Command

NEEDED = ("s3fs", "moto[s3]>=5", "flask", "flask-cors")
SIZES = (0, 1, 300_000, 12_000_000)
KEY, SECRET, SESSION = "AKIAEXAMPLE000000001", "a-secret-access-key-of-nobody-1", "a-session-token-of-nobody-12345"
HASHES = """\
import fsspec, hashlib, sys
for url in sys.argv[1:]:
    with fsspec.open(url) as file:
        print(hashlib.sha256(file.read()).hexdigest())
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install s3fs and the server, which uv does from its cache when it has been done before."""
    directory = tmp_path_factory.mktemp("packages")
    command: Command = [
        PROGRAMS / "uv",
        "pip",
        "install",
        "-q",
        "--python",
        sys.executable,
        "--target",
        directory,
        *NEEDED,
    ]
    done = subprocess.run(command, env=OUTSIDE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def s3(packages: Path) -> Iterator[dict[str, str]]:
    """Start a server with an empty bucket `books`; give the variables that lead to it."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(packages),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": SESSION,
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        python("import s3fs; s3fs.S3FileSystem().mkdir('books')", environment)
        yield environment
    finally:
        server.kill()
        server.wait()


def python(code: str, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def digests(environment: dict[str, str], urls: list[str]) -> list[str]:
    return python(HASHES, environment, *urls).split()


def run(server: SandboxServer, directory: Path, url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = server.tap_config(token_store=f"sqlite:///{directory / 'tokens.sqlite'}", attachments_url=url)
    config, catalog = directory / "config.json", directory / "catalog.json"
    config.write_text(json.dumps(settings))
    catalog.write_text(json.dumps(catalog_of({**settings, "attachments_url": "file:///anywhere"}, ["attachments"])))
    command: Command = [PROGRAMS / "tap-sage-accounting", "--config", config, "--catalog", catalog]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT)


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        for number, size in enumerate(SIZES):
            attach(first(running.world), number, file_size=size)
        yield running


def test_files_are_in_the_bucket_once_and_no_credential_is_in_the_log(
    server: SandboxServer, s3: dict[str, str], tmp_path: Path
) -> None:
    for asked in (len(SIZES), len(SIZES)):
        done = run(server, tmp_path, "s3://books/my files", LOGLEVEL="DEBUG", **s3)
        assert done.returncode == 0, done.stderr[-3000:]
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        records = [message["record"] for message in messages if message["type"] == "RECORD"]
        assert len(asked_for(server)) == asked
        found = digests(s3, [record["file_url"] for record in records])
        assert found == [record["file_sha256"] for record in records]
        assert dict(zip(((each["business_id"], each["id"]) for each in records), found, strict=True)) == in_books(
            server.world
        )
        for secret in (SECRET, SESSION):
            assert secret not in done.stderr + done.stdout


def test_a_bucket_that_is_not_there_is_named_as_the_reason_and_all_rows_arrive(
    server: SandboxServer, s3: dict[str, str], tmp_path: Path
) -> None:
    done = run(server, tmp_path, "s3://no-such-bucket", **s3)
    assert done.returncode == 1
    assert "it cannot be stored (The specified bucket does not exist)" in done.stderr
    assert done.stdout.count('"RECORD"') == len(SIZES)
    assert "Traceback" not in done.stderr


def test_a_package_that_is_not_installed_is_named_before_anything_is_asked(
    server: SandboxServer, tmp_path: Path
) -> None:
    done = run(server, tmp_path, "s3://books", PATH=os.environ["PATH"])
    assert done.returncode == 1
    assert "needs the package 's3fs' for s3://: pip install s3fs." in done.stderr
    assert "nothing was sent to Sage" in done.stderr
    assert done.stdout == ""
    assert len(server.requests) == 0
