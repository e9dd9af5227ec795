"""Sage in Dagster: a partition for each business, an asset for each list, and the finance models behind them.

Lists of Sage are the sources of the dbt project: each is an asset with the key that the models refer to. How to set it
up: docs/platforms/dagster.md.
"""
# ruff: noqa: INP001, TC003 - copied, not installed; and Dagster reads annotations when it loads this

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import sage_pipeline
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets
from upath import UPath

MODELS_PLACE = Path(os.environ.get("SAGE_MODELS") or Path(__file__, "../../../transform")).resolve()
"""The dbt project; by itself that of the clone which this file is in."""
STATES = UPath(os.environ.get("SAGE_STATES", "sage-states"))
"""Where bookmarks are kept, a file for each business: a directory that outlives the run, or a bucket (`s3://...`)."""
SLOTS = int(os.environ.get("SAGE_SLOTS", "4"))
"""Limit of the pool `sage`: how many businesses are read at once."""
REQUESTS_PER_MINUTE = int(os.environ.get("SAGE_REQUESTS_PER_MINUTE", "900"))
"""What the application may ask of Sage. Runs do not know of each other, so each gets its part."""
SETTINGS = {"requests_per_minute": str(max(1, REQUESTS_PER_MINUTE // SLOTS))}
FINDING = re.compile(r"Reconciliation, (.+ differs by .+)")
"""What the models log of a check that differs: business, month, check and figures."""


def project() -> DbtProject:
    """Return the dbt project with its manifest.

    Raises:
        FileNotFoundError: one of both is not there.
    """
    if not (MODELS_PLACE / "dbt_project.yml").exists():
        raise FileNotFoundError(f"No dbt project in {MODELS_PLACE}: copy transform/, and set SAGE_MODELS to its place.")
    found = DbtProject(MODELS_PLACE)
    found.prepare_if_dev()
    if not found.manifest_path.exists():
        raise FileNotFoundError(f"No {found.manifest_path}: run `dbt parse` in {MODELS_PLACE}.")
    return found


MODELS = project()
TABLES: dict[str, dict[str, Any]] = {
    source["name"]: source
    for source in json.loads(MODELS.manifest_path.read_text())["sources"].values()
    if source["source_name"] == "sage"
}
"""Lists of Sage's, by the names of their tables, as dbt knows them."""
PARTITIONS = dg.DynamicPartitionsDefinition(name="sage_businesses")
RESOURCES = {"dbt": DbtCliResource(project_dir=MODELS)}
FRESHNESS = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=2), fail_window=timedelta(days=3))
"""More than a day: a daily run does not end at the same moment as the one before."""


class Layers(DagsterDbtTranslator):
    """Groups models by the directory that they are in: `sage_accounting_staging`, `sage_accounting_marts`."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Return the group that the dbt project names, else the project and the model's directory."""
        package, *directories, _ = dbt_resource_props["fqn"]
        layer = re.sub(r"\W", "_", "_".join([package, *directories[:1]]))
        return super().get_group_name(dbt_resource_props) or layer


def spec_of(table: dict[str, Any], **more: Any) -> dg.AssetSpec:
    """Describe a list of Sage's as dbt describes its table."""
    columns = [
        dg.TableColumn(column["name"], column["data_type"], column["description"])
        for column in table["columns"].values()
    ]
    return dg.AssetSpec(
        ["sage", table["name"]],
        description=table["description"],
        group_name=f"sage_{table['meta']['area']}",
        kinds={"sage", "table"},
        tags={"sage/read": table["meta"]["read"]},
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
        **more,
    )


@dg.multi_asset(specs=[spec_of(TABLES["user"])], pool="sage_tables")
def account(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Make every table, load the user who logged in, and give each business that they reach a partition.

    Without the tables, the first partitions would all create the same ones, and some would fail.
    """
    succeed(sage_pipeline.run(TABLES, None, "--test=schema"))
    # The models need to know of each business, whichever job runs first.
    outcome = sage_pipeline.run(("user", "businesses", "financial_settings"), **SETTINGS)
    succeed(outcome)
    known = set(context.instance.get_dynamic_partitions(PARTITIONS.name))
    context.instance.add_dynamic_partitions(PARTITIONS.name, sorted(outcome.businesses.keys() - known))
    for lost in sorted(known - outcome.businesses.keys()):
        context.instance.delete_dynamic_partition(PARTITIONS.name, lost)
    return dg.MaterializeResult(metadata={"businesses": outcome.businesses, "summary": outcome.summary})


@dg.multi_asset(
    specs=[
        spec_of(
            table,
            deps=[dg.AssetKey(["sage", "user"])],
            skippable=True,
            partitions_def=PARTITIONS,
            freshness_policy=FRESHNESS,
        )
        for name, table in TABLES.items()
        if name != "user"
    ],
    can_subset=True,
    pool="sage",
)
def business(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """Read the selected lists of a business, from bookmarks of its own.

    A list that was read is materialized also where another one fails: its rows and bookmarks are kept.
    """
    key = context.partition_key
    streams = {asset.path[-1]: asset for asset in context.selected_asset_keys}
    state = STATES / f"{key}.json"
    outcome = sage_pipeline.run(streams, state, business_ids=json.dumps([key]), **SETTINGS)
    for stream in streams.keys() & outcome.loaded.keys():
        metadata = {**outcome.loaded[stream], "summary": outcome.summary, "run": outcome.run}
        yield dg.MaterializeResult(asset_key=streams[stream], metadata=metadata)
    succeed(outcome)


@dbt_assets(manifest=MODELS.manifest_path, project=MODELS, dagster_dbt_translator=Layers())
def finance_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Build the finance models, test them, and reconcile them with Sage's trial balance."""
    build = dbt.cli(["build", "--exclude-resource-type", "unit_test"], context=context, raise_on_error=False)
    yield from build.stream()
    if not build.is_successful():
        logged = (json.loads(line)["info"]["msg"] for line in (build.target_path / "dbt.log").read_text().splitlines())
        findings = [found[1] for message in logged if (found := FINDING.search(message))]
        raise failure("\n".join(findings) or "dbt failed: see its log.")


def succeed(outcome: sage_pipeline.Outcome) -> None:
    """Fail with the cause, in the words of the program that failed.

    Raises:
        Failure: a program failed.
    """
    if outcome.failed:
        raise failure(outcome.summary, exit_codes=outcome.exit_codes, run=outcome.run)


def failure(reason: str, **metadata: Any) -> dg.Failure:
    """Make a failure whose reason a terminal shows again behind Dagster's stack trace, as its cause."""
    made = dg.Failure(reason, metadata=metadata)
    made.__cause__ = sage_pipeline.RunFailedError(reason)
    return made


def _by_business(job: Any, cron_schedule: str) -> dg.ScheduleDefinition:
    """Run a job for each business, in a run of its own."""

    @dg.schedule(name=f"{job.name}_schedule", job=job, cron_schedule=cron_schedule)
    def each_business(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        keys = context.instance.get_dynamic_partitions(PARTITIONS.name)
        return [dg.RunRequest(run_key=key, partition_key=key) for key in keys]

    return each_business


def _lists(read: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(business) & dg.AssetSelection.tag("sage/read", read)


login = dg.define_asset_job("sage_account", dg.AssetSelection.assets(account))
transactional = dg.define_asset_job("sage_transactional", _lists("hourly"), partitions_def=PARTITIONS)
reference = dg.define_asset_job("sage_reference", _lists("daily"), partitions_def=PARTITIONS)
models = dg.define_asset_job("sage_models", dg.AssetSelection.assets(finance_models))

SCHEDULES = [
    dg.ScheduleDefinition(job=login, cron_schedule="55 1 * * *"),
    _by_business(transactional, "5 * * * *"),
    _by_business(reference, "35 2 * * *"),
    dg.ScheduleDefinition(job=models, cron_schedule="35 * * * *"),
]
defs = dg.Definitions(
    assets=[account, business, finance_models],
    jobs=[login, transactional, reference, models],
    schedules=SCHEDULES,
    resources=RESOURCES,
)
