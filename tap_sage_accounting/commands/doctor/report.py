"""The report that may be shared: verdicts and shapes. All of it is on a list of what may be shown.

It holds names of this program, what this program counted, statuses and classes. Names that Sage sends are shown only if
a list has them, or by the rule of `shapes`.
"""

from __future__ import annotations

import json
import platform
import sys
from statistics import median
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.api.access import EDITIONS
from tap_sage_accounting.assumptions import assumptions
from tap_sage_accounting.client import SingleObjectStream
from tap_sage_accounting.commands.doctor.experiments.requests import ABOUT_LIMITS
from tap_sage_accounting.commands.doctor.findings import Verdict, class_of
from tap_sage_accounting.commands.doctor.shapes import new_names, properties_of, shape_of
from tap_sage_accounting.commands.doctor.subject import LISTS
from tap_sage_accounting.exceptions import SettingsError
from tap_sage_accounting.settings import API_URL
from tap_sage_accounting.streams.trial_balance import TrialBalance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tap_sage_accounting.commands.doctor.look import Look
    from tap_sage_accounting.commands.doctor.looker import Looker
    from tap_sage_accounting.commands.doctor.response import Response

    Report = dict[str, Any]

FORMAT = 1
"""Version of the report's form."""
NAME = "doctor-report"
OWN = "Sage's"
"""What a report says of the API where it is at its usual address."""
COUNTRIES = frozenset(("CA", "DE", "ES", "FR", "GB", "IE", "US"))
HEADERS = frozenset(
    (
        "age",
        "cache-control",
        "cf-cache-status",
        "cf-ray",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "etag",
        "expires",
        "keep-alive",
        "last-modified",
        "pragma",
        "retry-after",
        "server",
        "set-cookie",
        "strict-transport-security",
        "transfer-encoding",
        "vary",
        "via",
        "x-business",
        "x-request-id",
        "x_request_id",
    )
)
"""Names of headers that may be shown, besides those that speak of limits."""


def report_of(looks: Sequence[Look], version: str, api_url: str) -> Report:
    """Build the report from what was found out."""
    looker = looks[0].subject.looker
    return {
        "format": FORMAT,
        "versions": {
            "tap": version,
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "system": platform.system(),
        },
        "api": OWN if api_url.rstrip("/") == API_URL else "another address",
        "headers": _headers(looker),
        "seconds": _seconds(looker),
        "businesses": [_business(look) for look in looks],
    }


def _headers(looker: Looker) -> Report:
    names = looker.header_names
    shown = sorted(name for name in names if name in HEADERS or ABOUT_LIMITS.fullmatch(name))
    return {"names": shown, "others": len(names) - len(shown)}


def _seconds(looker: Looker) -> Report:
    """Return the median seconds of a response, by the requested page size."""
    return {str(size): round(median(times), 2) for size, times in sorted(looker.seconds.items())}


def _business(look: Look) -> Report:
    access = look.subject.access
    country, edition = (access.country, access.edition) if access else ("", "")
    return {
        "country": country if country in COUNTRIES else "another" if country else "unknown",
        "edition": edition if edition in EDITIONS.values() else "unknown",
        "ready": not look.problem,
        "assumptions": {
            each: {"verdict": finding.verdict.value, "evidence": finding.evidence.shared}
            for each, finding in look.findings.items()
        },
        "lists": {name: _list(name, response) for name, response in sorted(look.subject.samples.items())},
    }


def _list(name: str, response: Response) -> Report:
    described: Report = {"status": response.status}
    if response.status != 0 and not response.ok:
        return described
    properties = properties_of(name)
    own = {each: part for each, part in properties.items() if each not in LISTS[name].added_properties}
    is_object = issubclass(LISTS[name], SingleObjectStream)
    rows = [response.fields] if is_object and response.fields else response.rows
    if not is_object and response.total is not None:
        described["rows"] = class_of(response.total)
    if rows and name != TrialBalance.name:
        described["attributes"] = shape_of(rows, own)
    return described


# As a text


def markdown(report: Report) -> str:
    """Return a report as a Markdown page, which adds nothing to it."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    versions = report["versions"]
    yield "# Report of the doctor"
    yield ""
    yield f"tap-sage-accounting {versions['tap']}, Python {versions['python']}, {versions['system']}."
    yield f"The API is {'' if report['api'] == OWN else 'at another address than '}Sage's."
    headers = report["headers"]
    yield f"Headers: {', '.join(headers['names']) or 'none'}; {headers['others']} others."
    times = ", ".join(f"{seconds or 'under 0.01'} s for pages of {size}" for size, seconds in report["seconds"].items())
    yield f"Time of a response: {times or 'not measured'}."
    for number, business in enumerate(report["businesses"], 1):
        yield ""
        yield from _business_lines(number, business)
    yield ""
    yield f"The shapes of all lists are in {NAME}.json."


def _business_lines(number: int, business: Report) -> Iterator[str]:
    state = "ready" if business["ready"] else "not ready"
    yield f"## Business {number}: {business['country']}, {business['edition']}, {state}"
    for verdict in (Verdict.CONTRADICTED, Verdict.CONFIRMED, Verdict.UNDECIDED):
        found = {each: says for each, says in business["assumptions"].items() if says["verdict"] == verdict}
        if not found:
            continue
        yield ""
        yield f"### {verdict.capitalize()}"
        yield ""
        yield "| Assumption | Evidence |"
        yield "|---|---|"
        for each, says in found.items():
            if each in assumptions():
                yield f"| `{each}` | {says['evidence']} |"
    yield ""
    yield "### Lists"
    yield ""
    yield "| List | Status | Rows | Attributes that the schemas do not know |"
    yield "|---|---|---|---|"
    for name, each in business["lists"].items():
        shape = each.get("attributes", {})
        names = ", ".join(f"`{new}`" for new in new_names(shape))
        hidden = f"{shape['']} not shown" if shape.get("") else ""
        yield f"| {name} | {each['status']} | {each.get('rows', '')} | {'; '.join(filter(None, (names, hidden)))} |"


def _json(value: object, indent: str = "") -> str:
    """Return JSON with a line for each object that holds no other."""
    nested = isinstance(value, dict) and any(isinstance(each, dict) for each in value.values())
    inner = f"{indent} "
    if isinstance(value, dict) and nested:
        members = (f"{inner}{json.dumps(name)}: {_json(each, inner)}" for name, each in value.items())
        return "{\n" + ",\n".join(members) + f"\n{indent}" + "}"
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return "[" + ",".join(_json(each, indent) for each in value) + "]"
    return json.dumps(value)


def write(report: Report, directory: Path) -> list[Path]:
    """Write a report into two files, and return their absolute paths: Meltano runs this in another directory.

    Raises:
        SettingsError: they cannot be written.
    """
    texts = {".md": markdown(report), ".json": _json(report) + "\n"}
    paths = [directory.absolute() / f"{NAME}{suffix}" for suffix in texts]
    try:
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"The report cannot be written to {directory} ({error.strerror}). Name another.") from None
    return paths
