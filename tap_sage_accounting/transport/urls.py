"""Addresses that requests go to, and secrets with them."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from singer_sdk.exceptions import ConfigValidationError


def parse_address(url: str) -> SplitResult | None:
    """Return the parts of an address that has a scheme, a host and no impossible port; None where it has not."""
    try:
        address = urlsplit(url)
        is_whole = bool(address.scheme and address.hostname) and address.port != 0 and url.isprintable()
    except ValueError:
        return None
    return address if is_whole else None


def require_safe_url(url: str, setting: str) -> None:
    """Refuse an address to which secrets would travel unencrypted; loopback is allowed.

    Raises:
        ConfigValidationError: it is no URL, or neither HTTPS nor on this machine.
    """
    address = parse_address(url)
    if address is None or address.scheme not in ("http", "https"):
        raise ConfigValidationError(f"Setting '{setting}' is no web address: write it like https://host/path.")
    if address.username or address.password:
        raise ConfigValidationError(f"Setting '{setting}' must not hold a user name or a password.")
    if address.scheme != "https" and not is_loopback(address.hostname or ""):
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
