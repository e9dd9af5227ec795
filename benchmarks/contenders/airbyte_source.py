"""The same lists through a declarative source of the Airbyte CDK; businesses are the partitions of every list."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from airbyte_cdk.entrypoint import launch  # type: ignore[import-not-found] # in an environment of its own
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer  # type: ignore[import-not-found]
from airbyte_cdk.sources.declarative.concurrent_declarative_source import (  # type: ignore[import-not-found]
    ConcurrentDeclarativeSource,
)


def _option(where: str, name: str) -> dict[str, str]:
    return {"type": "RequestOption", "inject_into": where, "field_name": name}


def _stream(stream: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "DeclarativeStream",
        "name": stream["name"],
        "primary_key": ["business_id", *(key for key in stream["keys"] if key != "business_id")],
        "schema_loader": {"type": "InlineSchemaLoader", "schema": stream["schema"]},
        "retriever": {
            "type": "SimpleRetriever",
            "requester": {
                "type": "HttpRequester",
                "url_base": "{{ config['api_url'] }}",
                "path": f"/{stream['name']}",
                "http_method": "GET",
                "authenticator": {
                    "type": "OAuthAuthenticator",
                    "token_refresh_endpoint": "{{ config['token_url'] }}",
                    "client_id": "{{ config['client_id'] }}",
                    "client_secret": "{{ config['client_secret'] }}",
                    "refresh_token": "{{ config['refresh_token'] }}",
                    "refresh_token_updater": {
                        "refresh_token_config_path": ["refresh_token"],
                        "access_token_config_path": ["access_token"],
                        "token_expiry_date_config_path": ["token_expiry_date"],
                    },
                },
                "request_parameters": stream["params"],
                "error_handler": {
                    "type": "DefaultErrorHandler",
                    "max_retries": 20,
                    "backoff_strategies": [
                        {"type": "WaitTimeFromHeader", "header": "Retry-After"},
                        {"type": "ExponentialBackoffStrategy", "factor": 2},
                    ],
                },
            },
            "record_selector": {
                "type": "RecordSelector",
                "extractor": {"type": "DpathExtractor", "field_path": ["$items"]},
            },
            "paginator": {
                "type": "DefaultPaginator",
                "page_token_option": {
                    "type": "RequestOption",
                    "inject_into": "request_parameter",
                    "field_name": "page",
                },
                "page_size_option": {
                    "type": "RequestOption",
                    "inject_into": "request_parameter",
                    "field_name": "items_per_page",
                },
                "pagination_strategy": {
                    "type": "CursorPagination",
                    "page_size": "{{ config['page_size'] }}",
                    "cursor_value": "{{ response['$page'] + 1 }}",
                    "stop_condition": "{{ not response['$next'] }}",
                },
            },
            "partition_router": {
                "type": "ListPartitionRouter",
                "cursor_field": "business_id",
                "values": "{{ config['business_ids'] }}",
                "request_option": _option("header", "X-Business"),
            },
        },
        "transformations": [
            {
                "type": "AddFields",
                "fields": [{"path": ["business_id"], "value": "{{ stream_partition['business_id'] }}"}],
            }
        ],
    }


def main() -> None:
    """Read what the job names, and write it as Airbyte's protocol has it."""
    job_file = Path(sys.argv[1])
    job = json.loads(job_file.read_text())
    manifest = {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": [job["streams"][0]["name"]]},
        "streams": [_stream(stream) for stream in job["streams"]],
        "concurrency_level": {"type": "ConcurrencyLevel", "default_concurrency": job["concurrency"]},
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "additionalProperties": True}},
    }
    configured = [
        {
            "stream": {
                "name": stream["name"],
                "json_schema": stream["schema"],
                "supported_sync_modes": ["full_refresh"],
            },
            "sync_mode": "full_refresh",
            "destination_sync_mode": "overwrite",
        }
        for stream in job["streams"]
    ]
    catalog = job_file.with_name("catalog.json")
    catalog.write_text(json.dumps({"streams": configured}))
    config = {name: value for name, value in job.items() if name not in {"streams", "access_token"}}
    config_file = job_file.with_name("config.json")  # a small one: the authenticator looks through it for each request
    config_file.write_text(json.dumps(config))
    source = ConcurrentDeclarativeSource(
        catalog=ConfiguredAirbyteCatalogSerializer.load({"streams": configured}),
        config=config,
        state=None,
        source_config=manifest,
    )
    launch(source, ["read", "--config", str(config_file), "--catalog", str(catalog)])


if __name__ == "__main__":
    main()
