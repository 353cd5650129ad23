"""psycopg 3: parameters in text and binary, automatic preparation, pipelines, COPY, server cursors, notifications."""

import asyncio
import datetime as dt
import decimal
import ipaddress
import logging
import threading
import uuid

import psycopg
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types.json import Jsonb

from common import ALL_STEPS, failure, section, show


def connect(**options):
    # Everything else comes from the environment, as libpq reads it.
    return psycopg.connect(**options)


VALUES = [
    None, True, -5, 2**40, 10**30, 1.5, float("nan"), decimal.Decimal("123456789.000000001"), "zwölf ☃", b"\x00\xff\x01",
    dt.date(2024, 2, 29), dt.time(1, 2, 3, 4), dt.datetime(2024, 1, 2, 3, 4, 5, 6),
    dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc), dt.timedelta(days=3, seconds=4, microseconds=5),
    uuid.UUID(int=7), ipaddress.ip_address("10.1.2.3"), [1, 2, None], ["a", "b,c", '"'], [[1, 2], [3, 4]],
    Jsonb({"a": [1, {"b": None}], "c": "ü"}), "x" * 100_000,
]

with connect(autocommit=True) as conn:
    section("types, text and binary")
    for binary in (False, True):
        cur = conn.cursor(binary=binary)
        for value in VALUES:
            cur.execute("select %s", (value,))
            got = cur.fetchone()[0]
            show(got if not isinstance(got, str) or len(got) < 100 else (len(got), got[:3]))
    show(conn.execute("select %b::int4, %t::int8", (1, 2)).fetchone())

    section("schema and rows")
    conn.execute("create table item (id int primary key, name text, price numeric(10,2), tags text[], doc jsonb)")
    with conn.cursor() as cur:
        cur.executemany(
            "insert into item values (%s, %s, %s, %s, %s) returning id",
            [(n, f"item {n}", decimal.Decimal(n) / 4, [str(n), None], Jsonb({"n": n})) for n in range(1, 51)],
            returning=True,
        )
        ids = []
        while True:
            ids.append(cur.fetchone()[0])
            if not cur.nextset():
                break
        show(len(ids), ids[-1])
    show(conn.execute("select count(*), sum(price) from item").fetchone())
    cur = conn.cursor(row_factory=dict_row).execute("select * from item where id = %(id)s", {"id": 7})
    show(cur.fetchone(), [(c.name, c.type_code) for c in cur.description], cur.rowcount, cur.statusmessage)
    show(conn.cursor(row_factory=namedtuple_row).execute("select 1 as one, 2 as two").fetchall())
    cur = conn.execute("select 1; select 2; select 'three'")
    results = [cur.fetchall()]
    while cur.nextset():
        results.append(cur.fetchall())
    show(results)

    section("prepared automatically after five runs")
    for n in range(1, 12):
        show(conn.execute("select name from item where id = %s", (n,)).fetchone())
    conn.prepare_threshold = 0
    for n in range(3):
        show(conn.execute("select %s::int + 1", (n,)).fetchone())
    show(conn.execute("select 'prepared at once' where %s", (True,), prepare=True).fetchone())
    # More statements than the driver keeps: it deallocates the oldest.
    conn.prepared_max = 3
    for n in range(8):
        show(conn.execute(f"select {n} + %s", (n,)).fetchone())
    conn.prepare_threshold = 5
    conn.prepared_max = 100

    section("a plan outlives a change of its table")
    conn.execute("create table shape (a int)")
    conn.execute("insert into shape values (1)")
    for _ in range(2):
        show(conn.execute("select a from shape", prepare=True).fetchall())
    conn.execute("alter table shape add b text default 'b'")
    show(conn.execute("select a from shape", prepare=True).fetchall())

    section("errors")
    for sql, parameters in [
        ("select 1/%s", (0,)), ("selec 1", ()), ("select * from nowhere", ()), ("insert into item (id) values (%s)", (1,)),
        ("select %s::int", ("x",)), ("select %s + 1", (None,)), ("select pg_sleep(%s)", ("x",)),
    ]:
        try:
            show(conn.execute(sql, parameters).fetchall())
        except psycopg.Error as error:
            failure(error)
            show(error.diag.severity_nonlocalized, error.diag.message_primary, error.diag.statement_position)
    notices = []
    conn.add_notice_handler(lambda diag: notices.append((diag.severity_nonlocalized, diag.message_primary)))
    conn.execute("do $$ begin raise notice 'seen'; raise warning 'too'; end $$")
    show(notices)

    section("transactions and savepoints")
    try:
        with conn.transaction():
            conn.execute("insert into item (id, name) values (100, 'outer')")
            try:
                with conn.transaction():
                    conn.execute("insert into item (id) values (100)")
            except psycopg.errors.UniqueViolation as error:
                failure(error)
            show(conn.info.transaction_status.name)
            with conn.transaction("named"):
                conn.execute("update item set name = 'inner' where id = 100")
                raise psycopg.Rollback()
    finally:
        show(conn.execute("select name from item where id = 100").fetchone())
    with conn.transaction(force_rollback=True):
        conn.execute("delete from item")
    show(conn.execute("select count(*) from item").fetchone(), conn.info.transaction_status.name)

    section("settings")
    if ALL_STEPS:
        conn.execute("select set_config('app.who', %s, false)", ("me",))
        show(conn.execute("show app.who").fetchone())
    conn.execute("set timezone to 'Europe/Berlin'")
    show(conn.execute("select timestamptz '2024-06-01 12:00:00Z'").fetchone(), conn.info.parameter_status("TimeZone"))
    conn.execute("reset timezone")
    show(conn.info.parameter_status("TimeZone"), conn.info.encoding, conn.info.parameter_status("standard_conforming_strings"))

    section("pipeline")
    with conn.pipeline() as pipeline:
        cursors = [conn.execute("select %s::int * 2", (n,)) for n in range(40)]
        pipeline.sync()
        show([cur.fetchone()[0] for cur in cursors])
        for n in range(5):
            conn.execute("insert into item (id, name) values (%s, 'piped')", (200 + n,))
    show(conn.execute("select count(*) from item where name = 'piped'").fetchone())
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # its warnings name the port
    try:
        with conn.pipeline():
            conn.execute("select 1")
            conn.execute("select 1/0")
            conn.execute("select 2")
    except psycopg.Error as error:
        failure(error)
    with conn.pipeline() as pipeline:
        # Whether the failure is seen at the next statement or at the end is a matter of time.
        failures = []
        for step in [lambda sql=sql: conn.execute(sql) for sql in ("select 'before'", "select 'x'::int", "select 'skipped'")] + [pipeline.sync]:
            try:
                step()
            except psycopg.errors.PipelineAborted:
                pass
            except psycopg.Error as error:
                failures.append(error)
        for error in failures:
            failure(error)
        show(conn.execute("select 'after'").fetchone())
    with conn.pipeline(), conn.transaction():
        conn.execute("insert into item (id) values (300)")
        conn.execute("insert into item (id) values (301)")
    show(conn.execute("select count(*) from item where id >= 300").fetchone())

    section("copy")
    with conn.cursor().copy("copy item (id, name) from stdin") as copy:
        for n in range(1000, 3000):
            copy.write_row((n, f"copied\t{n}\\"))
    with conn.cursor().copy("copy (select id, name from item where id >= 1000 order by id) to stdout") as copy:
        copy.set_types(["int4", "text"])
        rows = list(copy.rows())
        show(len(rows), rows[0], rows[-1])
    conn.execute("create table bin (a int4, b bytea)")
    with conn.cursor().copy("copy bin from stdin (format binary)") as copy:
        copy.set_types(["int4", "bytea"])
        for n in range(300):
            copy.write_row((n, bytes([n % 256]) * 1000))
    show(conn.execute("select count(*), sum(length(b)), md5(string_agg(b, '' order by a)) from bin").fetchone())
    with conn.cursor().copy("copy bin to stdout (format binary)") as copy:
        show(sum(len(block) for block in copy))
    try:
        with conn.cursor().copy("copy bin (a) from stdin") as copy:
            copy.write("not a number\n")
    except psycopg.Error as error:
        failure(error)
    try:
        with conn.cursor().copy("copy bin (a) from stdin") as copy:
            copy.write("1\n")
            raise ValueError("mine")
    except (psycopg.Error, ValueError) as error:
        failure(error)
    try:
        with conn.cursor().copy("copy (select generate_series(1, 100000)) to stdout") as copy:
            show(bytes(copy.read())[:2])
            raise ValueError("no more")  # the driver cancels the rest
    except ValueError as error:
        failure(error)
    show(conn.execute("select 'still here'").fetchone())

    section("listen and notify")
    with connect(autocommit=True) as listener:
        listener.execute("listen ch")
        conn.execute("notify ch, 'one'")
        conn.execute("select pg_notify('ch', 'two')")
        show([(n.channel, n.payload) for n in listener.notifies(timeout=10, stop_after=2)])
        listener.execute("unlisten ch")

    section("cancel and timeouts")
    timer = threading.Timer(0.3, conn.cancel_safe)
    timer.start()
    try:
        conn.execute("select pg_sleep(30)")
    except psycopg.Error as error:
        failure(error)
    timer.join()
    show(conn.execute("select 'after cancel'").fetchone())
    conn.execute("set statement_timeout = '50ms'")
    try:
        conn.execute("select pg_sleep(30)")
    except psycopg.Error as error:
        failure(error)
    conn.execute("reset statement_timeout")

    section("stream and large results")
    show(sum(row[0] for row in conn.cursor().stream("select n from generate_series(1, 20000) n")))
    show(len(conn.execute("select repeat('y', 2000000)").fetchone()[0]))
    show(conn.execute("select length(%s)", ("z" * 1_000_000,)).fetchone())

