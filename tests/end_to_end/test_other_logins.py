"""A command on another token store than the login's names the login's store, and ends no login."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.grants import RefreshGrant
from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.ready_programs import Program
from sage_workbench.small_sage import small_world, token_requests
from support.browsers import consent
from support.terminals import PROGRAMS, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
COMMANDS = ("status", "doctor")


class Person:
    """Somebody with a home, a Meltano project in a directory with a space, and settings without a token store."""

    def __init__(self, sage: SandboxServer, directory: Path) -> None:
        self.sage = sage
        self.home = directory / "home"
        self.project = directory / "my books"
        for each in (self.home, self.project):
            each.mkdir()
        (self.project / "meltano.yml").touch()
        self.settings = {name: value for name, value in sage.tap_config().items() if name != "refresh_token"}
        self.config = self.home / "config.json"
        self.set()

    def set(self, **changes: str) -> None:
        """Write the settings, some of them otherwise."""
        self.config.write_text(json.dumps({**self.settings, **changes}))

    @property
    def meltano(self) -> dict[str, str]:
        """What Meltano adds to the environment of what it starts."""
        settings = {f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in self.settings.items()}
        return {"MELTANO_PROJECT_ROOT": str(self.project), **settings}

    @property
    def meltanos_store(self) -> str:
        return f"sqlite:///{self.project}/.meltano/tap-sage-accounting/tokens.sqlite"

    @property
    def own_store(self) -> str:
        return f"sqlite:///{self.home}/.local/share/tap-sage-accounting/tokens.sqlite"

    def run(
        self, name: str, *options: str, at: Path | None = None, plain: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; `login` is completed as on a machine without a browser."""
        if name == "login":
            options = ("--no-browser", *options)
        if plain:
            options = ("--config", str(self.config), *options)
        process = Program(
            [PROGRAMS / f"tap-sage-accounting{'-' * bool(name)}{name}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=at or self.home,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], **({} if plain else self.meltano), **environment},
        )
        assert process.stdout
        shown, typed = b"", b""
        while name == "login" and (more := os.read(process.stdout.fileno(), 1 << 16)):
            shown += more
            if b"Address:" in shown:
                [url] = re.findall(rf"{re.escape(self.sage.auth_url)}\S*", shown.decode())
                typed = consent(url).encode() + b"\n"
                break
        output, log = process.communicate(typed, timeout=TIMEOUT)
        shown += output + log
        text = shown.decode()
        assert "Traceback" not in text
        assert not [secret for secret in {*self.sage.issued_secrets, self.sage.client_secret} if secret in text]
        return subprocess.CompletedProcess(process.args, process.returncode, text)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    with SandboxServer(small_world()) as sage:
        yield Person(sage, tmp_path)


def logged_in(done: subprocess.CompletedProcess[str]) -> bool:
    assert done.returncode == 0, done.stdout
    return "Logged in." in done.stdout


def change(store: str, what: str) -> None:
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as database:
        database.execute(f"UPDATE tap_sage_accounting_tokens SET {what}")
        database.commit()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_meltano_names_the_login_through_meltano(person: Person, name: str) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    done = person.run(name, at=person.project)
    assert done.returncode == 1
    assert f"There is no login in the token store {person.own_store} for this client_id" in done.stdout
    assert f"A login of this client_id is in the token store {person.meltanos_store}, last renewed at " in done.stdout
    assert f"To use it, run `meltano invoke tap-sage-accounting:{name}`." in done.stdout
    assert "login`" not in done.stdout


def test_a_run_without_meltano_names_the_login_through_meltano(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    (person.home / "catalog.json").write_text(json.dumps({"streams": []}))
    done = person.run("", "--catalog", str(person.home / "catalog.json"), at=person.project)
    assert done.returncode == 1
    assert "To use it, run `meltano run tap-sage-accounting <target>`." in done.stdout


def test_options_are_kept_in_the_command_that_is_named(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    done = person.run("doctor", "--report", ".", "--deep", at=person.project)
    assert "run `meltano invoke tap-sage-accounting:doctor --report . --deep`." in done.stdout


def test_a_login_is_known_from_any_directory(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    done = person.run("status")
    assert f"run `cd {shlex.quote(str(person.project))} && meltano invoke tap-sage-accounting:status`." in done.stdout


def test_a_login_is_known_below_the_project_without_the_list(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    shutil.rmtree(person.home / ".local")
    (below := person.project / "transform").mkdir()
    assert person.meltanos_store in person.run("status", at=below).stdout


def test_a_command_through_meltano_names_the_login_without_it_and_the_command_works(person: Person) -> None:
    assert logged_in(person.run("login"))
    done = person.run("status", plain=False, at=person.project)
    assert done.returncode == 1
    [named] = re.findall(r"To use it, run `(.*?)`\.", done.stdout)
    assert named == f"TAP_SAGE_ACCOUNTING_TOKEN_STORE={person.own_store} meltano invoke tap-sage-accounting:status"
    again = person.run("status", plain=False, at=person.project, TAP_SAGE_ACCOUNTING_TOKEN_STORE=person.own_store)
    assert again.returncode == 0, again.stdout


@pytest.mark.parametrize("plain", [True, False])
def test_a_login_that_would_end_another_one_is_refused(person: Person, *, plain: bool) -> None:
    assert logged_in(person.run("login", plain=not plain, at=person.project))
    sent = len(list(person.sage.requests))
    newest = person.sage.grants.newest_refresh_token()
    done = person.run("login", plain=plain, at=person.project)
    assert done.returncode == 1
    assert f"is in the token store {person.meltanos_store if plain else person.own_store}, " in done.stdout
    assert "If the same user logs in again, Sage ends it, and runs that use it fail." in done.stdout
    assert "tap-sage-accounting:status`. To log in here all the same, add --replace." in done.stdout
    assert len(list(person.sage.requests)) == sent
    assert person.run("status", plain=not plain, at=person.project).returncode == 0
    assert person.sage.grants.newest_refresh_token() == newest


def test_a_login_that_replaces_another_one_is_named_where_that_was(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    assert logged_in(person.run("login", "--replace", at=person.project))
    change(person.meltanos_store, "issued_at = datetime(issued_at, '-1 hours')")  # so that it must be renewed
    done = person.run("status", plain=False, at=person.project)
    assert done.returncode == 1
    assert "another login of this user and application replaced it" in done.stdout
    assert f"A login of this client_id is in the token store {person.own_store}, " in done.stdout


def test_another_login_in_the_same_store_is_none_of_another(person: Person) -> None:
    for _ in range(2):
        assert logged_in(person.run("login", plain=False, at=person.project))
    assert person.run("status", plain=False, at=person.project).returncode == 0


def test_a_login_of_another_application_is_none_of_this_one(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    person.set(client_id="another-application")
    done = person.run("status", at=person.project)
    assert f"Run `tap-sage-accounting-login --config {person.config}`." in done.stdout


def run_with_variables(person: Person, name: str, at: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a command without Meltano, on settings of the environment."""
    variables = {key: value for key, value in person.meltano.items() if key != "MELTANO_PROJECT_ROOT"}
    return person.run(name, *options, plain=False, at=at, **variables, MELTANO_PROJECT_ROOT="")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_meltano_names_the_login_of_the_project_around(person: Person, name: str) -> None:
    (person.project / "meltano.yml").write_text("plugins: {extractors: [{name: tap-sage-accounting}]}")
    (below := person.project / "transform").mkdir()
    for place in (person.project, below):
        done = run_with_variables(person, name, place)
        assert done.returncode == 1
        assert "is empty. Run `meltano invoke tap-sage-accounting:login`." in done.stdout


@pytest.mark.root
def test_no_project_is_named_that_anybody_may_have_put_around_the_working_directory(person: Person) -> None:
    (file := person.project / "meltano.yml").write_text("plugins: {extractors: [{name: tap-sage-accounting}]}")
    os.chown(file, 12345, -1)
    (here := person.project / "mine").mkdir()
    assert "Run `meltano invoke" in run_with_variables(person, "status", here).stdout
    person.project.chmod(0o1777)  # as /tmp
    assert "Run `tap-sage-accounting-login`" in run_with_variables(person, "status", here).stdout


def test_a_command_on_variables_names_a_login_without_a_file(person: Person) -> None:
    """Neither a project of another tap nor a directory outside of any project has a login through Meltano."""
    (person.project / "meltano.yml").write_text("plugins: {extractors: [{name: tap-csv}]}")
    for place in (person.project, person.home):
        for options in ((), ("--config=ENV",)):
            done = run_with_variables(person, "status", place, *options)
            assert "is empty. Run `tap-sage-accounting-login`." in done.stdout


def test_a_refused_login_names_the_file_of_settings_that_was_given(person: Person) -> None:
    (person.project / "meltano.yml").write_text("plugins: {extractors: [{name: tap-sage-accounting}]}")
    person.config = person.config.rename(person.home / "my settings.json")
    assert logged_in(person.run("login"))
    change(person.own_store, "issued_at = datetime(issued_at, '-1 hours'), refused_at = issued_at")
    done = person.run("status", at=person.project)
    assert done.returncode == 1
    assert f"Run `tap-sage-accounting-login --config '{person.config}'`." in done.stdout


def test_what_a_login_on_variables_says_next_names_no_file(person: Person) -> None:
    done = run_with_variables(person, "login", person.project)
    assert "Next:\n  tap-sage-accounting | <target>\n" in done.stdout


@pytest.mark.parametrize("end", ["refused_at = issued_at", "issued_at = datetime(issued_at, '-40 days')"])
def test_a_login_that_is_over_stops_no_other_one(person: Person, end: str) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    change(person.meltanos_store, end)
    assert logged_in(person.run("login", at=person.project))


def test_a_store_at_a_relative_path_is_found_from_another_directory(person: Person) -> None:
    person.set(token_store="sqlite:///tokens.sqlite")
    assert logged_in(person.run("login", at=person.project))
    done = person.run("status")
    assert f"A login of this client_id is in the token store sqlite:///{person.project}/tokens.sqlite, " in done.stdout
    assert person.run("login").returncode == 1
    [named] = re.findall(r"To use it, run `(.*?)`\.", done.stdout)
    assert named.startswith(f"TAP_SAGE_ACCOUNTING_TOKEN_STORE='sqlite:///{person.project}/tokens.sqlite' ")
    again = subprocess.run(
        ["bash", "-c", named],
        cwd=person.home,
        env={"HOME": str(person.home), "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_store_in_its_usual_place_is_found_where_the_setting_names_another(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    done = person.run("status", plain=False, TAP_SAGE_ACCOUNTING_TOKEN_STORE="sqlite:///other.sqlite")
    assert f"is in the token store {person.meltanos_store}, " in done.stdout


def test_a_store_in_the_users_other_data_directory_is_found(person: Person) -> None:
    assert logged_in(person.run("login"))
    done = person.run("status", XDG_DATA_HOME=str(person.project))
    assert person.own_store in done.stdout


@pytest.mark.root
def test_the_store_of_the_user_who_became_root_is_named_and_not_opened(person: Person) -> None:
    pwd = pytest.importorskip("pwd")
    nobody = pwd.getpwnam("nobody")
    store = Path(person.own_store.removeprefix("sqlite:///"))
    store.parent.mkdir(parents=True)
    store.write_text("not for root")
    os.chown(store, nobody.pw_uid, nobody.pw_gid)
    for name in ("status", "login"):
        done = person.run(name, HOME=str(person.home), XDG_DATA_HOME=str(person.project))
        assert done.returncode == 1
        assert f"may be in the token store {person.own_store} of the user nobody." in done.stdout
        assert "run this as the user nobody" in done.stdout


@pytest.mark.postgres
def test_a_login_in_a_database_is_known_without_its_password(person: Person) -> None:
    with postgres_server() as database:
        person.set(token_store=database)
        assert logged_in(person.run("login"))
        listed = (person.home / ".local/share/tap-sage-accounting/logins.json").read_text()
        assert "password" not in listed
        person.set()
        done = person.run("status")
        assert "may be in the token store postgresql" in done.stdout
        assert "set 'token_store' to the URL of that database" in done.stdout
        assert person.run("login").returncode == 1
        person.set(token_store=database)
        assert person.run("logout").returncode == 0
        person.set()
        assert logged_in(person.run("login"))


def test_logging_out_in_the_wrong_place_names_the_right_one(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    done = person.run("logout", at=person.project)
    assert done.returncode == 0
    assert "Nobody is logged in: there is nothing to revoke.\nA login of this client_id is in " in done.stdout
    assert "run `meltano invoke tap-sage-accounting:logout`." in done.stdout
    assert person.run("logout", plain=False, at=person.project).returncode == 0
    assert logged_in(person.run("login", at=person.project))


@pytest.mark.parametrize("content", ["", "[", "7", '[{"client": 1}, 2, {"place": "x"}]', "[" * 100_000])
def test_a_list_that_is_damaged_stops_nothing(person: Person, content: str) -> None:
    (own := person.home / ".local/share/tap-sage-accounting").mkdir(parents=True)
    (own / "logins.json").write_text(content)
    assert logged_in(person.run("login", plain=False, at=person.project))
    assert person.meltanos_store in person.run("status").stdout


@pytest.mark.parametrize(
    "spoiled",
    [
        "refresh_lifetime_seconds = NULL",
        "refresh_lifetime_seconds = 'long'",
        "refresh_lifetime_seconds = 1e300",
        "issued_at = 5",
        "issued_at = x'00'",
    ],
)
def test_a_store_with_a_damaged_row_stops_no_login(person: Person, spoiled: str) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    change(person.meltanos_store, spoiled)
    assert person.run("status", at=person.project).returncode == 1
    assert logged_in(person.run("login", at=person.project))


def test_a_store_that_came_with_a_project_and_has_no_end_stops_no_login(person: Person) -> None:
    store = Path(person.meltanos_store.removeprefix("sqlite:///"))
    store.parent.mkdir(parents=True)
    with closing(sqlite3.connect(store)) as database:
        database.execute(
            "CREATE VIEW tap_sage_accounting_tokens AS WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1"
            " FROM number) SELECT n AS client_id, NULL AS refused_at, n AS issued_at, n AS refresh_lifetime_seconds"
            " FROM number"
        )
    assert logged_in(person.run("login", at=person.project))


@pytest.mark.parametrize("is_killed", [False, True], ids=["at work", "killed"])
def test_a_store_that_cannot_be_read_just_now_may_have_a_login(person: Person, *, is_killed: bool) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    file = Path(person.meltanos_store.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        # As on file systems without a write-ahead log.
        writer.execute("PRAGMA journal_mode = DELETE")
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("CREATE TABLE other (content)")
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900) "
            "INSERT INTO other SELECT randomblob(4000) FROM n"
        )
        if is_killed:
            copy = file.with_name("copy")
            for ending in ("", "-journal"):  # as a killed process leaves them
                shutil.copy(f"{file}{ending}", f"{copy}{ending}")
            writer.execute("ROLLBACK")
            writer.close()
            for ending in ("", "-journal"):
                Path(f"{copy}{ending}").replace(f"{file}{ending}")
        refused = person.run("login", at=person.project)
    assert refused.returncode == 1
    assert f"A login of this client_id may be in the token store {person.meltanos_store}." in refused.stdout


def test_a_list_that_came_with_a_project_is_not_believed(person: Person) -> None:
    assert logged_in(person.run("login"))
    own = person.home / ".local/share/tap-sage-accounting"
    (planted := person.project / ".meltano/tap-sage-accounting").mkdir(parents=True)
    listed = json.loads((own / "logins.json").read_text())
    (planted / "logins.json").write_text(json.dumps([{**each, "place": "postgresql://elsewhere/x"} for each in listed]))
    assert logged_in(person.run("login", at=person.project))
    assert json.loads((own / "logins.json").read_text()) == listed


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_links_that_lead_nowhere_stop_no_login(person: Person) -> None:
    store = Path(person.meltanos_store.removeprefix("sqlite:///"))
    store.parent.mkdir(parents=True)
    store.symlink_to(store)
    assert logged_in(person.run("login", at=person.project))


def test_a_home_that_cannot_be_written_stops_no_login(person: Person) -> None:
    (person.home / ".local").write_text("a file")
    assert logged_in(person.run("login", plain=False, at=person.project))
    assert person.run("status", plain=False, at=person.project).returncode == 0


def test_the_list_is_for_this_user_only(person: Person) -> None:
    assert logged_in(person.run("login"))
    file = person.home / ".local/share/tap-sage-accounting/logins.json"
    assert file.stat().st_mode & 0o077 == 0
    assert person.sage.client_id not in file.read_text()


def test_what_a_login_says_next_uses_its_own_store(person: Person) -> None:
    assert "Next:\n  meltano run tap-sage-accounting <target>\n" in person.run("login", plain=False).stdout
    again = person.run("login", "--replace").stdout
    assert f"Next:\n  tap-sage-accounting --config {person.config} | <target>\n" in again
    assert token_requests(person.sage) == 2


def test_a_login_without_a_terminal_says_what_happened(person: Person) -> None:
    process = Program(
        [PROGRAMS / "tap-sage-accounting-login", "--config", person.config, "--no-browser"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=person.home,
        env={"HOME": str(person.home), "PATH": os.environ["PATH"]},
    )
    _, log = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert b"The input ended before an address was pasted, so nobody was logged in. Run this in a terminal" in log
    assert b"Aborted" not in log


@pytest.mark.slow
@pytest.mark.meltano
def test_the_command_that_is_named_works_in_a_project(person: Person) -> None:
    shutil.copy(ROOT / "meltano.yml", person.project)
    variables = {name: value for name, value in person.meltano.items() if name != "MELTANO_PROJECT_ROOT"}
    (person.project / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    assert logged_in(person.run("login", plain=False, at=person.project))
    [named] = re.findall(r"To use it, run `(.*?)`\.", person.run("status").stdout)
    done = subprocess.run(
        ["bash", "-c", named],
        cwd=person.home,
        env={
            "HOME": str(person.home),
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Token store: {person.meltanos_store}" in done.stdout


def test_nothing_of_another_store_is_changed(person: Person) -> None:
    assert logged_in(person.run("login", plain=False, at=person.project))
    before: dict[Path, Any] = {each: each.read_bytes() for each in person.project.rglob("*") if each.is_file()}
    for name in ("status", "doctor", "logout", "login"):
        person.run(name, at=person.project)
    assert {each: each.read_bytes() for each in person.project.rglob("*") if each.is_file()} == before


def first_token(person: Person, **changes: str) -> None:
    """Write a refresh token into the settings, as somebody does who got it elsewhere."""
    person.set(refresh_token=str(person.sage.tap_config()["refresh_token"]), **changes)


def test_a_first_token_that_another_store_has_used_is_not_sent_again(person: Person, tmp_path: Path) -> None:
    first_token(person)
    assert person.run("status").returncode == 0
    sent = token_requests(person.sage)
    first_token(person, token_store=f"sqlite:///{tmp_path}/moved.sqlite")
    done = person.run("status")
    assert done.returncode == 1
    assert "The refresh token of the settings was used before, and is not sent again." in done.stdout
    assert f"is in the token store {person.own_store}, last renewed at " in done.stdout
    assert token_requests(person.sage) == sent
    first_token(person)
    assert person.run("status").returncode == 0


def test_a_first_token_through_meltano_is_known_without_it(person: Person) -> None:
    first_token(person)
    person.settings["refresh_token"] = str(person.sage.tap_config()["refresh_token"])
    assert person.run("status", plain=False, at=person.project).returncode == 0
    sent = token_requests(person.sage)
    done = person.run("", at=person.project)
    assert done.returncode == 1
    assert "It began with the same token. To use it, run `meltano run tap-sage-accounting <target>`." in done.stdout
    assert token_requests(person.sage) == sent


def test_a_first_token_that_nobody_used_is_sent_beside_another_login(person: Person, tmp_path: Path) -> None:
    first_token(person)
    assert person.run("status").returncode == 0
    person.sage.grants._newest[person.sage.client_id] = RefreshGrant("pasted-refresh-token", "readonly", None)
    person.set(refresh_token="pasted-refresh-token", token_store=f"sqlite:///{tmp_path}/other.sqlite")
    assert person.run("status").returncode == 0


def test_a_copy_of_the_store_goes_on_with_the_first_token(person: Person, tmp_path: Path) -> None:
    first_token(person)
    assert person.run("status").returncode == 0
    copy = tmp_path / "copy.sqlite"
    shutil.copy(person.own_store.removeprefix("sqlite:///"), copy)
    first_token(person, token_store=f"sqlite:///{copy}")
    assert person.run("status").returncode == 0
