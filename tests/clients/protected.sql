\set VERBOSITY sqlstate
\echo == reads
select id, note from invoices order by id;
select count(*) from invoices where tenant_id <> 1 or note like '%globex%';
\echo == writes
insert into invoices (id, note) values (10, 'ten') returning id, note, tenant_id;
insert into invoices (id, note) select n, 'n' || n from generate_series(11, 20) n;
update invoices set note = note || '!' where id > 15;
delete from invoices where id = 12 or tenant_id = 2;
\echo == transactions
begin;
update invoices set note = 'gone';
savepoint s;
insert into invoices (id, note) values (10, 'again');
rollback to s;
declare k cursor for select id, note from invoices order by id;
fetch 3 from k;
rollback;
with moved as (delete from invoices where id = 11 returning id, note) insert into invoices (id, note) select id + 100, note from moved;
insert into invoices (id, note) values (10, 'x') on conflict (tenant_id, id) do update set note = excluded.note || '?' returning *;
merge into invoices i using (values (13, 'm'), (77, 'm')) s (id, note) on i.id = s.id
  when matched then update set note = s.note when not matched then insert (id, note) values (s.id, s.note);
\echo == copy
copy invoices (id, note) from stdin;
40	forty
41	\N
\.
copy invoices (id, note) from stdin with (format csv, header);
id,note
42,"a, b"
\.
copy (select id, note, tenant_id from invoices order by id) to stdout;
\set FETCH_COUNT 4
select id, note from invoices order by id;
