"""Reads, writes, transactions and COPY on a shared, protected table, as a tenant: the table is there, with three of its rows.

The first argument is the driver. What is printed is what a database with this tenant's rows alone would give.
"""

import asyncio
import io
import sys

from common import DATABASE, HOST, PASSWORD, PORT, USER, section, show

ALL = "select id, note from invoices order by id"


def state(error):
    original = getattr(error, "orig", None) or error.__cause__ or error
    show(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None))


def dbapi(connection, errors):
    """Through a DB-API connection whose parameters are %s."""
    cur = connection.cursor()

    def rows(sql, *values):
        cur.execute(sql, values or None)
        return cur.fetchall()

    section("reads")
    show(rows(ALL))
    for _ in range(8):
        show(rows("select note, tenant_id from invoices where id = %s", 2))
    show(rows("select count(*) from invoices where tenant_id <> 1 or note like %s", "%globex%"))
    connection.commit()

    section("writes")
    show(rows("insert into invoices (id, note) values (%s, %s) returning id, note, tenant_id", 10, "ten"))
    cur.executemany("insert into invoices (id, note) values (%s, %s)", [(n, f"n{n}") for n in range(11, 21)])
    connection.commit()
    cur.execute("update invoices set note = note || '!' where id > %s", (15,))
    show(cur.rowcount)
    cur.execute("delete from invoices where id = 12 or tenant_id = 2")
    show(cur.rowcount)
    connection.commit()

    section("transactions")
    cur.execute("update invoices set note = 'gone'")
    show(cur.rowcount)
    connection.rollback()
    show(rows("select count(*) from invoices where note = 'gone'"))
    cur.execute("savepoint s")
    try:
        cur.execute("insert into invoices (id, note) values (10, 'again')")
    except errors as error:
        state(error)
    cur.execute("rollback to savepoint s")
    cur.execute("insert into invoices (id, note) values (30, 'thirty') on conflict do nothing")
    show(cur.rowcount)
    cur.execute("insert into invoices (id, note) select id + 100, note from invoices where id < 3")
    show(cur.rowcount)
    connection.commit()
    cur.execute("declare k cursor for " + ALL)
    show(rows("fetch 3 from k"), rows("fetch 2 from k"))
    connection.rollback()
    show(rows(ALL))
    connection.commit()


LINES = "40\tforty\n41\t\\N\n"


def psycopg3():
    import psycopg

    with psycopg.connect() as connection:
        dbapi(connection, psycopg.Error)
        section("copy")
        with connection.cursor() as cur:
            with cur.copy("copy invoices (id, note) from stdin") as copy:
                copy.write(LINES)
            show(cur.rowcount)
            with cur.copy("copy invoices (id, note) from stdin (format binary)") as copy:
                copy.set_types(["int4", "text"])
                copy.write_row((42, "binary"))
            with cur.copy("copy (select id, note, tenant_id from invoices order by id) to stdout") as copy:
                show(list(copy.rows()))
        connection.commit()
        section("pipeline")
        with connection.pipeline():
            cursors = [connection.execute("select count(*) from invoices where id > %s", (n,)) for n in range(0, 50, 10)]
        show([cur.fetchone() for cur in cursors])


def psycopg2():
    import psycopg2

    connection = psycopg2.connect("")
    dbapi(connection, psycopg2.Error)
    section("copy")
    cur = connection.cursor()
    cur.copy_expert("copy invoices (id, note) from stdin", io.StringIO(LINES))
    show(cur.rowcount)
    out = io.StringIO()
    cur.copy_expert("copy (select id, note, tenant_id from invoices order by id) to stdout", out)
    show(out.getvalue())
    connection.commit()


