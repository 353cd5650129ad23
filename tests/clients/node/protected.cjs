// Reads, writes and transactions on a shared, protected table, as a tenant. The first argument is the driver.
'use strict'

const { options, section, show, attempt } = require('./common.cjs')

const ALL = 'select id, note from invoices order by id'

async function pg() {
  const { Client } = require('pg')
  const client = new Client(options)
  await client.connect()
  const rows = async (text, values) => (await client.query({ text, values, rowMode: 'array' })).rows
  section('reads')
  show(await rows(ALL))
  for (const id of [1, 2, 3, 4]) {
    show((await client.query({ name: 'by id', text: 'select note, tenant_id from invoices where id = $1', values: [id] })).rows)
  }
  section('writes')
  show(await rows('insert into invoices (id, note) values ($1, $2) returning id, note, tenant_id', [10, 'ten']))
  for (let id = 11; id < 21; id++) await rows('insert into invoices (id, note) values ($1, $2)', [id, `n${id}`])
  show((await client.query("update invoices set note = note || '!' where id > $1", [15])).rowCount)
  show((await client.query('delete from invoices where id = 12 or tenant_id = 2')).rowCount)
  section('transactions')
  await client.query('begin')
  show((await client.query("update invoices set note = 'gone'")).rowCount)
  await client.query('savepoint s')
  try {
    await client.query("insert into invoices (id, note) values (10, 'again')")
  } catch (error) {
    show(error.code)
  }
  await client.query('rollback to s')
  show(await rows("select count(*) from invoices where note = 'gone'"))
  await client.query('rollback')
  show(await rows(ALL))
  show((await client.query('select count(*) from invoices; select max(id) from invoices')).map((r) => r.rows))
  await client.end()
}

async function postgresjs() {
  const sql = require('postgres')({ ...options, max: 2, onnotice: () => {} })
  section('reads')
  show(await sql.unsafe(ALL))
  for (const id of [1, 2, 3, 4]) show(await sql`select note, tenant_id from invoices where id = ${id}`)
  section('writes')
  const items = Array.from({ length: 10 }, (_, n) => ({ id: 11 + n, note: `n${11 + n}` }))
  show(await sql`insert into invoices ${sql(items)} returning id, note, tenant_id`)
  show((await sql`update invoices set note = note || '!' where id > ${15}`).count)
  show((await sql`delete from invoices where id = 12 or tenant_id = 2`).count)
  section('transactions')
  await attempt(async () => {
    try {
      await sql.begin(async (sql) => {
        await sql`update invoices set note = 'gone'`
        await sql.savepoint((sql) => sql`insert into invoices (id, note) values (11, 'again')`)
      })
    } catch (error) {
      return error.code
    }
  })
  await sql`select id, note from invoices order by id`.cursor(4, (rows) => show(rows))
  await sql.end()
}

;({ pg, postgresjs })[process.argv[2]]()
