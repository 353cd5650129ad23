-- What an operator does before `pgwarden protect`: nothing but their own schema for the roles of tenants that have one.
REVOKE ALL ON DATABASE {db} FROM PUBLIC;
GRANT CONNECT ON DATABASE {db} TO {t1r}, {t2r};
GRANT USAGE ON SCHEMA t1 TO {t1r}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA t1 TO {t1r};
GRANT USAGE ON SCHEMA t2 TO {t2r}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA t2 TO {t2r};
GRANT CONNECT ON DATABASE {db} TO {rt};
