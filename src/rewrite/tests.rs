//! SQL in, SQL out, or the rule that refused it.

use expect_test::{Expect, expect};

use super::*;
use crate::fault::Report;
use crate::tenant::{Column, Relation, RelationKind};

fn relation(schema: &str, name: &str, kind: RelationKind, columns: &[&str]) -> Relation {
    let column = |name: &&str| Column {
        name: name.trim_end_matches('*').into(),
        type_name: "text".into(),
        generated: name.ends_with('*'),
    };
    Relation {
        schema: schema.into(),
        name: name.into(),
        kind,
        columns: columns.iter().map(column).collect(),
        tenant_column: columns.iter().position(|name| *name == "tenant_id"),
        row_security: schema == "walled",
    }
}

fn catalog() -> Catalog {
    use RelationKind::{Partition, Partitioned, Table, View};
    Catalog::new(
        vec!["public".into()],
        [
            relation("public", "invoices", Table, &["id", "tenant_id", "email", "amount"]),
            relation("public", "lines", Table, &["id", "invoice_id", "what", "tenant_id"]),
            relation("public", "totals", Table, &["id", "tenant_id", "net", "gross*"]),
            relation("public", "parent", Partitioned, &["id", "tenant_id", "email"]),
            relation("public", "parent_1", Partition, &["id", "tenant_id", "email"]),
            relation("public", "v", View, &["id", "tenant_id", "email"]),
            relation("public", "countries", Table, &["code", "name"]),
            relation("public", "Odd \"table", Table, &["id", "tenant_id"]),
            relation("other", "invoices", Table, &["id", "tenant_id"]),
            relation("walled", "invoices", Table, &["id", "tenant_id"]),
        ],
    )
}

fn rewritten_as(text: &str, scope: &Rewrite, insert: InsertColumn, key: &str) -> String {
    let catalog = catalog();
    let key_type = KeyType::Bigint;
    let request = Request { text, catalog: &catalog, column: "tenant_id", key_type, scope, insert };
    let key = TenantKey::parse(key_type, key).expect("a key");
    let done = plan(&request).and_then(|plan| Ok((plan.is_identity(), plan.apply(text.as_bytes(), &key)?)));
    match done {
        Ok((identity, new)) => {
            let new = String::from_utf8(new).expect("UTF-8");
            assert!(!identity || new == text);
            new.replace(" OPERATOR(pg_catalog.=) '7'::pg_catalog.int8", " = KEY").replace("'7'::pg_catalog.int8", "KEY")
        }
        Err(refusal) => {
            assert!(refusal.hint().is_some() && !refusal.message().is_empty());
            format!("{} {:?}", refusal.rule(), refusal.sqlstate())
        }
    }
}

fn rewritten(text: &str) -> String {
    rewritten_as(text, &Rewrite::All, InsertColumn::Add, "7")
}

#[track_caller]
fn check(texts: &[&str], expected: Expect) {
    let shown: Vec<String> = texts.iter().map(|text| format!("{text}\n  {}\n", rewritten(text))).collect();
    expected.assert_eq(&shown.concat());
}

