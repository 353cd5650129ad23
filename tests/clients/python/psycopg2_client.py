"""psycopg2: literals in the text, libpq's COPY, server cursors, notifications, its own session settings."""

import datetime as dt
import decimal
import io
import threading
import uuid

import psycopg2
import psycopg2.extras
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, ISOLATION_LEVEL_SERIALIZABLE

from common import failure, section, show

psycopg2.extras.register_uuid()


def connect():
    return psycopg2.connect("")


def attempt(cur, text, parameters=None):
    try:
        cur.execute(text, parameters)
        show(cur.fetchall())
    except psycopg2.Error as error:
        failure(error)
        show(error.diag.severity, error.diag.message_primary)


conn = connect()
cur = conn.cursor()

section("types")
for value in [
    None, True, 42, 2**62, 1.25, decimal.Decimal("1.10"), "it's ☃ \\ %", b"\x00\x01\xff", dt.date(2024, 2, 29),
    dt.datetime(2024, 1, 2, 3, 4, 5, 6), dt.timedelta(hours=25), [1, 2, 3], ["a", None, 'b"'], uuid.UUID(int=9),
]:
    cur.execute("select %s", (value,))
    got = cur.fetchone()[0]
    show(bytes(got) if isinstance(got, memoryview) else got)
cur.execute("select %s::jsonb", (psycopg2.extras.Json({"a": [1, None]}),))
show(cur.fetchone())
cur.execute("select '{1,2}'::int[], '[1,5)'::int4range, '(1,2)'::point, '10.0.0.1/8'::inet, timestamptz '2024-01-01 00:00:00Z'")
show([str(value) for value in cur.fetchone()])
conn.rollback()

section("rows")
cur.execute("create table item (id serial primary key, name text unique, price numeric)")
cur.executemany("insert into item (name, price) values (%s, %s)", [(f"n{n}", n) for n in range(20)])
psycopg2.extras.execute_values(cur, "insert into item (name, price) values %s", [(f"v{n}", n) for n in range(250)])
psycopg2.extras.execute_batch(cur, "insert into item (name, price) values (%s, %s)", [(f"b{n}", n) for n in range(250)])
conn.commit()
cur.execute("select count(*), sum(price), max(id) from item")
show(cur.fetchone(), cur.rowcount, cur.statusmessage, cur.description[0].name)
named = conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
named.execute(sql.SQL("select {}, {} from item where id < 3 order by id").format(sql.Identifier("id"), sql.Identifier("name")))
show([dict(row) for row in named.fetchall()])
conn.commit()

section("errors and transactions")
attempt(cur, "select 1/0")
attempt(cur, "select 1")
conn.rollback()
attempt(cur, "insert into item (name) values ('n1')")
conn.rollback()
cur.execute("savepoint s")
attempt(cur, "select nothing")
cur.execute("rollback to savepoint s")
attempt(cur, "select 'recovered'")
conn.commit()
with conn:
    cur.execute("insert into item (name) values ('with')")
try:
    with conn:
        cur.execute("insert into item (name) values ('gone')")
        raise ValueError("mine")
except ValueError as error:
    failure(error)
attempt(cur, "select count(*) from item where name in ('with', 'gone')")
conn.rollback()
cur.execute("do $$ begin raise notice 'a notice'; end $$")
show([notice.strip() for notice in conn.notices])
attempt(cur, "select 1; select 2; select 3")
conn.rollback()

section("session settings")
conn.set_session(isolation_level=ISOLATION_LEVEL_SERIALIZABLE, readonly=True, deferrable=True)
attempt(cur, "select current_setting('transaction_isolation'), current_setting('transaction_read_only')")
attempt(cur, "delete from item")
conn.rollback()
conn.set_session(isolation_level="DEFAULT", readonly="DEFAULT", deferrable="DEFAULT")
conn.set_client_encoding("UTF8")
show(conn.encoding, conn.get_parameter_status("TimeZone"), conn.get_parameter_status("server_encoding"))
conn.set_session(autocommit=True)
cur.execute("set work_mem = '6MB'")
attempt(cur, "show work_mem")
cur.execute("set datestyle to 'German'")
attempt(cur, "select '2024-05-06'::date::text")
cur.execute("reset datestyle")
# Sends RESET ALL and more; the session stays as it was made.
conn.reset()
attempt(cur, "show work_mem")
conn.rollback()

section("copy")
cur.copy_expert("copy item (name, price) from stdin with csv", io.StringIO("c1,1\n\"c,2\",2\n"))
out = io.StringIO()
cur.copy_expert("copy (select name, price from item where name like 'c%' order by 1) to stdout with csv header", out)
show(out.getvalue())
cur.copy_from(io.StringIO("".join(f"t{n}\t{n}\n" for n in range(5000))), "item", columns=("name", "price"))
out = io.StringIO()
cur.copy_to(out, "item", columns=("name",))
show(len(out.getvalue()))
conn.commit()
try:
    cur.copy_expert("copy item (price) from stdin", io.StringIO("x\n"))
except psycopg2.Error as error:
    failure(error)
conn.rollback()

section("server cursors")
server = conn.cursor("server")
server.itersize = 100
server.execute("select n from generate_series(1, 1000) n")
show(server.fetchmany(2), sum(row[0] for row in server))
server.close()
server = conn.cursor("scrolls", scrollable=True)
server.execute("select n from generate_series(1, 10) n")
server.scroll(4)
show(server.fetchone())
server.scroll(-3)
show(server.fetchone())
conn.commit()
held = conn.cursor("held", withhold=True)
held.execute("select n from generate_series(1, 10) n")
conn.commit()
show(held.fetchall()[-1])
held.close()
conn.commit()
cur.callproc("upper", ("called",))
show(cur.fetchone())
conn.commit()

section("notifications")
listener = connect()
listener.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
lcur = listener.cursor()
lcur.execute("listen ch")
cur.execute("notify ch, 'payload'")
conn.commit()
for _ in range(100):
    lcur.execute("select pg_sleep(0.05)")
    if listener.notifies:
        break
show([(notify.channel, notify.payload) for notify in listener.notifies])
listener.close()

section("cancel")
timer = threading.Timer(0.3, conn.cancel)
timer.start()
attempt(cur, "select pg_sleep(30)")
timer.join()
conn.rollback()
attempt(cur, "select 'after cancel'")
conn.rollback()

section("two phase commit")
conn.tpc_begin(conn.xid(1, "gtrid", "bqual"))
cur.execute("insert into item (name) values ('two phase')")
conn.tpc_prepare()
conn.tpc_rollback()
attempt(cur, "select count(*) from item where name = 'two phase'")
conn.close()

section("closed")
try:
    conn.cursor()
except psycopg2.Error as error:
    failure(error)
