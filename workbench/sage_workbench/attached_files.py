"""Files that are attached in the books of a simulated Sage, and what a run stored of them."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from sage_sandbox.books import content_of
from sage_sandbox.store import Row
from sage_workbench.plain_books import LONG_AGO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sage_sandbox.server import SandboxServer
    from sage_sandbox.store import Business, World

Record = dict[str, Any]
PDF = "application/pdf"


def attach(business: Business, number: int, **attributes: Any) -> str:
    """Attach a file; return its id."""
    key = str(attributes.pop("id", UUID(int=number)))
    at = LONG_AGO + timedelta(hours=number)
    body = {
        "id": key,
        "displayed_as": f"Scan {number}",
        "$path": f"/attachments/{key}",
        "mime_type": PDF,
        "file_extension": ".pdf",
        "file_name": f"scan {number}.pdf",
        "file_size": 1000 + number,
        "$file_path": f"/attachments/{key}/file",
        **attributes,
    }
    business.collection("attachments").add(Row(key, body, at, at))
    return key


def first(world: World) -> Business:
    return next(iter(world.businesses.values()))


def in_books(world: World) -> dict[tuple[str, str], str]:
    """The SHA-256 of every file in the books, by business and id."""
    return {
        (business.id, row.id): sha256(content_of(row.render())).hexdigest()
        for business in world.businesses.values()
        for row in business.collection("attachments").rows.values()
    }


def stored(records: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The SHA-256 of what is stored where records point to, by business and id; each must be what its record says."""
    found = {}
    for record in records:
        if record["file_url"] is None:
            assert (record["file_sha256"], record["file_status"]) != (None, "stored")
            continue
        digest = sha256(Path(urlsplit(record["file_url"]).path).read_bytes()).hexdigest()
        assert digest == record["file_sha256"]
        assert record["file_status"] == "stored"
        found[record["business_id"], record["id"]] = digest
    return found


def asked_for(server: SandboxServer) -> list[str]:
    """The ids whose files were requested, in order."""
    paths = (request.path for request in server.requests.of("attachments"))
    return [path.split("/")[-2] for path in paths if path.endswith("/file")]


def files_in(directory: Path) -> set[str]:
    """The files that are stored below a directory, relative to it."""
    paths = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.parts[0] != ".parts"}
