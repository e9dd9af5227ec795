"""A storage host beside this Sage: it serves the content of attached files by signed addresses."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from base64 import b64encode
from email.utils import formatdate
from hashlib import sha256
from typing import TYPE_CHECKING

from starlette.responses import Response

from sage_sandbox.books import content_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sage_sandbox.faults import Faults
    from sage_sandbox.store import Body, World

STORAGE_PREFIX = "/storage/"
LIFETIME = 60
"""Seconds for which an address is good."""
_SIGNATURE = "X-Signature"


class Storage:
    """Signs addresses and serves what they lead to. It takes no other proof, as S3 does.

    Attributes:
        url: its base, without a slash at the end.
        visits: the headers of each request, with names in lower case.
        signatures: of all addresses so far; nobody may log one.
    """

    def __init__(self, world: World, faults: Faults) -> None:
        self.url = ""
        self.visits: list[Mapping[str, str]] = []
        self.signatures: set[str] = set()
        self._world = world
        self._faults = faults
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()

    def content(self, body: Body) -> bytes:
        """Return the content of an attachment, in the way that is switched on."""
        content = content_of(body)
        return b64encode(content) if self._faults.file_content == "base64" else content

    def sign(self, business: str, key: str) -> str:
        """Return the address of a file, good for a while."""
        expires = str(int(time.time()) + LIFETIME)
        signature = self._signature(business, key, expires)
        with self._lock:
            self.signatures.add(signature)
        return f"{self.url}{STORAGE_PREFIX}{business}/{key}?X-Expires={expires}&{_SIGNATURE}={signature}"

    def answer(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """Respond to a request, whose path begins with `STORAGE_PREFIX`."""
        with self._lock:
            self.visits.append({name.lower(): value for name, value in headers.items()})
        business, _, key = path.removeprefix(STORAGE_PREFIX).partition("/")
        expires = params.get("X-Expires", "")
        if "authorization" in headers:
            return refused_by_storage(400, "InvalidArgument")
        if not hmac.compare_digest(params.get(_SIGNATURE, ""), self._signature(business, key, expires)):
            return refused_by_storage(403, "SignatureDoesNotMatch")
        if int(expires) < time.time():
            return refused_by_storage(403, "AccessDenied")
        row = self._world.businesses[business].collection("attachments").rows.get(key)
        if row is None:
            return refused_by_storage(404, "NoSuchKey")
        body = row.render()
        kind = str(body.get("mime_type") or "binary/octet-stream")
        return Response(self.content(body), headers={"Date": formatdate(usegmt=True), "Content-Type": kind})

    def _signature(self, business: str, key: str, expires: str) -> str:
        return hmac.new(self._key, f"{business}/{key}?{expires}".encode(), sha256).hexdigest()


def refused_by_storage(status: int, code: str) -> Response:
    """Refuse a request as S3 does."""
    page = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return Response(page, status, {"Date": formatdate(usegmt=True)}, media_type="application/xml")
