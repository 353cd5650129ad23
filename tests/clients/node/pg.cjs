// node-postgres: pg with its pool, pg-cursor, pg-query-stream.
'use strict'

const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const { options, section, show, attempt } = require('./common.cjs')

async function main() {
  // The driver sends these as startup parameters.
  const client = new Client({ ...options, application_name: 'node client', statement_timeout: 20000, lock_timeout: 5000, idle_in_transaction_session_timeout: 60000 })
  await client.connect()

  section('startup parameters')
  for (const name of ['application_name', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'client_encoding']) {
    show(name, (await client.query(`show ${name}`)).rows)
  }

  section('types')
  for (const [type, value] of [
    ['int4', 1], ['int8', '9007199254740993'], ['float8', 1.5], ['numeric', '1.10'], ['text', '☃ text'], ['bool', true], ['text', null],
    ['jsonb', { a: [1, null] }], ['bytea', Buffer.from([0, 255])], ['timestamptz', new Date(0)], ['date', '2024-02-29'],
    ['int4[]', [1, null, 3]], ['text[]', ['a', 'b,"c']], ['uuid', '00000000-0000-0000-0000-000000000007'], ['interval', '1 day 2 hours'],
  ]) {
    show(type, (await client.query(`select $1::${type} as v`, [value])).rows[0].v)
  }

  section('rows')
  await client.query('create table item (id serial primary key, name text unique, doc jsonb)')
  for (let n = 0; n < 30; n++) await client.query('insert into item (name, doc) values ($1, $2)', [`item ${n}`, { n }])
  const result = await client.query({ text: 'select id, name from item where id <= $1 order by id', values: [2], rowMode: 'array' })
  show(result.command, result.rowCount, result.rows, result.fields.map((f) => [f.name, f.dataTypeID]))
  show((await client.query('select 1 as a; select 2 as b, 3 as c')).map((r) => r.rows))
  show((await client.query('')).command)

  section('named statements')
  for (let n = 1; n < 4; n++) show((await client.query({ name: 'by id', text: 'select name from item where id = $1', values: [n] })).rows)
  await attempt(() => client.query({ name: 'by id', text: 'select 1' }))
  await attempt(() => client.query({ name: 'broken', text: 'select nonsense' }))
  await attempt(() => client.query({ name: 'broken', text: 'select nonsense' }))

  section('queued without waiting')
  show((await Promise.all(Array.from({ length: 50 }, (_, n) => client.query('select $1::int as n', [n])))).map((r) => r.rows[0].n))

  section('errors')
  await attempt(() => client.query('select 1/0'))
  await attempt(() => client.query('select $1::int', ['x']))
  await attempt(() => client.query('selec'))
  await attempt(() => client.query('insert into item (name) values ($1)', ['item 1']))
  await attempt(async () => (await client.query("select 'goes on' as v")).rows)
  const notices = []
  client.on('notice', (notice) => notices.push([notice.severity, notice.message]))
  await client.query("do $$ begin raise notice 'noted'; raise warning 'warned'; end $$")
  show(notices)

  section('transactions')
  await client.query('begin')
  await client.query("insert into item (name) values ('in transaction')")
  await client.query('savepoint s')
  await attempt(() => client.query('select 1/0'))
  await attempt(() => client.query('select 1'))
  await client.query('rollback to s')
  await client.query('commit')
  show((await client.query("select count(*) from item where name = 'in transaction'")).rows)
  await client.query("set timezone = 'Asia/Tokyo'")
  show((await client.query("select timestamptz '2024-01-01 00:00Z'::text as t")).rows)
  await client.query('reset timezone')

  section('cursor')
  const cursor = client.query(new Cursor('select n from generate_series(1, $1::int) n', [10]))
  show(await cursor.read(4))
  show(await cursor.read(4))
  show(await cursor.read(4))
  show(await cursor.read(4))
  await cursor.close()
  const abandoned = client.query(new Cursor('select n from generate_series(1, 1000) n'))
  show((await abandoned.read(3)).length)
  await abandoned.close()
  show((await client.query("select 'after the cursor' as v")).rows)
  const failing = client.query(new Cursor('select 10 / (5 - n) as v from generate_series(1, 10) n'))
  await attempt(() => failing.read(2))
  await attempt(() => failing.read(8))
  await failing.close().catch(() => {})
  show((await client.query("select 'after the error' as v")).rows)

  section('stream')
  let total = 0
  for await (const row of client.query(new QueryStream('select n from generate_series(1, 5000) n', [], { batchSize: 64 }))) total += row.n
  show(total)
  show((await client.query('select length($1) as n, md5($1) as m', ['x'.repeat(1500000)])).rows)
  show((await client.query("select repeat('y', 1500000) as v")).rows[0].v.length)

  section('listen')
  const heard = []
  const listener = new Client(options)
  await listener.connect()
  const both = new Promise((resolve) => listener.on('notification', (m) => heard.push([m.channel, m.payload]) === 2 && resolve()))
  await listener.query('listen ch')
  await client.query("notify ch, 'one'")
  await client.query('select pg_notify($1, $2)', ['ch', 'two'])
  await both
  show(heard)
  await listener.end()

  section('timeout and cancel')
  await client.query("set statement_timeout = '100ms'")
  await attempt(() => client.query('select pg_sleep(30)'))
  await client.query('reset statement_timeout')
  show((await client.query('show statement_timeout')).rows)
  await client.end()

  section('pool')
  const pool = new Pool({ ...options, max: 3 })
  show(await Promise.all(Array.from({ length: 12 }, async (_, n) => (await pool.query('select $1::int * 2 as v', [n])).rows[0].v)))
  const borrowed = await pool.connect()
  try {
    await borrowed.query('begin')
    await borrowed.query("set local work_mem = '8MB'")
    show((await borrowed.query('show work_mem')).rows)
    await borrowed.query('commit')
    show((await borrowed.query('show work_mem')).rows)
  } finally {
    borrowed.release()
  }
  await attempt(() => pool.query('select * from nowhere'))
  await pool.end()

  section('refused')
  await attempt(() => new Client({ ...options, password: 'wrong' }).connect())
}

main()
