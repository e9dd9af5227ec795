from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import click
import pytest
import requests
from click.testing import CliRunner

from sage_sandbox.faults import Fault
from sage_sandbox.grants import REFRESH_TOKEN, Client
from sage_sandbox.server import SandboxServer
from sage_workbench.failing_stores import RestartablePostgres
from sage_workbench.small_sage import free_port, manager, small_world, store_at, token_requests
from support.browsers import Browser, allowing, command, consent, decide, denying
from support.presence import present
from tap_sage_accounting.auth import store as token_store
from tap_sage_accounting.auth.consent import ConsentRequest, page
from tap_sage_accounting.client import SageStream
from tap_sage_accounting.commands.login import login
from tap_sage_accounting.commands.logout import logout
from tap_sage_accounting.commands.status import status
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Lost = tuple[str, Callable[[], object], Callable[[], object]]

PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def sage() -> Iterator[SandboxServer]:
    with SandboxServer(small_world()) as server:
        yield server


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def redirect_uri() -> str:
    return f"http://127.0.0.1:{free_port()}/callback"


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    browser = Browser(monkeypatch)
    yield browser
    browser.close()


@pytest.fixture
def consenting(sage: SandboxServer, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start logins whose user consents at once."""
    settings = sage.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}", refresh_token=None)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({name: value for name, value in settings.items() if value is not None}))
    with ExitStack() as processes:

        def consenting() -> subprocess.Popen[str]:
            line = [str(PROGRAMS / "tap-sage-accounting-login"), "--config", str(file), "--no-browser"]
            login = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            processes.enter_context(login)
            processes.callback(login.kill)
            url = next(text for text in present(login.stdout) if text.startswith(sage.auth_url))
            present(login.stdin).write(f"{consent(url.strip())}\n")
            present(login.stdin).flush()
            return login

        yield consenting


def test_a_login_stores_tokens_that_a_run_then_uses(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str
) -> None:
    result = command(login, sage, tmp_path, redirect_uri=redirect_uri)
    assert result.exit_code == 0, result.output
    assert "They reach 2 businesses:" in result.output
    assert "Harbour Café (00000000000000000000000000000002)" in result.output
    assert "\nNext:\n  tap-sage-accounting | <target>\nRun it" in result.output
    assert_sentences_fit_a_terminal(result.output)
    assert "You are logged in" in browser.page

    asked = token_requests(sage)
    store = store_at(tmp_path)
    assert manager(sage, store, refresh_token=None).access_token()
    assert token_requests(sage) == asked == 1
    assert present(present(store.read(sage.client_id, None)).tokens).scope == "readonly"


def test_the_consent_is_requested_as_sage_documents(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str
) -> None:
    asked: list[dict[str, list[str]]] = []

    def look(url: str) -> requests.Response:
        asked.append(parse_qs(urlsplit(url).query))
        return allowing()(url)

    browser.use(look)
    options = ("--scope", "full_access", "--country", "gb")
    assert command(login, sage, tmp_path, *options, redirect_uri=redirect_uri).exit_code == 0
    (query,) = asked
    assert 43 <= len(query.pop("code_challenge")[0]) <= 128
    assert len(query.pop("state")[0]) >= 32
    assert query == {
        "filter": ["apiv3.1"],
        "response_type": ["code"],
        "client_id": [sage.client_id],
        "redirect_uri": [redirect_uri],
        "scope": ["full_access"],
        "code_challenge_method": ["S256"],
        "country": ["gb"],
    }


def test_of_two_logins_of_one_user_at_once_the_one_that_sage_keeps_is_stored(
    sage: SandboxServer, tmp_path: Path, consenting: Callable[[], subprocess.Popen[str]]
) -> None:
    sage.faults.add(Fault("token", "late", seconds=6))
    first = consenting()
    while sage.grants.newest_refresh_token() == REFRESH_TOKEN:
        time.sleep(0.05)
    second = consenting()
    assert (first.wait(60), second.wait(60)) == (0, 0)
    kept = present(store_at(tmp_path).read(sage.client_id, None))
    assert kept.tokens is not None
    assert kept.tokens.refresh_token == sage.grants.newest_refresh_token()


@pytest.mark.usefixtures("browser")
def test_a_login_with_a_configured_token_replaces_the_dead_one(
    sage: SandboxServer, tmp_path: Path, redirect_uri: str
) -> None:
    settings = {"redirect_uri": redirect_uri, "refresh_token": "spent-long-ago"}
    assert command(login, sage, tmp_path, **settings).exit_code == 0
    assert manager(sage, store_at(tmp_path), refresh_token="spent-long-ago").access_token()
    assert not sage.grants.refusals


def test_on_a_machine_without_a_browser_the_redirect_is_pasted(
    sage: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prompt(*_: object, **__: object) -> str:
        url = next(line for line in printed if line.startswith(sage.auth_url))
        with requests.Session() as session:
            return decide(url, "allow", session).headers["Location"]

    printed: list[str] = []
    genuine = click.echo

    def echo(text: str = "", **how: Any) -> None:
        printed.extend(str(text).split("\n"))
        genuine(text, **how)

    monkeypatch.setattr(click, "echo", echo)
    monkeypatch.setattr(click, "prompt", prompt)
    result = command(login, sage, tmp_path)
    assert result.exit_code == 0, result.output
    assert "within 60 seconds" in " ".join(result.output.split())
    assert manager(sage, store_at(tmp_path), refresh_token=None).access_token()


class Typist:
    """A user at a terminal without a browser, who pastes what the test makes of the right address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *changes: Callable[[str], str]) -> None:
        self.pasted: list[str] = []
        self._changes = list(changes)
        self._printed: list[str] = []
        genuine = click.echo

        def echo(text: str = "", **how: Any) -> None:
            self._printed.extend(str(text).split("\n"))
            genuine(text, **how)

        monkeypatch.setattr(click, "echo", echo)
        monkeypatch.setattr(click, "prompt", self._prompt)

    def _prompt(self, *_: object, **__: object) -> str:
        if not self.pasted:
            url = next(line for line in self._printed if "/oauth2/" in line)
            with requests.Session() as session:
                self._address = decide(url, "allow", session).headers["Location"]
        self.pasted.append(self._changes.pop(0)(self._address))
        return self.pasted[-1]


