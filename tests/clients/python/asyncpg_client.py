"""asyncpg: everything prepared and binary, Parse with Flush, pools that reset, COPY, cursors, listeners."""

import asyncio
import datetime as dt
import decimal
import io
import uuid

import asyncpg

from common import ALL_STEPS, failure, section, show


async def attempt(awaitable):
    try:
        show(await awaitable)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncio.TimeoutError) as error:
        failure(error)


async def types(conn):
    section("types")
    for kind, value in [
        ("int4", 7), ("int8", 2**40), ("float8", 0.1), ("numeric", decimal.Decimal("12345.6789")), ("text", "☃ text"),
        ("bytea", b"\x00\xff"), ("bool", True), ("date", dt.date(2024, 2, 29)), ("timestamp", dt.datetime(2024, 1, 2, 3, 4, 5)),
        ("timestamptz", dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc)), ("interval", dt.timedelta(days=1, seconds=2)),
        ("uuid", uuid.UUID(int=5)), ("int4[]", [1, None, 3]), ("text[]", ["a", 'b"c', None]), ("jsonb", '{"a": [1, null]}'),
        ("inet", "10.0.0.1"), ("point", asyncpg.Point(1, 2)), ("int4range", asyncpg.Range(1, 5)), ("text", None),
    ]:
        show(kind, await conn.fetchval(f"select $1::{kind}", value))
    await conn.execute("create type mood as enum ('sad', 'happy'); create type pair as (a int, b text)")
    show(await conn.fetchval("select $1::mood", "happy"), await conn.fetchval("select row(1, 'x')::pair"))
    await conn.set_type_codec("jsonb", encoder=str, decoder=len, schema="pg_catalog")
    show(await conn.fetchval("select '[1,2,3]'::jsonb"))
    await conn.reset_type_codec("jsonb", schema="pg_catalog")


async def rows(conn):
    section("rows")
    await conn.execute("create table item (id int primary key, name text, at timestamptz)")
    await conn.executemany("insert into item values ($1, $2, $3)", [
        (n, f"name {n}", dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(hours=n)) for n in range(500)
    ])
    show(await conn.fetchrow("select * from item where id = $1", 3))
    show(len(await conn.fetch("select * from item where id < $1", 400)), await conn.execute("delete from item where id >= 490"))
    show(await conn.execute("select 1; select 2; update item set name = name where id < 5"))
    statement = await conn.prepare("select name from item where id = $1 and name = $2")
    show([(a.name, a.type.name) for a in statement.get_attributes()], [p.name for p in statement.get_parameters()])
    show(await statement.fetchval(4, "name 4"), statement.get_statusmsg(), statement.get_query())
    for n in range(150):  # more than the driver's cache of 100
        await conn.fetchval(f"select {n} + $1::int", n)
    show(await conn.fetchval("select 0 + $1::int", 5))


async def errors(conn):
    section("errors")
    await attempt(conn.fetch("select 1/$1::int", 0))
    await attempt(conn.fetch("selec"))
    await attempt(conn.fetch("select * from nowhere"))
    await attempt(conn.execute("insert into item (id) values (1)"))
    await attempt(conn.fetchval("select $1::int", "text"))
    await attempt(conn.fetchval("select pg_sleep(30)", timeout=0.2))
    await attempt(conn.fetchval("select 'after timeout'"))
    task = asyncio.ensure_future(conn.fetchval("select pg_sleep(30)"))
    await asyncio.sleep(0.2)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        show("cancelled")
    await attempt(conn.fetchval("select 'after cancel'"))
    logs = []
    conn.add_log_listener(lambda _, message: logs.append((message.severity, message.message)))
    await conn.execute("do $$ begin raise notice 'noted'; end $$")
    await asyncio.sleep(0.05)
    show(logs)


async def transactions(conn):
    section("transactions")
    try:
        async with conn.transaction():
            await conn.execute("insert into item (id) values (1000)")
            try:
                async with conn.transaction():
                    await conn.execute("insert into item (id) values (1000)")
            except asyncpg.UniqueViolationError as error:
                failure(error)
            show(await conn.fetchval("select count(*) from item where id = 1000"))
            raise ValueError("mine")
    except ValueError as error:
        failure(error)
    show(await conn.fetchval("select count(*) from item where id = 1000"), conn.is_in_transaction())
    async with conn.transaction(isolation="serializable", readonly=True, deferrable=True):
        show(await conn.fetchval("show transaction_isolation"))
    async with conn.transaction():
        await conn.execute("set local work_mem = '8MB'")
        show(await conn.fetchval("show work_mem"))
    show(await conn.fetchval("show work_mem"))


