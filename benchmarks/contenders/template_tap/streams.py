"""The streams: a class for each list that the benchmark describes in `streams.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from template_tap.client import SageStream  # type: ignore[import-not-found] # found where the benchmark puts it


def _stream(told: dict[str, Any]) -> type[SageStream]:
    return type(
        told["name"].title().replace("_", ""),
        (SageStream,),
        {
            "name": told["name"],
            "path": f"/{told['name']}",
            "primary_keys": tuple(told["keys"]),
            "replication_key": told["replication_key"],
            "extra_params": told["params"],
        },
    )


STREAMS = [_stream(told) for told in json.loads(Path(__file__).with_name("streams.json").read_text())]
