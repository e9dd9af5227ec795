"""New tokens whose store fails at the worst moment: after Sage issued them, before they are stored."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from cryptography.fernet import Fernet

from sage_sandbox.server import SandboxServer
from sage_workbench.failing_stores import DarkProxy, RestartablePostgres, full_disk
from sage_workbench.small_sage import small_world, token_requests
from tap_sage_accounting.auth.database import TABLE
from tap_sage_accounting.auth.store import TokenStore
from tap_sage_accounting.exceptions import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.waits

ASKING = Path(__file__).parents[1] / "support" / "asking.py"
PATIENCE = 300.0
"""Seconds to wait for what must come, on a machine under load."""
QUICK = {
    "auth.database.CALL_LIMIT": 2,
    "auth.database.LOST_HOLDER": 4,
    "auth.held_family.LAST_ATTEMPTS": 1,
    "auth.renewal.RESPONSE_WAIT": 6,
    "auth.renewal.SAVING_WAIT": 4,
}
NO_PATIENCE = {**QUICK, "auth.renewal.RESPONSE_WAIT": 0.1, "auth.renewal.SAVING_WAIT": 0.1}
"""What remains is the claim: the time that another machine's holder is given is over at once."""
ROOM = 16_384
"""Bytes of the reserved rescue file; the store's log is longer."""


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def has_renewed(sage: SandboxServer, times: int) -> bool:
    return sage.grants.refreshes >= times


class Run:
    """A process that sends requests to Sage again and again, with its output and log."""

    def __init__(self, sage: SandboxServer, store: str, environment: dict[str, str], **settings: Any) -> None:
        self.answered = 0
        self.log: list[str] = []
        config = {
            "client_id": sage.client_id,
            "client_secret": sage.client_secret,
            "refresh_token": sage.refresh_token,
            "token_url": sage.token_url,
            "api_url": sage.api_url,
            "token_store": store,
            "seconds": QUICK,
            **settings,
        }
        self.process = subprocess.Popen(
            [sys.executable, ASKING, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._readers = [threading.Thread(target=self._count), threading.Thread(target=self._read_log)]
        for reader in self._readers:
            reader.start()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def _count(self) -> None:
        for _ in self.process.stdout or ():
            self.answered += 1

    def _read_log(self) -> None:
        self.log.extend(self.process.stderr or ())

    def goes_on(self, answers: int = 5) -> None:
        """Wait until Sage has responded to some more."""
        wanted = self.answered + answers
        eventually(lambda: self.answered >= wanted or self.process.poll() is not None, "no more answers")
        assert self.process.poll() is None, self.log

    def end(self) -> int:
        """Let it come to its end, as a run does that has read everything."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return self._ended()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._ended()

    def _ended(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def logged(self, text: str) -> bool:
        return any(text in line for line in self.log)


class Failure:
    """A way for a store to fail."""

    leaves_rescue = True

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self.url = f"sqlite:///{directory / 'tokens.sqlite'}"

    def begin(self, run: Run) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class FullDisk(Failure):
    room = ROOM

    def begin(self, run: Run) -> None:
        self.limited = self.stack.enter_context(ExitStack())
        self.limited.enter_context(full_disk(run.process.pid, room=self.room))

    def end(self) -> None:
        self.limited.close()


class NoDisk(FullDisk):
    """Nothing at all can be written any more, and no room was reserved."""

    room = 0
    leaves_rescue = False


class StoppedServer(Failure):
    def __init__(self, stack: ExitStack, directory: Path) -> None:
        super().__init__(stack, directory)
        self.postgres = stack.enter_context(RestartablePostgres())
        self.url = self.postgres.url

    def begin(self, run: Run) -> None:  # noqa: ARG002
        self.postgres.stop()

    def end(self) -> None:
        self.postgres.start()


class DarkConnection(StoppedServer):
    def __init__(self, stack: ExitStack, directory: Path) -> None:
        super().__init__(stack, directory)
        self.proxy = stack.enter_context(DarkProxy(self.postgres.socket))
        self.url = f"{self.proxy.url}?connect_timeout=2"

    def begin(self, run: Run) -> None:  # noqa: ARG002
        self.proxy.go_dark()

    def end(self) -> None:
        self.proxy.lighten()


class FullServer(StoppedServer):
    """The server's disk is full: it responds, and stores nothing."""

    def begin(self, run: Run) -> None:  # noqa: ARG002
        self._execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'could not extend file: no space left' USING ERRCODE = 'disk_full'; END$$",
            f"CREATE TRIGGER no_space BEFORE INSERT OR UPDATE ON {TABLE} EXECUTE FUNCTION refuse()",
        )

    def end(self) -> None:
        self._execute("DROP FUNCTION refuse CASCADE")

    def _execute(self, *statements: str) -> None:
        with psycopg.connect(self.url) as connection:
            for statement in statements:
                connection.execute(statement)


FAILURES = [FullDisk, NoDisk, StoppedServer, DarkConnection]


@pytest.fixture
def sage() -> Iterator[SandboxServer]:
    with SandboxServer(small_world()) as server:
        yield server


@pytest.fixture
def failure(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Failure]:
    with ExitStack() as stack:
        yield request.param(stack, tmp_path)


@pytest.fixture
def start(sage: SandboxServer, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(store: str, *, home: str = "home", **settings: Any) -> Run:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / home)}
        runs.append(Run(sage, store, environment, **settings))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.kill()


