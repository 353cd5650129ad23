-- No wall in the database: grants to the shared role {rt} and to the tenants' roles on everything, a schema of its own, a way to another
-- tenant's role.
CREATE SCHEMA ten1 AUTHORIZATION {rt};
CREATE TABLE ten1.vt(tenant_id varchar, tenant varchar, email text);
INSERT INTO ten1.vt VALUES ('1', 'acme', 'own'), ('2', 'zeta', 'SECRET-T2-v');
GRANT ALL ON ten1.vt TO {rt};
GRANT {t1r}, {t2r} TO {rt}; GRANT {t2r} TO {t1r};
GRANT USAGE ON SCHEMA a, b, t1, t2, bench TO {rt}, {t1r}, {t2r};
GRANT ALL ON ALL TABLES IN SCHEMA a, b, t1, t2, bench TO {rt}, {t1r}, {t2r};
GRANT ALL ON ALL SEQUENCES IN SCHEMA a TO {rt}, {t1r};
GRANT SELECT, UPDATE ON LARGE OBJECT 555001 TO {rt}, {t1r};
GRANT CREATE, TEMP ON DATABASE {db} TO {rt}, {t1r};
