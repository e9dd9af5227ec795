"""Files that Sage redirects to: fetched from the hosts that have them, to which nothing of Sage's goes along.

An address of such a file is signed: who has it has the file. It reaches no log and no message; its host does.
"""

from __future__ import annotations

import logging
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

import requests
from singer_sdk.exceptions import ConfigValidationError

from tap_sage_accounting.api import faults
from tap_sage_accounting.api.faults import FAULTS, fault_of
from tap_sage_accounting.api.responses import ACCEPTED, read_file
from tap_sage_accounting.exceptions import UnreadableResponseError
from tap_sage_accounting.printable import printable
from tap_sage_accounting.transport.adapter import BoundedAdapter
from tap_sage_accounting.transport.session import open_session, proxies_to
from tap_sage_accounting.transport.urls import is_loopback, parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO
    from urllib.parse import SplitResult

MOST_REDIRECTS = 3
"""Redirects that are followed, within Sage's host and again from the first other one."""
TOO_MANY = f"redirects more than {MOST_REDIRECTS} times."
_HOSTS = 4
"""Hosts to which connections are kept open."""
_PORTS = {"http": 80, "https": 443}


class StoredFile(NamedTuple):
    """What a host that has a file sent: the headers, and the beginning of the file."""

    headers: Mapping[str, str]
    beginning: bytes


class FileHosts:
    """Fetches files from other hosts than Sage's; safe to use from any thread.

    Every fault is an `UnreadableResponseError`: it is the file's own, says nothing of Sage, and another attempt begins
    at Sage, which signs another address.

    Args:
        api_url: base of Sage's API. Files come over HTTPS; where the API is on this machine, over HTTP from here, too.
        user_agent: how requests introduce themselves.
        connections: TCP connections kept open to a host at most.
    """

    def __init__(self, api_url: str, user_agent: str, connections: int) -> None:
        self._sage = urlsplit(api_url)
        self._session = open_session(api_url, user_agent)
        self._session.headers.update({"Accept": "*/*", "Accept-Encoding": ACCEPTED})
        self._session.proxies = {}  # those for each address
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        adapter = BoundedAdapter(pool_connections=_HOSTS, pool_maxsize=connections, pool_block=True)
        for scheme in _PORTS:
            self._session.mount(f"{scheme}://", adapter)

    def is_sages(self, url: str) -> bool:
        """Return whether an address is at the very host of the API."""
        return _origin(urlsplit(url)) == _origin(self._sage)

    def target(self, response: requests.Response, label: str) -> str:
        """Return where a response redirects to.

        Raises:
            UnreadableResponseError: no file may come from there.
        """
        try:
            location = self._session.get_redirect_target(response) or ""
            address = parse_address(urljoin(response.url, location)) if location else None
        except ValueError:
            address = None
        if address is None or address.username is not None or not self._is_safe(address):
            raise UnreadableResponseError(f"{label}: Sage redirects to no address that a file may come from.")
        return address.geturl()

    def _is_safe(self, address: SplitResult) -> bool:
        if address.scheme == "http":
            return self._sage.scheme == "http" and is_loopback(address.hostname or "")
        return address.scheme == "https"

    def fetch(self, url: str, file: IO[bytes], label: str) -> StoredFile:
        """Fetch a file, in the place of what `file` holds.

        Raises:
            UnreadableResponseError: it did not come.
            OSError: `file` cannot be written.
        """
        # It logs addresses, also in warnings.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        for _ in range(1 + MOST_REDIRECTS):
            host = printable(urlsplit(url).hostname or "")
            try:
                response = self._session.get(
                    url,
                    timeout=(faults.CONNECT_TIMEOUT, faults.READ_TIMEOUT),
                    allow_redirects=False,
                    stream=True,
                    proxies=proxies_to(url),
                )
                if response.status_code == requests.codes.ok:
                    return StoredFile(response.headers, read_file(response, file))
                response.close()
            except ConfigValidationError as error:
                raise UnreadableResponseError(f"{label}: {error}") from None
            except FAULTS as failure:
                raise UnreadableResponseError(str(fault_of(failure, label, host).error)) from None
            if not response.is_redirect:
                status = printable(f"{response.status_code} {response.reason or ''}".strip())
                raise UnreadableResponseError(f"{label}: {host}, to which Sage redirects, answered {status}.")
            url = self.target(response, label)
        raise UnreadableResponseError(f"{label}: {host}, to which Sage redirects, {TOO_MANY}")

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port or _PORTS.get(address.scheme)
