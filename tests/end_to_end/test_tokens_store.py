from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from cryptography.fernet import Fernet

from sage_workbench.embedded_postgres import postgres_server
from support.presence import present
from tap_sage_accounting.auth import database as token_database
from tap_sage_accounting.auth import usage_table
from tap_sage_accounting.auth.address import StoreAddress, default_store_url
from tap_sage_accounting.auth.database import LIBPQ_DEFAULTS, Connection, DatabaseError, connect
from tap_sage_accounting.auth.store import TokenStore
from tap_sage_accounting.auth.tokens import Tokens, fingerprint
from tap_sage_accounting.exceptions import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tap_sage_accounting.auth.held_family import UnsavedTokens

CLIENT = "some-client/app"
SEED = "first-refresh-token"


def tokens(number: int, user: str = "user-1") -> Tokens:
    return Tokens(
        access_token=f"access-token-{number}",
        refresh_token=f"refresh-token-{number}",
        issued_at=datetime(2026, 6, 30, 18, tzinfo=UTC) + timedelta(minutes=number),
        lifetime=timedelta(seconds=300),
        refresh_lifetime=timedelta(days=31),
        scope="readonly",
        requested_by_id=user,
    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this test run."""
    with postgres_server() as url:
        yield url.replace("postgresql+psycopg://", "postgresql://")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tokens.sqlite'}"
    name = f"tokens_{tmp_path.name.lower()[-20:]}_{time.monotonic_ns()}".replace("-", "_")
    server = request.getfixturevalue("postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return str(urlsplit(server)._replace(path=f"/{name}").geturl())


def opened(url: str, **options: Any) -> TokenStore:
    store = TokenStore(url, **options)
    store.check()
    return store


def gone(problem: str) -> Callable[[Connection], None]:
    def fail(_: Connection) -> None:
        raise DatabaseError(sqlite3.OperationalError(problem))

    return fail


def save(store: TokenStore, number: int, configured: str | None = SEED) -> None:
    with store.locked(CLIENT, configured) as held:
        present(held).save(tokens(number))


@pytest.mark.postgres
def test_what_was_saved_is_read_back_to_the_letter(url: str) -> None:
    save(opened(url), 1)
    family = present(opened(url).read(CLIENT, SEED))
    assert family.tokens == tokens(1)
    assert family.refresh_token == "refresh-token-1"
    assert (family.source, family.refused_at, family.answer_lost_at) == ("settings", None, None)


@pytest.mark.postgres
def test_a_family_that_nobody_began_is_not_there(url: str) -> None:
    store = opened(url)
    assert store.read(CLIENT, SEED) is None
    with store.locked(CLIENT, None) as held:
        assert held is None


@pytest.mark.postgres
def test_nothing_is_kept_of_a_hold_that_saved_nothing(url: str) -> None:
    store = opened(url)
    with store.locked(CLIENT, SEED) as held:
        assert present(held).family.refresh_token == SEED
    assert store.read(CLIENT, SEED) is None
    save(store, 1)


@pytest.mark.postgres
def test_one_holder_at_a_time_and_each_sees_what_the_last_one_saved(url: str) -> None:
    inside = 0
    seen: list[str] = []

    def renew(number: int) -> None:
        nonlocal inside
        with opened(url).locked(CLIENT, SEED) as held:
            inside += 1
            assert inside == 1
            seen.append(present(held).family.refresh_token)
            time.sleep(0.01)
            inside -= 1
            present(held).save(tokens(number))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(renew, range(12)))
    assert len(set(seen)) == 12
    assert seen[0] == SEED


@pytest.mark.postgres
def test_waiting_for_another_holder_has_a_limit_and_a_clear_message(url: str) -> None:
    store = opened(url)
    save(store, 1)
    hasty = TokenStore(url, lock_wait=timedelta(seconds=0.1))
    refusal = pytest.raises(TokenStoreError, match=r"stayed locked for more than 0 s.*End that")
    with store.locked(CLIENT, SEED), refusal, hasty.locked(CLIENT, SEED):
        pytest.fail("two holders at once")


@pytest.mark.postgres
def test_the_first_use_of_a_seed_is_exclusive_too(url: str) -> None:
    store = opened(url)
    hasty = TokenStore(url, lock_wait=timedelta(seconds=0.1))
    with store.locked(CLIENT, SEED) as held:
        with pytest.raises(TokenStoreError, match="stayed locked"), hasty.locked(CLIENT, SEED):
            pytest.fail("two holders at once")
        present(held).save(tokens(1))
    with hasty.locked(CLIENT, SEED) as held:
        assert present(held).family.refresh_token == "refresh-token-1"


@pytest.mark.postgres
def test_readers_do_not_wait_for_a_holder(url: str) -> None:
    store = opened(url)
    save(store, 1)
    with store.locked(CLIENT, SEED):
        assert present(TokenStore(url, lock_wait=timedelta(seconds=0.1)).read(CLIENT, SEED)).tokens == tokens(1)


@pytest.mark.postgres
def test_a_refused_token_is_remembered_until_new_ones_come(url: str) -> None:
    store = opened(url)
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    save(store, 1)
    with store.locked(CLIENT, SEED) as held:
        present(held).conclude(refused_at=moment)
    assert present(store.read(CLIENT, SEED)).refused_at == moment
    store.keep_login(CLIENT, SEED, tokens(2))
    assert present(store.read(CLIENT, SEED)).refused_at is None


@pytest.mark.postgres
def test_a_login_continues_the_family_of_the_settings(url: str) -> None:
    store = opened(url)
    save(store, 1)
    store.keep_login(CLIENT, SEED, tokens(2))
    assert present(store.read(CLIENT, SEED)).tokens == tokens(2)
    assert store.read(CLIENT, None) is None


@pytest.mark.postgres
def test_the_newest_login_counts_and_replaces_the_same_users_older_one(url: str) -> None:
    store = opened(url)
    store.keep_login(CLIENT, None, tokens(1, "user-1"))
    store.keep_login(CLIENT, None, tokens(2, "user-2"))
    store.keep_login(CLIENT, None, tokens(3, "user-1"))
    assert present(store.read(CLIENT, None)).tokens == tokens(3, "user-1")
    with store.locked(CLIENT, None) as held:
        present(held).forget()
    assert present(store.read(CLIENT, None)).tokens == tokens(2, "user-2")
    assert store.read("another-client/app", None) is None


def renew(store: TokenStore, number: int) -> UnsavedTokens | None:
    with store.locked(CLIENT, SEED) as held:
        assert present(held).announce(datetime.now(UTC) + timedelta(minutes=2))
        return present(held).renew(tokens(number))


@pytest.mark.postgres
def test_a_database_that_went_away_during_the_request_gets_the_tokens_afterwards(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(url)
    save(store, 1)
    genuine = Connection.commit
    with store.locked(CLIENT, SEED) as held, monkeypatch.context() as broken:
        assert present(held).announce(datetime.now(UTC) + timedelta(minutes=2))
        broken.setattr(Connection, "commit", gone("disk full\nparameters: refresh-token-1"))
        unsaved = present(present(held).renew(tokens(2)))
        assert not unsaved.save()
        assert "disk full" in str(unsaved.problem)
        assert "refresh-token-1" not in str(unsaved.problem)
    assert Connection.commit is genuine
    assert unsaved.save()
    assert present(opened(url).read(CLIENT, SEED)).tokens == tokens(2)


@pytest.mark.postgres
def test_a_late_save_does_not_undo_a_later_rotation(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = opened(url), opened(url)
    save(store, 1)
    with store.locked(CLIENT, SEED) as held, monkeypatch.context() as broken:
        broken.setattr(Connection, "commit", gone("disk full"))
        unsaved = present(present(held).renew(tokens(3)))
    save(other, 2)
    assert unsaved.save()
    assert present(store.read(CLIENT, SEED)).tokens == tokens(2)


@pytest.mark.postgres
def test_several_runs_may_make_the_table_at_once(url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: opened(url), range(6)))
    save(opened(url), 1)


@pytest.mark.postgres
def test_runs_see_what_others_of_their_application_published_not_long_ago(url: str) -> None:
    tables = [opened(url).usage_table(client) for client in (CLIENT, CLIENT, "another")]
    with ExitStack() as stack:
        for number, table in enumerate(tables):
            stack.callback(table.close)
            table.publish(f"run {number}", "before")
            table.publish(f"run {number}", f"usage {number}")
        assert tables[0].read("run 0") == {"run 1": "usage 1"}
        assert tables[2].read("run 2") == {}
        age(url, "run 1", seconds=usage_table.SILENCE + 2)
        assert tables[0].read("run 0") == {}
        age(url, "run 1", seconds=-3600)
        assert tables[0].read("run 0") == {}, "it ended before the clock was set back"


@pytest.mark.postgres
def test_what_runs_of_yesterday_published_is_deleted(url: str) -> None:
    for number in range(2):
        with closing(opened(url).usage_table(CLIENT)) as table:
            table.publish(f"run {number}", "usage")
            age(url, f"run {number}", seconds=usage_table.DAY * (2 - number) - 60)
    opened(url).usage_table(CLIENT).close()
    assert published(url) == ["run 1"]


def test_a_run_whose_name_is_no_text_is_not_seen(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tokens.sqlite'}"
    with closing(opened(url).usage_table(CLIENT)) as table, closing(usage_database(url)) as database:
        table.publish("a run", "usage")
        database.execute(f"UPDATE {usage_table.TABLE} SET run = x'ff'")
        assert table.read("another") == {}


def test_what_runs_publish_waits_for_no_token_and_no_token_for_it(tmp_path: Path) -> None:
    store = opened(f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    with closing(store.usage_table(CLIENT)) as table, store.locked(CLIENT, SEED):
        table.publish("a run", "usage")
        assert table.read("another") == {"a run": "usage"}


def usage_database(url: str) -> Any:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///") + usage_table.ENDING, isolation_level=None)
    return psycopg.connect(url, autocommit=True)


def age(url: str, run: str, seconds: int) -> None:
    with closing(usage_database(url)) as connection:
        connection.execute(f"UPDATE {usage_table.TABLE} SET published = published - {seconds} WHERE run = '{run}'")


def published(url: str) -> list[str]:
    with closing(usage_database(url)) as connection:
        return [run for (run,) in connection.execute(f"SELECT run FROM {usage_table.TABLE}").fetchall()]


def raw(url: str, *columns: str) -> list[Any]:
    """What the database itself holds of the one row."""
    query = f"SELECT {', '.join(columns)} FROM tap_sage_accounting_tokens"
    driver = sqlite3.connect(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else psycopg.connect(url)
    with closing(driver) as connection:
        (row,) = connection.execute(query).fetchall()
    return list(row)


def raw_tokens(url: str) -> list[str]:
    return raw(url, "refresh_token", "access_token")


@pytest.mark.postgres
def test_tokens_at_rest_are_encrypted_and_keys_can_be_rotated(url: str) -> None:
    save(opened(url), 1)
    assert raw_tokens(url) == ["refresh-token-1", "access-token-1"]
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()

    first = opened(url, encryption_keys=[old])
    assert present(first.read(CLIENT, SEED)).tokens == tokens(1)
    save(first, 2)
    assert not [stored for stored in raw_tokens(url) if "token-2" in stored]

    both = opened(url, encryption_keys=[new, old])
    assert present(both.read(CLIENT, SEED)).tokens == tokens(2)
    save(both, 3)
    assert present(opened(url, encryption_keys=[new]).read(CLIENT, SEED)).tokens == tokens(3)

    with pytest.raises(TokenStoreError, match="No key of 'token_store_key' opens"):
        opened(url, encryption_keys=[old]).read(CLIENT, SEED)
    with pytest.raises(TokenStoreError, match="are encrypted: set 'token_store_key'"):
        opened(url).read(CLIENT, SEED)


@pytest.mark.postgres
def test_another_tenant_with_another_key_does_not_disturb(url: str) -> None:
    ours = opened(url, encryption_keys=[Fernet.generate_key().decode()])
    theirs = opened(url, encryption_keys=[Fernet.generate_key().decode()])
    save(ours, 1)
    save(theirs, 2, configured="another-refresh-token")
    assert present(ours.read(CLIENT, SEED)).tokens == tokens(1)
    assert present(theirs.read(CLIENT, "another-refresh-token")).tokens == tokens(2)


def test_a_key_that_is_none_is_refused_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TokenStoreError, match=r"32 bytes in URL-safe base64.*generate_key"):
        TokenStore(f"sqlite:///{tmp_path}/t", encryption_keys=["too-short"])


def test_the_file_and_its_directory_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tokens.sqlite"
    opened(f"sqlite:///{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "tokens.sqlite"
    path.touch(mode=0o644)
    opened(f"sqlite:///{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_spent_token_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    store = opened(f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    save(store, 1)
    save(store, 2)
    content = (tmp_path / "tokens.sqlite").read_bytes()
    assert b"refresh-token-2" in content
    assert b"refresh-token-1" not in content


def test_commits_are_durable(tmp_path: Path) -> None:
    with closing(
        connect(StoreAddress.parse(f"sqlite:///{tmp_path / 'tokens.sqlite'}"), timedelta(seconds=1))
    ) as connection:
        connection.begin()
        found = {
            name: connection.execute(f"PRAGMA {name}")[0][name]
            for name in ("synchronous", "journal_mode", "fullfsync", "secure_delete")
        }
    assert found == {"synchronous": 2, "journal_mode": "wal", "fullfsync": 1, "secure_delete": 1}


def test_sqlite_takes_its_write_lock_before_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "tokens.sqlite"
    with opened(f"sqlite:///{path}").locked(CLIENT, SEED):
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("tokens.sqlite", "is no database URL. Write it like sqlite:////"),
        ("mysql://host/db", "must name SQLite or PostgreSQL, not 'mysql'"),
        ("sqlite://", "names no file"),
        ("sqlite://tokens/tokens.sqlite", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://somebody:pass@word@host/db", "is no database URL"),
        ("postgresql+pg8000://host/db", "needs a database driver that is not installed"),
    ],
)
def test_urls_that_cannot_work_are_refused_with_what_would(url: str, complaint: str) -> None:
    with pytest.raises(TokenStoreError, match=complaint):
        TokenStore(url)


@pytest.mark.parametrize(
    ("url", "place", "expected"),
    [
        (
            "postgres://jane%40corp:p%2Fs/w:1@[::1]:6543/books?sslmode=require&connect_timeout=3",
            "postgres://jane%40corp:***@[::1]:6543/books",
            {
                "user": "jane@corp",
                "password": "p/s/w:1",
                "host": "::1",
                "port": "6543",
                "dbname": "books",
                "sslmode": "require",
                "connect_timeout": "3",
            },
        ),
        (
            "postgresql+psycopg://jane@db.example/books",
            "postgresql+psycopg://jane@db.example/books",
            {"user": "jane", "host": "db.example", "dbname": "books"},
        ),
        (
            "postgresql:///books?host=/run/postgresql&password=hunter2&options=-c+search_path=sage",
            "postgresql:///books",
            {
                "dbname": "books",
                "host": "/run/postgresql",
                "password": "hunter2",
                "options": "-c search_path=sage",
            },
        ),
    ],
)
def test_every_part_of_a_server_address_reaches_the_driver_and_no_password_is_shown(
    url: str, place: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(**options: Any) -> None:
        assert options.pop("autocommit")
        asked.append({name: value for name, value in options.items() if LIBPQ_DEFAULTS.get(name) != value})
        raise psycopg.OperationalError("nobody there")

    asked: list[dict[str, str]] = []
    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    store = TokenStore(url)
    with pytest.raises(TokenStoreError, match="nobody there"):
        store.check()
    assert (store.place, asked) == (place, [expected])


EARLIER_TABLE = """
CREATE TABLE tap_sage_accounting_tokens (
    client_id VARCHAR NOT NULL,
    lineage VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    seeds TEXT NOT NULL,
    refresh_token TEXT NOT NULL,
    refresh_fingerprint VARCHAR NOT NULL,
    access_token TEXT,
    issued_at {moment},
    lifetime_seconds FLOAT,
    refresh_lifetime_seconds FLOAT,
    scope VARCHAR,
    requested_by_id VARCHAR,
    created_at {moment} NOT NULL,
    refused_at {moment},
    answer_lost_at {moment},
    PRIMARY KEY (client_id, lineage)
)
"""


@pytest.mark.postgres
def test_a_table_of_an_earlier_version_goes_on_in_its_own_form(url: str) -> None:
    """An earlier version made and wrote the table through a library that chose the form of moments."""
    sqlite = url.startswith("sqlite")
    row = [CLIENT, fingerprint(SEED), "settings", fingerprint(SEED), "refresh-token-1", fingerprint("refresh-token-1")]
    zone = "" if sqlite else "+00:00"
    row += ["access-token-1", f"2026-06-30 18:01:00.000000{zone}", "300", "2678400", "readonly", "user-1"]
    row += [f"2026-05-01 09:30:00.250000{zone}"]
    driver = sqlite3.connect(url.removeprefix("sqlite:///")) if sqlite else psycopg.connect(url)
    with closing(driver) as connection:
        connection.execute(EARLIER_TABLE.format(moment="DATETIME" if sqlite else "TIMESTAMP WITH TIME ZONE"))
        values = ", ".join([f"'{value}'" for value in row] + ["NULL", "NULL"])
        connection.execute(f"INSERT INTO tap_sage_accounting_tokens VALUES ({values})")
        connection.commit()

    store = opened(url)
    family = present(store.read(CLIENT, SEED))
    assert family.tokens == tokens(1)
    assert family.created_at == datetime(2026, 5, 1, 9, 30, 0, 250000, tzinfo=UTC)
    save(store, 2)
    assert present(store.read(CLIENT, SEED)).tokens == tokens(2)
    moments = ["2026-06-30 18:02:00.000000", "2026-05-01 09:30:00.250000"]
    aware = [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in moments]
    assert raw(url, "issued_at", "created_at", "refused_at") == [*(moments if sqlite else aware), None]


@pytest.mark.postgres
def test_a_store_that_cannot_be_opened_is_refused_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TokenStoreError, match=r"cannot be used.*Check the setting 'token_store'"):
        TokenStore(f"sqlite:///{tmp_path / 'file' / 'tokens.sqlite'}").check()
    (tmp_path / "file").write_text("this is no database, and has been none for a long time")
    with pytest.raises(TokenStoreError, match="file is not a database"):
        TokenStore(f"sqlite:///{tmp_path / 'file'}").check()
    nowhere = TokenStore("postgres://somebody:hunter2-password@127.0.0.1:9/tokens")
    with pytest.raises(TokenStoreError, match="cannot be used") as caught:
        nowhere.check()
    assert "hunter2-password" not in str(caught.value) + nowhere.place


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; run as another user to test this")
def test_a_store_that_cannot_be_written_is_refused_before_a_token_is_spent(tmp_path: Path) -> None:
    opened(f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    (tmp_path / "tokens.sqlite").chmod(0o400)
    with pytest.raises(TokenStoreError, match="is not writable"):
        TokenStore(f"sqlite:///{tmp_path / 'tokens.sqlite'}").check()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MELTANO_PROJECT_ROOT": "/project"}, "/project/.meltano/tap-sage-accounting/tokens.sqlite"),
        (
            {"MELTANO_PROJECT_ROOT": "/project", "MELTANO_SYS_DIR_ROOT": "/elsewhere"},
            "/elsewhere/tap-sage-accounting/tokens.sqlite",
        ),
        ({"XDG_DATA_HOME": "/home/jane/data"}, "/home/jane/data/tap-sage-accounting/tokens.sqlite"),
    ],
)
def test_tokens_live_with_the_meltano_project_or_with_the_user(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MELTANO_PROJECT_ROOT", "MELTANO_SYS_DIR_ROOT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_store_url() == f"sqlite:///{expected}"


@pytest.mark.postgres
def test_a_holder_whose_machine_went_away_is_cut_off_by_the_server(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_database, "LOST_HOLDER", timedelta(seconds=0.2))
    store = opened(postgres)
    with store.locked("lost-holder", SEED) as held:
        waiting = threading.Event()
        renewed: list[str] = []

        def wait_for_it() -> None:
            waiting.set()
            with opened(postgres).locked("lost-holder", SEED) as next_holder:
                renewed.append(present(next_holder).family.refresh_token)

        thread = threading.Thread(target=wait_for_it)
        thread.start()
        waiting.wait(60)
        thread.join(60)
        assert renewed == [SEED]
        # The holder was only slow: what it got is stored all the same.
        unsaved = present(present(held).renew(tokens(1)))
    assert unsaved.save()
    assert present(opened(postgres).read("lost-holder", SEED)).tokens == tokens(1)
