#!/bin/sh
# PostgreSQL and three locations on this machine, with links as slow as those between continents, until Ctrl-C.
# In a checkout with its development tools, or anywhere with them installed: --database postgresql://… takes a
# server that is there. The nodes get cluster.toml and what is their own.
set -eu
folder=$(dirname "$0")
venv=$folder/../.venv/bin/python
[ -x "$venv" ] || venv=python3
exec "${PYTHON:-$venv}" -m kedge.testing.three_locations --config "$folder/cluster.toml" "$@"
