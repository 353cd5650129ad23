#!/usr/bin/env bash
# pgbench: its own tables, its three protocols, pipelines, retries. Prints counts and sums, which do not depend on speed.
set -uo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

counts() { grep -E '^(pgbench: error|transaction type|query mode|number of (clients|transactions actually|failed|transactions above|transactions retried))|FATAL|ERROR'; }
books() {
  psql -XAt -c "select (select sum(abalance) from pgbench_accounts) = sum(delta), (select sum(bbalance) from pgbench_branches) = sum(delta),
    (select sum(tbalance) from pgbench_tellers) = sum(delta), count(*) from pgbench_history"
}

echo "== initialise"
for steps in dtgvp dtGvpf; do
  pgbench -i -s 1 -I $steps --quiet 2>&1 | grep -E 'creating|generating|vacuuming|primary|foreign|error|ERROR' | sed -E 's/ \(.*//; s/in [0-9.]+ s.*//'
  psql -XAt -c "select count(*), sum(aid) from pgbench_accounts" -c "select count(*) from pg_constraint where conrelid::regclass::text like 'pgbench%'"
done
pgbench -i -s 1 --partitions=3 --quiet >/dev/null 2>&1
psql -XAt -c "select count(*) from pg_inherits" -c "select count(*) from pgbench_accounts"
pgbench -i -s 1 -I dtGp --quiet >/dev/null 2>&1

for mode in simple extended prepared; do
  echo "== $mode"
  # pgbench waits for the answer to its Parse with the whole thread. Clients that wait for one of the pool's 4 backends there,
  # while those that hold them are the same thread's, would wait for good.
  if [ $mode = prepared ]; then clients=4; else clients=6; fi
  pgbench -n -M $mode -S -c 6 -j 2 -t 150 2>&1 | counts
  pgbench -n -M $mode -c $clients -j 2 -t 40 2>&1 | counts
  books
  pgbench -n -M $mode -C -S -c 2 -t 10 2>&1 | counts
done

echo "== pipeline"
cat >pipeline.sql <<'END'
\set aid random(1, 100000)
\startpipeline
begin;
update pgbench_accounts set abalance = abalance + 1 where aid = :aid;
select abalance from pgbench_accounts where aid = :aid;
update pgbench_branches set bbalance = bbalance + 1 where bid = 1;
update pgbench_tellers set tbalance = tbalance + 1 where tid = 1;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, :aid, 1, current_timestamp);
end;
\endpipeline
END
for mode in extended prepared; do
  pgbench -n -M $mode -f pipeline.sql -c 6 -j 2 -t 40 2>&1 | counts
  books
done
cat >autocommit.sql <<'END'
\startpipeline
select 1;
select 2;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, 1, 0, current_timestamp);
select 3;
\endpipeline
END
pgbench -n -M extended -f autocommit.sql -c 4 -t 30 2>&1 | counts

echo "== gset, conditions, sleep"
cat >gset.sql <<'END'
select 5 as five, 'x' as letter \gset
\if :five > 3
select :five + 1 as six \; select 7 as seven \aset
\endif
select :seven;
\sleep 1 ms
END
pgbench -n -f gset.sql -c 3 -t 20 2>&1 | counts

echo "== serialisation failures are retried"
cat >serial.sql <<'END'
begin isolation level repeatable read;
update pgbench_branches set bbalance = bbalance where bid = 1;
commit;
END
pgbench -n -M prepared -f serial.sql -c 4 -j 2 -t 25 --max-tries=1000 2>&1 | counts | grep -v retried

echo "== an error ends a client"
echo "select 1/0;" >error.sql
pgbench -n -f error.sql -c 1 -t 5 2>&1 | counts
exit 0
