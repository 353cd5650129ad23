-- pgbench's tables, shared by tenants. In a database of your own, as its owner:
--
--   psql -v first=1 -v last=10 -v scale=20 -v accounts=100000 -f bench/tenant-tables.sql shop
--
-- makes them where they are missing, and fills them for tenants 1 to 10 with 20 branches and 100,000 accounts each. Run it
-- again with other numbers for more tenants. Then `pgwarden protect --apply` makes them safe, and tenant.sql and
-- tenant-select.sql run on them.

CREATE TABLE IF NOT EXISTS pgbench_branches (
    tenant_id bigint NOT NULL, bid int, bbalance int, filler char(88), PRIMARY KEY (tenant_id, bid)
);
CREATE TABLE IF NOT EXISTS pgbench_tellers (
    tenant_id bigint NOT NULL, tid int, bid int, tbalance int, filler char(84), PRIMARY KEY (tenant_id, tid)
);
CREATE TABLE IF NOT EXISTS pgbench_accounts (
    tenant_id bigint NOT NULL, aid int, bid int, abalance int, filler char(84), PRIMARY KEY (tenant_id, aid)
);
CREATE TABLE IF NOT EXISTS pgbench_history (
    tenant_id bigint NOT NULL, tid int, bid int, aid int, delta int, mtime timestamp, filler char(22)
);
CREATE INDEX IF NOT EXISTS pgbench_history_tenant ON pgbench_history (tenant_id);

INSERT INTO pgbench_branches
SELECT tenant, branch, 0, '' FROM generate_series(:first, :last) tenant, generate_series(1, :scale) branch;
INSERT INTO pgbench_tellers
SELECT tenant, teller, (teller - 1) / 10 + 1, 0, ''
FROM generate_series(:first, :last) tenant, generate_series(1, :scale * 10) teller;
INSERT INTO pgbench_accounts
SELECT tenant, account, (account - 1) % :scale + 1, 0, ''
FROM generate_series(:first, :last) tenant, generate_series(1, :accounts) account;
