"""The least that reading and writing can cost: one session, one page after the other, JSON in and JSON out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import orjson  # type: ignore[import-not-found] # in an environment of its own
import requests


def main() -> None:
    """Read what the job names, and write it as RECORD messages."""
    job = json.loads(Path(sys.argv[1]).read_text())
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {job['access_token']}"
    for stream in job["streams"]:
        for business_id in job["business_ids"]:
            page, more = 1, True
            while more:
                params = {**stream["params"], "page": page, "items_per_page": job["page_size"]}
                headers = {"X-Business": business_id}
                answer = session.get(f"{job['api_url']}/{stream['name']}", params=params, headers=headers, timeout=60)
                answer.raise_for_status()
                body = orjson.loads(answer.content)
                for record in body["$items"]:
                    message = {"type": "RECORD", "stream": stream["name"], "record": record}
                    record["business_id"] = business_id
                    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
                page, more = page + 1, body["$next"] is not None


if __name__ == "__main__":
    main()
