\set VERBOSITY verbose
\pset null '(null)'
\echo == schema
create schema shop;
create type shop.mood as enum ('sad', 'ok', 'happy');
create domain shop.positive as int check (value > 0);
create type shop.pair as (a int, b text);
create table shop.customer (
  id bigint generated always as identity primary key,
  name text not null unique,
  mood shop.mood default 'ok',
  tags text[] default '{}',
  extra jsonb,
  credit numeric(12, 2) check (credit >= 0),
  since timestamptz default '2024-01-01 00:00:00+00'
);
comment on table shop.customer is 'Those who buy';
create table shop.invoice (
  id int primary key, customer bigint references shop.customer on delete cascade, total numeric, due date
) with (fillfactor = 80);
create index on shop.invoice (customer, due desc) where total > 0;
create table shop.event (at date not null, what text) partition by range (at);
create table shop.event_2024 partition of shop.event for values from ('2024-01-01') to ('2025-01-01');
create view shop.debtor as select c.name, sum(i.total) as owes from shop.customer c join shop.invoice i on i.customer = c.id group by c.name;
create materialized view shop.totals as select count(*) as n from shop.invoice;
create sequence shop.number start 100 increment 10;
\if :all
create function shop.twice(n int) returns int language sql immutable as 'select n * 2';
create function shop.touch() returns trigger language plpgsql as $$ begin new.since = '2024-02-02 00:00:00+00'; return new; end $$;
create trigger touch before update on shop.customer for each row execute function shop.touch();
\endif
alter table shop.invoice enable row level security;
create policy everything on shop.invoice using (true);
grant select on shop.customer to public;
create statistics shop.stats on name, mood from shop.customer;

\echo == describe
\d
\d shop.*
\d+ shop.customer
\d+ shop.invoice
\d+ shop.event
\d shop.event_2024
\d+ shop.debtor
\d shop.number
\dt shop.*
\dt+ shop.event
\di shop.*
\dv shop.*
\dm shop.*
\ds shop.*
\df shop.*
\df+ shop.twice
\dT shop.*
\dT+ shop.mood
\dD shop.*
\dn
\dn+ shop
\dp shop.*
\ddp
\dx
\dX shop.*
\dP shop.*
\dc pg_catalog.utf8_to_iso*
\dC int4
\do pg_catalog.||
\da pg_catalog.max
\dO pg_catalog.C
\dL plpgsql
\dy
\dF pg_catalog.simple
\dFd pg_catalog.simple
\dd shop.*
\if :all
\db pg_default
\drds no_such_role
\endif
\dconfig work_mem
\sf shop.twice
\sv shop.debtor
\z shop.customer
\d no_such_table

\echo == data
insert into shop.customer (name, mood, tags, extra, credit) values
  ('Ada', 'happy', '{a,"b c",null}', '{"k": [1, 2.5, null]}', 10.50),
  ('Bob', 'sad', '{}', null, 0), ('Zoë ☃', default, default, '"text"', null)
  returning id, name, mood, tags, extra, credit, since;
insert into shop.invoice select n, 1 + n % 3, n * 1.25, date '2024-01-01' + n from generate_series(1, 20) n;
update shop.customer set credit = credit + 1 where name = 'Ada' returning *;
select * from shop.debtor order by 1;
refresh materialized view shop.totals;
table shop.totals;
\x
select * from shop.customer order by id limit 1;
\x
\pset format csv
select * from shop.customer order by id;
\pset format aligned

\echo == gdesc, gset, gexec, crosstab, g
select id, name, credit, extra->'k' as k, now()::date as today, null as nothing from shop.customer \gdesc
select 1 as one, 'two' as two \gset
\echo :one :'two'
select format('select %s as value', n) from generate_series(1, 3) n \gexec
select c.name, to_char(i.due, 'MM') as month, sum(i.total) from shop.customer c join shop.invoice i on i.customer = c.id group by 1, 2 order by 1, 2 \crosstabview
select 'to a command' \g | cat
select 'one line' \gx

\echo == multi-statement
select 1 as a\; select 2 as b\; insert into shop.event values ('2024-03-04', 'multi')\; select count(*) from shop.event;
select 1 as before\; select 1/0\; select 2 as never;
begin\; insert into shop.event values ('2024-03-05', 'gone')\; rollback;
select count(*) from shop.event;
;
-- only a comment
/* another */;

\echo == errors
select 1/0;
select no_such_column from shop.customer;
select * from no_such_table;
insert into shop.customer (name) values ('Ada');
insert into shop.invoice values (1, 99, 1, null);
insert into shop.event values ('1999-01-01', 'nowhere');
insert into shop.customer (name, credit) values ('Neg', -1);
select 'x'::int;
selec 1;
\errverbose
\echo :SQLSTATE :LAST_ERROR_SQLSTATE :ROW_COUNT
do $$ begin raise exception using message = 'mine', detail = 'd', hint = 'h', errcode = 'P0042'; end $$;
do $$ begin raise notice 'note %', 1; raise warning 'warning'; raise info 'info'; raise debug 'hidden'; end $$;

\echo == transactions
begin;
insert into shop.event values ('2024-04-01', 'kept');
savepoint s;
select 1/0;
select 'refused while aborted';
rollback to s;
insert into shop.event values ('2024-04-02', 'kept too');
release s;
commit;
begin isolation level serializable read only deferrable;
show transaction_isolation;
insert into shop.event values ('2024-04-03', 'never');
rollback;
start transaction;
set local work_mem = '9MB';
show work_mem;
commit and chain;
show work_mem;
rollback;
\set AUTOCOMMIT off
insert into shop.event values ('2024-05-01', 'open');
rollback;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
begin;
insert into shop.event values ('2024-05-02', 'survives');
select 1/0;
commit;
\set ON_ERROR_ROLLBACK off
select * from shop.event order by at, what;
commit;

