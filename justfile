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

# Where the coding agents lie that `just e2e` runs.
agents := env("NIGHTLAB_E2E_AGENTS", cache_directory() / "nightlab-e2e")

# Real coding agents from npm against a scripted model: a gigabyte once, then minutes. Skips what is not there.
e2e:
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p '{{ agents }}'
    if ! command -v npm >/dev/null; then
        echo "skipped: there is no npm on PATH (it comes with Node.js 20 or later), so no agent can be installed"
    elif ! cmp -s tests/e2e/package.json '{{ agents }}/package.json'; then
        cp tests/e2e/package.json '{{ agents }}/package.json'
        npm install --prefix '{{ agents }}' --no-audit --no-fund || { rm '{{ agents }}/package.json'; exit 1; }
    fi
    NIGHTLAB_E2E_AGENTS='{{ agents }}' uv run pytest tests/e2e -m e2e -n 2

# Mend what can be mended by itself.
fix:
    uv run ruff check --fix
    uv run ruff format
