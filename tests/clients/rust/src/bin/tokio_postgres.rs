//! tokio-postgres: pipelined queries, typed statements, portals, COPY in text and binary, notifications, cancel.

use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::{join_all, poll_fn};
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Config, Error, IsolationLevel, NoTls, SimpleQueryMessage};

use pgwarden_rust_clients::{Endpoint, section, show};

fn attempt<T: Debug>(result: Result<T, Error>) {
    match result {
        Ok(value) => show(value),
        Err(error) => match error.as_db_error() {
            Some(error) => show((error.severity(), error.code().code(), error.message())),
            None => show(error.to_string()),
        },
    }
}

/// A client, and what reaches it outside any reply: notices and notifications.
async fn connect(config: &Config) -> Result<(Client, mpsc::UnboundedReceiver<String>), Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            let text = match message {
                AsyncMessage::Notice(notice) => format!("{} {}", notice.severity(), notice.message()),
                AsyncMessage::Notification(heard) => format!("{} {}", heard.channel(), heard.payload()),
                other => format!("{other:?}"),
            };
            // Nobody may be listening any more.
            let _ = sender.send(text);
        }
    });
    Ok((client, receiver))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let endpoint = Endpoint::from_environment();
    let mut config = Config::new();
    config.host(&endpoint.host).port(endpoint.port).user(&endpoint.user).password(&endpoint.password);
    config.dbname(&endpoint.database).application_name("tokio-postgres test").options("-c work_mem=7MB");
    match all(&config).await {
        Ok(()) => section("end"),
        Err(error) => show(("stopped by", error.to_string(), error.as_db_error())),
    }
}

async fn all(config: &Config) -> Result<(), Error> {
    let (mut client, mut messages) = connect(config).await?;
    types(&client).await?;
    rows(&client).await?;
    errors(&client, &mut messages).await?;
    transactions(&mut client).await?;
    copies(&client).await?;
    notifications(&client, config).await?;
    cancel(&client).await?;
    let mut wrong = config.clone();
    wrong.password("wrong");
    section("refused");
    attempt(connect(&wrong).await.map(|_| "taken"));
    Ok(())
}

async fn types(client: &Client) -> Result<(), Error> {
    section("types");
    let row = client
        .query_one(
            "select $1::int4, $2::int8, $3::float8, $4::text, $5::bool, $6::bytea, $7::timestamptz, $8::int4[], $9::text",
            &[
                &1_i32, &(1_i64 << 40), &1.5_f64, &"text ☃", &true, &vec![0_u8, 255], &SystemTime::UNIX_EPOCH,
                &vec![Some(1_i32), None], &None::<String>,
            ],
        )
        .await?;
    show((
        row.get::<_, i32>(0),
        row.get::<_, i64>(1),
        row.get::<_, f64>(2),
        row.get::<_, &str>(3),
        row.get::<_, bool>(4),
    ));
    show((row.get::<_, Vec<u8>>(5), row.get::<_, SystemTime>(6) == SystemTime::UNIX_EPOCH));
    show((row.get::<_, Vec<Option<i32>>>(7), row.get::<_, Option<&str>>(8)));
    // The driver asks the catalog about types that it does not know, with statements of its own.
    client
        .batch_execute(
            "create type mood as enum ('sad', 'happy'); create type pair as (a int, b mood); create domain d as int",
        )
        .await?;
    let statement = client.prepare("select null::mood, null::pair, null::d, null::mood[], null::int4range").await?;
    show(statement.columns().iter().map(|column| column.type_().to_string()).collect::<Vec<_>>());
    for setting in ["application_name", "work_mem", "client_encoding"] {
        show(client.query_one(&format!("show {setting}"), &[]).await?.get::<_, String>(0));
    }
    Ok(())
}

