"""A fault between this machine and Sage is reported in one line that names the cause and shows no secret."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from singer_sdk.exceptions import ConfigValidationError

from sage_sandbox.books import content_of
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.attached_files import attach, first
from sage_workbench.plain_books import List, plain_world
from tap_sage_accounting.exceptions import NoWayToSageError, ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    world = plain_world(businesses=2)
    for business in world.businesses.values():
        List(world, business, "contacts").fill(3)
    with SandboxServer(world) as running:
        yield running


class Listener:
    """A server that counts who comes."""

    def __init__(self, context: ssl.SSLContext | None = None, answer: bytes = b"") -> None:
        self.visits = 0
        self.heard = b""
        self._context = context
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.visits += 1
            try:
                with connection, self._dressed(connection) as talk:
                    self.heard += talk.recv(65536)
                    talk.sendall(self._answer)
            except OSError:
                continue

    def _dressed(self, connection: socket.socket) -> socket.socket:
        if self._context is None:
            return connection
        # The handshake comes with the first byte, when the socket is sure to be closed whatever happens.
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextmanager
def listening(**options: Any) -> Iterator[Listener]:
    found = Listener(**options)
    try:
        yield found
    finally:
        found.close()


def key_usage(*, signs: bool) -> x509.KeyUsage:
    """What a key is for. Python 3.13 and newer accept no authority that does not say so."""
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    no = dict.fromkeys((*others, "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, crl_sign=signs, **no)


def certificate(
    directory: Path, name: str, *, days: int = 1, host: str = "127.0.0.1", issuer: tuple[Any, Any] | None = None
) -> tuple[Any, Any]:
    """Make a certificate and its key, as files and as objects."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signing_key = issuer or (None, key)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 30 * DAY)
        .not_valid_after(NOW + days * DAY)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
        .add_extension(key_usage(signs=issuer is None), critical=True)
        .sign(signing_key, hashes.SHA256())
    )
    (directory / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


def context_of(directory: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / f"{name}.pem", directory / f"{name}.key")
    return context


# Certificates


@pytest.mark.parametrize(
    ("options", "is_signed", "cause"),
    [
        ({}, False, "self-signed certificate"),
        ({"days": -1}, True, "certificate has expired"),
        ({"host": "127.0.0.9"}, True, "mismatch"),
    ],
    ids=["self-signed", "expired", "of another host"],
)
def test_a_certificate_that_is_not_accepted_ends_the_run_at_once_and_is_named(
    server: SandboxServer,
    run_tap: RunTap,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    cause: str,
    *,
    is_signed: bool,
) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", issuer=authority if is_signed else None, **options)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with listening(context=context_of(tmp_path, "server")) as sage:
        run = run_tap("contacts", api_url=f"https://127.0.0.1:{sage.port}/v3.1", patience=60)
    assert isinstance(run.error, NoWayToSageError)
    message = str(run.error)
    assert message.startswith("list of businesses, page 1: the TLS connection to 127.0.0.1 could not be made: ")
    assert cause in message
    assert message.endswith("Check the certificates and proxies of this machine.")
    assert sage.visits == 1
    assert sage.heard == b""
    assert server.requests.of("businesses") == []


def test_a_certificate_that_the_environment_trusts_is_accepted(
    run_tap: RunTap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", issuer=authority)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    refusal = b"HTTP/1.1 503 Busy\r\nRetry-After: 7200\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with listening(context=context_of(tmp_path, "server"), answer=refusal) as sage:
        run = run_tap("contacts", api_url=f"https://127.0.0.1:{sage.port}/v3.1", patience=60)
    assert "run again after" in str(run.error)
    assert b"Authorization: Bearer" in sage.heard


def test_a_server_that_speaks_no_tls_is_named(run_tap: RunTap) -> None:
    with listening(answer=b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as sage:
        run = run_tap("contacts", api_url=f"https://127.0.0.1:{sage.port}/v3.1")
    assert "the TLS connection to 127.0.0.1 could not be made: " in str(run.error)
    assert "Bearer" not in sage.heard.decode("latin-1")


# The way there


def test_a_name_that_nobody_knows_is_named(run_tap: RunTap) -> None:
    run = run_tap("contacts", api_url="https://sage.invalid/v3.1", patience=0)
    assert isinstance(run.error, ServiceUnavailableError)
    assert "page 1: no connection to sage.invalid: " in str(run.error)
    assert any(word in str(run.error) for word in ("not known", "resolution", "nodename"))


def test_a_refused_connection_is_named(run_tap: RunTap) -> None:
    with listening() as gone:
        pass
    run = run_tap("contacts", api_url=f"http://127.0.0.1:{gone.port}/v3.1", patience=0)
    assert isinstance(run.error, ServiceUnavailableError)
    assert "page 1: no connection to 127.0.0.1: Connection refused." in str(run.error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (b"407 Proxy Authentication Required", NoWayToSageError),
        (b"403 Forbidden", NoWayToSageError),
        (b"502 Bad Gateway", ServiceUnavailableError),
    ],
)
def test_a_proxy_that_refuses_is_named(
    run_tap: RunTap, monkeypatch: pytest.MonkeyPatch, status: bytes, kind: type[Exception]
) -> None:
    with listening(answer=b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret-word@127.0.0.1:{proxy.port}")
        run = run_tap("contacts", api_url="https://sage.example/v3.1", patience=0)
    assert isinstance(run.error, kind)
    assert "the proxy did not connect: " in str(run.error)
    assert status[:3].decode() in str(run.error)
    assert proxy.heard.startswith(b"CONNECT sage.example:443 ")
    assert b"Bearer" not in proxy.heard
    assert "secret-word" not in str(run.error) + "".join(run.log)
    if kind is NoWayToSageError:
        assert proxy.visits == 1


def test_a_proxy_that_is_not_there_is_named(run_tap: RunTap, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as gone:
        pass
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{gone.port}")
    run = run_tap("contacts", api_url="https://sage.example/v3.1", patience=0)
    assert isinstance(run.error, ServiceUnavailableError)
    assert "the proxy did not connect: Connection refused." in str(run.error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_requests_to_this_machine_use_no_proxy(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with listening(answer=b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        run = run_tap("contacts", api_url=server.api_url.replace("127.0.0.1", host))
    assert run.error is None
    assert len(run.records["contacts"]) == 6
    assert proxy.visits == 0


@pytest.mark.parametrize("entry", ["default", "machine 127.0.0.1"])
def test_a_password_file_is_not_looked_into(
    run_tap: RunTap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    (tmp_path / ".netrc").write_text(f"{entry} login somebody password something\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    run = run_tap("contacts")
    assert run.error is None
    assert len(run.records["contacts"]) == 6


# Files that another host has


def attached(server: SandboxServer, host: str) -> tuple[str, bytes]:
    """Attach a file that Sage redirects to a host for; return its SHA-256 and the host's response with it."""
    attach(first(server.world), 1)
    server.faults.add(Fault("attachments/*/file", 302, by="nobody", location=f"https://{host}/it?sign=1", times=None))
    content = content_of(next(iter(first(server.world).collection("attachments").rows.values())).render())
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return sha256(content).hexdigest(), head.encode() + content


@pytest.mark.parametrize("is_trusted", [True, False])
def test_the_certificate_of_a_host_of_files_decides_about_these_only(
    server: SandboxServer, run_tap: RunTap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_trusted: bool
) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", issuer=authority if is_trusted else None)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    digest, answer = attached(server, "127.0.0.1:1")
    with listening(context=context_of(tmp_path, "server"), answer=answer) as host:
        server.faults.script[0].location = f"https://127.0.0.1:{host.port}/it?sign=1"
        run = run_tap("attachments", "contacts", attachments_url=f"file://{tmp_path}/files")
    [record] = run.records["attachments"]
    assert len(run.records["contacts"]) == 6
    if is_trusted:
        assert record["file_sha256"] == digest
        assert host.heard.startswith(b"GET /it?sign=1 HTTP/1.1")
        assert b"bearer" not in host.heard.lower()
    else:
        assert record["file_status"] == "failed"
        assert not isinstance(run.error, NoWayToSageError)
        assert any("could not be made: certificate not accepted: self-signed" in line for line in run.log)
        assert host.heard == b""


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"403 Forbidden", b"502 Bad Gateway"])
def test_a_proxy_that_leads_to_no_host_of_files_ends_no_run(
    server: SandboxServer, run_tap: RunTap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    attached(server, "storage.example")
    with listening(answer=b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret-word@127.0.0.1:{proxy.port}")
        run = run_tap("attachments", "contacts", attachments_url=f"file://{tmp_path}/files")
    assert run.records["attachments"][0]["file_status"] == "failed"
    assert len(run.records["contacts"]) == 6
    assert str(run.error).startswith("1 read failed (attachments). ")
    assert any("the proxy did not connect: " in line for line in run.log)
    assert proxy.heard.startswith(b"CONNECT storage.example:443 ")
    assert "secret-word" not in str(run.error) + "".join(run.log)


# What is sent


@pytest.mark.parametrize("name", ["client_id", "client_secret", "refresh_token", "user_agent"])
@pytest.mark.parametrize("spoil", ["{}\n", " {}", "{}\r\nX-Business: other", "{}\0", "{}\x1b[0m"])
def test_settings_that_would_break_a_request_are_refused_without_being_shown(
    server: SandboxServer, run_tap: RunTap, name: str, spoil: str
) -> None:
    with pytest.raises(ConfigValidationError) as refused:
        run_tap("contacts", **{name: spoil.format("abcdefgh")})
    [problem] = refused.value.errors
    assert problem.startswith(f"Setting '{name}' holds a line break")
    assert "abcdefgh" not in problem
    assert len(server.requests) == 0


def test_a_user_agent_that_no_header_carries_is_refused(server: SandboxServer, run_tap: RunTap) -> None:
    with pytest.raises(ConfigValidationError) as refused:
        run_tap("contacts", user_agent="Łódź Books")
    assert refused.value.errors == [
        "Setting 'user_agent' must consist of Latin-1 characters: HTTP headers have no others."
    ]
    assert len(server.requests) == 0
    assert run_tap("contacts", user_agent="Café Books").error is None


def test_business_ids_that_would_break_a_request_are_refused(run_tap: RunTap) -> None:
    with pytest.raises(ConfigValidationError) as refused:
        run_tap("contacts", business_ids=["a" * 32, "b\nX-Other: c"])
    [problem] = refused.value.errors
    assert problem.startswith("Setting 'business_ids[1]' holds a line break")


@pytest.mark.parametrize("odd", ["b\r\nX-Other: c", "b\u20ac", "b\0"])
def test_a_business_whose_id_cannot_be_sent_fails_alone(server: SandboxServer, run_tap: RunTap, odd: str) -> None:
    business = next(iter(server.world.businesses.values()))
    business.body["id"] = odd
    run = run_tap("contacts")
    assert run.error is not None
    [failed] = run.tap.report.failed
    assert "cannot be sent in a header" in failed.reason
    assert len(run.records["contacts"]) == 3
