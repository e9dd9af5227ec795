"""Checks of addresses that secrets are sent to."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from singer_sdk.exceptions import ConfigValidationError


def require_safe_url(url: str, setting: str) -> None:
    """Refuse an address to which secrets would travel unencrypted; loopback is allowed.

    Raises:
        ConfigValidationError: it is no URL, or neither HTTPS nor on this machine.
    """
    try:
        address = urlsplit(url)
        host = address.hostname or ""
        has_port = address.port != 0
    except ValueError:
        host, has_port = "", False
    if not host or not has_port or address.scheme not in ("http", "https") or not url.isprintable():
        raise ConfigValidationError(f"Setting '{setting}' is no web address: write it like https://host/path.")
    if address.username or address.password:
        raise ConfigValidationError(f"Setting '{setting}' must not hold a user name or a password.")
    if address.scheme != "https" and not is_loopback(host):
        raise ConfigValidationError(
            f"Setting '{setting}' must begin with https://, because secrets are sent there; http:// is accepted only "
            "for this machine (localhost, 127.0.0.1)."
        )


def is_loopback(host: str) -> bool:
    """Check whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
