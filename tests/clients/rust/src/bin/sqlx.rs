//! sqlx: its pool, statements that it names and caches, transactions that roll back when dropped, COPY, listeners.

use std::fmt::Debug;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, Error, Executor, Row, Statement, TypeInfo};

use pgwarden_rust_clients::{Endpoint, all_steps, section, show};

fn attempt<T: Debug>(result: Result<T, Error>) {
    match result {
        Ok(value) => show(value),
        Err(Error::Database(error)) => show((error.code(), error.message(), error.constraint())),
        Err(error) => show(error.to_string()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let endpoint = Endpoint::from_environment();
    let options = PgConnectOptions::new_without_pgpass()
        .host(&endpoint.host)
        .port(endpoint.port)
        .username(&endpoint.user)
        .password(&endpoint.password)
        .database(&endpoint.database)
        .application_name("sqlx test")
        .options([("work_mem", "7MB")]);
    match all(options).await {
        Ok(()) => section("end"),
        Err(error) => show(("stopped by", error.to_string())),
    }
}

async fn all(options: PgConnectOptions) -> Result<(), Error> {
    let mut connection = options.connect().await?;
    rows(&mut connection).await?;
    errors(&mut connection).await?;
    transactions(&mut connection).await?;
    copies(&mut connection).await?;
    connection.close().await?;
    let pool = PgPoolOptions::new().max_connections(3).connect_with(options.clone()).await?;
    pooled(&pool).await?;
    listening(&pool).await?;
    pool.close().await;
    section("without a statement cache");
    let mut connection = options.clone().statement_cache_capacity(0).connect().await?;
    for n in 0..5 {
        show(sqlx::query_scalar::<_, i32>("select $1 + 1").bind(n).fetch_one(&mut connection).await?);
    }
    connection.close().await?;
    section("refused");
    attempt(options.password("wrong").connect().await.map(|_| "taken"));
    Ok(())
}

async fn rows(connection: &mut PgConnection) -> Result<(), Error> {
    section("rows");
    show(
        connection
            .execute("create table item (id serial primary key, name text unique, n int8, tags text[], raw bytea)")
            .await?,
    );
    for n in 0..40_i64 {
        sqlx::query("insert into item (name, n, tags, raw) values ($1, $2, $3, $4)")
            .bind(format!("item {n} ☃"))
            .bind(n)
            .bind(vec![Some(n.to_string()), None])
            .bind(vec![0_u8, 255])
            .execute(&mut *connection)
            .await?;
    }
    let row = sqlx::query("select * from item where id = $1").bind(7).fetch_one(&mut *connection).await?;
    show((row.get::<i32, _>("id"), row.get::<String, _>("name"), row.get::<i64, _>("n")));
    show((row.get::<Vec<Option<String>>, _>("tags"), row.get::<Vec<u8>, _>("raw")));
    let all: Vec<(i32, Option<String>)> = sqlx::query_as("select id, name from item where n < $1 order by id")
        .bind(3_i64)
        .fetch_all(&mut *connection)
        .await?;
    show(all);
    show(sqlx::query("select 1 where false").fetch_optional(&mut *connection).await?.is_none());
    let mut sum = 0;
    let mut stream =
        sqlx::query_scalar::<_, i32>("select n from generate_series(1, $1) n").bind(20_000).fetch(&mut *connection);
    while let Some(n) = stream.try_next().await? {
        sum += i64::from(n);
    }
    drop(stream);
    show(sum);
    let mut abandoned = sqlx::query("select n from generate_series(1, 100000) n").fetch(&mut *connection);
    show(abandoned.try_next().await?.is_some());
    drop(abandoned); // the rest is read before the next query
    let several: Vec<PgRow> =
        sqlx::raw_sql("select 1 as a; select 2 as a; update item set n = n").fetch_all(&mut *connection).await?;
    show(several.iter().map(|row| row.get::<i32, _>("a")).collect::<Vec<_>>());
    for n in 0..150 {
        // More than the driver's cache of 100: it closes the oldest.
        let sum: i32 = sqlx::query_scalar(&format!("select {n} + $1")).bind(1).fetch_one(&mut *connection).await?;
        assert_eq!(sum, n + 1);
    }
    let statement = connection.prepare("select name, n from item where id = $1").await?;
    show(statement.columns().iter().map(|c| sqlx::Column::type_info(c).name().to_owned()).collect::<Vec<_>>());
    let large = "x".repeat(1_200_000);
    show(sqlx::query_scalar::<_, i32>("select length($1)").bind(&large).fetch_one(&mut *connection).await?);
    for setting in ["application_name", "work_mem", "timezone", "extra_float_digits"] {
        let shown =
            sqlx::query_scalar::<_, String>("select current_setting($1)").bind(setting).fetch_one(&mut *connection);
        show((setting, shown.await?));
    }
    connection.ping().await
}

async fn errors(connection: &mut PgConnection) -> Result<(), Error> {
    section("errors");
    for sql in [
        "select 1/0",
        "selec",
        "select * from nowhere",
        "insert into item (name) values ('item 1 ☃')",
        "select 'x'::int",
    ] {
        attempt(sqlx::query(sql).execute(&mut *connection).await);
    }
    attempt(sqlx::query("select 1/$1").bind(0).fetch_one(&mut *connection).await.map(|row| row.len()));
    attempt(connection.execute("set statement_timeout = '50ms'; select pg_sleep(30)").await);
    attempt(connection.execute("reset statement_timeout").await);
    show(sqlx::query_scalar::<_, String>("select 'goes on'").fetch_one(&mut *connection).await?);
    Ok(())
}

async fn transactions(connection: &mut PgConnection) -> Result<(), Error> {
    section("transactions");
    let mut transaction = connection.begin().await?;
    transaction.execute("insert into item (name) values ('outer')").await?;
    let mut nested = transaction.begin().await?;
    nested.execute("insert into item (name) values ('inner')").await?;
    attempt(nested.execute("select 1/0").await);
    nested.rollback().await?;
    transaction.commit().await?;
    let mut dropped = connection.begin().await?;
    dropped.execute("delete from item").await?;
    drop(dropped); // rolled back before the next query
    show(sqlx::query_scalar::<_, i64>("select count(*) from item").fetch_one(&mut *connection).await?);
    let mut special = connection.begin_with("begin isolation level serializable read only").await?;
    show(sqlx::query_scalar::<_, String>("show transaction_isolation").fetch_one(&mut *special).await?);
    attempt(special.execute("delete from item").await);
    special.rollback().await?;
    connection.execute("set application_name = 'renamed'").await?;
    show(sqlx::query_scalar::<_, String>("show application_name").fetch_one(&mut *connection).await?);
    Ok(())
}

async fn copies(connection: &mut PgConnection) -> Result<(), Error> {
    section("copy");
    let mut copy = connection.copy_in_raw("copy item (name, n) from stdin").await?;
    for n in 0..1000 {
        copy.send(format!("copied {n}\t{n}\n").into_bytes()).await?;
    }
    show(copy.finish().await?);
    let copy = connection
        .copy_out_raw("copy (select name from item where name like 'copied 99%' order by 1) to stdout")
        .await?;
    let text: Vec<u8> = copy.try_fold(Vec::new(), |all, part| async move { Ok([all, part.to_vec()].concat()) }).await?;
    show(String::from_utf8_lossy(&text));
    let mut copy = connection.copy_in_raw("copy item (n) from stdin").await?;
    copy.send(&b"x\n"[..]).await?;
    attempt(copy.finish().await);
    let copy = connection.copy_in_raw("copy item (n) from stdin").await?;
    attempt(copy.abort("changed our mind").await);
    show(sqlx::query_scalar::<_, i64>("select count(*) from item").fetch_one(&mut *connection).await?);
    Ok(())
}

async fn pooled(pool: &PgPool) -> Result<(), Error> {
    section("pool");
    let (set, get) = if all_steps() {
        ("select set_config('app.worker', $1, true)", "select current_setting('app.worker')::int * $1")
    } else {
        ("select set_config('application_name', $1, true)", "select current_setting('application_name')::int * $1")
    };
    let workers = join_all((0..12_i32).map(|worker| async move {
        let mut total = 0;
        for n in 0..10_i32 {
            let mut transaction = pool.begin().await?;
            sqlx::query(set).bind(worker.to_string()).execute(&mut *transaction).await?;
            total += sqlx::query_scalar::<_, i32>(get).bind(n).fetch_one(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Ok::<_, Error>(total)
    }));
    show(workers.await.into_iter().collect::<Result<Vec<_>, _>>()?);
    Ok(())
}

async fn listening(pool: &PgPool) -> Result<(), Error> {
    section("listen");
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all(["one", "two"]).await?;
    for (channel, payload) in [("one", "first"), ("two", "second")] {
        sqlx::query("select pg_notify($1, $2)").bind(channel).bind(payload).execute(pool).await?;
    }
    for _ in 0..2 {
        let heard = listener.recv().await?;
        show((heard.channel(), heard.payload()));
    }
    listener.unlisten("one").await
}
