#!/usr/bin/env bash
# Runs a driver's own test suite, as its package registry has it, against a server or a proxy:
#   bash examples/drivers.sh asyncpg|tokio-postgres HOST PORT
# The database must be a throw-away one; see DRIVERS.md. Prints the tests that failed.
set -euo pipefail

suite=${1:?a suite: asyncpg or tokio-postgres}
host=${2:-127.0.0.1}
port=${3:-9999}
folder=${DRIVERS_FOLDER:-${TMPDIR:-/tmp}/pgweir-drivers}
mkdir -p "$folder"
cd "$folder"

case $suite in
asyncpg)
    [ -d venv ] || python3 -m venv venv
    # shellcheck disable=SC1091
    . venv/bin/activate
    pip install -q asyncpg pytest pytest-timeout distro
    version=$(python -c 'import asyncpg; print(asyncpg.__version__)')
    if [ ! -d "asyncpg-$version/tests" ]; then
        pip download -q --no-deps --no-binary :all: "asyncpg==$version"
        # Only the tests: the module is the installed one.
        tar xzf "asyncpg-$version.tar.gz" --wildcards '*/tests/*'
    fi
    cd "asyncpg-$version"
    export PGHOST=$host PGPORT=$port PGUSER=postgres PGDATABASE=postgres PGSSLMODE=disable
    # What starts servers of its own is left out.
    pytest -q --timeout=120 --tb=line -p no:cacheprovider -rfE tests \
        --ignore tests/test__sourcecode.py --ignore tests/test_subinterpreters.py \
        --deselect tests/test_connect.py::TestConnectionAttributes
    ;;
tokio-postgres)
    command -v socat >/dev/null || { echo "socat is needed" >&2; exit 2; }
    cargo info -q tokio-postgres >/dev/null 2>&1 || true
    version=${TOKIO_POSTGRES_VERSION:-0.7.18}
    if [ ! -d "tokio-postgres-$version" ]; then
        mkdir -p fetch/src && : >fetch/src/lib.rs
        printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\ntokio-postgres = "=%s"\n' "$version" >fetch/Cargo.toml
        cargo vendor -q --manifest-path fetch/Cargo.toml vendor >/dev/null
        cp -r vendor/tokio-postgres "tokio-postgres-$version"
    fi
    # The tests want port 5433 of this machine, with the roles of the project's container.
    psql -h "$host" -p "$port" -U postgres -qX <<'SQL' 2>/dev/null || true
CREATE ROLE pass_user PASSWORD 'password' LOGIN;
SET password_encryption TO 'md5';
CREATE ROLE md5_user PASSWORD 'password' LOGIN;
SET password_encryption TO 'scram-sha-256';
CREATE ROLE scram_user PASSWORD 'password' LOGIN;
CREATE EXTENSION IF NOT EXISTS hstore;
CREATE EXTENSION IF NOT EXISTS citext;
CREATE EXTENSION IF NOT EXISTS ltree;
SQL
    socat TCP-LISTEN:5433,bind=127.0.0.1,fork,reuseaddr "TCP:$host:$port" &
    forwarder=$!
    trap 'kill "$forwarder"' EXIT
    cd "tokio-postgres-$version"
    cargo test -q --features with-uuid-1 --test test
    ;;
*)
    echo "no such suite: $suite" >&2
    exit 2
    ;;
esac