#[test]
fn sources_are_filtered_in_where() {
    check(
        &[
            "select * from invoices",
            "select * from invoices where id = 1 or true",
            "SELECT*FROM/*c*/invoices--x",
            "select * from invoices i where i.id=1;",
            "select * from public.invoices order by 1 limit 3 for update",
            "select * from only invoices",
            "select * from only (invoices) where true",
            "select * from invoices * where id = 1",
            "select * from invoices as x (a, b, c, d) group by a",
            "select * from invoices as x (tenant_id, b)",
            "select * from invoices as x (a, b, b, d)",
            "select * from invoices tablesample system (10) repeatable (1) where id = 1",
            "select * from invoices a, lines b where a.id = b.invoice_id or a.id = 0",
            "select * from invoices a join lines b on a.id = b.invoice_id",
            "select * from invoices natural join lines",
            "select ctid, xmin, i from invoices i group by id",
            "select id from invoices union all (select id from lines order by 1) except table invoices",
            "table invoices",
            "table invoices order by 1 for share",
            "table public . invoices",
            "values ((select count(*) from invoices))",
            "select * from parent, parent_1, v",
            "select * from \"Odd \"\"table\"",
            "select * from \"Odd \"\"table\" as \"a \"\"b\" where(true)",
            "select 1 from countries",
            "select 1",
            "select * from pg_class, pg_catalog.pg_type, information_schema.tables",
        ],
        expect![[r#"
            select * from invoices
              select * from invoices WHERE "invoices"."tenant_id" = KEY 
            select * from invoices where id = 1 or true
              select * from invoices where ( id = 1 or true) AND "invoices"."tenant_id" = KEY 
            SELECT*FROM/*c*/invoices--x
              SELECT*FROM/*c*/invoices WHERE "invoices"."tenant_id" = KEY --x
            select * from invoices i where i.id=1;
              select * from invoices i where ( i.id=1) AND "i"."tenant_id" = KEY ;
            select * from public.invoices order by 1 limit 3 for update
              select * from public.invoices WHERE "public"."invoices"."tenant_id" = KEY  order by 1 limit 3 for update
            select * from only invoices
              select * from only invoices WHERE "invoices"."tenant_id" = KEY 
            select * from only (invoices) where true
              select * from only (invoices) where ( true) AND "invoices"."tenant_id" = KEY 
            select * from invoices * where id = 1
              select * from invoices * where ( id = 1) AND "invoices"."tenant_id" = KEY 
            select * from invoices as x (a, b, c, d) group by a
              select * from invoices as x (a, b, c, d) WHERE "x"."b" = KEY  group by a
            select * from invoices as x (tenant_id, b)
              select * from invoices as x (tenant_id, b) WHERE "x"."b" = KEY 
            select * from invoices as x (a, b, b, d)
              select * from  (SELECT * FROM invoices WHERE "invoices"."tenant_id" = KEY)  as x (a, b, b, d)
            select * from invoices tablesample system (10) repeatable (1) where id = 1
              select * from invoices tablesample system (10) repeatable (1) where ( id = 1) AND "invoices"."tenant_id" = KEY 
            select * from invoices a, lines b where a.id = b.invoice_id or a.id = 0
              select * from invoices a, lines b where ( a.id = b.invoice_id or a.id = 0) AND "a"."tenant_id" = KEY AND "b"."tenant_id" = KEY 
            select * from invoices a join lines b on a.id = b.invoice_id
              select * from invoices a join lines b on a.id = b.invoice_id WHERE "a"."tenant_id" = KEY AND "b"."tenant_id" = KEY 
            select * from invoices natural join lines
              select * from invoices natural join lines WHERE "invoices"."tenant_id" = KEY AND "lines"."tenant_id" = KEY 
            select ctid, xmin, i from invoices i group by id
              select ctid, xmin, i from invoices i WHERE "i"."tenant_id" = KEY  group by id
            select id from invoices union all (select id from lines order by 1) except table invoices
              select id from invoices WHERE "invoices"."tenant_id" = KEY  union all (select id from lines WHERE "lines"."tenant_id" = KEY  order by 1) except  SELECT * FROM  invoices WHERE "invoices"."tenant_id" = KEY 
            table invoices
               SELECT * FROM  invoices WHERE "invoices"."tenant_id" = KEY 
            table invoices order by 1 for share
               SELECT * FROM  invoices WHERE "invoices"."tenant_id" = KEY  order by 1 for share
            table public . invoices
               SELECT * FROM  public . invoices WHERE "public"."invoices"."tenant_id" = KEY 
            values ((select count(*) from invoices))
              values ((select count(*) from invoices WHERE "invoices"."tenant_id" = KEY ))
            select * from parent, parent_1, v
              select * from parent, parent_1, v WHERE "parent"."tenant_id" = KEY AND "parent_1"."tenant_id" = KEY AND "v"."tenant_id" = KEY 
            select * from "Odd ""table"
              select * from "Odd ""table" WHERE "Odd ""table"."tenant_id" = KEY 
            select * from "Odd ""table" as "a ""b" where(true)
              select * from "Odd ""table" as "a ""b" where ((true)) AND "a ""b"."tenant_id" = KEY 
            select 1 from countries
              select 1 from countries
            select 1
              select 1
            select * from pg_class, pg_catalog.pg_type, information_schema.tables
              select * from pg_class, pg_catalog.pg_type, information_schema.tables
        "#]],
    );
}

#[test]
fn below_an_outer_join_a_sub_select_takes_the_place() {
    check(
        &[
            "select * from invoices a left join lines b on a.id = b.invoice_id where a.id > 1",
            "select * from invoices right join lines using (id)",
            "select * from invoices a full join public.lines on true",
            "select * from invoices a left join (lines b join invoices c on b.id = c.id) on true",
            "select * from countries left join lines x (p, q) on true",
            "select * from countries left join only lines x on true",
            "select * from countries left join only (lines) on true",
            "select * from countries left join lines * on true",
            "select * from countries left join lines as x (a) tablesample bernoulli (50) repeatable (2) on true",
            "select * from countries left join lines tablesample system (50) on true",
            "select * from countries c left join lines tablesample system (c.code) on true",
            "select * from (invoices a join lines b on a.id = b.id) as j where j.amount = 1",
            "select b.ctid from invoices a left join lines b on true",
            "select tableoid from invoices a left join lines b on true",
            "select public.lines.id from countries left join public.lines on true",
            "select b.id, b.what from countries left join lines b on true group by b.id",
            "select b.id, count(b.what) from countries left join lines b on true group by b.id order by 2",
            "select * from invoices natural left join lines",
            "select b from invoices a left join lines b on true for update of a",
            "select x.p, to_json(y) from lines y left join lines x (p, q) on true",
            "select to_json(x) from countries left join lines x (p, q) on true",
            "select x.to_json from countries left join lines x (p, q) on true",
            "select row(x.*) from countries left join lines x (p, q) on true",
        ],
        expect![[r#"
            select * from invoices a left join lines b on a.id = b.invoice_id where a.id > 1
              select * from invoices a left join  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  b on a.id = b.invoice_id where ( a.id > 1) AND "a"."tenant_id" = KEY 
            select * from invoices right join lines using (id)
              select * from  (SELECT * FROM invoices WHERE "invoices"."tenant_id" = KEY) AS "invoices"  right join lines using (id) WHERE "lines"."tenant_id" = KEY 
            select * from invoices a full join public.lines on true
              select * from  (SELECT * FROM invoices WHERE "invoices"."tenant_id" = KEY)  a full join  (SELECT * FROM public.lines WHERE "lines"."tenant_id" = KEY) AS "lines"  on true
            select * from invoices a left join (lines b join invoices c on b.id = c.id) on true
              select * from invoices a left join ( (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  b join  (SELECT * FROM invoices WHERE "invoices"."tenant_id" = KEY)  c on b.id = c.id) on true WHERE "a"."tenant_id" = KEY 
            select * from countries left join lines x (p, q) on true
              select * from countries left join  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  x (p, q) on true
            select * from countries left join only lines x on true
              select * from countries left join  (SELECT * FROM only lines WHERE "lines"."tenant_id" = KEY)  x on true
            select * from countries left join only (lines) on true
              select * from countries left join  (SELECT * FROM only (lines) WHERE "lines"."tenant_id" = KEY) AS "lines"  on true
            select * from countries left join lines * on true
              select * from countries left join  (SELECT * FROM lines * WHERE "lines"."tenant_id" = KEY) AS "lines"  on true
            select * from countries left join lines as x (a) tablesample bernoulli (50) repeatable (2) on true
              select * from countries left join  (SELECT * FROM lines tablesample bernoulli (50) repeatable (2) WHERE "lines"."tenant_id" = KEY) as x (a)  on true
            select * from countries left join lines tablesample system (50) on true
              select * from countries left join  (SELECT * FROM lines tablesample system (50) WHERE "lines"."tenant_id" = KEY) AS "lines"  on true
            select * from countries c left join lines tablesample system (c.code) on true
              rewrite_sample 0A000
            select * from (invoices a join lines b on a.id = b.id) as j where j.amount = 1
              select * from ( (SELECT * FROM invoices WHERE "invoices"."tenant_id" = KEY)  a join  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  b on a.id = b.id) as j where j.amount = 1
            select b.ctid from invoices a left join lines b on true
              rewrite_outer_join 0A000
            select tableoid from invoices a left join lines b on true
              rewrite_outer_join 0A000
            select public.lines.id from countries left join public.lines on true
              rewrite_outer_join 0A000
            select b.id, b.what from countries left join lines b on true group by b.id
              rewrite_outer_join 0A000
            select b.id, count(b.what) from countries left join lines b on true group by b.id order by 2
              select b.id, count(b.what) from countries left join  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  b on true group by b.id order by 2
            select * from invoices natural left join lines
              select * from invoices natural left join  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY) AS "lines"  WHERE "invoices"."tenant_id" = KEY 
            select b from invoices a left join lines b on true for update of a
              select b from invoices a left join  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  b on true WHERE "a"."tenant_id" = KEY  for update of a
            select x.p, to_json(y) from lines y left join lines x (p, q) on true
              select x.p, to_json(y) from lines y left join  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  x (p, q) on true WHERE "y"."tenant_id" = KEY 
            select to_json(x) from countries left join lines x (p, q) on true
              rewrite_outer_join 0A000
            select x.to_json from countries left join lines x (p, q) on true
              rewrite_outer_join 0A000
            select row(x.*) from countries left join lines x (p, q) on true
              rewrite_outer_join 0A000
        "#]],
    );
}

#[test]
fn every_query_inside_is_filtered() {
    check(
        &[
            "select (select count(*) from invoices) from countries",
            "select 1 where exists (select from lines) limit (select 1 from lines) offset (select 2 from lines)",
            "select 1 from countries group by (select 1 from lines) having (select true from lines) order by (select 1 from lines)",
            "select sum(1) over (partition by (select 1 from lines)) from countries window w as (order by (select 1 from lines))",
            "select * from countries c, lateral (select * from lines where what = c.name) l",
            "select array(select id from lines), case when true then (select 1 from lines) end",
            "select * from unnest(array(select id from lines)) u, rows from (generate_series(1, (select 2 from lines)))",
            "select * from generate_series(1, (select 2 from lines)) g join lines on (select true from invoices)",
            "with x as (select * from invoices) select * from x, invoices",
            "with invoices as (select * from invoices) select * from invoices",
            "with recursive invoices as (select 1 union all select 1 from invoices) select * from invoices, public.invoices",
            "select (select 1 from invoices where exists (with invoices as (select 1) select 1 from invoices))",
            "with x as (delete from lines returning *) select * from x",
            "explain (analyze, costs off) select * from invoices",
            "explain analyze verbose select * from invoices",
            "explain (select * from invoices)",
            "prepare p (int) as select * from invoices where id = $1",
            "declare c scroll cursor with hold for select * from invoices for update",
            "create table x as select * from invoices with no data",
            "create table x as table invoices",
            "select id into x from invoices",
            "copy (select * from invoices) to stdout with (format csv)",
            "copy (delete from invoices returning id) to stdout",
            "copy invoices to stdout",
            "copy public.invoices (id, /*x*/ email -- y\n) to stdout csv header",
            "copy totals to stdout",
            "copy parent to stdout",
            "select 1; select * from invoices; ; select * from lines -- end",
        ],
        expect![[r#"
            select (select count(*) from invoices) from countries
              select (select count(*) from invoices WHERE "invoices"."tenant_id" = KEY ) from countries
            select 1 where exists (select from lines) limit (select 1 from lines) offset (select 2 from lines)
              select 1 where exists (select from lines WHERE "lines"."tenant_id" = KEY ) limit (select 1 from lines WHERE "lines"."tenant_id" = KEY ) offset (select 2 from lines WHERE "lines"."tenant_id" = KEY )
            select 1 from countries group by (select 1 from lines) having (select true from lines) order by (select 1 from lines)
              select 1 from countries group by (select 1 from lines WHERE "lines"."tenant_id" = KEY ) having (select true from lines WHERE "lines"."tenant_id" = KEY ) order by (select 1 from lines WHERE "lines"."tenant_id" = KEY )
            select sum(1) over (partition by (select 1 from lines)) from countries window w as (order by (select 1 from lines))
              select sum(1) over (partition by (select 1 from lines WHERE "lines"."tenant_id" = KEY )) from countries window w as (order by (select 1 from lines WHERE "lines"."tenant_id" = KEY ))
            select * from countries c, lateral (select * from lines where what = c.name) l
              select * from countries c, lateral (select * from lines where ( what = c.name) AND "lines"."tenant_id" = KEY ) l
            select array(select id from lines), case when true then (select 1 from lines) end
              select array(select id from lines WHERE "lines"."tenant_id" = KEY ), case when true then (select 1 from lines WHERE "lines"."tenant_id" = KEY ) end
            select * from unnest(array(select id from lines)) u, rows from (generate_series(1, (select 2 from lines)))
              rewrite_reading 0A000
            select * from generate_series(1, (select 2 from lines)) g join lines on (select true from invoices)
              select * from generate_series(1, (select 2 from lines WHERE "lines"."tenant_id" = KEY )) g join lines on (select true from invoices WHERE "invoices"."tenant_id" = KEY ) WHERE "lines"."tenant_id" = KEY 
            with x as (select * from invoices) select * from x, invoices
              with x as (select * from invoices WHERE "invoices"."tenant_id" = KEY ) select * from x, invoices WHERE "invoices"."tenant_id" = KEY 
            with invoices as (select * from invoices) select * from invoices
              with invoices as (select * from invoices WHERE "invoices"."tenant_id" = KEY ) select * from invoices
            with recursive invoices as (select 1 union all select 1 from invoices) select * from invoices, public.invoices
              with recursive invoices as (select 1 union all select 1 from invoices) select * from invoices, public.invoices WHERE "public"."invoices"."tenant_id" = KEY 
            select (select 1 from invoices where exists (with invoices as (select 1) select 1 from invoices))
              select (select 1 from invoices where ( exists (with invoices as (select 1) select 1 from invoices)) AND "invoices"."tenant_id" = KEY )
            with x as (delete from lines returning *) select * from x
              with x as (delete from lines WHERE "lines"."tenant_id" = KEY  returning *) select * from x
            explain (analyze, costs off) select * from invoices
              explain (analyze, costs off) select * from invoices WHERE "invoices"."tenant_id" = KEY 
            explain analyze verbose select * from invoices
              explain analyze verbose select * from invoices WHERE "invoices"."tenant_id" = KEY 
            explain (select * from invoices)
              explain (select * from invoices WHERE "invoices"."tenant_id" = KEY )
            prepare p (int) as select * from invoices where id = $1
              prepare p (int) as select * from invoices where ( id = $1) AND "invoices"."tenant_id" = KEY 
            declare c scroll cursor with hold for select * from invoices for update
              declare c scroll cursor with hold for select * from invoices WHERE "invoices"."tenant_id" = KEY  for update
            create table x as select * from invoices with no data
              create table x as select * from invoices WHERE "invoices"."tenant_id" = KEY  with no data
            create table x as table invoices
              create table x as  SELECT * FROM  invoices WHERE "invoices"."tenant_id" = KEY 
            select id into x from invoices
              select id into x from invoices WHERE "invoices"."tenant_id" = KEY 
            copy (select * from invoices) to stdout with (format csv)
              copy (select * from invoices WHERE "invoices"."tenant_id" = KEY ) to stdout with (format csv)
            copy (delete from invoices returning id) to stdout
              copy (delete from invoices WHERE "invoices"."tenant_id" = KEY  returning id) to stdout
            copy invoices to stdout
              copy  (SELECT * FROM ONLY invoices WHERE "invoices"."tenant_id" = KEY)  to stdout
            copy public.invoices (id, /*x*/ email -- y
            ) to stdout csv header
              copy  (SELECT id, /*x*/ email FROM ONLY public.invoices WHERE "invoices"."tenant_id" = KEY)  to stdout csv header
            copy totals to stdout
              copy  (SELECT "id", "tenant_id", "net" FROM ONLY totals WHERE "totals"."tenant_id" = KEY)  to stdout
            copy parent to stdout
              rewrite_statement 0A000
            select 1; select * from invoices; ; select * from lines -- end
              select 1; select * from invoices WHERE "invoices"."tenant_id" = KEY ; ; select * from lines WHERE "lines"."tenant_id" = KEY  -- end
        "#]],
    );
}

#[test]
fn targets_are_filtered() {
    check(
        &[
            "update invoices set amount = 1",
            "update invoices i set amount = 1 where id = 1 or id = 2 returning *",
            "update only invoices set amount = l.id from lines l left join countries c on true where l.id = invoices.id",
            "update invoices set amount = 1 from countries c left join lines l on true",
            "update invoices set (amount, email) = (select id, what from lines) where true",
            "update invoices set amount = 1 where id is distinct from 2",
            "update invoices set tenant_id = 7",
            "update invoices set (amount, tenant_id) = (1, 7)",
            "update invoices set amount = 1 where current of c",
            "update countries set name = (select what from lines)",
            "delete from invoices",
            "delete from invoices using lines l where l.id = invoices.id returning (select 1 from lines)",
            "delete from only public.invoices as x where true",
            "delete from countries using lines",
            "with d as (update lines set what = 'x' where id = 1 returning id) delete from invoices using d where d.id = 1",
        ],
        expect![[r#"
            update invoices set amount = 1
              update invoices set amount = 1 WHERE "invoices"."tenant_id" = KEY 
            update invoices i set amount = 1 where id = 1 or id = 2 returning *
              update invoices i set amount = 1 where ( id = 1 or id = 2) AND "i"."tenant_id" = KEY  returning *
            update only invoices set amount = l.id from lines l left join countries c on true where l.id = invoices.id
              update only invoices set amount = l.id from lines l left join countries c on true where ( l.id = invoices.id) AND "invoices"."tenant_id" = KEY AND "l"."tenant_id" = KEY 
            update invoices set amount = 1 from countries c left join lines l on true
              update invoices set amount = 1 from countries c left join  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  l on true WHERE "invoices"."tenant_id" = KEY 
            update invoices set (amount, email) = (select id, what from lines) where true
              rewrite_reading 0A000
            update invoices set amount = 1 where id is distinct from 2
              update invoices set amount = 1 where ( id is distinct from 2) AND "invoices"."tenant_id" = KEY 
            update invoices set tenant_id = 7
              rewrite_tenant_column 42501
            update invoices set (amount, tenant_id) = (1, 7)
              rewrite_tenant_column 42501
            update invoices set amount = 1 where current of c
              rewrite_current_of 0A000
            update countries set name = (select what from lines)
              update countries set name = (select what from lines WHERE "lines"."tenant_id" = KEY )
            delete from invoices
              delete from invoices WHERE "invoices"."tenant_id" = KEY 
            delete from invoices using lines l where l.id = invoices.id returning (select 1 from lines)
              delete from invoices using lines l where ( l.id = invoices.id) AND "invoices"."tenant_id" = KEY AND "l"."tenant_id" = KEY  returning (select 1 from lines WHERE "lines"."tenant_id" = KEY )
            delete from only public.invoices as x where true
              delete from only public.invoices as x where ( true) AND "x"."tenant_id" = KEY 
            delete from countries using lines
              delete from countries using lines WHERE "lines"."tenant_id" = KEY 
            with d as (update lines set what = 'x' where id = 1 returning id) delete from invoices using d where d.id = 1
              with d as (update lines set what = 'x' where ( id = 1) AND "lines"."tenant_id" = KEY  returning id) delete from invoices using d where ( d.id = 1) AND "invoices"."tenant_id" = KEY 
        "#]],
    );
}

#[test]
fn merge_filters_its_target_in_on() {
    check(
        &[
            "merge into invoices i using lines l on i.id = l.id or true when matched then delete",
            "merge into invoices using (select 1 as id) s on s.id = invoices.id when not matched then insert (id, email) values (s.id, 'x')",
            "merge into invoices using lines l join countries c on c.code = l.what on l.id = invoices.id when matched and case when true then true end then update set amount = 1 when not matched then do nothing",
            "merge into invoices using lines l on true when not matched then insert (id, tenant_id) values (1, 7)",
            "merge into invoices using lines l on true when not matched then insert (id, tenant_id) values (1, 8)",
            "merge into invoices using lines l on true when not matched then insert (id, tenant_id) values (1, l.tenant_id)",
            "merge into invoices using lines l on true when not matched then insert default values",
            "merge into invoices using lines l on true when matched then update set tenant_id = 1",
            "merge into invoices using lines l on true when not matched by source then delete",
            "merge into countries using lines on true when matched then delete",
        ],
        expect![[r#"
            merge into invoices i using lines l on i.id = l.id or true when matched then delete
              merge into invoices i using  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  l on ( i.id = l.id or true) AND "i"."tenant_id" = KEY  when matched then delete
            merge into invoices using (select 1 as id) s on s.id = invoices.id when not matched then insert (id, email) values (s.id, 'x')
              merge into invoices using (select 1 as id) s on ( s.id = invoices.id) AND "invoices"."tenant_id" = KEY  when not matched then insert (id, email, "tenant_id" ) values (s.id, 'x', KEY )
            merge into invoices using lines l join countries c on c.code = l.what on l.id = invoices.id when matched and case when true then true end then update set amount = 1 when not matched then do nothing
              rewrite_reading 0A000
            merge into invoices using lines l on true when not matched then insert (id, tenant_id) values (1, 7)
              merge into invoices using  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY)  l on ( true) AND "invoices"."tenant_id" = KEY  when not matched then insert (id, tenant_id) values (1, 7)
            merge into invoices using lines l on true when not matched then insert (id, tenant_id) values (1, 8)
              rewrite_foreign_tenant 42501
            merge into invoices using lines l on true when not matched then insert (id, tenant_id) values (1, l.tenant_id)
              rewrite_insert_value 0A000
            merge into invoices using lines l on true when not matched then insert default values
              rewrite_insert_columns 0A000
            merge into invoices using lines l on true when matched then update set tenant_id = 1
              rewrite_tenant_column 42501
            merge into invoices using lines l on true when not matched by source then delete
              rewrite_merge_by_source 0A000
            merge into countries using lines on true when matched then delete
              merge into countries using  (SELECT * FROM lines WHERE "lines"."tenant_id" = KEY) AS "lines"  on true when matched then delete
        "#]],
    );
}

#[test]
fn inserts_get_the_tenant_column() {
    check(
        &[
            "insert into invoices (id) values (1), (2)",
            "insert into invoices(id,email)values(1,'x')returning *",
            "insert into invoices as i (id) overriding system value values (1)",
            "insert into invoices default values returning id",
            "insert into invoices values (1)",
            "insert into lines values (1, 2, 'x'), (1, 2, default)",
            "insert into invoices values (1, 7, 'x')",
            "insert into invoices values (1, 8, 'x')",
            "insert into invoices values (1, default, 'x')",
            "insert into invoices values (1, $1)",
            "insert into invoices (id, tenant_id) values (1, '7'), (2, 7)",
            "insert into invoices (id, tenant_id) values (1, '7'::bigint)",
            "insert into invoices (id, tenant_id) values (1, 7), (2, 8)",
            "insert into invoices (id, tenant_id) values (1, null)",
            "insert into invoices (id, tenant_id) values (1, -7)",
            "insert into invoices (id, tenant_id) values (1, $1)",
            "insert into walled.invoices (id, tenant_id) values (1, $1)",
            "insert into invoices (id, tenant_id) select 1, 7",
            "insert into invoices (id, tenant_id) select id, tenant_id from lines",
            "insert into invoices (id) select id from lines where true order by 1 on conflict do nothing",
            "insert into invoices (id) select distinct id from lines union select 1 union values (2)",
            "insert into invoices (id) with x as (select 1 as id) select id from x",
            "insert into invoices (id) (select 1)",
            "insert into invoices (id) table countries",
            "insert into countries (code) table lines",
            "insert into invoices (code) table lines",
            "insert into invoices select * from lines",
            "insert into invoices select id from lines",
            "insert into invoices (id) values (1) on conflict (id) do nothing",
            "insert into invoices (id) values (1) on conflict (tenant_id, id) do update set amount = 1",
            "insert into invoices as i (id) values (1) on conflict (id) where id > 0 do update set amount = 1 where i.id = 1 or true returning id",
            "insert into invoices (id) values (1) on conflict (id) do update set tenant_id = 7",
            "with x as (insert into lines (id) values (1) returning id) insert into countries (code) select id from x",
            "insert into countries values (1, 2)",
        ],
        expect![[r#"
            insert into invoices (id) values (1), (2)
              insert into invoices (id, "tenant_id" ) values (1, KEY ), (2, KEY )
            insert into invoices(id,email)values(1,'x')returning *
              insert into invoices(id,email, "tenant_id" )values(1,'x', KEY )returning *
            insert into invoices as i (id) overriding system value values (1)
              insert into invoices as i (id, "tenant_id" ) overriding system value values (1, KEY )
            insert into invoices default values returning id
              insert into invoices ("tenant_id")   VALUES (KEY)  returning id
            insert into invoices values (1)
              insert into invoices ("id", "tenant_id")  values (1, KEY )
            insert into lines values (1, 2, 'x'), (1, 2, default)
              insert into lines ("id", "invoice_id", "what", "tenant_id")  values (1, 2, 'x', KEY ), (1, 2, default, KEY )
            insert into invoices values (1, 7, 'x')
              insert into invoices values (1, 7, 'x')
            insert into invoices values (1, 8, 'x')
              rewrite_foreign_tenant 42501
            insert into invoices values (1, default, 'x')
              insert into invoices values (1,  KEY , 'x')
            insert into invoices values (1, $1)
              rewrite_insert_value 0A000
            insert into invoices (id, tenant_id) values (1, '7'), (2, 7)
              insert into invoices (id, tenant_id) values (1, '7'), (2, 7)
            insert into invoices (id, tenant_id) values (1, '7'::bigint)
              insert into invoices (id, tenant_id) values (1, '7'::bigint)
            insert into invoices (id, tenant_id) values (1, 7), (2, 8)
              rewrite_foreign_tenant 42501
            insert into invoices (id, tenant_id) values (1, null)
              rewrite_foreign_tenant 42501
            insert into invoices (id, tenant_id) values (1, -7)
              rewrite_foreign_tenant 42501
            insert into invoices (id, tenant_id) values (1, $1)
              rewrite_insert_value 0A000
            insert into walled.invoices (id, tenant_id) values (1, $1)
              insert into walled.invoices (id, tenant_id) values (1, $1)
            insert into invoices (id, tenant_id) select 1, 7
              insert into invoices (id, tenant_id) select 1, 7
            insert into invoices (id, tenant_id) select id, tenant_id from lines
              rewrite_insert_value 0A000
            insert into invoices (id) select id from lines where true order by 1 on conflict do nothing
              insert into invoices (id, "tenant_id" ) select id, KEY  from lines where ( true) AND "lines"."tenant_id" = KEY  order by 1 on conflict do nothing
            insert into invoices (id) select distinct id from lines union select 1 union values (2)
              insert into invoices (id, "tenant_id" ) select distinct id, KEY  from lines WHERE "lines"."tenant_id" = KEY  union select 1, KEY  union values (2, KEY )
            insert into invoices (id) with x as (select 1 as id) select id from x
              insert into invoices (id, "tenant_id" ) with x as (select 1 as id) select id, KEY  from x
            insert into invoices (id) (select 1)
              insert into invoices (id, "tenant_id" ) (select 1, KEY )
            insert into invoices (id) table countries
              insert into invoices (id, "tenant_id" )  SELECT *, KEY FROM  countries
            insert into countries (code) table lines
              insert into countries (code)  SELECT * FROM  lines WHERE "lines"."tenant_id" = KEY 
            insert into invoices (code) table lines
              insert into invoices (code, "tenant_id" )  SELECT *, KEY FROM  lines WHERE "lines"."tenant_id" = KEY 
            insert into invoices select * from lines
              rewrite_insert_columns 0A000
            insert into invoices select id from lines
              insert into invoices ("id", "tenant_id")  select id, KEY  from lines WHERE "lines"."tenant_id" = KEY 
            insert into invoices (id) values (1) on conflict (id) do nothing
              insert into invoices (id, "tenant_id" ) values (1, KEY ) on conflict (id) do nothing
            insert into invoices (id) values (1) on conflict (tenant_id, id) do update set amount = 1
              insert into invoices (id, "tenant_id" ) values (1, KEY ) on conflict (tenant_id, id) do update set amount = 1 WHERE CASE WHEN "invoices"."tenant_id" = KEY THEN true ELSE pg_catalog.concat('ON CONFLICT: the row belongs to another tenant')::pg_catalog.bool END 
            insert into invoices as i (id) values (1) on conflict (id) where id > 0 do update set amount = 1 where i.id = 1 or true returning id
              rewrite_reading 0A000
            insert into invoices (id) values (1) on conflict (id) do update set tenant_id = 7
              rewrite_tenant_column 42501
            with x as (insert into lines (id) values (1) returning id) insert into countries (code) select id from x
              with x as (insert into lines (id, "tenant_id" ) values (1, KEY ) returning id) insert into countries (code) select id from x
            insert into countries values (1, 2)
              insert into countries values (1, 2)
        "#]],
    );
}

#[test]
fn what_cannot_be_done_right_is_refused() {
    check(
        &[
            "select * from nowhere",
            "select * from other.nothing",
            "select * from db.public.invoices",
            "select * from U&\"\\0069nvoices\"",
            "truncate invoices",
            "create view w as select * from invoices",
            "copy invoices from stdin",
            "lock table invoices in share mode",
            "analyze invoices",
            "drop table invoices",
            "create index on invoices (id)",
            "begin",
            "selec",
            "--",
            "select 'a' 'b' from invoices",
        ],
        expect![[r#"
            select * from nowhere
              rewrite_unknown_relation 0A000
            select * from other.nothing
              rewrite_unknown_relation 0A000
            select * from db.public.invoices
              rewrite_unknown_relation 0A000
            select * from U&"\0069nvoices"
              rewrite_reading 0A000
            truncate invoices
              rewrite_statement 0A000
            create view w as select * from invoices
              rewrite_statement 0A000
            copy invoices from stdin
              rewrite_copy_from 0A000
            lock table invoices in share mode
              lock table invoices in share mode
            analyze invoices
              analyze invoices
            drop table invoices
              drop table invoices
            create index on invoices (id)
              rewrite_statement 0A000
            begin
              begin
            selec
              rewrite_syntax 42601
            --
              --
            select 'a' 'b' from invoices
              rewrite_syntax 42601
        "#]],
    );
}

#[test]
fn lexers_that_differ_change_nothing() {
    check(
        &[
            "select id end from invoices",
            "select 1 end; delete from invoices",
            "select id from countries where id >-- 2 and b='\n 5 union all select id from invoices --'",
            "select id like from invoices",
            "select a &>$$ from countries --$$ from invoices",
            "select id from countries union all table invoices",
            "select 'a\\'' from invoices",
            "select 'a\\', (select 1 from invoices) --'",
            "select e'\\'', id from invoices--'",
            "select $x$ from lines $x$ from invoices",
            "select $ü$ ' $ü$ , id from invoices",
            "select /* /* from lines */ where */ id from invoices",
            "select U&\"\\0065mail\", u&'x' uescape '!' from invoices where id = 1",
            "select id\u{a0}from from invoices",
            "select - -1 from invoices --",
            "select id as where, i.limit, i.order from invoices i where i.where = 1",
            "select id from invoices i where extract(year from now()) > 1 and substring('a' from 1 for 2) = 'a'",
            "select 1::timestamp with time zone from invoices where now()::time with time zone is not null",
            "select percentile_cont(0.5) within group (order by id) from invoices",
            "select count(*) filter (where id > 1) from invoices",
            "select id from invoices where id = any (array[1,2]) and id[1] is not distinct from 2",
            "select 1 from invoices fetch first 1 row only",
            "select id \"from\" from invoices \"where\"",
            "select id from invoices where id @> 1 and id ? 'a' and id <=> 2",
            "select id || -1 <> - 2 from invoices",
        ],
        expect![[r#"
            select id end from invoices
              rewrite_reading 0A000
            select 1 end; delete from invoices
              select 1 end; delete from invoices WHERE "invoices"."tenant_id" = KEY 
            select id from countries where id >-- 2 and b='
             5 union all select id from invoices --'
              select id from countries where id >-- 2 and b='
             5 union all select id from invoices WHERE "invoices"."tenant_id" = KEY  --'
            select id like from invoices
              rewrite_reading 0A000
            select a &>$$ from countries --$$ from invoices
              rewrite_reading 0A000
            select id from countries union all table invoices
              select id from countries union all  SELECT * FROM  invoices WHERE "invoices"."tenant_id" = KEY 
            select 'a\'' from invoices
              rewrite_syntax 42601
            select 'a\', (select 1 from invoices) --'
              select 'a\', (select 1 from invoices WHERE "invoices"."tenant_id" = KEY ) --'
            select e'\'', id from invoices--'
              select e'\'', id from invoices WHERE "invoices"."tenant_id" = KEY --'
            select $x$ from lines $x$ from invoices
              select $x$ from lines $x$ from invoices WHERE "invoices"."tenant_id" = KEY 
            select $ü$ ' $ü$ , id from invoices
              select $ü$ ' $ü$ , id from invoices WHERE "invoices"."tenant_id" = KEY 
            select /* /* from lines */ where */ id from invoices
              select /* /* from lines */ where */ id from invoices WHERE "invoices"."tenant_id" = KEY 
            select U&"\0065mail", u&'x' uescape '!' from invoices where id = 1
              select U&"\0065mail", u&'x' uescape '!' from invoices where ( id = 1) AND "invoices"."tenant_id" = KEY 
            select id from from invoices
              select id from from invoices WHERE "invoices"."tenant_id" = KEY 
            select - -1 from invoices --
              select - -1 from invoices WHERE "invoices"."tenant_id" = KEY  --
            select id as where, i.limit, i.order from invoices i where i.where = 1
              select id as where, i.limit, i.order from invoices i where ( i.where = 1) AND "i"."tenant_id" = KEY 
            select id from invoices i where extract(year from now()) > 1 and substring('a' from 1 for 2) = 'a'
              select id from invoices i where ( extract(year from now()) > 1 and substring('a' from 1 for 2) = 'a') AND "i"."tenant_id" = KEY 
            select 1::timestamp with time zone from invoices where now()::time with time zone is not null
              select 1::timestamp with time zone from invoices where ( now()::time with time zone is not null) AND "invoices"."tenant_id" = KEY 
            select percentile_cont(0.5) within group (order by id) from invoices
              select percentile_cont(0.5) within group (order by id) from invoices WHERE "invoices"."tenant_id" = KEY 
            select count(*) filter (where id > 1) from invoices
              select count(*) filter (where id > 1) from invoices WHERE "invoices"."tenant_id" = KEY 
            select id from invoices where id = any (array[1,2]) and id[1] is not distinct from 2
              select id from invoices where ( id = any (array[1,2]) and id[1] is not distinct from 2) AND "invoices"."tenant_id" = KEY 
            select 1 from invoices fetch first 1 row only
              select 1 from invoices WHERE "invoices"."tenant_id" = KEY  fetch first 1 row only
            select id "from" from invoices "where"
              select id "from" from invoices "where" WHERE "where"."tenant_id" = KEY 
            select id from invoices where id @> 1 and id ? 'a' and id <=> 2
              select id from invoices where ( id @> 1 and id ? 'a' and id <=> 2) AND "invoices"."tenant_id" = KEY 
            select id || -1 <> - 2 from invoices
              select id || -1 <> - 2 from invoices WHERE "invoices"."tenant_id" = KEY 
        "#]],
    );
}

#[test]
fn scopes_and_inserts_are_chosen() {
    let tables = Rewrite::Tables(vec!["lines".into(), "other.invoices".into()]);
    let mut shown = String::new();
    for (scope, insert) in [
        (&Rewrite::Off, InsertColumn::Leave),
        (&Rewrite::Off, InsertColumn::Add),
        (&tables, InsertColumn::Leave),
        (&tables, InsertColumn::Add),
    ] {
        for text in [
            "select * from invoices, lines, nowhere",
            "select * from other.invoices o",
            "update invoices set amount = 1, tenant_id = 7",
            "insert into invoices (id) select id from lines",
            "insert into invoices (id, tenant_id) values (1, 8)",
        ] {
            let new = rewritten_as(text, scope, insert, "7");
            shown += &format!("{text}\n  {new}\n");
        }
    }
    expect![[r#"
        select * from invoices, lines, nowhere
          select * from invoices, lines, nowhere
        select * from other.invoices o
          select * from other.invoices o
        update invoices set amount = 1, tenant_id = 7
          update invoices set amount = 1, tenant_id = 7
        insert into invoices (id) select id from lines
          insert into invoices (id) select id from lines
        insert into invoices (id, tenant_id) values (1, 8)
          insert into invoices (id, tenant_id) values (1, 8)
        select * from invoices, lines, nowhere
          select * from invoices, lines, nowhere
        select * from other.invoices o
          select * from other.invoices o
        update invoices set amount = 1, tenant_id = 7
          update invoices set amount = 1, tenant_id = 7
        insert into invoices (id) select id from lines
          insert into invoices (id, "tenant_id" ) select id, KEY  from lines
        insert into invoices (id, tenant_id) values (1, 8)
          rewrite_foreign_tenant 42501
        select * from invoices, lines, nowhere
          select * from invoices, lines, nowhere WHERE "lines"."tenant_id" = KEY 
        select * from other.invoices o
          select * from other.invoices o WHERE "o"."tenant_id" = KEY 
        update invoices set amount = 1, tenant_id = 7
          update invoices set amount = 1, tenant_id = 7
        insert into invoices (id) select id from lines
          insert into invoices (id) select id from lines WHERE "lines"."tenant_id" = KEY 
        insert into invoices (id, tenant_id) values (1, 8)
          insert into invoices (id, tenant_id) values (1, 8)
        select * from invoices, lines, nowhere
          select * from invoices, lines, nowhere WHERE "lines"."tenant_id" = KEY 
        select * from other.invoices o
          select * from other.invoices o WHERE "o"."tenant_id" = KEY 
        update invoices set amount = 1, tenant_id = 7
          update invoices set amount = 1, tenant_id = 7
        insert into invoices (id) select id from lines
          insert into invoices (id, "tenant_id" ) select id, KEY  from lines WHERE "lines"."tenant_id" = KEY 
        insert into invoices (id, tenant_id) values (1, 8)
          rewrite_foreign_tenant 42501
    "#]]
    .assert_eq(&shown);
}

#[test]
fn a_plan_serves_every_tenant_and_no_other_text() {
    let catalog = catalog();
    let text = "select * from invoices where email = 'x'";
    for (kind, keys) in [
        (KeyType::Int, ["1", "2147483647"]),
        (KeyType::Uuid, ["6f1c1f0e-2f5b-4c8e-9d59-8f1f0e2f5b4c", "00000000-0000-0000-0000-000000000000"]),
        (KeyType::Text, ["o'b\\'x -- \"$$/*", "''; drop table invoices; --"]),
    ] {
        let (scope, insert) = (&Rewrite::All, InsertColumn::Add);
        let request = Request { text, catalog: &catalog, column: "tenant_id", key_type: kind, scope, insert };
        let plan = plan(&request).expect("a plan");
        for key in keys {
            let key = TenantKey::parse(kind, key).expect("a key");
            let new = String::from_utf8(plan.apply(text.as_bytes(), &key).expect("applies")).expect("UTF-8");
            let trees = grammar::trees(&new).expect("reads");
            assert_eq!(trees.len(), 1);
            assert!(format!("{trees:?}").contains(&format!("{:?}", key.as_str())), "{new}");
        }
        let key = TenantKey::parse(kind, keys[0]).expect("a key");
        assert_eq!(plan.apply(b"select 1", &key), Err(CannotRewrite::OtherText));
        let other = TenantKey::parse(KeyType::Bigint, "7").expect("a key");
        assert_eq!(plan.apply(text.as_bytes(), &other), Err(CannotRewrite::OtherText));
    }
}

#[test]
fn deep_and_long_texts_do_no_harm() {
    let chain = format!("select {}1 from invoices where {}true", "1+".repeat(2000), "true and ".repeat(1000));
    assert!(rewritten(&chain).contains("AND \"invoices\".\"tenant_id\" = KEY"), "a flat chain");
    // Deeper than sqlparser follows, or than PostgreSQL's grammar does.
    for depth in [300, 3000] {
        let deep = format!("select {}1{} from invoices", "(".repeat(depth), ")".repeat(depth));
        let rule = rewritten(&deep);
        assert!(rule.starts_with("rewrite_reading") || rule.starts_with("rewrite_complex"), "{rule}");
    }
}
