"""Mask secrets in logs, whether configured, learned or recognized by their form, and escape control characters."""

from __future__ import annotations

import html
import json
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote_plus

from typing_extensions import override

from tap_sage_accounting.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK = "[secret]"
SHORTEST_SECRET = 6
"""Characters; masking shorter values would eat ordinary words."""
QUOTED_LENGTH = 16
"""Characters in a row of a secret that make a text quote it."""
ENCODINGS = 3
"""Nested encodings that are decoded: JSON in a URL in HTML."""
LONGEST_CHAIN = 10
"""Causes of an exception that are masked."""

_PATTERNS = (
    # An Authorization header, as a header line or as a dict's item.
    (re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic)\s+)?[^\s\"',;}]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/-]{6,}=*"), rf"\1{MASK}"),
    # Tokens of a form, a query or a JSON body. A code only where it is long: `code=404` is no secret.
    (
        re.compile(
            r"(?i)((?:access_token|refresh_token|client_secret|code_verifier)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+"
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(r"(?i)(\bcode(?:=|[\"']\s*:\s*[\"']))(?=[A-Z]{2}(?:/|%2F)|[^\s\"'&]{20})[^\s\"'&,;}]+"),
        rf"\1{MASK}",
    ),
    # A JSON Web Token, whole or cut off.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"), MASK),
    # A password in a database URL.
    (re.compile(r"(://[^\s:/@]*:)[^\s/@]+(?=@)"), rf"\1{MASK}"),
    # A payment link: anyone who has it sees the invoice and its customer.
    (re.compile(r"(/online_payment/)[^\s\"'<>]+"), rf"\1{MASK}"),
    (re.compile(r"([\"']href[\"']:\s*[\"'])[^\"']+(?=[\"'],\s*[\"']rel[\"']:\s*[\"']bookmark)"), rf"\1{MASK}"),
    (re.compile(r"([\"']rel[\"']:\s*[\"']bookmark[\"'],\s*[\"']href[\"']:\s*[\"'])[^\"']+"), rf"\1{MASK}"),
)
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_NO_LETTER = re.compile("[^A-Za-z0-9]")
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class SecretFilter(logging.Filter):
    """Masks secrets in all that a handler writes: message, arguments, exceptions, extra fields.

    Characters that are not visible are escaped: text from outside cannot begin a line of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._spellings: dict[str, None] = {}

    def learn(self, secret: object) -> None:
        """Mask a value from now on, plain, URL-encoded and JSON-encoded."""
        if not isinstance(secret, str) or len(secret) < SHORTEST_SECRET or secret in self._spellings:
            return
        spellings = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
        # Longest first, or a value that contains another would be masked in part. A new dict, because another thread
        # may be iterating over the old one.
        known = {*self._spellings, *spellings}
        self._spellings = dict.fromkeys(sorted(known, key=len, reverse=True))

    def masked(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._spellings:
            if secret in text:
                text = text.replace(secret, MASK)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def shown(self, text: str) -> str:
        """Return a text as it may be shown: in one line, without secrets."""
        return printable(self.masked(text))

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        self._mask_message(record)
        if record.exc_info and record.exc_info[1] is not None:
            clean = self._masked_exception(record.exc_info[1])
            if clean is not record.exc_info[1]:
                record.exc_info = (type(clean), clean, clean.__traceback__)
                record.exc_text = None
        if record.exc_text:
            record.exc_text = self.masked(record.exc_text)
        if record.stack_info:
            record.stack_info = self.masked(record.stack_info)
        for name in record.__dict__.keys() - _STANDARD_FIELDS:
            shown = str(record.__dict__[name])
            if (clean_text := self.shown(shown)) != shown:
                record.__dict__[name] = clean_text
        return True

    def _mask_message(self, record: logging.LogRecord) -> None:
        """Mask the formatted message; an unchanged one keeps its arguments, which some formatters use."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            # The arguments do not fit the format: logging would print both.
            message = f"{record.msg} {record.args!r}"
            record.msg, record.args = message, None
        if (clean := self.shown(message)) != message:
            record.msg, record.args = clean, None

    def _masked_exception(self, error: BaseException, depth: int = 0) -> BaseException:
        """Return an exception without secrets: the same one where it and its causes have none."""
        cause, context = error.__cause__, error.__context__
        if depth < LONGEST_CHAIN:
            cause = cause and self._masked_exception(cause, depth + 1)
            context = context and self._masked_exception(context, depth + 1)
        text = str(error)
        clean = self.shown(text)
        if clean == text and cause is error.__cause__ and context is error.__context__:
            return error
        kind = type(error)
        namesake = type(kind.__name__, (Exception,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})
        copy: BaseException = namesake(clean)
        copy.__cause__, copy.__context__ = cause, context
        copy.__suppress_context__ = error.__suppress_context__
        return copy.with_traceback(error.__traceback__)


def quotes_secret(text: str, secrets: Iterable[str]) -> bool:
    """Check whether a text contains a secret or `QUOTED_LENGTH` characters of one, in any encoding."""
    seen = _letters(text)
    for secret in map(_letters, secrets):
        size = min(len(secret), QUOTED_LENGTH)
        if size >= SHORTEST_SECRET and any(
            secret[start : start + size] in seen for start in range(len(secret) - size + 1)
        ):
            return True
    return False


def _letters(text: str) -> str:
    """Decode a text, and reduce it to letters and digits, which encodings keep."""
    for _ in range(ENCODINGS):
        text = html.unescape(unquote_plus(_UNICODE_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)))
    return _NO_LETTER.sub("", text).lower()


def install(secrets: Iterable[object]) -> SecretFilter:
    """Add the process's filter to every log handler that exists now, to mask some values.

    May be called again, when handlers were added or another tap begins: the same filter learns more.
    """
    handlers = list(all_handlers())
    present = (found for handler in handlers for found in handler.filters if isinstance(found, SecretFilter))
    secret_filter = next(present, None) or SecretFilter()
    for handler in handlers:
        handler.addFilter(secret_filter)  # once, however often
    for secret in secrets:
        secret_filter.learn(secret)
    return secret_filter


def all_handlers() -> Iterator[logging.Handler]:
    """Yield the handlers of all loggers, and the one that logging uses when there are none."""
    yield from logging.getLogger().handlers
    for logger in logging.getLogger().manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            yield from logger.handlers
    if logging.lastResort is not None:
        yield logging.lastResort
