-- pgbench's TPC-B-like transaction for a tenant, on the shared tables of tenant-tables.sql. No statement names the tenant:
--
--   pgbench -n -f bench/tenant.sql -s 20 -D accounts=100000 -c 16 -T 10 'postgresql://acme_app@127.0.0.1:6432/shop'
\set aid random(1, :accounts)
\set bid random(1, 1 * :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
