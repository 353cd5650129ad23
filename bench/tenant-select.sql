-- pgbench -S for a tenant, on the shared tables of tenant-tables.sql:
--
--   pgbench -n -f bench/tenant-select.sql -D accounts=100000 -c 16 -T 10 'postgresql://acme_app@127.0.0.1:6432/shop'
\set aid random(1, :accounts)
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