async def cursors(conn):
    section("cursors")
    async with conn.transaction():
        total = 0
        async for record in conn.cursor("select n from generate_series(1, $1::int) n", 500, prefetch=37):
            total += record["n"]
        show(total)
        cursor = await conn.cursor("select n from generate_series(1, 20) n")
        await cursor.forward(5)
        show(await cursor.fetchrow(), await cursor.fetch(3))
        # Two cursors side by side, and a query between.
        one, two = await conn.cursor("select generate_series(1, 9)"), await conn.cursor("select generate_series(11, 19)")
        show(await one.fetch(2), await two.fetch(2), await conn.fetchval("select 'between'"), await one.fetch(2))
    await attempt(cursor_outside(conn))


async def cursor_outside(conn):
    return await conn.cursor("select 1")


async def copies(conn):
    section("copy")
    show(await conn.copy_records_to_table("item", columns=["id", "name"], records=[(n, f"copied {n}") for n in range(2000, 5000)]))
    out = io.BytesIO()
    show(await conn.copy_from_query("select id, name from item where id >= $1 order by id", 4990, output=out, format="csv"))
    show(out.getvalue())
    out = io.BytesIO()
    show(await conn.copy_from_table("item", columns=["id"], output=out, format="binary"), len(out.getvalue()))
    show(await conn.copy_to_table("item", source=io.BytesIO(b"9001,nine\n9002,ten\n"), columns=["id", "name"], format="csv"))
    await attempt(conn.copy_to_table("item", source=io.BytesIO(b"x,nine\n"), columns=["id", "name"], format="csv"))
    await attempt(conn.fetchval("select count(*) from item"))


async def settings(conn):
    section("settings")
    await conn.execute("select set_config('jit', 'off', false)")
    await conn.execute("set timezone = 'Asia/Tokyo'")
    show(await conn.fetchval("show jit"), await conn.fetchval("show timezone"), conn.get_settings().TimeZone)
    show(await conn.fetchval("select timestamptz '2024-01-01 00:00Z'::text"))
    await conn.reset()
    show(await conn.fetchval("show timezone"), conn.get_server_version()[:2])


SET_WORKER, WORKER = (
    ("select set_config('app.worker', $1, true)", "current_setting('app.worker')") if ALL_STEPS
    else ("select set_config('application_name', $1, true)", "current_setting('application_name')")
)


async def pools():
    section("pool")
    async with asyncpg.create_pool(min_size=2, max_size=5, server_settings={"application_name": "pooled", "search_path": "public"}) as pool:
        async def worker(number):
            results = []
            for n in range(10):
                async with pool.acquire() as conn:
                    async with conn.transaction():
                        await conn.execute(SET_WORKER, str(number))
                        results.append(await conn.fetchval(f"select {WORKER}::int * $1::int", n))
            return sum(results)
        show(await asyncio.gather(*(worker(n) for n in range(8))))
        show(await pool.fetchval("show application_name"), await pool.fetchval("show search_path"))
        async with pool.acquire() as conn:
            await conn.execute("set work_mem = '9MB'")
            show(await conn.fetchval("show work_mem"))
        show(await asyncio.gather(*(pool.fetchval("show work_mem") for _ in range(5))))


async def listeners(conn):
    section("listen")
    heard = asyncio.Queue()
    listener = await asyncpg.connect()
    await listener.add_listener("ch", lambda _, pid, channel, payload: heard.put_nowait((channel, payload)))
    for n in range(3):
        await conn.execute(f"notify ch, 'message {n}'")
    show([await asyncio.wait_for(heard.get(), 10) for _ in range(3)])
    await listener.close()


async def no_cache():
    section("without a statement cache")
    conn = await asyncpg.connect(statement_cache_size=0)
    show([await conn.fetchval("select $1::int + 1", n) for n in range(5)])
    show(await conn.fetchval("select length($1)", "w" * 1_500_000))
    await conn.close()
    await attempt(conn.fetchval("select 1"))


async def main():
    conn = await asyncpg.connect(server_settings={"application_name": "asyncpg test"})
    for part in (types, rows, errors, transactions, cursors, copies, settings, listeners):
        await part(conn)
    await conn.close()
    await pools()
    await no_cache()


asyncio.run(main())
