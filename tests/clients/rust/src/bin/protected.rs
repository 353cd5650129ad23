//! Reads, writes, transactions and COPY on a shared, protected table, as a tenant. The first argument is the driver.

use std::fmt::Debug;

use pgwarden_rust_clients::{Endpoint, section, show};

const ALL: &str = "select id, note from invoices order by id";
const BY_ID: &str = "select note, tenant_id from invoices where id = $1";
const INSERT: &str = "insert into invoices (id, note) values ($1, $2)";
const OUT: &str = "copy (select id, note, tenant_id from invoices order by id) to stdout";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let endpoint = Endpoint::from_environment();
    match std::env::args().nth(1).as_deref() {
        Some("tokio_postgres") => end(through_tokio_postgres::all(&endpoint).await),
        Some("sqlx") => end(through_sqlx::all(&endpoint).await),
        other => panic!("no driver {other:?}"),
    }
}

fn end<E: Debug>(result: Result<(), E>) {
    match result {
        Ok(()) => section("end"),
        Err(error) => show(("stopped by", error)),
    }
}

mod through_tokio_postgres {
    use std::pin::pin;

    use bytes::Bytes;
    use futures_util::future::join_all;
    use futures_util::{SinkExt, TryStreamExt};
    use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
    use tokio_postgres::types::Type;
    use tokio_postgres::{Client, Config, Error, GenericClient, NoTls, Row};

    use super::{ALL, BY_ID, Endpoint, INSERT, OUT, section, show};

    pub async fn all(endpoint: &Endpoint) -> Result<(), Error> {
        let mut config = Config::new();
        config.host(&endpoint.host).port(endpoint.port).user(&endpoint.user).password(&endpoint.password);
        let (mut client, connection) = config.dbname(&endpoint.database).connect(NoTls).await?;
        tokio::spawn(connection);
        reads(&client).await?;
        writes(&client).await?;
        transactions(&mut client).await?;
        copies(&client).await
    }

    fn pair(row: &Row) -> (i32, Option<String>) {
        (row.get(0), row.get(1))
    }

    async fn everything(client: &impl GenericClient) -> Result<(), Error> {
        client.query(ALL, &[]).await?.iter().map(pair).for_each(show);
        Ok(())
    }

    async fn reads(client: &Client) -> Result<(), Error> {
        section("reads");
        everything(client).await?;
        let by_id = client.prepare(BY_ID).await?;
        for id in 1..5 {
            let row = client.query_opt(&by_id, &[&id]).await?;
            show(row.map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1))));
        }
        let sql = "select count(*) from invoices where tenant_id <> 1 or note like $1";
        show(client.query_one(sql, &[&"%globex%"]).await?.get::<_, i64>(0));
        show(client.simple_query("select count(*) from invoices; select max(id) from invoices").await?.len());
        Ok(())
    }

    async fn writes(client: &Client) -> Result<(), Error> {
        section("writes");
        let row = client.query_one(&format!("{INSERT} returning id, note, tenant_id"), &[&10, &"ten"]).await?;
        show((pair(&row), row.get::<_, i64>(2)));
        let insert = client.prepare(INSERT).await?;
        // All at once on one connection: the driver pipelines them.
        let items: Vec<(i32, String)> = (11..21).map(|id| (id, format!("n{id}"))).collect();
        let inserts = join_all(items.iter().map(|(id, note)| {
            let insert = &insert;
            async move { client.execute(insert, &[id, note]).await }
        }));
        show(inserts.await.into_iter().collect::<Result<Vec<u64>, Error>>()?);
        show(client.execute("update invoices set note = note || '!' where id > $1", &[&15]).await?);
        show(client.execute("delete from invoices where id = 12 or tenant_id = 2", &[]).await?);
        Ok(())
    }

    async fn transactions(client: &mut Client) -> Result<(), Error> {
        section("transactions");
        let mut transaction = client.transaction().await?;
        show(transaction.execute("update invoices set note = 'gone'", &[]).await?);
        let savepoint = transaction.savepoint("s").await?;
        let again = savepoint.execute("insert into invoices (id, note) values (10, 'again')", &[]).await;
        show(again.expect_err("there is one").code());
        savepoint.rollback().await?;
        show(transaction.query_one("select count(*) from invoices where note = 'gone'", &[]).await?.get::<_, i64>(0));
        transaction.rollback().await?;
        let transaction = client.transaction().await?;
        let sql = "insert into invoices (id, note) values (30, 'thirty') on conflict do nothing";
        show(transaction.execute(sql, &[]).await?);
        let sql = "insert into invoices (id, note) select id + 100, note from invoices where id < 3";
        show(transaction.execute(sql, &[]).await?);
        let portal = transaction.bind(ALL, &[]).await?;
        for rows in [3, 2, 0] {
            let rows = transaction.query_portal(&portal, rows).await?;
            show(rows.iter().map(pair).collect::<Vec<_>>());
        }
        transaction.commit().await?;
        everything(client).await
    }

    async fn copies(client: &Client) -> Result<(), Error> {
        section("copy");
        let mut sink = pin!(client.copy_in("copy invoices (id, note) from stdin").await?);
        sink.send(Bytes::from_static(b"40\tforty\n41\t\\N\n")).await?;
        show(sink.finish().await?);
        let sink = client.copy_in("copy invoices (id, note) from stdin (format binary)").await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]));
        writer.as_mut().write(&[&42, &"binary"]).await?;
        show(writer.finish().await?);
        let mut sink = pin!(client.copy_in("copy invoices (id, note) from stdin").await?);
        sink.send(Bytes::from_static(b"43\tnew\n40\tagain\n")).await?;
        show(sink.finish().await.expect_err("there is one").code());
        let parts: Vec<Bytes> = client.copy_out(OUT).await?.try_collect().await?;
        show(String::from_utf8_lossy(&parts.concat()));
        let stream = client.copy_out(&format!("{OUT} (format binary)")).await?;
        let rows = BinaryCopyOutStream::new(stream, &[Type::INT4, Type::TEXT, Type::INT8]);
        let tenants: Vec<i64> = rows.map_ok(|row| row.get::<i64>(2)).try_collect().await?;
        show(tenants);
        Ok(())
    }
}