async fn rows(client: &Client) -> Result<(), Error> {
    section("rows");
    client.batch_execute("create table item (id serial primary key, name text unique, n int8)").await?;
    let insert = client.prepare_typed("insert into item (name, n) values ($1, $2)", &[Type::TEXT, Type::INT8]).await?;
    // All at once on one connection: the driver pipelines them.
    let names: Vec<String> = (0..100).map(|n| format!("item {n}")).collect();
    let numbers: Vec<i64> = (0..100).collect();
    let inserts = join_all(names.iter().zip(&numbers).map(|(name, n)| {
        let insert = &insert;
        async move { client.execute(insert, &[name, n]).await }
    }));
    show(inserts.await.into_iter().collect::<Result<Vec<u64>, Error>>()?.into_iter().sum::<u64>());
    let by_id = client.prepare("select name from item where id = $1").await?;
    for id in 1..8 {
        show(client.query_one(&by_id, &[&id]).await?.get::<_, String>(0));
    }
    let mixed = tokio::join!(
        client.query_one("select count(*) from item", &[]),
        client.query_opt("select 1 from item where id = -1", &[]),
        client.query_one("select sum(n)::int8 from item", &[]),
    );
    show((mixed.0?.get::<_, i64>(0), mixed.1?.is_none(), mixed.2?.get::<_, i64>(0)));
    for message in
        client.simple_query("select 1 as a, null as b; update item set n = n where id < 4; select 'x'; ;").await?
    {
        match message {
            SimpleQueryMessage::Row(row) => show((0..row.len()).map(|n| row.get(n)).collect::<Vec<_>>()),
            SimpleQueryMessage::CommandComplete(count) => show(count),
            SimpleQueryMessage::RowDescription(columns) => show(columns.iter().map(|c| c.name()).collect::<Vec<_>>()),
            other => show(format!("{other:?}")),
        }
    }
    let mut stream = pin!(client.query_raw("select n from generate_series(1, 30000) n", Vec::<i32>::new()).await?);
    let mut sum = 0_i64;
    while let Some(row) = stream.try_next().await? {
        sum += i64::from(row.get::<_, i32>(0));
    }
    show(sum);
    let large = "x".repeat(1_200_000);
    show(client.query_one("select length($1)", &[&large]).await?.get::<_, i32>(0));
    show(client.query_one("select repeat('y', 1200000)", &[]).await?.get::<_, &str>(0).len());
    for n in 0..300 {
        // Prepared and closed again, one after the other.
        let row = client.query_one(&format!("select {n} + $1::int4"), &[&1_i32]).await?;
        assert_eq!(row.get::<_, i32>(0), n + 1);
    }
    Ok(())
}

async fn errors(client: &Client, messages: &mut mpsc::UnboundedReceiver<String>) -> Result<(), Error> {
    section("errors");
    attempt(client.query("select 1/$1::int4", &[&0_i32]).await);
    attempt(client.query("selec", &[]).await);
    attempt(client.query("select * from nowhere", &[]).await);
    attempt(client.execute("insert into item (name) values ('item 1')", &[]).await);
    attempt(client.query("select $1::int4", &[&"wrong type"]).await);
    attempt(client.batch_execute("select 1; select 1/0; select 2").await);
    let pipelined = tokio::join!(
        client.query_one("select 'before'", &[]),
        client.query_one("select 1/0", &[]),
        client.query_one("select 'after'", &[]),
    );
    attempt(pipelined.0.map(|row| row.get::<_, String>(0)));
    attempt(pipelined.1.map(|row| row.get::<_, i32>(0)));
    attempt(pipelined.2.map(|row| row.get::<_, String>(0)));
    client.batch_execute("do $$ begin raise notice 'noted'; raise warning 'warned'; end $$").await?;
    show((messages.recv().await, messages.recv().await));
    client.batch_execute("create table shape (a int4); insert into shape values (1)").await?;
    let statement = client.prepare("select * from shape").await?;
    show(client.query(&statement, &[]).await?.len());
    // In one transaction, and so on one backend: another one might have to prepare the statement first, and would answer
    // with the new columns.
    client.batch_execute("begin").await?;
    show(client.query(&statement, &[]).await?.len());
    client.batch_execute("alter table shape add b int4").await?;
    attempt(client.query(&statement, &[]).await.map(|rows| rows.len()));
    client.batch_execute("rollback").await?;
    show(client.query(&statement, &[]).await?.len());
    client.batch_execute("alter table shape add b int4").await?;
    show(client.query("select * from shape", &[]).await?[0].len());
    Ok(())
}

