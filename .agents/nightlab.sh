#!/bin/sh
# nightlab's door for coding agents: `sh .agents/nightlab.sh ARGS` is `nightlab ARGS`, wherever nightlab is installed.
#
# Written by `nightlab agents install`, and shared by everybody who works on this repository: it names no place of one
# machine. Hooks and MCP entries call it, so that they need no change (and no new trust) when nightlab moves.

lab=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1

# The environment that is active; PATH; the .venv of the lab or of a directory above it; that of the main checkout, if
# this is a linked worktree; and where `uv tool install` and `pipx install` put programs.
candidates() {
    [ -n "$VIRTUAL_ENV" ] && echo "$VIRTUAL_ENV/bin/nightlab"
    [ -n "$CONDA_PREFIX" ] && echo "$CONDA_PREFIX/bin/nightlab"
    command -v nightlab
    at=$lab
    while :; do
        echo "$at/.venv/bin/nightlab"
        [ "$at" = / ] && break
        at=$(dirname -- "$at")
    done
    shared=$(cd "$lab" && git rev-parse --git-common-dir 2>/dev/null) &&
        (cd "$lab" && cd "$shared/.." && echo "$(pwd)/.venv/bin/nightlab")
    echo "$HOME/.local/bin/nightlab"
}

nightlab=$(candidates | while IFS= read -r place; do
    if [ -f "$place" ] && [ -x "$place" ]; then
        echo "$place"
        break
    fi
done)
if [ -z "$nightlab" ]; then
    echo "nightlab is not installed where $lab/.agents/nightlab.sh looks for it:" >&2
    echo "from a clone of nightlab run \`uv tool install .\`, or \`pip install .\` into $lab/.venv" >&2
    exit 1
fi

case $1 in
    hook) # to a client an exit code of 2 means that nightlab forbids something, and it says so in other ways
        NIGHTLAB_LAB=$lab "$nightlab" "$@" || exit 1 ;; # which lab it is, whatever directory the agent is in
    mcp) # clients start servers anywhere
        cd "$lab" && exec "$nightlab" "$@" ;;
    *)
        exec "$nightlab" "$@" ;;
esac