def assert_sentences_fit_a_terminal(output: str) -> None:
    """Check that each line fits 80 columns, but for those with an address or a command to copy."""
    long = [line for line in output.splitlines() if len(line) > 80]
    assert all(line.startswith(("  sqlite:////", "http://", "Address: ")) for line in long), long


def with_query(location: str, **changes: str) -> str:
    address = urlsplit(location)
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    return address._replace(query=urlencode({**query, **changes})).geturl()


def without_query(location: str) -> str:
    return urlsplit(location)._replace(query="").geturl()


def spoil_state(location: str) -> str:
    return with_query(location, state="of-another-login")


@pytest.mark.parametrize(
    "change",
    [
        lambda address: address[:-10],
        lambda address: address[: address.index("state=")],
        lambda address: address[: address.index("?")],
        lambda address: parse_qs(urlsplit(address).query)["code"][0],
        lambda _: "",
        lambda _: "http://[broken",
        spoil_state,
        lambda address: f"{without_query(address)}?error=access_denied",
        lambda address: f"{without_query(address)}?state={parse_qs(urlsplit(address).query)['state'][0]}",
    ],
)
def test_an_address_that_was_cut_off_or_is_another_can_be_pasted_again(
    sage: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]
) -> None:
    typist = Typist(monkeypatch, change, change, lambda address: f"  {address}\t")
    result = command(login, sage, tmp_path)
    assert result.exit_code == 0, result.output
    assert len(typist.pasted) == 3
    assert result.output.replace("\n", " ").count("Copy the whole address") == 2
    assert_sentences_fit_a_terminal(result.output)
    assert token_requests(sage) == 1
    assert manager(sage, store_at(tmp_path), refresh_token=None).access_token()


