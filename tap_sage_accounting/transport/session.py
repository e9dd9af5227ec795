"""Sessions that take proxies and certificates from the environment, and nothing else.

`requests` by itself also takes credentials from `~/.netrc`, and sends requests to loopback addresses through a proxy.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy
from singer_sdk.exceptions import ConfigValidationError
from typing_extensions import override

from tap_sage_accounting.transport.urls import is_loopback, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator

_CA_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


class _Session(requests.Session):
    """A session that does not look where redirects lead: that would read their bodies, and fail on odd addresses."""

    @override
    def resolve_redirects(self, *_: object, **__: object) -> Iterator[Any]:
        return iter(())


def open_session(url: str, user_agent: str) -> requests.Session:
    """Open a session for requests to the server of a URL.

    The environment is read here, once, and not for each request.

    Raises:
        ConfigValidationError: the environment names a proxy or certificates that cannot be used.
    """
    session = _Session()
    session.trust_env = False
    session.headers.update({"User-Agent": user_agent, "Accept": "application/json"})
    session.proxies = proxies_to(url)
    session.verify = _ca_bundle() or True
    return session


def proxies_to(url: str) -> dict[str, str]:
    """Return the environment's proxies; check the one for a URL. Nothing goes to this machine through one.

    Raises:
        ConfigValidationError: it cannot be used.
    """
    if is_loopback(urlsplit(url).hostname or ""):
        return {}
    proxies = get_environ_proxies(url)
    proxy = select_proxy(url, proxies)
    if not proxy:
        return proxies
    # As `requests` reads it: a proxy without a scheme is an HTTP proxy.
    address = parse_address(proxy if "://" in proxy else f"http://{proxy}")
    if address is None or address.scheme not in _PROXY_SCHEMES:
        raise _unusable("The proxy of the environment is no address. Write HTTPS_PROXY like http://host:port.")
    if address.scheme.startswith("socks") and find_spec("socks") is None:
        raise _unusable("The proxy of the environment is a SOCKS proxy, which needs the package 'PySocks': install it.")
    return proxies


def _ca_bundle() -> str | None:
    """Return the environment's file, or directory, of certificates."""
    for variable in _CA_BUNDLE_VARIABLES:
        if path := os.environ.get(variable):
            if not Path(path).exists():
                raise _unusable(f"{variable} names certificates that are not there: {path!a}. Correct or unset it.")
            return path
    return None


def _unusable(problem: str) -> ConfigValidationError:
    return ConfigValidationError(problem, errors=[problem])