async fn transactions(client: &mut Client) -> Result<(), Error> {
    section("transactions");
    let mut transaction = client.transaction().await?;
    transaction.execute("insert into item (name) values ('outer')", &[]).await?;
    {
        let savepoint = transaction.savepoint("s").await?;
        savepoint.execute("insert into item (name) values ('inner')", &[]).await?;
        attempt(savepoint.query("select 1/0", &[]).await);
        savepoint.rollback().await?;
    }
    let portal = transaction.bind("select n from generate_series(1, 10) n", &[]).await?;
    let other = transaction.bind("select n from generate_series(11, 20) n", &[]).await?;
    for (portal, rows) in [(&portal, 3), (&other, 2), (&portal, 3), (&portal, 0), (&other, 0)] {
        let rows = transaction.query_portal(portal, rows).await?;
        show(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>());
    }
    transaction.commit().await?;
    show(client.query("select name from item where name in ('outer', 'inner')", &[]).await?.len());
    let read_only =
        client.build_transaction().isolation_level(IsolationLevel::Serializable).read_only(true).deferrable(true);
    let transaction = read_only.start().await?;
    show(transaction.query_one("show transaction_isolation", &[]).await?.get::<_, String>(0));
    attempt(transaction.execute("delete from item", &[]).await);
    drop(transaction); // rolls back without waiting
    show(client.query_one("select count(*) from item", &[]).await?.get::<_, i64>(0));
    client.batch_execute("set search_path = pg_catalog, public; set application_name = 'renamed'").await?;
    let row =
        client.query_one("select current_setting('search_path'), current_setting('application_name')", &[]).await?;
    show((row.get::<_, String>(0), row.get::<_, String>(1)));
    client.batch_execute("discard all").await?;
    show(client.query_one("show application_name", &[]).await?.get::<_, String>(0));
    Ok(())
}

async fn copies(client: &Client) -> Result<(), Error> {
    section("copy");
    let mut sink = pin!(client.copy_in("copy item (name, n) from stdin").await?);
    for n in 0..2000 {
        sink.send(Bytes::from(format!("copied {n}\t{n}\n"))).await?;
    }
    show(sink.finish().await?);
    let rows =
        client.copy_out("copy (select name from item where name like 'copied 199%' order by 1) to stdout").await?;
    show(rows.try_fold(0, |sum, part| async move { Ok(sum + part.len()) }).await?);
    let sink = client.copy_in("copy item (name, n) from stdin (format binary)").await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::TEXT, Type::INT8]));
    for n in 0..500_i64 {
        writer.as_mut().write(&[&format!("binary {n}"), &n]).await?;
    }
    show(writer.finish().await?);
    let stream =
        client.copy_out("copy (select n from item where name like 'binary%') to stdout (format binary)").await?;
    let rows: Vec<i64> =
        BinaryCopyOutStream::new(stream, &[Type::INT8]).map_ok(|row| row.get::<i64>(0)).try_collect().await?;
    show((rows.len(), rows.iter().sum::<i64>()));
    let mut sink = pin!(client.copy_in::<_, Bytes>("copy item (n) from stdin").await?);
    sink.send(Bytes::from_static(b"x\n")).await?;
    attempt(sink.finish().await);
    // Dropped in the middle: the driver sends CopyFail.
    let abandoned = client.copy_in::<_, Bytes>("copy item (n) from stdin").await?;
    drop(abandoned);
    {
        let mut half = pin!(client.copy_out("copy (select generate_series(1, 100000)) to stdout").await?);
        show(half.next().await.transpose()?.is_some());
    } // dropped: the driver reads the rest by itself
    show(client.query_one("select count(*) from item", &[]).await?.get::<_, i64>(0));
    Ok(())
}

async fn notifications(client: &Client, config: &Config) -> Result<(), Error> {
    section("notifications");
    let (listener, mut messages) = connect(config).await?;
    listener.batch_execute("listen ch").await?;
    client.batch_execute("notify ch, 'one'").await?;
    client.execute("select pg_notify('ch', $1)", &[&"two"]).await?;
    show((messages.recv().await, messages.recv().await));
    Ok(())
}

async fn cancel(client: &Client) -> Result<(), Error> {
    section("cancel");
    let token = client.cancel_token();
    let (slept, cancelled) = tokio::join!(client.batch_execute("select pg_sleep(30)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    });
    attempt(slept);
    attempt(cancelled);
    client.batch_execute("set statement_timeout = '50ms'").await?;
    attempt(client.batch_execute("select pg_sleep(30)").await);
    client.batch_execute("reset statement_timeout").await?;
    show(client.query_one("select 'after cancel'", &[]).await?.get::<_, String>(0));
    Ok(())
}
