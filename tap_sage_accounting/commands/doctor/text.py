"""What a person sees of a look: the verdict first, in lines of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.assumptions import assumptions
from tap_sage_accounting.commands.doctor.findings import Verdict
from tap_sage_accounting.commands.doctor.survey import PACES, minutes, total
from tap_sage_accounting.commands.doctor.verdict import unanswered_of
from tap_sage_accounting.console.columns import wrapped
from tap_sage_accounting.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tap_sage_accounting.commands.doctor.look import Look

MOST_LISTED = 12
"""Lists whose rows are shown one by one; the others are added up."""


def lines_of(look: Look, *, is_only: bool = True) -> Iterator[str]:
    """Yield the lines about one business, of which there may be others in the same look."""
    yield from wrapped(f"{printable(look.name) or 'Business'} ({printable(look.subject.id)})")
    yield from wrapped(_verdict(look))
    if is_only and look.businesses > 1:
        yield from wrapped(f"1 of {look.businesses:,} businesses that a run reads; `--business` looks at others.")
    yield ""
    yield from _rights(look)
    if look.survey.answered:
        yield from _rows(look)
        survey = look.survey
        yield from _requests(survey.first_load, survey.quiet_run, is_partial=survey.is_partial)
    yield from _contradicted(look)
    yield from wrapped(_counts(look))


def _verdict(look: Look) -> str:
    if look.problem:
        return f"Not ready to load: {look.problem}"
    if look.survey.is_empty:
        return "Ready to load, and empty: little can be found out about books without rows."
    refused = sum(map(len, look.survey.refused.values()))
    but = f", but for {'a list' if refused == 1 else f'{refused} lists'} that Sage refuses" if refused else ""
    if unanswered := unanswered_of(look.survey):
        but += f"{' and' if but else ', but for'} {unanswered}, which Sage did not answer: a run reports what it misses"
    found = len(look.having(Verdict.CONTRADICTED))
    if found:
        points = "1 point" if found == 1 else f"{found} points"
        return f"Ready to load{but}. Sage differs in {points} from what was assumed: see below."
    return f"Ready to load{but}. Sage behaves as assumed, as far as these books show."


def _rights(look: Look) -> Iterator[str]:
    access = look.subject.access
    if access is None:
        yield "Rights: Sage does not say."
    else:
        yield from wrapped(f"{printable(access.country) or 'Country unknown'}, {printable(access.subscription)}")
        yield from wrapped(printable(access.rights), "  ")
    yield from _lists("Will refuse", look.survey.foreseen)
    yield from _lists("Refused", look.survey.refused)
    yield from _lists("Not answered", look.survey.unanswered)
    yield ""


def _lists(title: str, names: Mapping[str, Iterable[str]]) -> Iterator[str]:
    for reason, lists in names.items():
        yield from wrapped(f"{title} ({printable(reason)}): {', '.join(lists)}", "  ")


def _rows(look: Look) -> Iterator[str]:
    if look.survey.is_uncounted:
        yield from wrapped("Sage does not count the rows of its lists. It takes the requests below at least.")
        yield ""
        return
    rows = sorted(look.survey.rows.items(), key=lambda each: -each[1])
    yield f"{'List':<32}{'Rows':>14}"
    for name, count in rows[:MOST_LISTED]:
        yield f"{name:<32}{count:>14,}"
    if others := rows[MOST_LISTED:]:
        yield f"{f'{len(others)} other lists':<32}{sum(count for _, count in others):>14,}"
    yield ""


def totals_of(looks: Sequence[Look]) -> Iterator[str]:
    """Yield the requests of a run of several businesses; those without a look count like the others."""
    businesses = max(len(looks), looks[0].businesses)
    if businesses > 1 and any(look.survey.answered for look in looks):
        these = "this one" if len(looks) == 1 else "these"
        others = "" if businesses == len(looks) else f", if the others are like {these}"
        yield ""
        yield from wrapped(f"A run of all {businesses:,} businesses{others}:")
        yield from _requests(
            total([look.survey.first_load for look in looks], businesses),
            total([look.survey.quiet_run for look in looks], businesses),
            is_partial=any(look.survey.is_partial for look in looks),
        )


def _requests(first_load: int, quiet_run: int, *, is_partial: bool) -> Iterator[str]:
    near = "at least" if is_partial else "about"
    yield f"{'':<32}{'Requests':>14}" + "".join(f"{f'at {pace}/min':>11}" for pace in PACES)
    for what, requests in (("First load", first_load), ("Run without changes", quiet_run)):
        title = f"{what}, {near}"
        times = "".join(f"{f'{minutes(requests, pace):,} min':>11}" for pace in PACES)
        yield f"{title:<32}{requests:>14,}{times}"
    yield ""


def _contradicted(look: Look) -> Iterator[str]:
    found = look.having(Verdict.CONTRADICTED)
    if not found:
        return
    yield "Sage differs from what was assumed:"
    for each in found:
        fact = assumptions()[each]
        yield ""
        yield from wrapped(f"{each}: {look.findings[each].evidence.exact}", "  ")
        yield from wrapped(f"  Assumed: {fact.statement}", "  ")
        yield from wrapped(f"  Then: {fact.otherwise}", "  ")
    yield ""
    yield from wrapped("`--report DIRECTORY` writes down what to report, with no value of the books.")
    yield ""


def _counts(look: Look) -> str:
    numbers = [f"{len(look.having(verdict))} {verdict}" for verdict in Verdict]
    return f"Of {len(look.findings)} assumptions: {', '.join(numbers)}."
