"""A benchmark against the simulated Sage: this tap beside one by the SDK's template, `dlt` and the Airbyte CDK."""
