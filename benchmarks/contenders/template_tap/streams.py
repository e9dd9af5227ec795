"""The streams: a class for each list that the benchmark describes in `streams.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from template_tap.client import SageStream  # type: ignore[import-not-found] # found where the benchmark puts it


def _stream(described: dict[str, Any]) -> type[SageStream]:
    return type(
        described["name"].title().replace("_", ""),
        (SageStream,),
        {
            "name": described["name"],
            "path": f"/{described['name']}",
            "primary_keys": tuple(described["keys"]),
            "replication_key": described["replication_key"],
            "extra_params": described["params"],
        },
    )


STREAMS = [_stream(described) for described in json.loads(Path(__file__).with_name("streams.json").read_text())]