section("server cursors")
with connect() as conn:
    with conn.cursor("named") as cur:
        cur.itersize = 30
        cur.execute("select n from generate_series(1, 100) n")
        show(cur.fetchmany(3), cur.fetchone(), sum(row[0] for row in cur))
    with conn.cursor("scrolls", scrollable=True) as cur:
        cur.execute("select n from generate_series(1, 10) n")
        cur.scroll(5)
        show(cur.fetchone())
        cur.scroll(0, mode="absolute")
        show(cur.fetchmany(2))
    with conn.cursor("held", withhold=True) as cur:
        cur.execute("select n from generate_series(1, 10) n")
        conn.commit()
        show(cur.fetchall()[-1])
    conn.rollback()

section("implicit transaction, isolation, read only")
with connect() as conn:
    conn.execute("insert into item (id) values (400)")
    conn.rollback()
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    show(conn.execute("show transaction_isolation").fetchone())
    try:
        conn.execute("insert into item (id) values (401)")
    except psycopg.Error as error:
        failure(error)
    conn.rollback()

section("two phase commit")
with connect() as conn:
    xid = conn.xid(1, "client", "test")
    conn.tpc_begin(xid)
    conn.execute("insert into item (id) values (500)")
    conn.tpc_prepare()
    conn.tpc_commit()
    show(conn.execute("select count(*) from item where id = 500").fetchone())

section("asynchronous, several connections at once")


async def worker(number):
    connection = await psycopg.AsyncConnection.connect(autocommit=True)
    async with connection:
        total = 0
        for n in range(20):
            row = await (await connection.execute("select %s::int + %s::int", (number, n))).fetchone()
            total += row[0]
        await connection.execute(f"set application_name = 'worker {number}'")
        name = await (await connection.execute("show application_name")).fetchone()
        return total, name[0]


async def main():
    show(await asyncio.gather(*(worker(n) for n in range(6))))


asyncio.run(main())
