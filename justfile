# `just check` is exactly what CI runs.

# List the recipes.
default:
    @just --list

# Everything that must hold before a commit lands.
check: lint types layers test

# Style and likely mistakes.
lint:
    uv run ruff check
    uv run ruff format --check

# Types, strictly.
types:
    uv run mypy

# Imports point one way.
layers:
    uv run lint-imports

# The tests.
test:
    uv run pytest

# Minutes of killing and repeating.
soak:
    uv run pytest -m soak

# Mend what can be mended by itself.
fix:
    uv run ruff check --fix
    uv run ruff format
