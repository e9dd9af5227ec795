"""Warehouses of the cloud on this machine: what stands in for Snowflake and BigQuery, and what their targets need.

The target's own code makes the tables, the files and every statement. The programs below run in the target's
environment, and change only what the emulator has no words for; each change is named beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SNOWFLAKE = "fakesnow==0.12.1"
BIGQUERY = "bqemulator==1.4.0 duckdb==1.5.5 duckdb-extensions==1.5.5 duckdb-extension-spatial==1.5.5 numpy pandas"
START_SECONDS = 120

TARGET_SNOWFLAKE = '''#!{python}
"""target-snowflake on fakesnow. Its files are staged in a table, as fakesnow has no stage of a user's own, and the
rows that a MERGE selects from them are made a table first."""
import sys
from contextlib import contextmanager
from urllib.parse import urlparse
from urllib.request import url2pathname

import fakesnow

with fakesnow.patch(db_path="{directory}"):
    from sqlalchemy import text
    from target_snowflake.connector import SnowflakeConnector
    from target_snowflake.target import TargetSnowflake

    own_connect, own_merge = SnowflakeConnector._connect, SnowflakeConnector._get_merge_from_stage_statement

    @contextmanager
    def connect(self):
        with own_connect(self) as connection:
            fake = connection.connection.dbapi_connection
            fake.database, fake.database_set, fake._schema, fake.schema_set = "BOOKS", True, "SAGE", True
            yield connection

    def put(self, sync_id, files):
        with self._connect() as connection, connection.begin():
            table, duck = f'BOOKS.SAGE."{{sync_id}}"', connection.connection.dbapi_connection._duck_conn
            duck.execute(f"create table {{table}} (v json)")
            for path in (url2pathname(urlparse(file).path) for file in files):
                lines = f"read_json_objects('{{path}}', format='newline_delimited')"
                duck.execute(f"insert into {{table}} select json from {{lines}}")

    def merge(self, *, sync_id, file_format, **others):
        statement, more = own_merge(self, sync_id=sync_id, file_format=file_format, **others)
        before, _, rest = statement.text.partition(" d using (")
        select, _, after = rest.partition(") s on ")
        staged = f"'@~/target-snowflake/{{sync_id}}'(file_format => {{file_format}})"
        select = select.replace(staged, f'BOOKS.SAGE."{{sync_id}}"').replace("$1:", "v:").replace("SEQ8()", "1")
        with self._connect() as connection, connection.begin():
            connection.exec_driver_sql(f'create table BOOKS.SAGE."{{sync_id}} rows" as {{select}}')
        return text(f'{{before}} d using BOOKS.SAGE."{{sync_id}} rows" s on {{after}}'), more

    def remove(self, *, sync_id):
        with self._connect() as connection, connection.begin():
            duck = connection.connection.dbapi_connection._duck_conn
            for table in (sync_id, f"{{sync_id}} rows"):
                duck.execute(f'drop table if exists BOOKS.SAGE."{{table}}"')

    SnowflakeConnector._connect = connect
    SnowflakeConnector.put_batches_to_stage = put
    SnowflakeConnector._get_merge_from_stage_statement = merge
    SnowflakeConnector.remove_staged_files = remove
    SnowflakeConnector.create_file_format = SnowflakeConnector.drop_file_format = lambda self, **_: None
    TargetSnowflake.cli(sys.argv[1:])
'''
TARGET_BIGQUERY = '''#!{python}
"""target-bigquery on bqemulator, which loads no compressed files and knows no qualified columns in UPDATE SET."""
import io
import re

import target_bigquery.batch_job
import target_bigquery.core
from google.cloud import bigquery
from target_bigquery.target import TargetBigQuery

class Uncompressed(io.BytesIO):
    def close(self):
        pass

own = bigquery.Client.query

def query(self, sql, *arguments, **options):
    before, update, after = sql.partition("UPDATE SET ")
    after = re.sub(r"target\\.(`[^`]+`) = source", r"\\1 = source", after)
    return own(self, before + update + after, *arguments, **options)

bigquery.Client.query = query
target_bigquery.batch_job.Compressor = Uncompressed
target_bigquery.core.time.sleep = lambda seconds: None  # there is no consistency to wait for
TargetBigQuery.cli()
'''


class Tokens(BaseHTTPRequestHandler):
    """Gives any service account a token, in Google's place."""

    def do_POST(self) -> None:
        """Give a token."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "any", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def bigquery(python: Path, directory: Path, port: int) -> Iterator[dict[str, str]]:
    """Run a BigQuery of our own.

    Args:
        python: of the environment that has the emulator.
        directory: a home for its extensions, and its log.
        port: where it listens.

    Yields:
        The variables that lead a target there.
    """
    directory.mkdir()
    environment = {**os.environ, "HOME": str(directory)}
    extend = "from duckdb_extensions import import_extension; import_extension('spatial')"
    subprocess.run([python, "-c", extend], env=environment, check=True, capture_output=True)
    tokens = ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    threading.Thread(target=tokens.serve_forever, daemon=True).start()
    program = str(python.with_name("bqemulator"))
    command = [program, "start", f"--rest-port={port}", "--grpc-port=0", "--log-level=error"]
    with (directory / "log").open("w") as log:
        emulator = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/bigquery/v2/projects/local/datasets")
            yield {
                "BIGQUERY_EMULATOR_HOST": address,
                "TARGET_BIGQUERY_PROJECT": "local",
                "TARGET_BIGQUERY_CREDENTIALS_JSON": json.dumps(account(tokens.server_port)),
            }
        finally:
            emulator.terminate()
            emulator.wait()
            tokens.shutdown()


def wait_for(address: str) -> None:
    """Wait until a server responds.

    Raises:
        TimeoutError: it does not.
    """
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"Nothing listens at {address}.")


def account(port: int) -> dict[str, str]:
    """Return the key of a service account whose tokens come from a port of this machine."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "local",
        "private_key": key.decode(),
        "client_email": "tap@local.example",
        "token_uri": f"http://127.0.0.1:{port}/token",
    }
