"""The cause of a transport fault, without what was transported."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from tap_sage_accounting.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_CAUSE = 160
"""Characters; a proxy's message can be long."""


def root_cause(error: BaseException) -> str:
    """Return the system's or TLS's message of the deepest cause: `Connection refused`; "" where there is none."""
    message = ""
    for each in causes(error):
        message = _message_of(each) or message
    return printable(message[:LONGEST_CAUSE])


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, down to the deepest one."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        yield following
        seen.add(id(following))
        inner = (getattr(following, "reason", None), *following.args, following.__cause__, following.__context__)
        following = next((each for each in inner if isinstance(each, BaseException)), None)


def _message_of(error: BaseException) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate not accepted: {error.verify_message}"
        case ssl.SSLError(reason=str() as reason):
            return reason.replace("_", " ").lower()
        case OSError(strerror=str() as message):
            return message
        case OSError(args=(str() as message,)):
            return message
        case _:
            return ""
