-- A SELECT whose shape is new each time: another name for its column, and not another literal.
\set aid random(1, :accounts)
\set name random(1, 2000000000)
SELECT abalance a:name FROM pgbench_accounts WHERE aid = :aid;
