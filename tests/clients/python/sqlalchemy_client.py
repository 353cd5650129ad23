"""SQLAlchemy: the same ORM work on psycopg and on asyncpg; reflection, savepoints, streaming, bulk writes."""

import asyncio
import datetime as dt
import decimal

from sqlalchemy import (
    ARRAY, JSON, DateTime, Enum, ForeignKey, Index, Integer, Numeric, String, URL, create_engine, delete, event, func, insert, inspect, select,
    text, update,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID, insert as pg_insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload, joinedload

from common import DATABASE, HOST, PASSWORD, PORT, USER, section, show


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    kind: Mapped[str] = mapped_column(Enum("private", "company", name="kind"), default="private")
    tags: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    extra: Mapped[dict] = mapped_column(JSONB, default=dict)
    created: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    invoices: Mapped[list["Invoice"]] = relationship(back_populates="customer", cascade="all, delete-orphan")


class Invoice(Base):
    __tablename__ = "invoice"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"), index=True)
    total: Mapped[decimal.Decimal] = mapped_column(Numeric(10, 2))
    customer: Mapped[Customer] = relationship(back_populates="invoices")


def at(day):
    return dt.datetime(2024, 1, day, tzinfo=dt.timezone.utc)


def url(driver):
    return URL.create(f"postgresql+{driver}", USER, PASSWORD, HOST, PORT, DATABASE)


def failure(error):
    # SQLAlchemy's own words; the driver's class differs by driver and is the transcript's business too.
    show(type(error).__name__, getattr(error.orig, "sqlstate", None), str(error.orig).splitlines()[0])


def work(session):
    """What both drivers do; `session` is synchronous either way."""
    ada = Customer(name="Ada", tags=["a", "b"], extra={"n": [1, None]}, created=at(1))
    ada.invoices = [Invoice(total=decimal.Decimal(n) / 4) for n in range(1, 6)]
    session.add_all([ada, Customer(name="Bob ☃", kind="company", created=at(2))])
    session.commit()
    found = session.scalars(select(Customer).options(selectinload(Customer.invoices)).order_by(Customer.id)).all()
    show([(c.name, c.kind, c.tags, c.extra, c.created.astimezone(dt.timezone.utc), [i.total for i in c.invoices]) for c in found])
    rows = session.execute(
        select(Customer.name, func.sum(Invoice.total), func.count()).outerjoin(Invoice).group_by(Customer.name).order_by(Customer.name)
    )
    show([tuple(row) for row in rows])
    try:
        with session.begin_nested():
            session.add(Customer(name="Ada", created=at(3)))
            session.flush()
    except IntegrityError as error:
        failure(error)
    session.execute(update(Customer).where(Customer.name == "Ada").values(extra={"changed": True}))
    session.rollback()
    show(session.scalar(select(Customer.extra).where(Customer.name == "Ada")))
    session.execute(insert(Invoice), [{"customer_id": 2, "total": n} for n in range(500)])
    result = session.execute(
        pg_insert(Customer).values(name="Ada", created=at(4), tags=[], extra={}, kind="private")
        .on_conflict_do_update(index_elements=["name"], set_={"created": at(4)}).returning(Customer.id, Customer.created)
    )
    row = result.one()
    show(row[0], row[1].astimezone(dt.timezone.utc))
    session.commit()
    total = 0
    for part in session.execute(select(Invoice.id).order_by(Invoice.id).execution_options(yield_per=100)).partitions():
        total += len(part)
    show(total)
    session.delete(session.get(Customer, 1))
    session.commit()
    show(session.scalar(select(func.count()).select_from(Invoice)))
    for sql in ("select 1/0", "select nonsense"):
        try:
            session.execute(text(sql))
        except DBAPIError as error:
            failure(error)
        session.rollback()
    with session.begin():
        locked = session.execute(select(Customer).where(Customer.id == 2).with_for_update()).scalar_one()
        locked.tags = ["locked"]
    show(session.scalar(text("select tags from customer where id = :id"), {"id": 2}))


def schema(connection):
    inspector = inspect(connection)
    show(inspector.get_table_names(), inspector.get_enums())
    show([(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns("customer")])
    show(inspector.get_foreign_keys("invoice"), inspector.get_indexes("invoice"), inspector.get_unique_constraints("customer"))


for driver in ("psycopg", "psycopg2"):
    section(driver)
    engine = create_engine(url(driver), pool_size=3, pool_pre_ping=True)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with engine.connect() as connection:
        schema(connection)
    with Session(engine) as session:
        work(session)
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        show(connection.scalar(text("show transaction_isolation")))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        show(connection.scalar(text("select count(*) from invoice")))
        connection.execute(text("vacuum invoice"))
    with engine.connect() as connection:
        show(connection.scalar(text("show transaction_isolation")))
    engine.dispose()


async def main():
    section("asyncpg")
    engine = create_async_engine(url("asyncpg"), pool_size=3)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(schema)
    async with AsyncSession(engine) as session:
        await session.run_sync(work)

    async def count(number):
        async with AsyncSession(engine) as session:
            return await session.scalar(select(func.count()).select_from(Invoice).where(Invoice.total >= number))

    show(await asyncio.gather(*(count(n * 50) for n in range(6))))
    await engine.dispose()


asyncio.run(main())
