"""The error bodies of the simulated Sage: a list of `$severity`, `$dataCode`, `$message`, `$source`, in English."""

from __future__ import annotations

from typing import Any


class RefusalError(Exception):
    """A request that is refused with an error status and Sage's error body."""

    def __init__(self, status: int, code: str, message: str, source: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: Any = [{"$severity": "error", "$dataCode": code, "$message": message, "$source": source}]
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def unauthorised(message: str = "Access denied.") -> RefusalError:
    """Refuse for want of a good access token."""
    return RefusalError(401, "AuthorizationFailure", message)


def no_subscription() -> RefusalError:
    """Refuse what the subscription lacks; Sage says it with a 401 as well."""
    return unauthorised("No active subscription. (MSE)")


def forbidden() -> RefusalError:
    """Refuse what the user's role does not allow."""
    message = "The current user is not allowed to access that resource with that method."
    return RefusalError(403, "MultiUserAccessDenied", message)


def not_found(what: str) -> RefusalError:
    """Refuse a path or id that does not exist."""
    return RefusalError(404, "RecordNotFound", f"{what} could not be found.")


def invalid(parameter: str, message: str) -> RefusalError:
    """Refuse a parameter. Which status Sage gives is not documented; 400 is assumed."""
    return RefusalError(400, "RecordInvalid", message, parameter)


def method_not_allowed() -> RefusalError:
    """Refuse anything but reading."""
    return RefusalError(405, "MethodNotAllowed", "The simulated API is read-only: use GET.", Allow="GET")


def too_many(retry_after: str | None) -> RefusalError:
    """Refuse for too many requests, or for too many at once."""
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    return RefusalError(429, "TooManyRequests", "Too many requests.", **headers)


def unexpected(status: int = 500) -> RefusalError:
    """Fail, with the words that go with the status."""
    if status == 503:  # noqa: PLR2004 - a status code explains itself
        message = "One of our servers required to serve this request could not be reached. Please retry later."
        return RefusalError(status, "ServiceUnavailable", message)
    return RefusalError(status, "UnexpectedError", "An unexpected error occurred.")
