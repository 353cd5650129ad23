-- A database of careless making, with rows of the tenants 1 and 2 side by side; what is tenant 2's says SECRET-T2.
-- {own} owns the tables, {t1r} and {t2r} are the roles of the tenants that have a schema each.
-- With enable_seqscan off every statement would seem worth compiling.
ALTER DATABASE {db} SET jit = off;
CREATE SCHEMA a AUTHORIZATION {own}; CREATE SCHEMA b AUTHORIZATION {own}; CREATE SCHEMA bench AUTHORIZATION {own};
CREATE SCHEMA t1 AUTHORIZATION {own}; CREATE SCHEMA t2 AUTHORIZATION {own};
SET ROLE {own};
CREATE TABLE a.invoices(id int PRIMARY KEY, tenant_id int NOT NULL, email text UNIQUE, amount int);
CREATE TABLE b.invoices(id int PRIMARY KEY, tenant_id int NOT NULL, email text UNIQUE, amount int);
CREATE TABLE b.customers(id int PRIMARY KEY, tenant_id int NOT NULL, name text);
CREATE TABLE a.customers(id int PRIMARY KEY, tenant_id int NOT NULL, name text);
CREATE TABLE a.lines(id int PRIMARY KEY, tenant_id int NOT NULL, invoice_id int REFERENCES a.invoices(id) ON DELETE CASCADE, what text);
CREATE TABLE a.lines_r(id int PRIMARY KEY, tenant_id int NOT NULL, invoice_id int REFERENCES a.customers(id), what text);
CREATE TABLE t1.invoices(id int PRIMARY KEY, email text, amount int);
CREATE TABLE t2.invoices(id int PRIMARY KEY, email text, amount int);
CREATE SEQUENCE a.inv_seq; SELECT setval('a.inv_seq', 4711);
INSERT INTO a.invoices SELECT g, 1, 'own-t1-' || g, g FROM generate_series(1, 5) g
  UNION ALL SELECT g, 2, 'SECRET-T2-' || g, 777 FROM generate_series(101, 105) g;
INSERT INTO b.invoices TABLE a.invoices;
INSERT INTO b.customers VALUES (1, 1, 'own-c1'), (2, 2, 'SECRET-T2-cust'); INSERT INTO a.customers TABLE b.customers;
INSERT INTO t1.invoices SELECT id, email, amount FROM a.invoices WHERE tenant_id = 1;
INSERT INTO t2.invoices SELECT id, email, amount FROM a.invoices WHERE tenant_id = 2;
INSERT INTO a.lines VALUES (1, 2, 1, 'SECRET-T2-line-on-t1-invoice');
INSERT INTO a.lines_r VALUES (1, 2, 1, 'SECRET-T2-child');
CREATE TABLE a.parent(id int, tenant_id int, email text) PARTITION BY LIST (tenant_id);
CREATE TABLE a.parent_2 PARTITION OF a.parent FOR VALUES IN (2);
CREATE TABLE a.parent_1 PARTITION OF a.parent FOR VALUES IN (1);
INSERT INTO a.parent SELECT id, tenant_id, email FROM a.invoices;
CREATE TABLE a.family(id int, tenant_id int, email text);
CREATE TABLE a.child() INHERITS (a.family);
INSERT INTO a.child SELECT id, tenant_id, email FROM a.invoices;
CREATE TABLE a.all_invoices (LIKE a.invoices INCLUDING ALL); INSERT INTO a.all_invoices TABLE a.invoices;
CREATE VIEW a.v_def AS SELECT * FROM a.invoices;
CREATE VIEW a.v_inv WITH (security_invoker = true) AS SELECT * FROM a.invoices;
CREATE VIEW b.v_plain AS SELECT * FROM b.invoices;
CREATE VIEW b.v_bar WITH (security_barrier = true) AS SELECT * FROM b.invoices;
CREATE MATERIALIZED VIEW a.mv AS SELECT * FROM a.invoices;
CREATE TABLE a.newtable AS SELECT * FROM a.invoices;
CREATE TABLE a.imm AS TABLE a.invoices; CREATE TABLE a.perm AS TABLE a.invoices; CREATE TABLE a.nullopen AS TABLE a.invoices;
CREATE TABLE a.rr AS TABLE a.invoices;
CREATE FUNCTION a.secdef_sum() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT string_agg(email,$$,$$) FROM a.invoices';
CREATE FUNCTION a.badsd() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT upper('x'::text)$$;
CREATE TABLE bench.big(tenant_id int, id int, email text, created int, amount int, PRIMARY KEY (tenant_id, id));
INSERT INTO bench.big SELECT t, g, CASE t WHEN 2 THEN 'SECRET-T2-big-' ELSE 'own-big-' END || g, t * 10000 + g, g
  FROM generate_series(1, 2) t, generate_series(1, 4000) g;
CREATE INDEX ON bench.big (created);
RESET ROLE;
DO $$ DECLARE x text; BEGIN
  FOREACH x IN ARRAY ARRAY['xml2', 'pgrowlocks', 'dblink', 'tablefunc'] LOOP
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = x) THEN EXECUTE format('CREATE EXTENSION %I', x); END IF;
  END LOOP;
END $$;
-- Foreign keys that name the tenant: no statement's condition keeps a cascade from another's rows.
ALTER TABLE a.lines DROP CONSTRAINT lines_invoice_id_fkey;
ALTER TABLE a.lines_r DROP CONSTRAINT lines_r_invoice_id_fkey;
ALTER TABLE a.invoices ADD UNIQUE (tenant_id, id);
ALTER TABLE a.customers ADD UNIQUE (tenant_id, id);
UPDATE a.lines SET invoice_id = 101; UPDATE a.lines_r SET invoice_id = 2;
ALTER TABLE a.lines ADD FOREIGN KEY (tenant_id, invoice_id) REFERENCES a.invoices (tenant_id, id) ON DELETE CASCADE;
ALTER TABLE a.lines_r ADD FOREIGN KEY (tenant_id, invoice_id) REFERENCES a.customers (tenant_id, id);
SELECT lo_from_bytea(555001, 'SECRET-T2-large-object');
CREATE SCHEMA saved;
DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['a.invoices', 'b.invoices', 'a.customers', 'b.customers', 'a.lines', 'a.lines_r', 'a.parent_1',
    'a.family', 'a.child', 'a.all_invoices', 'a.newtable', 'a.imm', 'a.perm', 'a.nullopen', 'a.rr'] LOOP
    EXECUTE format('CREATE TABLE saved.%I AS SELECT * FROM ONLY %s WHERE tenant_id = 1', t, t);
  END LOOP;
END $$;
ANALYZE;
