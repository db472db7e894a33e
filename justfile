# Everything a developer runs. `just` alone lists it.

[private]
default:
    @just --list

# install everything into .venv
setup:
    uv sync --extra celery --extra k8s

# format, lint, types, layers
lint:
    uv run ruff check
    uv run ruff format --check
    uv run lint-imports
    uv run zizmor --offline --quiet .github/workflows
    uv run mypy

# the quick tests: some of every package
test *arguments:
    uv run pytest {{arguments}}

# what CI runs
test-all:
    uv run pytest --all

# a benchmark, such as `just bench codec`
bench name *arguments:
    uv run python -m campaign_sync_tests.benchmarks.{{name}} {{arguments}}

# the documents as a site, which a browser shows while they are written
site:
    uv run zensical serve

# renew what is generated: the diagram of imports in architecture.md, the schemas of --json
docs:
    uv run python -m campaign_sync_tests.import_graph
    uv run python -m campaign_sync_tests.json_schemas

# two mandators against the sandbox; each run is another day
demo *arguments:
    uv run campaign-sync demo {{arguments}}