def test_an_input_that_ends_ends_the_login_without_a_traceback(sage: SandboxServer, tmp_path: Path) -> None:
    result = command(login, sage, tmp_path, "--no-browser", typed="GB/0123456789\n")
    assert result.exit_code == 1
    assert "Copy the whole address" in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
    assert token_requests(sage) == 0


def test_a_denial_that_was_pasted_with_the_right_state_ends_the_login(
    sage: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Typist(monkeypatch, lambda address: with_query(address, error="access_denied"))
    result = command(login, sage, tmp_path)
    assert result.exit_code == 1
    assert "Consent was denied" in result.output


# Callbacks that anybody can forge


@dataclass
class Visitor:
    """A page, or a program, that requests the callback's address while a login waits."""

    location: str

    def ask(self, path_and_query: str, method: str = "GET", **headers: str) -> requests.Response:
        address = urlsplit(self.location)
        url = f"{address.scheme}://{address.netloc}{path_and_query}"
        return requests.request(method, url, headers=headers, timeout=5, allow_redirects=False)

    @property
    def path(self) -> str:
        return urlsplit(self.location).path

    @property
    def right(self) -> str:
        return f"{self.path}?{urlsplit(self.location).query}"


def after(forge: Callable[[Visitor], None]) -> Callable[[str], requests.Response]:
    """Let somebody else come first, and the browser with Sage's redirect after them."""

    def visit(url: str) -> requests.Response:
        with requests.Session() as session:
            location = decide(url, "allow", session).headers["Location"]
            forge(Visitor(location))
            return session.get(location, timeout=5)

    return visit


def wrong_state(visitor: Visitor) -> None:
    for _ in range(3):
        assert visitor.ask(f"{visitor.path}?code=GB/forged&state=forged").status_code == 400
    assert visitor.ask(f"{visitor.path}?code=GB/forged").status_code == 400
    assert visitor.ask(f"{visitor.path}?state=%ff%fe&code=1").status_code == 400


def forged_error(visitor: Visitor) -> None:
    answer = visitor.ask(f"{visitor.path}?error=access_denied&error_description=%1b%5d0;owned%07<b>")
    assert answer.status_code == 400
    assert "owned" not in answer.text
    assert visitor.ask(f"{visitor.path}?error=server_error&state=forged").status_code == 400


def nothing_in_it(visitor: Visitor) -> None:
    assert visitor.ask(visitor.path).status_code == 400
    assert visitor.ask(f"{visitor.path}?").status_code == 400


def other_paths(visitor: Visitor) -> None:
    for path in ("/", "/favicon.ico", "/robots.txt", f"{visitor.path}/", "/%2e%2e/etc/passwd"):
        assert visitor.ask(f"{path}?{urlsplit(visitor.location).query}").status_code == 404


def other_methods(visitor: Visitor) -> None:
    for method in ("POST", "HEAD", "PUT", "OPTIONS", "DELETE", "BREW"):
        answer = visitor.ask(visitor.right, method)
        assert answer.status_code in {405, 501}, method
        assert "Access-Control-Allow-Origin" not in answer.headers


def other_hosts(visitor: Visitor) -> None:
    """A name that an attacker lets lead to this machine is not this machine's."""
    for host in ("evil.example.com", f"evil.example.com:{urlsplit(visitor.location).port}", "localhost.evil.com", ""):
        assert visitor.ask(visitor.right, Host=host).status_code == 400, host


def huge(visitor: Visitor) -> None:
    assert visitor.ask(f"{visitor.path}?code={'a' * 100_000}&state=forged").status_code in {400, 414}


def silent_connections(visitor: Visitor) -> None:
    address = urlsplit(visitor.location)
    for number in range(40):
        silent = socket.create_connection((address.hostname or "", address.port or 0))
        if number % 2:
            silent.sendall(f"GET {visitor.path}?state=".encode())
        STAYING.append(silent)


def vanishing(visitor: Visitor) -> None:
    """A client that resets its connection must not fill the terminal with tracebacks."""
    address = urlsplit(visitor.location)
    for _ in range(5):
        gone = socket.create_connection((address.hostname or "", address.port or 0))
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.sendall(f"GET {visitor.path}?state=forged HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        gone.close()


STAYING: list[socket.socket] = []
FORGERIES = [
    wrong_state,
    forged_error,
    nothing_in_it,
    other_paths,
    other_methods,
    other_hosts,
    huge,
    silent_connections,
    vanishing,
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_login_goes_on_waiting_whatever_others_send_to_its_address(
    sage: SandboxServer,
    tmp_path: Path,
    browser: Browser,
    redirect_uri: str,
    forge: Callable[[Visitor], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    browser.use(after(forge))
    result = command(login, sage, tmp_path, redirect_uri=redirect_uri)
    assert result.exit_code == 0, result.output
    assert "You are logged in" in browser.page
    assert token_requests(sage) == 1
    shown = result.output + "".join(capfd.readouterr())
    assert "Traceback" not in shown
    assert "forged" not in shown
    while STAYING:
        STAYING.pop().close()


def test_a_browser_that_hangs_up_before_it_sees_the_page_is_logged_in_all_the_same(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def visit(url: str) -> requests.Response:
        with requests.Session() as session:
            answer = decide(url, "allow", session)
        address = urlsplit(answer.headers["Location"])
        hasty = socket.create_connection((address.hostname or "", address.port or 0))
        hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        hasty.sendall(f"GET {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        hasty.close()
        return answer

    browser.use(visit)
    result = command(login, sage, tmp_path, "--timeout", "20", redirect_uri=redirect_uri)
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output + "".join(capfd.readouterr())


def test_callbacks_that_were_ignored_are_counted_when_no_right_one_comes(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str
) -> None:
    def visit(url: str) -> requests.Response:
        with requests.Session() as session:
            location = decide(url, "allow", session).headers["Location"]
        wrong_state(Visitor(location))
        return requests.get(spoil_state(location), timeout=5)

    browser.use(visit)
    result = command(login, sage, tmp_path, "--timeout", "2", redirect_uri=redirect_uri)
    assert result.exit_code == 1
    assert "do not belong to this login" in result.output
    assert "goes on waiting" in browser.page


def test_what_a_denial_says_reaches_no_terminal_raw(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str
) -> None:
    odd = {"error": "odd\x1b]0;title\x07", "error_description": "line\nLogged in.\x1b[2J<b>"}
    browser.use(allowing(lambda location: with_query(location, **odd)))
    result = command(login, sage, tmp_path, redirect_uri=redirect_uri)
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert "\nLogged in." not in result.output
    assert "odd\\x1b]0;title" in result.output
    assert "<b>" not in browser.page


def test_a_login_whose_callback_comes_at_the_last_moment_is_completed(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str
) -> None:
    sage.faults.add(Fault(path="token", what="slow", seconds=3))
    result = command(login, sage, tmp_path, "--timeout", "2", redirect_uri=redirect_uri)
    assert result.exit_code == 0, result.output
    assert "You are logged in" in browser.page


# Addresses of the callback


def test_the_callback_may_be_at_this_machines_ipv6_address(
    sage: SandboxServer, tmp_path: Path, browser: Browser
) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    result = command(login, sage, tmp_path, redirect_uri=f"http://[::1]:{port}/callback")
    assert result.exit_code == 0, result.output
    assert "You are logged in" in browser.page


@pytest.mark.usefixtures("browser")
@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://localhost:99999/callback",
        "http://localhost:-1/callback",
        "http://localhost:port/callback",
        "http://localhost:0/callback",
        "http://[::1/callback",
        "http:///callback",
        "localhost:8765/callback",
        "http://localhost:8765/call\nback",
    ],
)
def test_an_address_that_is_none_is_refused_in_words(sage: SandboxServer, tmp_path: Path, redirect_uri: str) -> None:
    result = command(login, sage, tmp_path, redirect_uri=redirect_uri)
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Setting 'redirect_uri' is no address" in result.output
    assert len(list(sage.requests)) == 0


@pytest.mark.parametrize(
    ("visit", "options", "complaint"),
    [
        (denying, (), "Consent was denied in the browser"),
        (allowing(), ("--country", "ca"), "Choose its country with --country"),
    ],
)
def test_a_consent_that_fails_says_so_in_the_browser_and_in_the_terminal(
    sage: SandboxServer,
    tmp_path: Path,
    browser: Browser,
    redirect_uri: str,
    visit: Any,
    options: tuple[str, ...],
    complaint: str,
) -> None:
    browser.use(visit)
    result = command(login, sage, tmp_path, *options, redirect_uri=redirect_uri)
    assert result.exit_code == 1
    assert complaint in result.output
    assert "run the login again" in result.output
    assert "Traceback" not in result.output
    assert "The login did not work" in browser.page
    assert complaint in browser.page
    assert store_at(tmp_path).read(sage.client_id, None) is None


def test_an_expired_code_ends_the_login_with_the_way_to_a_quicker_one(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str
) -> None:
    sage.faults.code_lifetime = 0
    result = command(login, sage, tmp_path, redirect_uri=redirect_uri)
    assert result.exit_code == 1
    assert "it is valid for 60 seconds" in result.output
    assert "it is valid for 60 seconds" in browser.page


def test_a_redirect_uri_that_is_not_registered_ends_with_the_place_to_register_it(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str
) -> None:
    sage.grants.clients[sage.client_id] = Client(
        sage.client_id, sage.client_secret, redirect_uris=("http://localhost:1/elsewhere",)
    )
    browser.use(lambda url: requests.get(url, timeout=60))
    result = command(login, sage, tmp_path, "--timeout", "0.15", redirect_uri=redirect_uri)
    assert result.exit_code == 1
    assert "register exactly the one of the setting 'redirect_uri'" in result.output
    assert "not registered" in browser.page


@pytest.mark.usefixtures("browser")
def test_a_taken_port_is_named_with_the_way_out(sage: SandboxServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = command(login, sage, tmp_path, redirect_uri=f"http://localhost:{port}/callback")
    assert result.exit_code == 1
    assert f"Port {port} is taken by another program" in result.output


@pytest.mark.usefixtures("browser")
def test_a_redirect_uri_on_another_machine_points_to_pasting(sage: SandboxServer, tmp_path: Path) -> None:
    result = command(login, sage, tmp_path, redirect_uri="https://app.example.com/callback")
    assert result.exit_code == 1
    assert "--no-browser" in result.output


def stopped_server(stack: ExitStack, _: Path) -> Lost:
    postgres = stack.enter_context(RestartablePostgres())
    return postgres.url, postgres.stop, postgres.start


def moved_file(tmp_path: Path, replace: Callable[[Path], object], undo: Callable[[Path], object]) -> Lost:
    file, elsewhere = tmp_path / "own.sqlite", tmp_path / "elsewhere.sqlite"

    def go() -> None:
        file.rename(elsewhere)
        replace(file)

    def come_back() -> None:
        undo(file)
        elsewhere.rename(file)

    return f"sqlite:///{file}", go, come_back


def directory_in_its_place(_: ExitStack, tmp_path: Path) -> Lost:
    return moved_file(tmp_path, lambda file: file.mkdir(), lambda file: file.rmdir())


def link_in_its_place(_: ExitStack, tmp_path: Path) -> Lost:
    return moved_file(tmp_path, lambda file: file.symlink_to(tmp_path / "x.sqlite"), lambda file: file.unlink())


@pytest.mark.postgres
@pytest.mark.parametrize("lose", [stopped_server, directory_in_its_place, link_in_its_place])
def test_a_store_that_is_gone_when_consent_was_given_costs_neither_the_code_nor_the_login_before(
    sage: SandboxServer,
    tmp_path: Path,
    browser: Browser,
    redirect_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    lose: Callable[[ExitStack, Path], Lost],
) -> None:
    monkeypatch.setattr(token_store, "STORE_PATIENCE", 0.5)
    with ExitStack() as stack:
        url, go, come_back = lose(stack, tmp_path)
        settings = {"token_store": url, "redirect_uri": redirect_uri}
        assert command(login, sage, tmp_path, **settings).exit_code == 0
        before = sage.grants.newest_refresh_token()
        browser.close()
        browser.use(allowing(lambda address: (go(), address)[1]))
        result = command(login, sage, tmp_path, **settings)
        assert result.exit_code == 1
        assert "cannot be used" in result.output
        assert sage.grants.newest_refresh_token() == before
        come_back()
        assert command(status, sage, tmp_path, **settings).exit_code == 0
        assert sage.grants.refusals == {}


def test_an_outage_at_sage_says_to_wait_for_ten_minutes(
    sage: SandboxServer, tmp_path: Path, browser: Browser, redirect_uri: str
) -> None:
    sage.faults.add(Fault(path="authorize", what="temporarily_unavailable"))

    def visit(url: str) -> requests.Response:
        return requests.get(url, timeout=60)

    browser.use(visit)
    result = command(login, sage, tmp_path, redirect_uri=redirect_uri)
    assert result.exit_code == 1
    assert "Wait ten minutes" in result.output
    assert "Wait ten minutes" in browser.page


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"client_secret": None}, "Setting 'client_secret' is missing"),
        ({"token_url": "http://oauth.example.com/token"}, "'token_url' must begin with https://"),
        ({"token_store": "tokens.sqlite"}, "'token_store' is no database URL"),
    ],
)
def test_wrong_settings_are_reported_before_anything_else(
    sage: SandboxServer, tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    result = command(login, sage, tmp_path, **settings)
    assert result.exit_code == 1
    assert complaint in result.output
    assert len(list(sage.requests)) == 0


def test_settings_come_from_the_environment_as_meltano_gives_them(
    sage: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sage.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}").items():
        monkeypatch.setenv(f"TAP_SAGE_ACCOUNTING_{name.upper()}", value)
    result = CliRunner().invoke(status, [])
    assert result.exit_code == 0, result.output


def unwrapped(output: str) -> str:
    """Join the lines of what was wrapped."""
    return re.sub(r"\n {4}", " ", output)


def test_status_says_who_what_and_until_when_without_a_secret(sage: SandboxServer, tmp_path: Path) -> None:
    settings = {"refresh_token": sage.refresh_token}
    manager(sage, store_at(tmp_path)).access_token()
    result = command(status, sage, tmp_path, **settings)
    assert result.exit_code == 0, result.output
    for line in (
        "User: Jane Example <jane@example.com>",
        "Scope: full_access",
        "Business Harbour Bakery (00000000000000000000000000000001): GB, Standard (paying)",
        "Business Harbour Café (00000000000000000000000000000002): IE, Plus (paying)",
    ):
        assert line in unwrapped(result.output)
    assert "Refresh token: dies at 20" in result.output
    lines = result.output.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("Token store: ")] == []
    refused = {line.strip() for line in unwrapped(result.output).splitlines() if "Will refuse" in line}
    assert any("(not in Standard)" in line and "stock_items" in line for line in refused)
    assert any("(needs rights in Journals)" in line and "ledger_entries" in line for line in refused)
    assert any("(needs rights in Bank)" in line and "bank_transfers" in line for line in refused)
    assert not any("sales_invoices" in line or "contacts" in line for line in refused)
    assert not [secret for secret in {*sage.issued_secrets, sage.client_secret} if secret in result.output]


def test_what_status_says_will_be_refused_is_what_sage_refuses(sage: SandboxServer, tmp_path: Path) -> None:
    tokens = manager(sage, store_at(tmp_path))
    result = command(status, sage, tmp_path, refresh_token=sage.refresh_token)
    assert result.exit_code == 0, result.output
    blocks = unwrapped(result.output).split("\nBusiness ")[1:]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {tokens.access_token()}"
    checked = 0
    for block, business_id in zip(blocks, sage.world.businesses, strict=True):
        said = {
            name
            for line in block.splitlines()
            if "Will refuse" in line
            for name in line.partition("): ")[2].split(", ")
        }
        for stream in TapSageAccounting(config=sage.tap_config(), validate_config=False).streams.values():
            assert isinstance(stream, SageStream)
            if not stream.per_business or stream.retired or stream.name in ("trial_balance", "deletions"):
                continue
            answer = session.get(f"{sage.api_url}/{stream.name}", headers={"X-Business": business_id}, timeout=60)
            assert (answer.status_code in (401, 403)) == (stream.name in said), stream.name
            checked += 1
    session.close()
    assert checked > 100


@pytest.mark.usefixtures("browser")
def test_names_at_sage_reach_no_terminal_raw(sage: SandboxServer, tmp_path: Path, redirect_uri: str) -> None:
    odd = "Acme\nRun finished\x1b]0;title\x07\u202e"
    sage.world.user |= {"displayed_as": odd, "email": odd}
    for each in sage.world.businesses.values():
        each.name = odd
        each.body |= {"displayed_as": odd, "name": odd, "country": {"id": odd}}
        each.body["subscriptions"][0]["status"] = odd
    logged_in = command(login, sage, tmp_path, redirect_uri=redirect_uri)
    shown = command(status, sage, tmp_path)
    for result in (logged_in, shown):
        assert result.exit_code == 0, result.output
        assert not [line for line in result.output.split("\n") if not line.isprintable()]
        assert "Acme\\nRun finished\\x1b]0;title" in result.output
        assert "\nRun finished" not in result.output


def test_status_without_a_login_names_the_command(sage: SandboxServer, tmp_path: Path) -> None:
    result = command(status, sage, tmp_path)
    assert result.exit_code == 1
    assert "tap-sage-accounting-login" in result.output


@pytest.mark.usefixtures("browser")
def test_logout_revokes_at_sage_and_forgets(sage: SandboxServer, tmp_path: Path, redirect_uri: str) -> None:
    assert command(login, sage, tmp_path, redirect_uri=redirect_uri).exit_code == 0
    assert sage.grants.newest_refresh_token() is not None
    result = command(logout, sage, tmp_path)
    assert result.exit_code == 0, result.output
    assert sage.grants.newest_refresh_token() is None
    assert store_at(tmp_path).read(sage.client_id, None) is None
    assert_sentences_fit_a_terminal(result.output)
    assert "nothing to revoke" in command(logout, sage, tmp_path).output


def test_a_logout_that_does_not_reach_sage_forgets_nothing(sage: SandboxServer, tmp_path: Path) -> None:
    manager(sage, store_at(tmp_path)).access_token()
    settings = {"refresh_token": sage.refresh_token, "client_secret": "wrong-client-secret"}
    result = command(logout, sage, tmp_path, **settings)
    assert result.exit_code == 1
    assert present(store_at(tmp_path).read(sage.client_id, sage.refresh_token)).tokens is not None


def test_the_page_escapes_its_texts_and_loads_nothing() -> None:
    shown = page("The login did not work", "<script>alert(1)</script>", good=False)
    assert "<script" not in shown
    assert "http" not in shown
    assert "src=" not in shown


def test_every_login_has_its_own_state_and_verifier() -> None:
    made = [
        ConsentRequest.new(
            auth_url="https://x/a?b=c", client_id="c", redirect_uri="http://localhost/cb", scope="readonly"
        )
        for _ in range(2)
    ]
    assert made[0].state != made[1].state
    assert made[0].verifier != made[1].verifier
    assert made[0].url.startswith("https://x/a?b=c&filter=apiv3.1&")
    assert not [each for each in made if each.verifier in each.url or each.verifier in repr(each)]
