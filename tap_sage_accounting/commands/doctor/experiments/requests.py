"""Experiments with headers, mostly of responses that came for other experiments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4

from tap_sage_accounting.api.clocks import TOLERANCE
from tap_sage_accounting.api.request import BUSINESS
from tap_sage_accounting.commands.doctor.findings import (
    Finding,
    confirmed,
    contradicted,
    decided,
    experiment,
    undecided,
)
from tap_sage_accounting.commands.doctor.response import OK
from tap_sage_accounting.exceptions import ForeignResponseError
from tap_sage_accounting.timestamps import in_words

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.response import Response
    from tap_sage_accounting.commands.doctor.subject import Subject

_WORDS = (
    "after|app|application|burst|business|client|concurrency|concurrent|cost|count|daily|day|hour|hourly|interval|left|"
    "limit|limits|max|minute|monthly|period|policy|quota|rate|ratelimit|remaining|request|requests|reset|resource|"
    "retry|scope|second|seconds|type|used|user|window"
)
ABOUT_LIMITS = re.compile(rf"(?=.*(rate-?limit|quota))(x-)?({_WORDS})(-({_WORDS}))*")
"""Names of headers about limits, made of these words only: another word may be somebody's name."""
COMPRESSIBLE = 2_000
"""Bytes of a body that is worth compressing."""
FORBIDDEN = 403
SAGES_OWN = frozenset((401, FORBIDDEN, 404))
"""Statuses with which Sage may refuse a business."""


def _with_responses(subject: Subject) -> list[Response]:
    return [response for response in subject.looker.responses if response.ok]


@experiment("requests.echo")
def echo(subject: Subject) -> Finding:
    """Count the responses about the business that name it."""
    responses = [response for response in subject.looker.about(subject.id) if response.status == OK]
    named = [response.headers[BUSINESS.lower()] for response in responses if BUSINESS.lower() in response.headers]
    if not responses:
        return undecided("Sage returned nothing about the business.")
    others = sum(name != subject.id for name in named)
    evidence = f"{len(named)} of {len(responses)} responses name a business, {others} of them another one."
    return decided(holds=len(named) == len(responses) and not others, evidence=evidence)


@experiment("requests.foreign_business")
def foreign_business(subject: Subject) -> Finding:
    """Request a list of a business that does not exist."""
    response = subject.looker.get("/contacts", {"items_per_page": 1}, uuid4().hex)
    if response.status == OK:
        named = response.headers.get(BUSINESS.lower())
        echo = (
            "names no business" if named is None else "names another business" if response.error else "names that one"
        )
        return contradicted(f"An invented business gets a 200, and the response {echo}.")
    if response.status not in SAGES_OWN or isinstance(response.error, ForeignResponseError):
        return undecided(f"Sage does not answer ({response.failure}).")
    return decided(holds=response.status == FORBIDDEN, evidence=f"An invented business gets a {response.status}.")


@experiment("requests.compression")
def compression(subject: Subject) -> Finding:
    """Count the larger responses that came compressed; each request accepts gzip."""
    large = [response for response in _with_responses(subject) if response.size >= COMPRESSIBLE]
    if not large:
        return undecided("No response was large enough.")
    packed = sum("content-encoding" in response.headers for response in large)
    return decided(holds=not packed, evidence=f"{packed} of {len(large)} larger responses were compressed.")


@experiment("requests.etags")
def etags(subject: Subject) -> Finding:
    """Count the responses with an `ETag`."""
    responses = _with_responses(subject)
    tagged = sum("etag" in response.headers for response in responses)
    return decided(holds=not tagged, evidence=f"{tagged} of {len(responses)} responses have one.")


@experiment("requests.clock")
def clock(subject: Subject) -> Finding:
    """Compare `Date` with this machine's clock."""
    responses = _with_responses(subject)
    skews = [response.skew for response in responses if response.skew is not None]
    if len(skews) < len(responses):
        return contradicted(
            f"{len(responses) - len(skews)} of {len(responses)} responses have no `Date` that makes sense."
        )
    if not skews:
        return undecided("Sage returned nothing.")
    largest = max(map(abs, skews))
    if largest <= TOLERANCE:
        return confirmed(f"The clocks are {in_words(largest)} apart at most.")
    return contradicted(f"The clocks are {in_words(largest)} apart; this machine's may be the wrong one.")


@experiment("limits.headers")
def limit_headers(subject: Subject) -> Finding:
    """Look for headers that speak of limits."""
    names = sorted(name for name in subject.looker.header_names if ABOUT_LIMITS.fullmatch(name))
    return decided(holds=not names, evidence=f"Headers: {', '.join(names) or 'none'}.")
