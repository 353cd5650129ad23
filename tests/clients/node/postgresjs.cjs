// postgres.js: names every query, pipelines, simple() scripts, cursors, COPY streams, reserved connections, listen.
'use strict'

const { Readable } = require('node:stream')
const { pipeline } = require('node:stream/promises')
const postgres = require('postgres')
const { options, section, show, attempt } = require('./common.cjs')

async function main() {
  const notices = []
  const sql = postgres({
    ...options,
    max: 3,
    onnotice: (notice) => notices.push([notice.severity, notice.message]),
    connection: { application_name: 'postgres.js', statement_timeout: 20000 },
  })

  section('types')
  show(await sql`select ${1}::int4 as a, ${'x ☃'} as b, ${true}::bool as c, ${null}::text as d, ${new Date(0)}::timestamptz as e`)
  show(await sql`select ${sql.json({ a: [1, null] })}::jsonb as a, ${sql.array([1, 2])}::int[] as b, ${Buffer.from([0, 255])}::bytea as c`)
  show(await sql`select 9007199254740993::int8 as a, 1.10::numeric as b, '{a,"b c"}'::text[] as c, date '2024-02-29' as d`)
  show((await sql`show application_name`)[0], (await sql`show statement_timeout`)[0])

  section('rows')
  await sql`create table item (id int primary key, name text unique, doc jsonb)`
  await sql`insert into item ${sql(Array.from({ length: 40 }, (_, n) => ({ id: n, name: `item ${n}`, doc: { n } })))}`
  const rows = await sql`select id, name from item where id in ${sql([1, 2, 3])} order by id`
  show(rows, rows.count, rows.command, rows.columns.map((c) => [c.name, c.type]))
  show(await sql`update item set name = ${'renamed'} where id = ${1} returning ${sql(['id', 'name'])}`)
  show(await sql`select ${sql('name')} from ${sql('item')} order by id limit 2`.values())
  show((await sql`select * from item where id = ${7}`.describe()).columns.map((c) => c.name))
  for (let n = 0; n < 5; n++) show((await sql`select ${n}::int + 1 as v`)[0].v)

  section('many at once')
  show((await Promise.all(Array.from({ length: 60 }, (_, n) => sql`select ${n}::int as v`))).map((r) => r[0].v))

  section('simple')
  show(await sql.unsafe("select 1 as a; select 'two' as b"))
  show(await sql.unsafe('select $1::int as v', [5]))
  show(await sql`select 1 as a; select 2 as b`.simple())

  section('errors')
  await attempt(() => sql`select 1/${0}::int`)
  await attempt(() => sql`select nonsense`)
  await attempt(() => sql`insert into item (id, name) values (1, 'x')`)
  await attempt(() => sql`selec`)
  await attempt(() => sql`select ${'x'}::int`)
  await sql`do $$ begin raise notice 'noted'; end $$`
  show(notices)

  section('transactions')
  show(
    await sql.begin(async (tx) => {
      await tx`insert into item (id, name) values (100, 'transaction')`
      await tx.savepoint(async (sp) => {
        await sp`insert into item (id, name) values (101, 'savepoint')`
        throw new Error('mine')
      }).catch((error) => show(error.message))
      return tx`select id from item where id >= 100`
    }),
  )
  await attempt(() => sql.begin(async (tx) => { await tx`delete from item`; await tx`select 1/0` }))
  show(await sql`select count(*)::int as n from item`)
  show(await sql.begin('isolation level serializable read only', (tx) => tx`show transaction_isolation`))
  show(await sql.begin((tx) => [tx`select 1 as a`, tx`select 2 as b`, tx`select 3 as c`]))

  section('reserved')
  const reserved = await sql.reserve()
  await reserved`set work_mem = '9MB'`
  show(await reserved`show work_mem`)
  await reserved`reset work_mem`
  show(await reserved`show work_mem`)
  reserved.release()

  section('cursors')
  let batches = []
  await sql`select n from generate_series(1, 20) n`.cursor(8, (batch) => { batches.push(batch.map((r) => r.n)) })
  show(batches)
  batches = []
  for await (const batch of sql`select n from generate_series(1, 100) n`.cursor(10)) {
    batches.push(batch.length)
    if (batches.length === 3) break
  }
  show(batches)
  let sum = 0
  await sql`select n from generate_series(1, 3000) n`.forEach((row) => { sum += row.n })
  show(sum)

  section('copy')
  const writable = await sql`copy item (id, name) from stdin`.writable()
  await pipeline(Readable.from(Array.from({ length: 2000 }, (_, n) => `${1000 + n}\tcopied ${n}\n`)), writable)
  const chunks = []
  for await (const chunk of await sql`copy (select id, name from item where id >= 2990 order by id) to stdout`.readable()) chunks.push(chunk)
  show(Buffer.concat(chunks).toString())

  section('listen')
  const heard = []
  let both
  const done = new Promise((resolve) => { both = resolve })
  const subscription = await sql.listen('ch', (payload) => heard.push(payload) === 2 && both())
  await sql.notify('ch', 'one')
  await sql.notify('ch', 'two')
  await done
  show(heard)
  await subscription.unlisten()

  section('cancel')
  const query = sql`select pg_sleep(30)`.execute()
  setTimeout(() => query.cancel(), 300)
  await attempt(() => query)
  show(await sql`select 'after cancel' as v`)

  section('large')
  show((await sql`select length(${'x'.repeat(1200000)}::text) as n`)[0].n, (await sql`select repeat('y', 1200000) as v`)[0].v.length)
  await sql.end()

  section('without prepared statements')
  const plain = postgres({ ...options, max: 2, prepare: false })
  show((await Promise.all(Array.from({ length: 10 }, (_, n) => plain`select ${n}::int as v`))).map((r) => r[0].v))
  await plain.end()
}

main()
