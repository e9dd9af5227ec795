"""Runs of the tap in this process, and what they put out."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.contrib.msgspec import encoder
from singer_sdk.singerlib.catalog import SelectionMask
from typing_extensions import override

from tap_sage_accounting.run.writer import WholeMessageWriter, fields_of
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Collection

    from singer_sdk.singerlib import Message

Record = dict[str, Any]
NOTHING = SelectionMask({(): False})
_target = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Recorder(WholeMessageWriter):
    """Keeps the messages that a tap writes, as a target reads them: through JSON, with exact decimals."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Record] = []

    @override
    def write_message(self, message: Message) -> None:
        line = encoder.encode(fields_of(message))
        self.sent += len(line) + 1
        self.messages.append(_target.decode(line))


class TapOfSome(TapSageAccounting):
    """A tap whose streams are chosen before their stream maps are made, as by a catalog: all take long."""

    def __init__(self, *, chosen: Collection[str], **options: Any) -> None:
        self._chosen = chosen
        super().__init__(**options)

    @override
    def setup_mapper(self) -> None:
        if self._chosen:
            for name, stream in self.streams.items():
                if name in self._chosen:
                    stream.selected = True
                else:
                    stream._mask = NOTHING  # what setting `selected` comes to, after all columns were looked at
        super().setup_mapper()


@dataclass
class Run:
    """What one run of the tap put out."""

    messages: list[Record]
    error: Exception | None
    tap: TapSageAccounting
    log: list[str] = field(default_factory=list)

    @property
    def records(self) -> dict[str, list[Record]]:
        """Records by stream, in the order in which they came."""
        found: dict[str, list[Record]] = defaultdict(list)
        for message in self.messages:
            if message["type"] == "RECORD":
                found[message["stream"]].append(message["record"])
        return found

    @property
    def schemas(self) -> list[Record]:
        """The schema messages."""
        return [message for message in self.messages if message["type"] == "SCHEMA"]

    @property
    def state(self) -> dict[str, Any]:
        """The last state, as an orchestrator would keep it."""
        states = [message["value"] for message in self.messages if message["type"] == "STATE"]
        return json.loads(json.dumps(states[-1])) if states else {}

    def bookmark(self, stream: str, business_id: str) -> str | None:
        for partition in self.state["bookmarks"].get(stream, {}).get("partitions", []):
            if partition["context"] == {"business_id": business_id}:
                bookmark: str | None = partition.get("replication_key_value")
                return bookmark
        return None


def last_state(messages: list[dict[str, Any]]) -> dict[str, Any]:
    states = [message["value"] for message in messages if message["type"] == "STATE"]
    return copy.deepcopy(states[-1]) if states else {}