def started_with_failure(sage: SandboxServer, failure: Failure, start: Callable[..., Run], **settings: Any) -> Run:
    """Start a run whose store fails between Sage's response and its storing."""
    has_run, failing = threading.Event(), threading.Event()
    runs: list[Run] = []

    def fail() -> None:
        sage.grants.on_refresh = None
        has_run.wait(PATIENCE)
        failure.begin(runs[0])
        failing.set()

    sage.grants.on_refresh = fail
    runs.append(start(failure.url, **settings))
    has_run.set()
    assert failing.wait(PATIENCE), runs[0].log
    return runs[0]


def stored_token(sage: SandboxServer, failure: Failure, **options: Any) -> str | None:
    try:
        found = TokenStore(failure.url, **options).read(sage.client_id, sage.refresh_token)
    except TokenStoreError:
        return None
    return found.refresh_token if found else None


def rescue_files(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*rescue-*") if path.read_bytes().strip()]


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES, indirect=True)
def test_a_run_goes_on_with_tokens_that_its_store_did_not_take_and_saves_them_when_it_can(
    sage: SandboxServer, failure: Failure, start: Callable[..., Run], tmp_path: Path
) -> None:
    run = started_with_failure(sage, failure, start)
    run.goes_on()
    eventually(lambda: run.logged("cannot be used"), "no word of the failing store")
    assert bool(rescue_files(tmp_path)) == failure.leaves_rescue
    assert run.logged("are in the file") == failure.leaves_rescue
    failure.end()
    eventually(lambda: run.logged("are saved in the token store"), f"not saved: {run.log}")
    assert rescue_files(tmp_path) == []
    assert stored_token(sage, failure) == sage.grants.newest_refresh_token()
    assert run.end() == 0

    following = start(failure.url)
    following.goes_on()
    assert following.end() == 0
    assert (token_requests(sage), sage.grants.refusals) == (1, {})


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES, indirect=True)
def test_a_renewal_that_falls_due_while_the_store_fails_spends_no_token_twice(
    sage: SandboxServer, failure: Failure, start: Callable[..., Run]
) -> None:
    sage.faults.access_token_lifetime = 3
    run = started_with_failure(sage, failure, start)
    eventually(lambda: run.logged("Trying again for"), f"no renewal: {run.log}")
    failure.end()
    run.goes_on(80)
    assert run.end() == 0
    assert stored_token(sage, failure) == sage.grants.newest_refresh_token()
    assert sage.grants.refreshes > 1
    assert sage.grants.refusals == {}


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("failure", [FullDisk, StoppedServer, DarkConnection], indirect=True)
@pytest.mark.parametrize("ending", ["end", "kill"])
def test_tokens_that_were_never_stored_are_picked_up_by_the_next_run(
    sage: SandboxServer, failure: Failure, start: Callable[..., Run], tmp_path: Path, ending: str
) -> None:
    run = started_with_failure(sage, failure, start)
    eventually(lambda: run.logged("are in the file"), f"no word of the file: {run.log}")
    getattr(run, ending)()
    (kept,) = rescue_files(tmp_path)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "Traceback" not in "".join(run.log)
    failure.end()

    following = start(failure.url)
    following.goes_on()
    assert following.end() == 0
    assert rescue_files(tmp_path) == []
    # It took the tokens of the file: no others were requested.
    assert (token_requests(sage), sage.grants.refusals) == (1, {})
    sage.faults.access_token_lifetime = 1
    third = start(failure.url)
    third.goes_on(2)
    third.end()
    assert sage.grants.refusals == {}