def sqlalchemy():
    from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, func, insert, select, update
    from sqlalchemy.exc import DBAPIError

    engine = create_engine("postgresql+psycopg://")
    raw = engine.raw_connection()
    dbapi(raw, Exception)
    raw.close()
    section("reflection and core")
    reflected = Table("invoices", MetaData(), autoload_with=engine)
    show([column.name for column in reflected.columns], [column.name for column in reflected.primary_key])
    invoices = Table("invoices", MetaData(), Column("id", Integer, primary_key=True), Column("note", String))
    with engine.begin() as connection:
        show(connection.execute(insert(invoices).returning(invoices.c.id), [{"id": n, "note": "core"} for n in (50, 51, 52)]).fetchall())
        show(connection.execute(update(invoices).where(invoices.c.id == 50).values(note="changed")).rowcount)
        show(connection.execute(select(func.count()).select_from(invoices)).scalar())
    try:
        with engine.begin() as connection:
            connection.execute(insert(invoices).values(id=50, note="twice"))
    except DBAPIError as error:
        state(error)


def django():
    import os

    os.environ["DJANGO_SETTINGS_MODULE"] = ""
    from django.conf import settings

    database = dict(ENGINE="django.db.backends.postgresql", NAME=DATABASE, USER=USER, PASSWORD=PASSWORD, HOST=HOST, PORT=PORT)
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[], USE_TZ=True)
    import django

    django.setup()
    from django.db import DatabaseError, connection, models, transaction

    class Invoice(models.Model):
        id = models.IntegerField(primary_key=True)
        note = models.TextField(null=True)

        class Meta:
            app_label = "shop"
            managed = False
            db_table = "invoices"

    section("models")
    show(list(Invoice.objects.order_by("id").values_list("id", "note")))
    Invoice.objects.bulk_create([Invoice(id=n, note=f"n{n}") for n in range(60, 65)])
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(id=60)
        invoice.note = "saved"
        invoice.save()
    try:
        with transaction.atomic():
            Invoice.objects.filter(id=61).update(note="lost")
            Invoice.objects.create(id=60, note="twice")
    except DatabaseError as error:
        state(error)
    show(Invoice.objects.filter(note__startswith="n").count(), Invoice.objects.filter(id__gt=62).delete()[0])
    show([invoice.note for invoice in Invoice.objects.order_by("-id").iterator(chunk_size=2)])
    show(connection.introspection.table_names())


async def asyncpg():
    import asyncpg

    connection = await asyncpg.connect()
    section("reads")
    show([tuple(row) for row in await connection.fetch(ALL)])
    statement = await connection.prepare("select note, tenant_id from invoices where id = $1")
    for n in (1, 2, 3, 4):
        show([tuple(row) for row in await statement.fetch(n)])
    section("writes")
    show(tuple(await connection.fetchrow("insert into invoices (id, note) values ($1, $2) returning id, note, tenant_id", 10, "ten")))
    await connection.executemany("insert into invoices (id, note) values ($1, $2)", [(n, f"n{n}") for n in range(11, 21)])
    show(await connection.execute("update invoices set note = note || '!' where id > 15"))
    show(await connection.execute("delete from invoices where id = 12 or tenant_id = 2"))
    section("transactions")
    try:
        async with connection.transaction():
            await connection.execute("update invoices set note = 'gone'")
            async with connection.transaction():
                await connection.execute("insert into invoices (id, note) values (10, 'again')")
    except asyncpg.PostgresError as error:
        state(error)
    async with connection.transaction():
        show([tuple(row) async for row in connection.cursor(ALL, prefetch=4)])
    section("copy")
    show(await connection.copy_to_table("invoices", source=io.BytesIO(LINES.encode()), columns=["id", "note"]))
    show(await connection.copy_records_to_table("invoices", records=[(42, "binary"), (43, None)], columns=["id", "note"]))
    out = io.BytesIO()
    show(await connection.copy_from_query("select id, note, tenant_id from invoices order by id", output=out))
    show(out.getvalue())
    await connection.close()


def main(driver):
    work = {"psycopg3": psycopg3, "psycopg2": psycopg2, "sqlalchemy": sqlalchemy, "django": django, "asyncpg": asyncpg}[driver]
    result = work()
    if result is not None:
        asyncio.run(result)


main(sys.argv[1])
