"""From the rows of one list of one business to the records of its stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.exceptions import KeylessRecordError
from tap_sage_accounting.records.row_decoder import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tap_sage_accounting.records.converter import RecordConverter
    from tap_sage_accounting.records.row_decoder import Item

    Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConversion:
    """Makes records of rows.

    Attributes:
        compile: returns the converter of the stream, which is compiled when it is first needed.
        key: the column that identifies a record within its business.
        key_reference: the reference whose id is the key of records that have none of their own.
        business_id: the business; None for what belongs to the user.
        passthrough: nobody looks into rows that were decoded by their schema, so that they stay as they are.
        report_damage: takes the key of a record and the places of its damaged texts.
    """

    compile: Callable[[], RecordConverter]
    key: str
    key_reference: str | None
    business_id: str | None
    passthrough: bool
    report_damage: Callable[[str, Sequence[str]], None]

    def convert(self, row: Item) -> Record:
        """Return the record as the schema says, with its business.

        Raises:
            KeylessRecordError: Sage sent neither its id nor a path that ends in one.
        """
        if isinstance(row, Row):
            record = row.to_record()
        else:
            converter = self.compile()
            record = converter.clean(row)
            self._complete_key(record)
            if converter.damaged:
                places, converter.damaged = converter.damaged, []
                self.report_damage(str(record.get(self.key)), places)
        if self.business_id is not None:
            record["business_id"] = self.business_id
        return record

    def _complete_key(self, record: Record) -> None:
        """Take the key of a record from its path where Sage does not send it."""
        if self.key_reference is not None:
            record[self.key] = (record.get(self.key_reference) or {}).get("id")
        if self.key == "business_id" or (record.get(self.key) or "").strip():
            return
        record[self.key] = (record.get("path") or "").rpartition("/")[2].strip()
        if not record[self.key]:
            raise KeylessRecordError("Sage sent a record without an id; no target could find its row.")
