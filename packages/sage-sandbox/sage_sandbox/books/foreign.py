"""What only one country has, or had, and the other books do without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import PURCHASES, SALES
from sage_sandbox.books.catalogue import pick_lines
from sage_sandbox.books.documents import PURCHASE_CORRECTIVE, SALES_CORRECTIVE, Document
from sage_sandbox.books.invoicing import issue

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from sage_sandbox.books.company import Company


def add_corrective_invoices(company: Company, rng: Random, at: datetime) -> None:
    """Correct an invoice of each side the Spanish way: by another that names it, with less of one line."""
    if company.country != "ES":
        return
    for kind, side in ((SALES_CORRECTIVE, SALES), (PURCHASE_CORRECTIVE, PURCHASES)):
        original = next(
            each
            for each in company.artefacts.values()
            if (each.side, each.sign, each.shape, each.gone) == (side, 1, "document", False)
        )
        lines = pick_lines(company, rng, sale=side == SALES)[:1]
        document = Document(kind, original.party, lines, at, original=original.origin)
        issue(company, replace(document, reference=f"corrects {original.origin['displayed_as']}"))