@pytest.mark.postgres
@pytest.mark.parametrize("failure", [FullDisk, StoppedServer], indirect=True)
def test_tokens_in_the_file_are_encrypted_as_those_in_the_store(
    sage: SandboxServer, failure: Failure, start: Callable[..., Run], tmp_path: Path
) -> None:
    key = Fernet.generate_key().decode()
    run = started_with_failure(sage, failure, start, keys=[key])
    eventually(lambda: run.logged("are in the file"), f"no word of the file: {run.log}")
    (kept,) = rescue_files(tmp_path)
    content = kept.read_text()
    assert not [secret for secret in sage.issued_secrets if secret in content]
    run.kill()
    failure.end()
    following = start(failure.url, keys=[key])
    following.goes_on()
    assert following.end() == 0
    assert stored_token(sage, failure, encryption_keys=[key]) == sage.grants.newest_refresh_token()
    assert sage.grants.refusals == {}


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES, indirect=True)
def test_another_run_does_not_spend_the_token_whose_successor_is_not_stored_yet(
    sage: SandboxServer, failure: Failure, start: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    run = started_with_failure(sage, failure, start)
    run.goes_on()
    eventually(lambda: run.logged("cannot be used"), "no word of the failing store")
    other = start(failure.url)
    failure.end()
    other.goes_on()
    run.goes_on()
    assert (run.end(), other.end()) == (0, 0)
    assert stored_token(sage, failure) == sage.grants.newest_refresh_token()
    assert (token_requests(sage), sage.grants.refusals) == (1, {})


LEFT_BEHIND: dict[str, Callable[[bytes], bytes]] = {
    "older than the store": lambda content: content,
    "another application's": lambda content: content.replace(b'"client_id": "', b'"client_id": "not-'),
    "cut off": lambda content: content[:100],
    "empty": lambda _: b" " * ROOM,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEFT_BEHIND)
def test_a_rescue_file_that_was_left_behind_changes_nothing(
    sage: SandboxServer, start: Callable[..., Run], tmp_path: Path, kind: str
) -> None:
    """Nor does it matter that the key is gone with which it was encrypted."""
    sage.faults.access_token_lifetime = 0.8
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    with ExitStack() as stack:
        failure = FullDisk(stack, tmp_path)
        run = started_with_failure(sage, failure, start, keys=[old])
        eventually(lambda: run.logged("are in the file"), f"no word of the file: {run.log}")
        (kept,) = rescue_files(tmp_path)
        content = kept.read_bytes()
    eventually(lambda: run.logged("are saved in the token store"), f"not saved: {run.log}")
    assert run.end() == 0
    for keys in ([new, old], [new]):
        refreshes = sage.grants.refreshes
        run = start(failure.url, keys=keys)
        eventually(partial(has_renewed, sage, refreshes + 2), f"no renewal: {run.log}")
        run.goes_on()
        assert run.end() == 0
        kept.write_bytes(LEFT_BEHIND[kind](content))
        kept.chmod(0o600)
    assert sage.grants.refusals == {}


def test_runs_that_share_a_dead_login_send_it_to_sage_once(
    sage: SandboxServer, start: Callable[..., Run], tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'tokens.sqlite'}"
    earlier = start(store)
    earlier.goes_on()
    assert earlier.end() == 0
    sage.grants.revoke(sage.grants.clients[sage.client_id], sage.grants.newest_refresh_token() or "")
    sage.grants._access.clear()
    runs = [start(store) for _ in range(6)]
    for run in runs:
        eventually(run.has_ended, f"goes on: {run.log}")
        assert run.end() == 1
        assert run.logged("LoginRequiredError: Sage refused the stored refresh token")
    assert sage.grants.refusals == {"revoked": 1}


def unsaved_in_memory(sage: SandboxServer, failure: Failure, start: Callable[..., Run], **seconds: float) -> Run:
    """Start a run that holds new tokens in memory only, as where no rescue file can be written."""
    run = started_with_failure(sage, failure, start, seconds={**QUICK, **seconds})
    run.goes_on()
    eventually(lambda: run.logged("cannot be used"), "no word of the failing store")
    for path in rescue_files(failure.directory):
        path.unlink()
    return run


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("failure", [StoppedServer, FullServer], indirect=True)
@pytest.mark.parametrize("announced_for", [0.1, 6])
def test_a_run_on_another_machine_waits_for_the_holder_that_lost_its_lock(
    sage: SandboxServer, start: Callable[..., Run], failure: Failure, announced_for: float
) -> None:
    """Only the row informs the other machine: it sees no file of this one, and its clock may be wrong."""
    seconds = {"auth.renewal.RESPONSE_WAIT": announced_for, "auth.renewal.SAVING_WAIT": PATIENCE}
    run = unsaved_in_memory(sage, failure, start, **{**seconds, "auth.held_family.SAVE_AGAIN_AFTER": 3})
    other = start(failure.url, home="elsewhere", seconds={**QUICK, **seconds})
    if isinstance(failure, FullServer):
        # While nothing can be written, no holder can save anything, and its time does not begin.
        eventually(lambda: other.logged("Trying again for"), f"no word of the failing store: {other.log}")
        assert not other.logged("Waiting for it")
    failure.end()
    other.goes_on()
    assert (run.end(), other.end()) == (0, 0)
    assert (token_requests(sage), sage.grants.refusals) == (1, {})


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("failure", [NoDisk, StoppedServer, DarkConnection], indirect=True)
def test_a_run_on_the_same_machine_waits_for_a_holder_however_long_it_takes_to_save(
    sage: SandboxServer, start: Callable[..., Run], failure: Failure
) -> None:
    run = unsaved_in_memory(sage, failure, start, **{"auth.held_family.SAVE_AGAIN_AFTER": 5})
    run.process.send_signal(signal.SIGSTOP)  # between two attempts, so that it takes as long as the test likes
    failure.end()
    other = start(failure.url, seconds=NO_PATIENCE)
    eventually(lambda: other.logged("Waiting for it"), f"did not wait: {other.log}")
    run.process.send_signal(signal.SIGCONT)
    other.goes_on()
    assert (run.end(), other.end()) == (0, 0)
    assert (token_requests(sage), sage.grants.refusals) == (1, {})


def test_a_run_that_waited_long_enough_for_another_ends_and_costs_it_nothing(
    sage: SandboxServer, start: Callable[..., Run], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        failure = NoDisk(stack, tmp_path)
        run = unsaved_in_memory(sage, failure, start)
        other = start(failure.url, seconds={**NO_PATIENCE, "auth.renewal.CLAIM_WAIT": 1})
        eventually(lambda: other.process.poll() is not None, f"did not give up: {other.log}")
        assert other.end() == 1
        assert other.logged("TokenStoreError: Another run on this machine got new tokens")
        failure.end()
        eventually(lambda: run.logged("are saved in the token store"), f"not saved: {run.log}")
        assert run.end() == 0
        assert stored_token(sage, failure) == sage.grants.newest_refresh_token()
        assert (token_requests(sage), sage.grants.refusals) == (1, {})


@pytest.mark.postgres
def test_tokens_are_in_the_file_as_soon_as_the_store_takes_its_time(
    sage: SandboxServer, start: Callable[..., Run], tmp_path: Path
) -> None:
    """A dead connection may delay a commit for a third of a minute: too long for a killed run."""
    with ExitStack() as stack:
        failure = DarkConnection(stack, tmp_path)
        run = started_with_failure(sage, failure, start, seconds={**QUICK, "auth.database.CALL_LIMIT": 10 * PATIENCE})
        eventually(lambda: rescue_files(tmp_path), "no rescue file")
        assert not run.logged("cannot be used")
        run.kill()
        failure.end()
        following = start(failure.url)
        following.goes_on()
        assert following.end() == 0
        assert (token_requests(sage), sage.grants.refusals) == (1, {})


@pytest.fixture
def log_out(sage: SandboxServer, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command `logout`, with the settings of the runs."""
    config = tmp_path / "config.json"
    processes: list[subprocess.Popen[str]] = []

    def begin(store: str, longest_wait: float = PATIENCE) -> subprocess.Popen[str]:
        names = ("client_id", "client_secret", "refresh_token", "token_url", "api_url")
        config.write_text(json.dumps({**{name: getattr(sage, name) for name in names}, "token_store": store}))
        program = (
            "import sys; from tap_sage_accounting import cli; from tap_sage_accounting.commands import logout; "
            "logout.LONGEST_WAIT = float(sys.argv.pop()); cli.logout()"
        )
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", program, "--config", str(config), str(longest_wait)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home")},
            )
        )
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.postgres
@pytest.mark.parametrize("failure", [NoDisk, FullDisk, FullServer], indirect=True)
def test_a_logout_waits_for_tokens_that_are_not_stored_yet_and_revokes_them(
    sage: SandboxServer, failure: Failure, start: Callable[..., Run], log_out: Callable[..., subprocess.Popen[str]]
) -> None:
    run = started_with_failure(sage, failure, start)
    eventually(lambda: run.logged("cannot be used"), "no word of the failing store")
    logout = log_out(failure.url)
    assert logout.stdout is not None
    assert "may have newer tokens" in logout.stdout.readline()
    failure.end()
    output, _ = logout.communicate(timeout=PATIENCE)
    assert "Sage has revoked the refresh token." in output
    assert logout.returncode == 0
    assert run.end() == 0
    assert sage.grants.newest_refresh_token() is None
    assert stored_token(sage, failure) is None


@pytest.mark.postgres
@pytest.mark.parametrize("failure", [NoDisk, FullServer], indirect=True)
def test_a_logout_that_cannot_know_the_newest_tokens_forgets_none(
    sage: SandboxServer, failure: Failure, start: Callable[..., Run], log_out: Callable[..., subprocess.Popen[str]]
) -> None:
    run = started_with_failure(sage, failure, start)
    eventually(lambda: run.logged("cannot be used"), "no word of the failing store")
    logout = log_out(failure.url, longest_wait=0)
    output, _ = logout.communicate(timeout=PATIENCE)
    assert "Repair the store, or end that run, and log out again." in output
    assert logout.returncode == 1
    failure.end()
    eventually(lambda: run.logged("are saved in the token store"), f"not saved: {run.log}")
    assert run.end() == 0
    assert stored_token(sage, failure) == sage.grants.newest_refresh_token() is not None


@pytest.mark.slow
def test_a_token_that_may_have_been_spent_by_a_killed_run_is_tried_once(
    sage: SandboxServer, start: Callable[..., Run], tmp_path: Path
) -> None:
    """The response is lost with the process; what the next run says names that as the cause."""
    store = f"sqlite:///{tmp_path / 'tokens.sqlite'}"
    runs: list[Run] = []

    def kill() -> None:
        sage.grants.on_refresh = None
        eventually(lambda: runs, "no run")
        runs[0].kill()

    sage.grants.on_refresh = kill
    runs.append(start(store))
    eventually(runs[0].has_ended, "not killed")
    for _ in range(2):
        following = start(store)
        eventually(following.has_ended, "goes on without a login")
        following.end()
        assert following.logged("LoginRequiredError")
        assert following.logged("that is the cause")
    assert sage.grants.refusals == {"used": 1}
