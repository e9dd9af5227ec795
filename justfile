# `just` lists what there is; https://just.systems runs it. Everything is an ordinary command, so nothing needs it.

_:
    @just --list --unsorted

# Load a simulated Sage into a Postgres of its own
demo:
    uv run meltano run demo

# Run the tests of the inner loop, in about a minute, or what is named
test *arguments="-m 'not slow' tests/unit tests/integration":
    uv run pytest {{ arguments }}

# Run all tests
test-all *arguments:
    uv run pytest {{ arguments }}

# Check style, types and who imports whom
lint:
    uv run --group lint ruff check
    uv run --group lint ruff format --check
    uv run --group lint --group docs mypy --strict
    uv run --group lint lint-imports

# Correct what can be corrected, and renew what is made from the code
fix:
    uv run --group lint ruff check --fix
    uv run --group lint ruff format
    uv run python scripts/sync_settings.py --write
    uv run python scripts/build_sources.py --write
    uv run python scripts/build_assumptions.py --write
    uv run python scripts/draw_architecture.py --write
    uv run python scripts/draw_models.py --write

# Show the documentation, and renew it while it is edited
docs:
    uv run --group docs mkdocs serve

# Measure speed and memory beside other ways to extract
bench *arguments:
    uv run python -m benchmarks {{ arguments }}

# Run everything that CI runs on a clean clone
ci:
    .ci/run
