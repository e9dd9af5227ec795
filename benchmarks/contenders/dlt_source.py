"""The same lists through dlt's REST source, into JSON lines: businesses are the parent of every list."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt  # type: ignore[import-not-found] # in an environment of its own
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials  # type: ignore[import-not-found]
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator  # type: ignore[import-not-found]
from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests


class SagePaginator(PageNumberPaginator):  # type: ignore[misc] # untyped here
    """Counts pages until an answer names no next one."""

    def update_state(self, response: requests.Response, data: list[Any] | None = None) -> None:
        """Look at an answer."""
        super().update_state(response, data)
        self._has_next_page = response.json().get("$next") is not None


def _resource(stream: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": stream["name"],
        "primary_key": ["_businesses_id", "id"],
        "parallelized": True,
        "include_from_parent": ["id"],
        "endpoint": {
            "path": stream["name"],
            "params": {**stream["params"], "items_per_page": job["page_size"]},
            "headers": {"X-Business": "{resources.businesses.id}"},
            "data_selector": "'$items'",
            "paginator": SagePaginator(base_page=1, total_path=None),
        },
    }


def main() -> None:
    """Read what the job names, into the job's directory; then write the number of rows as RECORD lines would count."""
    job = json.loads(Path(sys.argv[1]).read_text())
    directory = Path(job["directory"])

    @dlt.resource(name="businesses", selected=False)  # type: ignore[untyped-decorator]
    def businesses() -> Iterator[list[dict[str, str]]]:
        yield [{"id": business_id} for business_id in job["business_ids"]]

    auth = OAuth2ClientCredentials(
        access_token_url=job["token_url"],
        client_id=job["client_id"],
        client_secret=job["client_secret"],
        access_token_request_data={"grant_type": "refresh_token", "refresh_token": job["refresh_token"]},
    )
    auth.obtain_token()  # before several threads find that there is none: the refresh token works once
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{job['api_url']}/",
                "auth": auth,
            },
            "resources": [businesses, *(_resource(stream, job) for stream in job["streams"])],
        }
    )
    pipeline = dlt.pipeline(
        "sage",
        pipelines_dir=str(directory / "pipelines"),
        destination=dlt.destinations.filesystem(bucket_url=(directory / "rows").as_uri()),
        dataset_name="sage",
    )
    pipeline.run(source, loader_file_format="jsonl")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    rows = {name: count for name, count in counts.items() if name[0] != "_" and "__" not in name}
    sys.stdout.write(json.dumps({"rows": rows}) + "\n")


if __name__ == "__main__":
    main()
