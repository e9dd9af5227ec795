"""The errors of the tap, and how Sage's error responses are translated into them.

    SyncError                           of the Singer SDK
    ├── FatalSyncError                  ends the run
    │   ├── AuthorizationError          no valid token; the classes of `auth` derive from it
    │   │   └── TokenStoreError
    │   │       └── StoreUnavailableError
    │   ├── BatchError
    │   ├── NoRoomError
    │   ├── RunOverError
    │   │   ├── RetryAfterTooLongError
    │   │   ├── ServiceUnavailableError
    │   │   └── NoWayToSageError
    │   └── FatalAPIError               ends the read of one list
    │       ├── SettingsError
    │       ├── RefusedRunError
    │       ├── UndeliverableError
    │       ├── KeylessRecordError
    │       ├── FileStoreError
    │       ├── MissingFilesError
    │       ├── IncompleteRunError
    │       └── RetriesExhaustedError
    │           └── RequestTooLargeError
    ├── SkippableAPIError               skips one list of one business
    │   ├── RightsError
    │   ├── EditionError
    │   └── NotFoundError
    │       └── RecordNotFoundError
    └── RetriableAPIError               repeats the request
        ├── TokenRejectedError
        ├── RateLimitedError
        ├── ForeignResponseError
        └── MalformedResponseError
            └── UnreadableResponseError

Sage sends errors as a JSON array of `{"$severity", "$dataCode", "$message", "$source"}`, or as a single such object.
Only a body of this form decides about rights, editions and records. Firewalls, proxies and gateways respond with 403
and 404 too, with HTML, with JSON of their own or with nothing. Such a response is a fault that may pass.

Of a body, only the code and the message reach an error, if short: errors contain no customers' data.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.exceptions import FatalAPIError, FatalSyncError, RetriableAPIError, SkippableAPIError

from tap_sage_accounting.printable import printable
from tap_sage_accounting.transport.faults import retry_after

if TYPE_CHECKING:
    import requests

LONGEST_MESSAGE = 200
"""Characters; a longer text is no message, and may hold data."""
RECORD_NOT_FOUND = "RecordNotFound"
"""Sage's documented `$dataCode` for an unknown id."""
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY)
"""Statuses below 500 after which the same request may succeed another time."""


class SettingsError(FatalAPIError):
    """A setting does not fit the user's businesses, or this tap."""


class RightsError(SkippableAPIError):
    """The user's role in this business does not let them read this object."""


class EditionError(SkippableAPIError):
    """The business's edition, country or subscription does not offer this object."""


class NotFoundError(SkippableAPIError):
    """Sage does not offer this object or record (404)."""


class RecordNotFoundError(NotFoundError):
    """Sage knows no such record; only this error means that a record is gone."""


class RefusedRunError(FatalAPIError):
    """Sage refused everything that the run needed."""


class AuthorizationError(FatalSyncError):
    """No valid token can be had."""


class BatchError(FatalSyncError):
    """A file of records could not be written; no state may follow its rows."""


class TokenStoreError(AuthorizationError):
    """The token store cannot be used; the message says what to change."""


class StoreUnavailableError(TokenStoreError):
    """The token store failed at this moment; it may work again soon."""


class NoRoomError(FatalSyncError):
    """The temporary directory has no room for waiting records; none of them is left."""


class UndeliverableError(FatalAPIError):
    """Sage lists records that it does not deliver."""


class KeylessRecordError(FatalAPIError):
    """A record has no key, so that no target could find its row."""


class FileStoreError(FatalAPIError):
    """A file cannot be stored where the setting says, or not be looked for there."""


class MissingFilesError(FatalAPIError):
    """All records of a list arrived, and some of their files did not."""


class IncompleteRunError(FatalAPIError):
    """Something was not read that should have been; raised at the end, when everything else was read."""


class TokenRejectedError(RetriableAPIError):
    """Sage did not accept the access token."""


class RateLimitedError(RetriableAPIError):
    """Sage limits the rate of requests (429).

    Attributes:
        retry_after: seconds to wait by its `Retry-After`; None without one.
        delay: seconds for which this request alone waits before another attempt.
    """

    def __init__(self, message: str, response: requests.Response | None, retry_after: float | None) -> None:
        super().__init__(message, response)
        self.retry_after = retry_after
        self.delay = 0.0


class ForeignResponseError(RetriableAPIError):
    """A response of a firewall, a proxy or a gateway, not of Sage."""


class RetriesExhaustedError(FatalAPIError):
    """A passing fault did not pass within all attempts."""


class RequestTooLargeError(RetriesExhaustedError):
    """Each attempt failed; the request may be too large for Sage."""


