#!/usr/bin/env bash
# Runs real clients through pgweir over TLS, configured as in a Kubernetes Deployment:
#   bash examples/clients.sh [CLIENT...]      psql psycopg asyncpg node-postgres pgjdbc
# Starts a throw-away primary and standby that ask for TLS and scram-sha-256, and before them pgweir
#   - by variables alone, with the certificate that it makes for itself (clients: sslmode=require);
#   - by a ConfigMap and a TLS Secret, here files in a folder (clients: sslmode=verify-full);
# each in both pool modes. Prints what held, and ends with 1 if anything did not.
# PGWEIR names the program (else it is built), PGJDBC_JAR the driver for Java. Wants PostgreSQL,
# openssl, python3 with venv, npm, and for Java a JDK (apt: default-jdk-headless
# libpostgresql-jdbc-java). What is missing is said, and its clients are left out.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

clients=("$@")
((${#clients[@]})) || clients=(psql psycopg asyncpg node-postgres pgjdbc)
steps=(plain tls password write read prepared transaction)
user=weir_client
secret="it's a = secret"

if [[ -z ${PGWEIR:-} ]]; then
    (cd "$here/.." && cargo build --release --locked -p runtime-tokio --bin pgweir)
    PGWEIR=${CARGO_TARGET_DIR:-$here/../target}/release/pgweir
fi
bin=$(pg_config --bindir 2>/dev/null || true)
for candidate in "$bin" /usr/lib/postgresql/*/bin; do
    [[ -x $candidate/initdb ]] && bin=$candidate
done
[[ -x $bin/initdb ]] || { echo "clients: PostgreSQL is not installed" >&2; exit 2; }

folder=$(mktemp -d "${TMPDIR:-/tmp}/pgweir-clients.XXXXXX")
chmod 755 "$folder"
# PostgreSQL refuses to run as root.
as=()
if ((EUID == 0)); then
    as=(setpriv --reuid postgres --regid postgres --clear-groups)
    chown postgres "$folder"
fi
proxies=()
finish() {
    local pid
    for pid in "${proxies[@]}"; do kill "$pid" 2>/dev/null || true; done
    for node in standby primary; do
        [[ -f $folder/$node/postmaster.pid ]] &&
            "${as[@]}" "$bin/pg_ctl" -D "$folder/$node" -m immediate -w stop >/dev/null 2>&1 || true
    done
    if [[ -n ${KEEP:-} ]]; then echo "kept: $folder"; else rm -rf "$folder"; fi
}
trap finish EXIT
cd "$folder"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}

certificate() { # NAME: self-signed, so it is its own authority.
    "${as[@]}" openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -keyout "$folder/$1.key" -out "$folder/$1.crt" -subj "/CN=$1" \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' 2>/dev/null
}

# --- servers --------------------------------------------------------------------------------------

primary=$(free_port)
standby=$(free_port)
certificate server
certificate proxy
on_primary() { PGHOST=$folder "$bin/psql" -qXAt -v ON_ERROR_STOP=1 -p "$primary" -U postgres "$@"; }

"${as[@]}" "$bin/initdb" -D primary -U postgres -A trust --no-sync >/dev/null
cat >>primary/postgresql.conf <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$folder'
password_encryption = 'scram-sha-256'
ssl = on
ssl_key_file = '$folder/server.key'
ssl_cert_file = '$folder/server.crt'
fsync = off
# Reads on the standby see all writes, so that each client can check its own.
synchronous_commit = remote_apply
CONF
cat >primary/pg_hba.conf <<HBA
local   all         postgres               trust
local   replication postgres               trust
hostssl all         all       127.0.0.1/32 scram-sha-256
HBA
start() { # NODE PORT
    "${as[@]}" "$bin/pg_ctl" -D "$1" -w -l "$folder/$1.log" -o "-p $2" start >/dev/null
}
start primary "$primary"
"${as[@]}" "$bin/pg_basebackup" -D standby -R -c fast -h "$folder" -p "$primary" -U postgres
start standby "$standby"
on_primary -c "ALTER SYSTEM SET synchronous_standby_names = '*'" -c 'SELECT pg_reload_conf()' >/dev/null
on_primary -v password="$secret" <<SQL
CREATE ROLE $user LOGIN PASSWORD :'password';
CREATE TABLE t (id int);
GRANT ALL ON t TO $user;
-- Tells where a read ran. What plainly answers for one server, such as pg_is_in_recovery() or a
-- function that calls it, pgweir asks of the primary.
CREATE FUNCTION on_standby() RETURNS boolean STABLE LANGUAGE plpgsql AS \$\$
DECLARE answer boolean;
BEGIN EXECUTE 'SELECT pg_is_in_' || 'recovery()' INTO answer; RETURN answer; END \$\$;
SQL

# --- pgweir ---------------------------------------------------------------------------------------

cp "$PGWEIR" "$folder/pgweir"
mkdir -p variables file/tls
cat >file/pgpool.conf <<CONF
listen_addresses = '*'
port = 9999
socket_dir = '/var/run/pgpool'
pcp_listen_addresses = '*'
pcp_port = 9898
pcp_socket_dir = '/var/run/pgpool'
backend_hostname0 = '127.0.0.1'
backend_port0 = $primary
backend_weight0 = 1
backend_flag0 = 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'
backend_hostname1 = '127.0.0.1'
backend_port1 = $standby
backend_weight1 = 1
backend_flag1 = 'DISALLOW_TO_FAILOVER'
sr_check_period = 0
health_check_period = 0
backend_clustering_mode = 'streaming_replication'
num_init_children = 32
max_pool = 4
child_life_time = 300
child_max_connections = 0
connection_life_time = 0
client_idle_limit = 0
connection_cache = on
load_balance_mode = on
ssl = on
enable_pool_hba = on
failover_on_backend_error = off
log_min_messages = warning
CONF
cat >file/pool_hba.conf <<HBA
local   all all           trust
hostssl all all 0.0.0.0/0 scram-sha-256
HBA
cp proxy.key file/tls/tls.key
cp proxy.crt file/tls/tls.crt
((EUID == 0)) && chown -R postgres file

environment=(
    POSTGRES_USERNAME="$user" POSTGRES_PASSWORD="$secret"
    PGPOOL_PASSWORD_ENCRYPTION_METHOD=scram-sha-256
    PGPOOL_ENABLE_POOL_PASSWD=true PGPOOL_SKIP_PASSWORD_ENCRYPTION=false
)
minimal=(
    PGPOOL_PARAMS_BACKEND_HOSTNAME0=127.0.0.1 PGPOOL_PARAMS_BACKEND_PORT0="$primary"
    PGPOOL_PARAMS_BACKEND_WEIGHT0=1
    'PGPOOL_PARAMS_BACKEND_FLAG0=ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER'
    PGPOOL_PARAMS_BACKEND_HOSTNAME1=127.0.0.1 PGPOOL_PARAMS_BACKEND_PORT1="$standby"
    PGPOOL_PARAMS_BACKEND_WEIGHT1=1 PGPOOL_PARAMS_BACKEND_FLAG1=DISALLOW_TO_FAILOVER
    PGPOOL_PARAMS_FAILOVER_ON_BACKEND_ERROR=off
    PGPOOL_PARAMS_ENABLE_POOL_HBA=on PGPOOL_PARAMS_SSL=on
)
proxy() { # variables|file POOL_MODE: sets `port`
    local variables=("${environment[@]}") log=$folder/$1.$2.log
    [[ $1 == variables ]] && variables+=("${minimal[@]}")
    port=$(free_port)
    # In a container both ports would be its own.
    variables+=(PGPOOL_PARAMS_PORT="$port" PGPOOL_PARAMS_PCP_PORT="$(free_port)")
    # Session is the mode of a Deployment that says nothing.
    [[ $2 == session ]] || variables+=(PGPOOL_PARAMS_WEIR_POOL_MODE="$2")
    env -i "${variables[@]}" "${as[@]}" "$folder/pgweir" --check --config-dir "$folder/$1" >check ||
        { cat check >&2; exit 1; }
    grep -q "^weir_pool_mode = '*$2" check || { echo "weir_pool_mode is not $2" >&2; exit 1; }
    : >"$log"
    env -i "${variables[@]}" "${as[@]}" \
        "$folder/pgweir" -n --config-dir "$folder/$1" >"$log" 2>&1 &
    proxies+=($!)
    until grep -q 'pgweir is ready' "$log"; do
        kill -0 $! 2>/dev/null || { cat "$log" >&2; exit 1; }
        sleep 0.1
    done
}

# --- clients --------------------------------------------------------------------------------------

with_psql() {
    local text row n
    sql() { "$bin/psql" -qXAt -v ON_ERROR_STOP=1 "$@" 2>&1; }
    step() { # NAME WANTED GOT
        if [[ $3 == $2 ]]; then echo "$1 ok"; else echo "$1 FAILED ${3//$'\n'/ }"; fi
    }
    # psql does not tell the SQLSTATE of a login that failed, only its text.
    step plain '*pool_hba.conf*' "$(PGSSLMODE=disable sql -c 'SELECT 1' || true)"
    step password '*password authentication failed*' "$(PGPASSWORD=wrong sql -c 'SELECT 1' || true)"
    text=$(sql -c '\conninfo' || true)
    step tls '*SSL connection (protocol: *' "$text"
    text=${text##*protocol: } && echo "protocol ${text%%,*}"
    step write f "$(sql -c 'INSERT INTO t VALUES (1) RETURNING pg_is_in_recovery()' || true)"
    text=$(
        echo 'PREPARE sum (int) AS SELECT $1 + count(*) FROM t;'
        echo 'PREPARE change (int) AS UPDATE t SET id = $1;'
        for ((n = 0; n < 20; n++)); do echo "EXECUTE sum ($n); EXECUTE change ($n);"; done
        echo 'SELECT id FROM t;'
    )
    step prepared "$(seq 1 20 && echo 19)" "$(sql <<<"$text" || true)"
    text='BEGIN; INSERT INTO t VALUES (2); SELECT count(*) FROM t; ROLLBACK;
        BEGIN; INSERT INTO t VALUES (3); COMMIT; SELECT id FROM t ORDER BY id;'
    step transaction $'2\n3\n19' "$(sql <<<"$text" || true)"
    text=
    for ((n = 0; n < 40; n++)); do
        row=$(sql -c 'SELECT on_standby()') || { text=$row && break; }
        [[ $text == *"$row"* ]] || text+=$row
        ((${#text} == 2)) && break
    done
    step read '[ft][ft]' "$text"
}

# What each client needs; false if it is not to be had.
prepare() {
    case $1 in
    psql) ;;
    psycopg | asyncpg)
        [[ -d venv ]] || python3 -m venv venv || return
        local package=$1
        [[ $1 == psycopg ]] && package='psycopg[binary]'
        venv/bin/pip install -q "$package" || return
        ;;
    node-postgres)
        mkdir -p node && cp "$here/clients/with_node_postgres.js" node/
        (cd node && npm init -y >/dev/null && npm install --silent --no-fund --no-audit pg) || return
        ;;
    pgjdbc)
        jar=${PGJDBC_JAR:-/usr/share/java/postgresql.jar}
        [[ -r $jar ]] && command -v javac >/dev/null || return
        javac -cp "$jar" -d classes "$here/clients/WithPgjdbc.java" || return
        ;;
    *) echo "no such client: $1" >&2 && return 1 ;;
    esac
}

version() {
    case $1 in
    psql) "$bin/psql" --version | awk '{ print $3 }' ;;
    psycopg | asyncpg) venv/bin/python -c "import $1; print($1.__version__)" ;;
    node-postgres) node -p 'require("./node/node_modules/pg/package.json").version' ;;
    pgjdbc) java -cp "$jar" org.postgresql.util.PGJDBCMain | grep -o '[0-9][0-9.]*' | head -n 1 ;;
    esac
}

run() {
    case $1 in
    psql) with_psql ;;
    psycopg | asyncpg) venv/bin/python -B "$here/clients/with_$1.py" ;;
    node-postgres) node node/with_node_postgres.js ;;
    pgjdbc) java -cp "$jar:classes" WithPgjdbc ;;
    esac
}

export PGHOST=127.0.0.1 PGUSER=$user PGPASSWORD=$secret PGDATABASE=postgres PGCONNECT_TIMEOUT=10
failed=0
: >table
: >faults
ready=()
for client in "${clients[@]}"; do
    if prepare "$client" >"$folder/prepare.$client.log" 2>&1; then
        ready+=("$client")
    else
        echo "clients: $client is not to be had here: $(tail -n 1 "$folder/prepare.$client.log")" >&2
        failed=1
    fi
done
row() { printf '%-14s %-8s %-10s %-12s %-12s %-8s' "$@"; }
{
    row client version settings pool_mode sslmode TLS
    printf ' %-11s' "${steps[@]}"
    echo
} >>table
for settings in variables file; do
    if [[ $settings == variables ]]; then
        # Nothing to be found: clients that find an authority would verify by it.
        export PGSSLMODE=require HOME=$folder
        unset PGSSLROOTCERT
    else
        export PGSSLMODE=verify-full PGSSLROOTCERT=$folder/proxy.crt
    fi
    for mode in session transaction; do
        proxy "$settings" "$mode"
        export PGPORT=$port
        for client in "${ready[@]}"; do
            on_primary -c 'TRUNCATE t'
            result=$folder/$client.$settings.$mode
            run "$client" >"$result" 2>&1 || true
            protocol=$(sed -n 's/^protocol //p' "$result")
            row "$client" "$(version "$client")" "$settings" "$mode" "$PGSSLMODE" "${protocol:--}" >>table
            for step in "${steps[@]}"; do
                if grep -qx "$step ok" "$result"; then
                    printf ' %-11s' ok >>table
                else
                    printf ' %-11s' FAILED >>table
                    failed=1
                fi
            done
            echo >>table
            if [[ $(tail -n 1 table) == *FAILED* ]]; then
                { echo "--- $client $settings $mode"; cat "$result"; } >>faults
            fi
        done
        # The servers let in nobody without TLS, so it is there on that side as well.
        plain=$(on_primary -c "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE usename = '$user' AND NOT ssl")
        [[ $plain == 0 ]] || { echo "$plain connections to the primary without TLS" >&2; failed=1; }
        if grep -qF -- "$secret" "$folder/$settings.$mode.log"; then
            echo "the password is in the log" >&2
            failed=1
        fi
    done
done
cat table
cat faults
exit "$failed"
