from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from singer_sdk.exceptions import ConfigValidationError

from sage_sandbox.server import SandboxServer
from sage_workbench.small_sage import small_world
from tap_sage_accounting.transport.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Proxy:
    """A proxy that responds to everything itself, and keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._listening.accept()
                with connection:
                    self.requests.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except OSError:
            return

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_requests_to_this_machine_never_go_through_a_proxy(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    monkeypatch.setenv(variable, proxy.url)
    with SandboxServer(small_world()) as sage:
        url = f"{sage.api_url.replace('127.0.0.1', host)}/user"
        with open_session(url, "tests/1") as session:
            assert session.get(url, timeout=60).status_code == 401
    assert proxy.requests == []


def test_requests_to_this_machine_by_its_ipv6_address_never_go_through_a_proxy(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with open_session("http://[::1]:9/token", "tests/1") as session:
        assert not session.proxies


def test_requests_to_other_machines_go_through_the_proxy_of_the_environment(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with open_session("http://sage.invalid/user", "tests/1") as session:
        assert session.get("http://sage.invalid/user", timeout=60).status_code == 200
    (request,) = proxy.requests
    assert request.startswith(b"GET http://sage.invalid/user HTTP/1.1")


def test_hosts_that_the_environment_excludes_do_not_go_through_the_proxy(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "sage.invalid")
    with open_session("http://sage.invalid/user", "tests/1") as session:
        assert not session.proxies


def test_no_credentials_come_from_a_netrc_file(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with open_session("http://sage.invalid/user", "tests/1") as session:
        session.get("http://sage.invalid/user", timeout=60)
    assert b"authorization" not in proxy.requests[0].lower()


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("HTTPS_PROXY", "http://", "The proxy of the environment is no address"),
        ("HTTPS_PROXY", "http://proxy.example.com:port", "The proxy of the environment is no address"),
        ("ALL_PROXY", "http://[broken", "The proxy of the environment is no address"),
        ("ALL_PROXY", "ftp://proxy.example.com:21", "The proxy of the environment is no address"),
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem", "REQUESTS_CA_BUNDLE names certificates that are not there"),
        ("CURL_CA_BUNDLE", "/nowhere/ca\x1b[2J.pem", r"not there: '/nowhere/ca\\x1b\[2J.pem'"),
    ],
)
def test_an_environment_that_cannot_work_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigValidationError, match=complaint) as caught:
        open_session("https://sage.example.com/token", "tests/1")
    assert caught.value.errors == [str(caught.value)]
    assert "\n" not in str(caught.value)


def test_a_socks_proxy_without_its_package_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://proxy.example.com:1080")
    monkeypatch.setitem(sys.modules, "socks", None)  # as if it were not installed
    with pytest.raises(ConfigValidationError, match="needs the package 'PySocks'"):
        open_session("https://sage.example.com/token", "tests/1")


def test_certificates_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert open_session("https://sage.example.com/token", "tests/1").verify == str(bundle)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert open_session("https://sage.example.com/token", "tests/1").verify is True
