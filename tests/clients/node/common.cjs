// What the Node clients share: where to connect, and how results are written down.
'use strict'

const env = process.env

exports.options = {
  host: env.PGHOST,
  port: Number(env.PGPORT),
  user: env.PGUSER,
  password: env.PGPASSWORD,
  database: env.PGDATABASE,
}

exports.section = (name) => console.log(`== ${name}`)

exports.show = (...values) =>
  console.log(
    values
      .map((value) =>
        JSON.stringify(value, (_, v) => {
          if (typeof v === 'bigint') return `${v}n`
          if (v && v.type === 'Buffer') return `bytes ${Buffer.from(v.data).toString('hex')}`
          return v === undefined ? 'undefined' : v
        }),
      )
      .join(' '),
  )

exports.attempt = async (work) => {
  try {
    exports.show(await work())
  } catch (error) {
    exports.show(error.name, error.severity, error.code, error.message)
  }
}

// A rejection that nobody handles is a failed run.
process.on('unhandledRejection', (error) => {
  console.log('unhandled', error)
  process.exit(1)
})
