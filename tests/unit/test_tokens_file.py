"""The token store's file: the user's own, or refused, and nobody else's is touched."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.presence import present
from tap_sage_accounting.auth.store import TokenStore
from tap_sage_accounting.exceptions import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIDECARS = ("-wal", "-shm", "-journal")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def check(path: Path) -> None:
    TokenStore(f"sqlite:///{path}").check()


def link(path: Path) -> Path:
    target = path.with_name("of-somebody-else")
    target.write_text("precious")
    path.symlink_to(target)
    return target


def dangling_link(path: Path) -> Path:
    path.symlink_to(path.with_name("nothing"))
    return path.parent


def hard_link(path: Path) -> Path:
    target = path.with_name("of-somebody-else")
    target.touch(mode=0o644)
    path.hardlink_to(target)
    return target


def directory(path: Path) -> Path:
    path.mkdir(mode=0o755)
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path, 0o644)
    return path


def unix_socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as listening, ExitStack() as back:
        back.callback(os.chdir, Path.cwd())
        os.chdir(path.parent)  # its own path may be too long for a socket
        listening.bind(path.name)
    path.chmod(0o755)
    return path


ODD = [
    (link, "is a symbolic link: name the file that it leads to"),
    (dangling_link, "is a symbolic link"),
    (hard_link, "has several names"),
    (directory, "is a directory: name a file in it"),
    (pipe, "is no regular file"),
    (unix_socket, "is no regular file"),
]


@pytest.mark.parametrize(("make", "complaint"), ODD)
def test_what_is_no_file_of_this_users_is_refused_and_not_changed(
    make: Callable[[Path], Path], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.sqlite"
    touched = make(path)
    mode, names = mode_of(touched), sorted(tmp_path.iterdir())
    with pytest.raises(TokenStoreError, match=complaint):
        check(path)
    assert mode_of(touched) == mode
    assert sorted(tmp_path.iterdir()) == names


@pytest.mark.parametrize("ending", SIDECARS)
@pytest.mark.parametrize(("make", "complaint"), ODD)
def test_what_stands_beside_the_file_must_be_this_users_own_too(
    make: Callable[[Path], Path], complaint: str, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokens.sqlite"
    check(path)
    beside = path.with_name(path.name + ending)
    beside.unlink(missing_ok=True)
    touched = make(beside)
    mode = mode_of(touched)
    with pytest.raises(TokenStoreError, match=complaint):
        check(path)
    assert mode_of(touched) == mode


def not_a_database(path: Path) -> Path:
    path.write_text("no database" * 100)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(("make", "complaint"), [*ODD, (not_a_database, "file is not a database")])
def test_a_claim_that_cannot_be_taken_is_named_before_a_token_is_spent(
    make: Callable[[Path], Path], complaint: str, tmp_path: Path
) -> None:
    store = TokenStore(f"sqlite:///{tmp_path / 'tokens.sqlite'}")
    store.check()
    with store.locked("client", "refresh-token") as held:
        assert present(held).claim()
    (claim,) = tmp_path.glob("*claim*")
    claim.unlink()
    touched = make(claim)
    mode = mode_of(touched)
    with store.locked("client", "refresh-token") as held, pytest.raises(TokenStoreError, match=complaint) as caught:
        present(held).claim()
    assert claim.name in str(caught.value)
    assert mode_of(touched) == mode


@pytest.mark.parametrize("ending", ["", *SIDECARS])
def test_a_file_that_others_could_read_is_closed_to_them(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens.sqlite"
    check(path)
    open_to_all = path.with_name(path.name + ending)
    open_to_all.touch()
    open_to_all.chmod(0o644)
    check(path)
    assert not open_to_all.exists() or mode_of(open_to_all) == 0o600


@pytest.fixture
def of_another_user(tmp_path: Path) -> Iterator[Path]:
    """A file that is somebody else's; an ordinary user can make none, but there are some."""
    if os.geteuid() == 0:
        path = tmp_path / "tokens.sqlite"
        path.touch(mode=0o644)
        os.chown(path, 54321, 54321)
        yield path
    else:
        yield Path("/etc/hostname")


def test_a_file_of_another_user_is_refused_and_not_changed(of_another_user: Path) -> None:
    before = of_another_user.stat()
    with pytest.raises(TokenStoreError, match=r"belongs to another user \(uid \d+\)"):
        check(of_another_user)
    after = of_another_user.stat()
    assert (after.st_mode, after.st_uid, after.st_size) == (before.st_mode, before.st_uid, before.st_size)


def test_a_directory_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "volume")
    check(tmp_path / "link" / "tokens.sqlite")
    assert mode_of(tmp_path / "volume" / "tokens.sqlite") == 0o600


@pytest.mark.parametrize(
    ("mode", "is_warned_of"), [(0o700, False), (0o755, False), (0o777, True), (0o1777, True), (0o702, True)]
)
def test_a_directory_that_others_may_write_to_is_warned_of_and_not_changed(
    mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_warned_of: bool
) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(mode)
    check(directory / "tokens.sqlite")
    assert (f"may write to the directory {directory}, and replace the token store" in caplog.text) == is_warned_of
    assert mode_of(directory) == mode


def test_a_directory_that_a_group_may_write_to_is_warned_of_unless_the_group_is_the_users_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o770)
    check(directory / "tokens.sqlite")
    is_own = directory.stat().st_gid == os.geteuid()
    assert ("may write to the directory" in caplog.text) != is_own
    for group in set(os.getgroups()) - {os.geteuid()}:
        caplog.clear()
        os.chown(directory, -1, group)
        directory.chmod(0o770)
        check(directory / "tokens.sqlite")
        assert "may write to the directory" in caplog.text


def test_a_missing_directory_is_made_for_this_user_only(tmp_path: Path) -> None:
    check(tmp_path / "one" / "two" / "tokens.sqlite")
    assert mode_of(tmp_path / "one" / "two") == 0o700


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    store = TokenStore("sqlite:///~/tokens.sqlite")
    store.check()
    assert (tmp_path / "home" / "tokens.sqlite").is_file()
    assert not (tmp_path / "~").exists()
    assert store.place == f"sqlite:///{tmp_path}/home/tokens.sqlite"


def test_the_home_of_nobody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TokenStoreError, match="begins with the home of an unknown user"):
        TokenStore("sqlite:///~no-such-user/tokens.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_is_shown_as_the_one_that_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert TokenStore("sqlite:///tokens.sqlite").place == f"sqlite:///{tmp_path}/tokens.sqlite"


@pytest.mark.parametrize("name", ["tok\0ens.sqlite", "tok\nens.sqlite", "tok\x1b[2Jens.sqlite"])
def test_a_name_with_control_characters_is_no_url(name: str, tmp_path: Path) -> None:
    with pytest.raises(TokenStoreError, match="is no database URL"):
        TokenStore(f"sqlite:///{tmp_path}/{name}")


def test_a_name_that_is_too_long_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TokenStoreError, match="cannot be used"):
        check(tmp_path / ("t" * 300))
