"""psycopg 3 (libpq) through pgweir; see ../clients.sh."""

import psycopg
from report import expect, step


def connect(**change):
    return psycopg.connect(autocommit=True, connect_timeout=10, **change)


def refusal(**change):
    """libpq does not tell the SQLSTATE of a login that failed, only its text."""
    try:
        connect(**change).close()
    except psycopg.OperationalError as error:
        return str(error)
    return "was let in"


with step("plain"):
    text = refusal(sslmode="disable")
    expect("pool_hba.conf" in text, text)
with step("password"):
    text = refusal(password="wrong")
    expect("password authentication failed" in text, text)
with connect() as db:
    with step("tls"):
        expect(db.pgconn.ssl_in_use, "not in use")
        print("protocol yes")
    with step("write"):
        row = db.execute("INSERT INTO t VALUES (%s) RETURNING pg_is_in_recovery()", [1]).fetchone()
        expect(row == (False,), row)
    with step("prepared"):
        for n in range(20):
            row = db.execute("SELECT %s::int + count(*) FROM t", [n], prepare=True).fetchone()
            expect(row == (n + 1,), row)
        for n in range(20):
            db.execute("UPDATE t SET id = %s", [n], prepare=True)
        expect(db.execute("SELECT id FROM t").fetchone() == (19,), "the last update is lost")
    with step("transaction"):
        with db.transaction():
            db.execute("INSERT INTO t VALUES (2)")
            expect(db.execute("SELECT count(*) FROM t").fetchone() == (2,), "own row not seen")
            raise psycopg.Rollback()
        with db.transaction():
            db.execute("INSERT INTO t VALUES (3)")
        rows = db.execute("SELECT id FROM t ORDER BY id").fetchall()
        expect(rows == [(3,), (19,)], rows)
with step("read"):
    seen = set()
    for _ in range(40):
        with connect() as db:
            seen.add(db.execute("SELECT on_standby()").fetchone()[0])
        if len(seen) == 2:
            break
    expect(len(seen) == 2, f"only on {seen}")
