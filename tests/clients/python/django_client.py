"""Django: migrations of its own applications, the ORM, atomic blocks, iterator() over server cursors, two drivers' worth of settings."""

import datetime as dt
import decimal
import logging

import django
from django.conf import settings

from common import DATABASE, HOST, PASSWORD, PORT, USER, section, show

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.postgres", "shop"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": DATABASE, "USER": USER, "PASSWORD": PASSWORD, "HOST": HOST,
            "PORT": PORT, "CONN_MAX_AGE": None, "TIME_ZONE": "UTC",
        }
    },
    USE_TZ=True, TIME_ZONE="UTC", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", LOGGING_CONFIG=None,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
)
django.setup()
logging.disable(logging.CRITICAL)

from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.contrib.postgres.aggregates import ArrayAgg  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, IntegrityError, connection, transaction  # noqa: E402
from django.db.models import Count, F, Prefetch, Sum, Window  # noqa: E402
from django.db.models.functions import Rank, TruncMonth  # noqa: E402
from shop.models import Author, Book  # noqa: E402


def failure(error):
    show(type(error).__name__, getattr(error.__cause__, "sqlstate", None), str(error).splitlines()[0])


section("migrate")
call_command("migrate", verbosity=0, interactive=False, run_syncdb=True)
show(Permission.objects.count(), connection.introspection.table_names())
call_command("migrate", verbosity=0, interactive=False)  # nothing left to do

section("introspection")
with connection.cursor() as cursor:
    show([c.name for c in connection.introspection.get_table_description(cursor, "shop_book")])
    show(sorted(connection.introspection.get_constraints(cursor, "shop_book").keys())[-1:])

section("objects")
authors = [Author.objects.create(name=f"Author {n} ☃", born=dt.date(1900 + n, 1, 1), tags=[f"t{n}"], extra={"n": n}) for n in range(5)]
Book.objects.bulk_create(
    Book(author=authors[n % 5], title=f"Book {n:04}", price=decimal.Decimal(n) / 8, cover=bytes([n % 256]),
         sold_at=dt.datetime(2024, 1 + n % 12, 1, tzinfo=dt.timezone.utc))
    for n in range(3000)
)
show(Book.objects.count(), Book.objects.aggregate(Sum("price")), bytes(Book.objects.get(title="Book 0255").cover))
show(list(Author.objects.annotate(n=Count("books"), total=Sum("books__price")).order_by("name").values_list("name", "n", "total")))
show(list(Author.objects.filter(tags__contains=["t1"]).values("name", "extra")), Author.objects.filter(extra__n__gt=2).count())
show(list(Book.objects.annotate(m=TruncMonth("sold_at")).values("m").annotate(n=Count("id")).order_by("m")[:3]))
show(list(Book.objects.annotate(r=Window(Rank(), partition_by=F("author"), order_by=F("price").desc())).order_by("r", "title").values_list("title", "r")[:3]))
show(Author.objects.aggregate(names=ArrayAgg("name", ordering="name")))
show([len(a.books.all()) for a in Author.objects.prefetch_related(Prefetch("books", Book.objects.filter(price__lt=10))).order_by("id")])
show(Book.objects.filter(title__iexact="book 0001").update(price=F("price") + 1), Book.objects.get(title="Book 0001").price)
show(Author.objects.get_or_create(name="New")[1], Author.objects.get_or_create(name="New")[1])
show(Author.objects.update_or_create(name="New", defaults={"extra": {"updated": True}})[1])
show(Book.objects.select_related("author").order_by("id").last().author.name)
show(User.objects.create_user("ada", password="secret").check_password("secret"))
User.objects.get(username="ada").groups.add(Group.objects.create(name="staff"))
show(list(User.objects.filter(groups__name="staff").values_list("username", flat=True)))

section("iterator")
show(sum(1 for _ in Book.objects.iterator(chunk_size=500)))  # outside a transaction: WITH HOLD
with transaction.atomic():
    show(sum(book.price for book in Book.objects.order_by("id").iterator(chunk_size=100)))
cursors = [Book.objects.order_by("id").values_list("id", flat=True).iterator(chunk_size=50) for _ in range(2)]
show([[next(cursor) - Book.objects.order_by("id").first().id for _ in range(3)] for cursor in cursors])
for cursor in cursors:
    cursor.close()

section("transactions")
try:
    with transaction.atomic():
        Author.objects.create(name="rolled back")
        try:
            with transaction.atomic():
                Author.objects.create(name="New")
        except IntegrityError as error:
            failure(error)
        Author.objects.create(name="also rolled back")
        raise ValueError("mine")
except ValueError:
    show(Author.objects.filter(name__contains="rolled").count())
done = []
with transaction.atomic():
    transaction.on_commit(lambda: done.append("committed"))
    with transaction.atomic():
        Author.objects.create(name="nested")
    Author.objects.select_for_update().get(name="nested").delete()
show(done)
with transaction.atomic(durable=True):
    saved = transaction.savepoint()
    Author.objects.create(name="saved")
    transaction.savepoint_rollback(saved)
show(Author.objects.filter(name="saved").exists())
try:
    Book.objects.create(author=authors[0], title="negative", price=-1)
except IntegrityError as error:
    failure(error)

section("raw")
with connection.cursor() as cursor:
    cursor.execute("select name, extra from shop_author where name like %s order by name", ["Author%"])
    show(cursor.fetchmany(2), cursor.rowcount)
    cursor.execute("show timezone")
    show(cursor.fetchone())
    try:
        cursor.execute("select nonsense")
    except DatabaseError as error:
        failure(error)
    cursor.execute("select current_setting('TimeZone'), now() is not null")
    show(cursor.fetchone())
    with cursor.copy("copy shop_author (name, tags, extra) from stdin") as copy:
        copy.write_row(("copied", ["x"], "{}"))
show([a.name for a in Author.objects.raw("select * from shop_author where name = %s", ["copied"])])
show(Book.objects.filter(price__gt=100).explain(costs=False).splitlines()[0])
connection.close()
show(Author.objects.count())  # reconnects
show(Author.objects.all().delete()[0])
