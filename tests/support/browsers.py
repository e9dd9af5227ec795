"""Login commands in this process, and the browser of somebody who decides as a test says."""

from __future__ import annotations

import json
import threading
import webbrowser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import requests
from click.testing import CliRunner, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from sage_sandbox.server import SandboxServer


def command(
    which: Any, sage: SandboxServer, tmp_path: Path, *options: str, typed: str | None = None, **settings: Any
) -> Result:
    """Run a command with a settings file, as a user would."""
    ours = {"token_store": f"sqlite:///{tmp_path / 'tokens.sqlite'}", "refresh_token": None}
    config = sage.tap_config(**{**ours, **settings})
    path = tmp_path / "config.json"
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return CliRunner().invoke(which, ["--config", str(path), *options], input=typed)


def decide(url: str, decision: str, session: requests.Session) -> requests.Response:
    """Press a button on the consent page; stop at the address that Sage then sends the browser to."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    address = urlsplit(url)._replace(query="").geturl()
    return session.post(address, data={**query, "decision": decision}, timeout=60, allow_redirects=False)


def consent(url: str) -> str:
    """Allow on the consent page; return the address that Sage sends the browser to."""
    with requests.Session() as session:
        return decide(url, "allow", session).headers["Location"]


class Browser:
    """A browser whose user does what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pages: list[str] = []
        self._threads: list[threading.Thread] = []
        self._visit: Callable[[str], requests.Response] = allowing()
        monkeypatch.setenv("BROWSER", "replaced-by-the-test")
        monkeypatch.setattr(webbrowser, "open", self._open)

    def use(self, visit: Callable[[str], requests.Response]) -> None:
        self._visit = visit

    @property
    def page(self) -> str:
        """The page that the user ended on."""
        self.close()
        (page,) = self._pages
        return page

    def close(self) -> None:
        for thread in self._threads:
            thread.join(5)

    def _open(self, url: str) -> bool:
        self._threads.append(threading.Thread(target=lambda: self._pages.append(self._visit(url).text)))
        self._threads[-1].start()
        return True


def allowing(change: Callable[[str], str] = str) -> Callable[[str], requests.Response]:
    def visit(url: str) -> requests.Response:
        with requests.Session() as session:
            location = decide(url, "allow", session).headers["Location"]
            return session.get(change(location), timeout=60)

    return visit


def denying(url: str) -> requests.Response:
    with requests.Session() as session:
        return session.get(decide(url, "deny", session).headers["Location"], timeout=60)
