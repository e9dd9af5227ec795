"""What Sage's refusals mean, and what the user can do about them.

Sage answers errors as a JSON array of `{"$severity", "$dataCode", "$message", "$source"}`, or as a single such object.
Only a body of this form is Sage's word on rights, editions and records. Firewalls, proxies and gateways answer 403 and
404 too, with HTML, with JSON of their own or with nothing. Such an answer is a fault that may pass.

Nothing of a body but its code and message reaches a message here, and those only when they are short: an error must not
carry customers' data.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.exceptions import FatalAPIError, FatalSyncError, RetriableAPIError, SkippableAPIError

from tap_sage_accounting.printable import printable
from tap_sage_accounting.transport.retry_after import retry_after

if TYPE_CHECKING:
    import requests

LONGEST_MESSAGE = 200
RECORD_NOT_FOUND = "RecordNotFound"
"""Sage's `$dataCode` for an id that it does not know; documented."""
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY)
"""Statuses below 500 that say no more than that the same request may succeed another time."""


class SettingsError(FatalAPIError):
    """A setting does not fit what Sage says of this user."""


class RightsError(SkippableAPIError):
    """The user's role in this business does not let them read this object."""


class EditionError(SkippableAPIError):
    """The business's edition, country or subscription does not offer this object."""


class NotFoundError(SkippableAPIError):
    """Sage does not offer this object or record (404)."""


class RecordNotFoundError(NotFoundError):
    """Sage knows no such record, in its own words: only this means that a record is gone."""


class RefusedRunError(FatalAPIError):
    """Sage refused everything that the run needed."""


class AuthorizationError(FatalSyncError):
    """No valid token can be had; nothing that needs one can go on."""


class BatchError(FatalSyncError):
    """A file of records could not be written; no state may follow its rows."""


class TokenStoreError(AuthorizationError):
    """The token store cannot be used; the message says what to change."""


class StoreUnavailableError(TokenStoreError):
    """The token store failed at this moment; it may work again soon."""


class NoRoomError(FatalSyncError):
    """The temporary directory has no room for what must wait there; nothing that was kept is left."""


class UndeliverableError(FatalAPIError):
    """Sage lists records that it does not deliver."""


class KeylessRecordError(FatalAPIError):
    """A record without its key: no target could find its row."""


class IncompleteRunError(FatalAPIError):
    """Something that should have been read was not; raised at the end, when everything else has been."""


class TokenRejectedError(RetriableAPIError):
    """Sage did not accept the access token."""


class RateLimitedError(RetriableAPIError):
    """Sage asks for fewer requests (429).

    Attributes:
        retry_after: seconds that Sage asks to wait, or None where it does not say.
    """

    def __init__(self, message: str, response: requests.Response | None, retry_after: float | None) -> None:
        super().__init__(message, response)
        self.retry_after = retry_after


class ForeignAnswerError(RetriableAPIError):
    """Not Sage answered, but a firewall, a proxy or a gateway before it."""


class RetriesExhaustedError(FatalAPIError):
    """A fault that did not pass although it was of the passing kind."""


class RequestTooLargeError(RetriesExhaustedError):
    """Sage answers this request with a fault each time: it may be too much at once for it."""


class RunOverError(FatalSyncError):
    """No request can succeed any more; the run ends in order."""


class RetryAfterTooLongError(RunOverError):
    """Sage wants no more requests for longer than we are willing to wait."""


class ServiceUnavailableError(RunOverError):
    """Sage answered nothing for longer than we are willing to wait."""


class NoWayToSageError(RunOverError):
    """Certificates or a proxy keep requests from Sage; somebody must change that."""


class MalformedResponseError(RetriableAPIError):
    """An answer that is not what it claims to be: cut off, not JSON, without items."""


class UnreadableResponseError(MalformedResponseError):
    """An answer that is no whole JSON: a part of it may be readable when it is asked for alone."""


@dataclass(frozen=True, slots=True)
class SageError:
    """The part of an error body that may be shown.

    Attributes:
        code: Sage's `$dataCode`, such as `MultiUserAccessDenied`; "" where there is none.
        message: Sage's `$message`; "" where there is none or where it is too long to be a message.
        is_sages: whether the body has the form of Sage's errors, which nobody else's has.
    """

    code: str = ""
    message: str = ""
    is_sages: bool = False

    @classmethod
    def parse(cls, body: bytes) -> SageError:
        """Read an error body in any of its shapes; unreadable ones give an empty error."""
        try:
            found: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
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
    """Translate an answer into the error that it stands for.

    Args:
        response: the answer's head.
        body: the answer's body.
        label: the request in words for the user: stream, page, business.

    Returns:
        None for a success; otherwise an exception whose class says what may be done about it.
    """
    status = response.status_code
    if status == HTTPStatus.OK:
        return None
    sage = SageError.parse(body)
    words = f"{status} {response.reason or ''} {sage}".strip()
    told = f"{label}: Sage answered {words}"
    if request_id := response.headers.get("x_request_id"):
        told += f" (Sage's request id {request_id})"
    told = printable(told)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        return RetriableAPIError(f"{told}.", response)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(f"{told}. Sage asks for fewer requests.", response, retry_after(response.headers))
    if sage.is_sages:
        return _refusal(sage, status, told, response)
    if status == HTTPStatus.UNAUTHORIZED and not body.lstrip().startswith(b"<"):
        return TokenRejectedError(f"{told}. The access token was not accepted.", response)
    return _foreign(status, printable(f"{label}: {words}"), body, response)


def _refusal(sage: SageError, status: int, told: str, response: requests.Response) -> Exception:
    """Translate a refusal in Sage's own words."""
    match status:
        case HTTPStatus.UNAUTHORIZED if "subscription" in sage.message.lower():
            return EditionError(f"{told}. The business's subscription or edition does not offer this object.")
        case HTTPStatus.UNAUTHORIZED:
            return TokenRejectedError(f"{told}. The access token was not accepted.", response)
        case HTTPStatus.FORBIDDEN:
            return RightsError(f"{told}. The user's role in this business does not include it.")
        case HTTPStatus.NOT_FOUND:
            kind = RecordNotFoundError if sage.code == RECORD_NOT_FOUND else NotFoundError
            return kind(f"{told}. Sage does not offer it to this business, or no longer at all.")
        case _:
            return FatalAPIError(f"{told}. This is not a passing fault; please report it with the request id.")


def _foreign(status: int, told: str, body: bytes, response: requests.Response) -> ForeignAnswerError:
    """Describe an answer that is nobody's word on rights or records."""
    form = "a web page" if body.lstrip().startswith(b"<") else "not in the form of Sage's errors"
    told += f" is {form if body else 'empty'}: a firewall, a proxy or a gateway answered in Sage's place."
    if status in range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST):
        told += " It points elsewhere, where tokens do not go: check the setting 'api_url'."
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        told += " A proxy asks for a login: check HTTPS_PROXY."
    return ForeignAnswerError(told, response)
