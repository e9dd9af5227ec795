"""Failed attempts at a request, classified by what may cure them."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus

import requests
import urllib3
from singer_sdk.exceptions import RetriableAPIError

from tap_sage_accounting.api.responses import UndecodableResponseError
from tap_sage_accounting.exceptions import UnreadableResponseError
from tap_sage_accounting.transport import adapter
from tap_sage_accounting.transport.adapter import DeadlineError, ResponseTooLargeError
from tap_sage_accounting.transport.faults import causes, retry_after, root_cause

CONNECT_TIMEOUT = 10.0
"""Seconds."""
READ_TIMEOUT = 120.0
"""Seconds between two bytes."""
FAULTS = (
    RetriableAPIError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    ResponseTooLargeError,
    UndecodableResponseError,
)
"""What is raised when an attempt fails."""
_HEAVY = frozenset({HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT, 524})
"""Statuses of a request that may be too large; 524 is a time limit of the network before Sage."""
_UNREACHABLE = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, 521, 522, 523, 525, 526, 530})
"""Statuses of a service that turns requests away, and of gateways that do not reach it."""
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")


class FaultKind(Enum):
    """What may cure a fault: another setting, time, a smaller request, or trying again."""

    SETUP = auto()
    UNREACHABLE = auto()
    HEAVY = auto()
    BROKEN = auto()


_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], FaultKind, str], ...] = (
    ((requests.exceptions.ProxyError,), FaultKind.UNREACHABLE, "the proxy did not connect: {cause}"),
    ((ssl.SSLCertVerificationError,), FaultKind.SETUP, "the TLS connection to {host} could not be made: {cause}"),
    ((ssl.SSLError,), FaultKind.BROKEN, "the TLS connection to {host} could not be made: {cause}"),
    ((DeadlineError,), FaultKind.HEAVY, "the response was not complete within {exchange:.0f} s"),
    ((ResponseTooLargeError,), FaultKind.HEAVY, "the response is larger than {size} MB"),
    ((requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError), FaultKind.HEAVY, "no response within {read:.0f} s"),
    (
        (UndecodableResponseError, requests.exceptions.ContentDecodingError),
        FaultKind.BROKEN,
        "the response could not be decompressed",
    ),
    ((requests.ConnectTimeout,), FaultKind.UNREACHABLE, "no connection to {host} within {connect:.0f} s"),
    (
        (urllib3.exceptions.NewConnectionError, ConnectionRefusedError),
        FaultKind.UNREACHABLE,
        "no connection to {host}: {cause}",
    ),
)
"""What an exception means, the most specific one first."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failed attempt.

    Attributes:
        kind: what may cure it.
        error: it, in words.
        wait: seconds to wait by `Retry-After`, None where Sage does not say.
    """

    kind: FaultKind
    error: RetriableAPIError
    wait: float | None = None


def fault_of(error: Exception, label: str, host: str) -> Fault:
    """Find out what may cure a failed attempt, which raised one of `FAULTS`."""
    if not isinstance(error, RetriableAPIError):
        kind, words = _transport_fault(error, host)
        return Fault(kind, RetriableAPIError(f"{label}: {words}."))
    if isinstance(error, UnreadableResponseError):
        return Fault(FaultKind.HEAVY, error)
    if error.response is None:
        return Fault(FaultKind.BROKEN, error)
    status = error.response.status_code
    kind = FaultKind.HEAVY if status in _HEAVY else FaultKind.BROKEN
    return Fault(FaultKind.UNREACHABLE if status in _UNREACHABLE else kind, error, retry_after(error.response.headers))


def _transport_fault(error: Exception, host: str) -> tuple[FaultKind, str]:
    """Name what happened on the way, without what was transported."""
    chain = list(causes(error))
    otherwise = (FaultKind.BROKEN, "the connection failed or broke off")
    meanings = ((kind, words) for kinds, kind, words in _MEANINGS if any(isinstance(each, kinds) for each in chain))
    kind, words = next(meanings, otherwise)
    cause = root_cause(error) or "no reason given"
    late = next((each for each in chain if isinstance(each, DeadlineError)), None)
    if (refused := _TUNNEL_REFUSED.search(cause)) and int(refused[1]) < HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = FaultKind.SETUP
    return kind, words.format(
        host=host,
        cause=cause,
        connect=CONNECT_TIMEOUT,
        read=READ_TIMEOUT,
        exchange=late.args[0] if late else 0.0,
        size=adapter.LARGEST_RESPONSE >> 20,
    )
