// node-postgres through pgweir; see ../clients.sh.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const { Client } = require('pg');

const full = process.env.PGSSLMODE === 'verify-full';
const ssl = full
  ? { ca: fs.readFileSync(process.env.PGSSLROOTCERT) }
  : { rejectUnauthorized: false };
// The driver would read it in ways of its own; `ssl` says it all.
delete process.env.PGSSLMODE;

async function connect(change) {
  const client = new Client({ ssl, connectionTimeoutMillis: 10000, ...change });
  await client.connect();
  return client;
}

async function sqlstate(change) {
  let client;
  try {
    client = await connect(change);
  } catch (error) {
    return error.code ?? String(error);
  }
  await client.end();
  return 'was let in';
}

async function step(name, body) {
  try {
    await body();
    console.log(`${name} ok`);
  } catch (error) {
    console.log(`${name} FAILED ${String(error).replace(/\s+/g, ' ')}`);
  }
}

async function main() {
  await step('plain', async () => assert.strictEqual(await sqlstate({ ssl: false }), '28000'));
  await step('password', async () => {
    assert.strictEqual(await sqlstate({ password: 'wrong' }), '28P01');
  });
  const db = await connect();
  const values = async (query) => (await db.query(query)).rows.map((row) => row[0]);
  const rows = (text, parameters, name) =>
    values({ text, values: parameters, name, rowMode: 'array' });
  await step('tls', async () => {
    assert(db.connection.stream.encrypted, 'not in use');
    console.log(`protocol ${db.connection.stream.getProtocol()}`);
  });
  await step('write', async () => {
    const text = 'INSERT INTO t VALUES ($1) RETURNING pg_is_in_recovery()';
    assert.deepStrictEqual(await rows(text, [1]), [false]);
  });
  await step('prepared', async () => {
    for (let n = 0; n < 20; n += 1) {
      const text = 'SELECT ($1::int + count(*))::int FROM t';
      assert.deepStrictEqual(await rows(text, [n], 'sum'), [n + 1]);
    }
    for (let n = 0; n < 20; n += 1) await rows('UPDATE t SET id = $1', [n], 'change');
    assert.deepStrictEqual(await rows('SELECT id FROM t'), [19]);
  });
  await step('transaction', async () => {
    await db.query('BEGIN');
    await db.query('INSERT INTO t VALUES (2)');
    assert.deepStrictEqual(await rows('SELECT count(*)::int FROM t'), [2]);
    await db.query('ROLLBACK');
    await db.query('BEGIN');
    await rows('INSERT INTO t VALUES ($1)', [3]);
    await db.query('COMMIT');
    assert.deepStrictEqual(await rows('SELECT id FROM t ORDER BY id'), [3, 19]);
  });
  await db.end();
  await step('read', async () => {
    const seen = new Set();
    for (let n = 0; n < 40 && seen.size < 2; n += 1) {
      const reader = await connect();
      seen.add((await reader.query('SELECT on_standby() AS r')).rows[0].r);
      await reader.end();
    }
    assert.strictEqual(seen.size, 2, `only on ${[...seen]}`);
  });
}

main().catch((error) => {
  console.log(`connect FAILED ${String(error).replace(/\s+/g, ' ')}`);
  process.exitCode = 1;
});
