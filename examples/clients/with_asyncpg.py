"""asyncpg (its own protocol code) through pgweir; see ../clients.sh."""

import asyncio
import os

import asyncpg
from report import expect, step

MODE = os.environ["PGSSLMODE"]


def connect(**change):
    return asyncpg.connect(timeout=10, **{"ssl": MODE, **change})


async def sqlstate(**change):
    try:
        db = await connect(**change)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    await db.close()
    return "was let in"


async def main():
    with step("plain"):
        state = await sqlstate(ssl="disable")
        expect(state == "28000", state)
    with step("password"):
        state = await sqlstate(password="wrong")
        expect(state == "28P01", state)
    db = await connect()
    with step("tls"):
        tls = db._transport.get_extra_info("ssl_object")
        expect(tls is not None, "not in use")
        print(f"protocol {tls.version()}")
    with step("write"):
        row = await db.fetchval("INSERT INTO t VALUES ($1) RETURNING pg_is_in_recovery()", 1)
        expect(row is False, row)
    with step("prepared"):
        statement = await db.prepare("SELECT $1::int + count(*) FROM t")
        for n in range(20):
            expect(await statement.fetchval(n) == n + 1, n)
        statement = await db.prepare("UPDATE t SET id = $1")
        for n in range(20):
            await statement.fetch(n)
        expect(await db.fetchval("SELECT id FROM t") == 19, "the last update is lost")
    with step("transaction"):
        transaction = db.transaction()
        await transaction.start()
        await db.execute("INSERT INTO t VALUES (2)")
        expect(await db.fetchval("SELECT count(*) FROM t") == 2, "own row not seen")
        await transaction.rollback()
        async with db.transaction():
            await db.execute("INSERT INTO t VALUES (3)")
        rows = [row[0] for row in await db.fetch("SELECT id FROM t ORDER BY id")]
        expect(rows == [3, 19], rows)
    await db.close()
    with step("read"):
        seen = set()
        for _ in range(40):
            db = await connect()
            # The first run of a statement is on the primary: asyncpg prepares it with a Flush, and
            # pgweir sends a batch that ends in one there.
            for _ in range(2):
                seen.add(await db.fetchval("SELECT on_standby()"))
            await db.close()
            if len(seen) == 2:
                break
        expect(len(seen) == 2, f"only on {seen}")


asyncio.run(main())