class RunOverError(FatalSyncError):
    """No request can succeed any more; the run ends in order."""


class RetryAfterTooLongError(RunOverError):
    """Sage's `Retry-After` is longer than the setting `patience`, or than a command waits."""


class ServiceUnavailableError(RunOverError):
    """Sage sent no successful response for longer than the setting `patience`, or than a command waits."""


class NoWayToSageError(RunOverError):
    """Certificates or a proxy block requests to Sage."""


class MalformedResponseError(RetriableAPIError):
    """A response is cut off, not JSON, or without items."""


class UnreadableResponseError(MalformedResponseError):
    """A response is not complete JSON; a smaller part may be readable when requested alone."""


@dataclass(frozen=True, slots=True)
class SageError:
    """The part of an error body that may be shown.

    Attributes:
        code: Sage's `$dataCode`, such as `MultiUserAccessDenied`; "" where there is none.
        message: Sage's `$message`; "" where there is none or where it is too long to be a message.
        is_sages: whether the body has the form of Sage's errors.
    """

    code: str = ""
    message: str = ""
    is_sages: bool = False

    @classmethod
    def parse(cls, body: bytes) -> SageError:
        """Read an error body in any of its forms; return an empty error for an unreadable one."""
        try:
            found: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return cls()
        if isinstance(found, list) and found:
            found = found[0]
        if not isinstance(found, dict):
            return cls()
        code = found.get("$dataCode") or found.get("error") or ""
        message = found.get("$message") or found.get("error_description") or ""
        is_sages = all(isinstance(found.get(key), str) and found[key] for key in ("$dataCode", "$message"))
        return cls(str(code)[:LONGEST_MESSAGE], str(message) if len(str(message)) <= LONGEST_MESSAGE else "", is_sages)

    def __str__(self) -> str:
        return " ".join(part for part in (self.code and f"[{self.code}]", self.message) if part)


def error_of(response: requests.Response, body: bytes, label: str) -> Exception | None:
    """Return the error of a response and its body; None for a success.

    The label is the request as messages name it: stream, page, business.
    """
    status = response.status_code
    if status == HTTPStatus.OK:
        return None
    sage = SageError.parse(body)
    status_text = f"{status} {response.reason or ''} {sage}".strip()
    message = f"{label}: Sage answered {status_text}"
    if request_id := response.headers.get("x_request_id"):
        message += f" (Sage's request id {request_id})"
    message = printable(message).rstrip(".")  # Sage ends some of its messages with one
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        return RetriableAPIError(f"{message}.", response)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(f"{message}. Sage asks for fewer requests.", response, retry_after(response.headers))
    if sage.is_sages:
        return _refusal(sage, status, message, response)
    # The body for a dead token is not documented (tokens.expired_answer).
    if status == HTTPStatus.UNAUTHORIZED and not body.lstrip().startswith(b"<"):
        return TokenRejectedError(f"{message}. The access token was not accepted.", response)
    return _foreign(status, printable(f"{label}: {status_text}"), body, response)


def _refusal(sage: SageError, status: int, message: str, response: requests.Response) -> Exception:
    """Return the error of a response in the form of Sage's errors; 401 and 404 may be the edition (rights.edition)."""
    match status:
        case HTTPStatus.UNAUTHORIZED if "subscription" in sage.message.lower():
            return EditionError(f"{message}. The business's subscription or edition does not offer this object.")
        case HTTPStatus.UNAUTHORIZED:  # a foreign business, or a dead token (requests.foreign_business)
            return TokenRejectedError(f"{message}. The access token was not accepted.", response)
        case HTTPStatus.FORBIDDEN:
            return RightsError(f"{message}. The user's role in this business does not include it.")
        case HTTPStatus.NOT_FOUND:
            kind = RecordNotFoundError if sage.code == RECORD_NOT_FOUND else NotFoundError
            return kind(f"{message}. Sage does not offer it to this business, or no longer at all.")
        case _:
            return FatalAPIError(f"{message}. This is not a passing fault; please report it with the request id.")


def _foreign(status: int, message: str, body: bytes, response: requests.Response) -> ForeignResponseError:
    """Return the error of a response that is not Sage's."""
    form = "a web page" if body.lstrip().startswith(b"<") else "not in the form of Sage's errors"
    message += f" is {form if body else 'empty'}: a firewall, a proxy or a gateway answered in Sage's place."
    if status in range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST):
        message += " It points elsewhere, where tokens do not go: check the setting 'api_url'."
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        message += " A proxy asks for a login: check HTTPS_PROXY."
    return ForeignResponseError(message, response)