\echo == settings
set work_mem = '11MB';
show work_mem;
set search_path = shop, public;
select count(*) from customer;
set timezone = 'America/New_York';
select timestamptz '2024-07-01 12:00:00+00';
set datestyle = 'SQL, DMY';
select date '2024-07-01';
set intervalstyle = 'iso_8601';
select interval '1 day 2 hours';
begin;
set work_mem = '12MB';
savepoint s;
set work_mem = '13MB';
rollback to s;
show work_mem;
rollback;
show work_mem;
\if :all
select set_config('app.user', 'ada', false);
\endif
select current_setting('app.user');
set app.user = 'bob';
show app.user;
reset work_mem;
show work_mem;
set session characteristics as transaction read only;
insert into event values ('2024-08-01', 'never');
reset default_transaction_read_only;
set statement_timeout = '100ms';
select pg_sleep(10);
reset statement_timeout;
set lock_timeout = '1s';
set bytea_output = 'escape';
select '\x00ff41'::bytea;
reset all;
show search_path;
set search_path = shop, public;
\if :all
set no_such_setting = 1;
\endif
set work_mem = 'nonsense';
\if :all
set role no_such_role;
\endif
show server_version;
show is_superuser;
select current_user = session_user;

\echo == prepared
prepare by_name (text) as select id, name from shop.customer where name = $1;
execute by_name('Ada');
execute by_name('nobody');
prepare by_name as select 1;
\if :all
select name, parameter_types from pg_prepared_statements where from_sql order by name;
\endif
explain (costs off) execute by_name('Bob');
deallocate by_name;
execute by_name('Ada');
prepare one as select 1;
prepare two as select 2;
deallocate all;
\if :all
select count(*) from pg_prepared_statements where from_sql;
\endif

\echo == cursors
begin;
declare c scroll cursor for select n from generate_series(1, 10) n;
fetch 3 from c;
fetch backward 2 from c;
move last in c;
fetch prior from c;
close c;
commit;
declare h cursor with hold for select n from generate_series(1, 5) n;
fetch 2 from h;
select 'between';
fetch all from h;
close h;
fetch 1 from h;
\set FETCH_COUNT 7
select n, n * n as square from generate_series(1, 20) n;
select n, 10 / (18 - n) as fails_late from generate_series(1, 20) n;
\set FETCH_COUNT 0

\echo == copy
\copy shop.invoice to 'invoice.csv' with (format csv, header)
create table invoice_copy (like shop.invoice);
\copy invoice_copy from 'invoice.csv' with (format csv, header)
select count(*), sum(total) from invoice_copy;
copy invoice_copy (id, total) from stdin;
101	1.5
102	\N
\.
copy (select id, total from invoice_copy where id > 100 order by id) to stdout;
copy invoice_copy from stdin with (format csv);
103,1,not a number,
\.
copy invoice_copy (id) from stdin;
\.
\copy (select id from invoice_copy order by id limit 2) to stdout
\copy invoice_copy from 'no_such_file'
copy no_such_table from stdin;
copy no_such_table to stdout;
\copy shop.customer to 'customer.bin' with (format binary)
create table customer_copy (like shop.customer);
\copy customer_copy from 'customer.bin' with (format binary)
select name, tags, extra, credit from customer_copy order by id;
select 1 as still_here;

\echo == session state
create temp table scratch (n int) on commit preserve rows;
insert into scratch values (1), (2);
select sum(n) from scratch;
begin;
create temp table brief (n int) on commit drop;
insert into brief values (1);
commit;
select count(*) from brief;
select nextval('shop.number'), currval('shop.number'), lastval();
select currval('shop.number');
select pg_try_advisory_lock(4242);
select pg_advisory_unlock(4242);
select pg_advisory_unlock(4242);
listen news;
notify news, 'hello';
select 'after notify';
unlisten news;
notify news, 'nobody listens';
discard temp;
select count(*) from scratch;
discard all;
show search_path;
select currval('shop.number');

\echo == watch
create table w (n int);
insert into w values (0);
update w set n = n + 1 returning n, 10 / (3 - n) as left \watch 0.05
select n from w;

\echo == variables and conditions
\set name 'Ada'
select id from shop.customer where name = :'name';
\set bad 'O''Reilly'
select :'bad' as quoted, :"name" from (select 1 as "Ada") x;
\if :{?name}
\echo defined
\else
\echo undefined
\endif
\echo :ENCODING :SERVER_VERSION_NUM
\encoding

\echo == utility
explain (costs off) select * from shop.invoice where customer = 1;
explain (analyze, costs off, timing off, summary off) select count(*) from shop.invoice;
vacuum shop.customer;
analyze shop.customer;
reindex table shop.customer;
cluster shop.customer using customer_pkey;
truncate w;
lock table w;
begin;
lock table w in share mode;
\if :all
select mode from pg_locks where relation = 'w'::regclass order by mode;
\endif
commit;
\if :all
create database no_rights;
alter system set work_mem = '1MB';
checkpoint;
load 'no_such_library';
call no_such_procedure();
create procedure bump() language plpgsql as $$ begin insert into w values (7); commit; insert into w values (8); end $$;
call bump();
\endif
select * from w;
values (1, 'a'), (2, 'b');
merge into w using (values (7), (9)) as s(n) on w.n = s.n when matched then delete when not matched then insert values (s.n);
select * from w order by n;
with moved as (delete from w returning n) select sum(n) from moved;

\echo == large objects
select lo_create(424242);
\lo_unlink 424242
do $$ begin perform lo_unlink(oid) from pg_largeobject_metadata; end $$;

\echo == reconnect
\c
select 1 as again;
drop schema shop cascade;
