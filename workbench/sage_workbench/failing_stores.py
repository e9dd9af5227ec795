"""Token stores that fail: a full disk, a server that is stopped, a connection that goes dark."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import ssl
import struct
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sage_demo.postgres import DATABASE, USER, Postgres, make_scratch
from sage_demo.supervision import supervised
from sage_workbench.embedded_postgres import place_for_postgres, put_new_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def full_disk(pid: int, *, room: int = 0) -> Iterator[None]:
    """Let a process write to no file beyond so many bytes, as on a full disk."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux limits the files of another process")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


class RestartablePostgres:
    """A PostgreSQL server that tests stop and start, always at the same address."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        directory = self._stack.enter_context(place_for_postgres())
        put_new_database(directory)
        self._scratch = make_scratch()
        environment = self._stack.enter_context(supervised(self._scratch, follow_parent=False))
        self._postgres = Postgres(directory, environment)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._stack.close()

    @property
    def socket(self) -> str:
        return f"{self._scratch}/.s.PGSQL.5432"

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self._scratch))}"

    def start(self) -> None:
        self._running.enter_context(self._postgres.running(self._scratch))

    def stop(self) -> None:
        self._running.close()


class DarkProxy:
    """A way to a PostgreSQL server over TCP, which can stop forwarding without closing anything.

    Args:
        target: the server's socket.
        host: where to listen.
        tls: encrypts what comes in, where clients want that.
    """

    def __init__(self, target: str, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._host = host
        self._tls = tls
        self._is_dark = threading.Event()
        self._listening = socket.create_server((host, 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@{self._host}:{self._listening.getsockname()[1]}/{DATABASE}"

    def go_dark(self) -> None:
        """Forward nothing from now on, also of what connects later."""
        self._is_dark.set()

    def lighten(self) -> None:
        """Forward again: what connects from now on."""
        self._is_dark.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        was_dark = self._is_dark.is_set()
        if self._tls is not None:
            client = encrypted(client, self._tls)
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            if was_dark:
                threading.Event().wait(600)
            server.connect(self._target)
            other = {client: server, server: client}
            while True:
                pending = [client] if isinstance(client, ssl.SSLSocket) and client.pending() else []
                for ready in pending or select.select(list(other), [], [], 0.05)[0]:
                    if self._is_dark.is_set():
                        threading.Event().wait(600)  # a connection that went dark does not come back
                    data = ready.recv(65536)
                    if not data:
                        return
                    other[ready].sendall(data)


def encrypted(client: socket.socket, tls: ssl.SSLContext) -> socket.socket:
    """Agree to a client's wish for TLS, as PostgreSQL does."""
    length, wish = struct.unpack("!ii", client.recv(8))
    assert (length, wish) == (8, 80877103)
    client.sendall(b"S")
    return tls.wrap_socket(client, server_side=True)


def self_signed(directory: Path) -> ssl.SSLContext:
    """Make a certificate for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    file = directory / "server.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