mod through_sqlx {
    use futures_util::TryStreamExt;
    use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
    use sqlx::{Connection, Error, Executor};

    use super::{ALL, BY_ID, Endpoint, INSERT, OUT, section, show};

    type Pair = (i32, Option<String>);

    pub async fn all(endpoint: &Endpoint) -> Result<(), Error> {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&endpoint.host)
            .port(endpoint.port)
            .username(&endpoint.user)
            .password(&endpoint.password)
            .database(&endpoint.database);
        let pool = PgPoolOptions::new().max_connections(2).connect_with(options).await?;
        reads(&pool).await?;
        writes(&pool).await?;
        let mut connection = pool.acquire().await?;
        transactions(&mut connection).await?;
        copies(&mut connection).await?;
        connection.close().await?;
        pool.close().await;
        Ok(())
    }

    async fn everything(connection: &mut PgConnection) -> Result<(), Error> {
        sqlx::query_as::<_, Pair>(ALL).fetch_all(connection).await?.into_iter().for_each(show);
        Ok(())
    }

    fn state<T>(result: Result<T, Error>) {
        show(result.err().as_ref().and_then(|error| error.as_database_error()).and_then(|error| error.code()));
    }

    async fn reads(pool: &PgPool) -> Result<(), Error> {
        section("reads");
        show(sqlx::query_as::<_, Pair>(ALL).fetch_all(pool).await?);
        for id in 1..5 {
            show(sqlx::query_as::<_, (String, i64)>(BY_ID).bind(id).fetch_optional(pool).await?);
        }
        let sql = "select count(*) from invoices where tenant_id <> 1 or note like $1";
        show(sqlx::query_scalar::<_, i64>(sql).bind("%globex%").fetch_one(pool).await?);
        show(pool.fetch_all("select count(*) from invoices; select max(id) from invoices").await?.len());
        Ok(())
    }

    async fn writes(pool: &PgPool) -> Result<(), Error> {
        section("writes");
        let sql = format!("{INSERT} returning id, note, tenant_id");
        show(sqlx::query_as::<_, (i32, String, i64)>(&sql).bind(10).bind("ten").fetch_one(pool).await?);
        for id in 11..21 {
            show(sqlx::query(INSERT).bind(id).bind(format!("n{id}")).execute(pool).await?);
        }
        show(sqlx::query("update invoices set note = note || '!' where id > $1").bind(15).execute(pool).await?);
        show(pool.execute("delete from invoices where id = 12 or tenant_id = 2").await?);
        Ok(())
    }

    async fn transactions(connection: &mut PgConnection) -> Result<(), Error> {
        section("transactions");
        let mut transaction = connection.begin().await?;
        show(transaction.execute("update invoices set note = 'gone'").await?);
        let mut nested = transaction.begin().await?;
        state(nested.execute("insert into invoices (id, note) values (10, 'again')").await);
        nested.rollback().await?;
        let sql = "select count(*) from invoices where note = 'gone'";
        show(sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut *transaction).await?);
        drop(transaction); // rolled back before the next query
        let mut transaction = connection.begin().await?;
        let sql = "insert into invoices (id, note) values (30, 'thirty') on conflict do nothing";
        show(transaction.execute(sql).await?);
        let sql = "insert into invoices (id, note) select id + 100, note from invoices where id < 3";
        show(sqlx::query(sql).execute(&mut *transaction).await?);
        transaction.execute(&*format!("declare k cursor for {ALL}")).await?;
        show(sqlx::query_as::<_, Pair>("fetch 3 from k").fetch_all(&mut *transaction).await?);
        transaction.commit().await?;
        everything(connection).await
    }

    async fn copies(connection: &mut PgConnection) -> Result<(), Error> {
        section("copy");
        let mut copy = connection.copy_in_raw("copy invoices (id, note) from stdin").await?;
        copy.send(&b"40\tforty\n41\t\\N\n"[..]).await?;
        show(copy.finish().await?);
        let mut copy = connection.copy_in_raw("copy invoices (id, note) from stdin").await?;
        copy.send(&b"43\tnew\n40\tagain\n"[..]).await?;
        state(copy.finish().await);
        let copy = connection.copy_in_raw("copy invoices (id, note) from stdin").await?;
        state(copy.abort("changed our mind").await);
        let parts: Vec<_> = connection.copy_out_raw(OUT).await?.try_collect().await?;
        show(String::from_utf8_lossy(&parts.concat()));
        Ok(())
    }
}
