//! The questions to the catalog. Each is a SELECT whose columns are the fields of its struct in `catalog`.
//!
//! For `search_path = pg_catalog`. `role` is the shared role's oid, or 0 for PUBLIC alone.

use super::quote::literal;

/// Relations of the database's own.
const OURS: &str = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND n.nspname <> 'pgwarden'";

pub fn server(role: u32) -> String {
    format!(
        "SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_name,
                d.datname AS database, pg_get_userbyid(d.datdba) AS database_owner, current_user AS current_user,
                u.rolsuper AS is_superuser, u.rolsuper OR u.rolcreaterole AS creates_roles,
                pg_is_in_recovery() AS in_recovery,
                current_setting('max_prepared_transactions')::int8 AS prepared_max,
                current_setting('lo_compat_privileges')::bool AS lo_compat,
                pg_relation_size('pg_largeobject_metadata') AS large_objects,
                has_database_privilege({role}::oid, d.oid, 'TEMP') AS temp,
                has_database_privilege({role}::oid, d.oid, 'CREATE') AS create,
                has_database_privilege(0::oid, d.oid, 'TEMP') AS public_temp,
                has_database_privilege(0::oid, d.oid, 'CREATE') AS public_create
           FROM pg_database AS d, pg_roles AS u
          WHERE d.datname = current_database() AND u.rolname = current_user"
    )
}

pub fn role(name: &str, version: u32) -> String {
    let options = if version >= 160_000 { "m.inherit_option, m.set_option" } else { "NULL::bool, NULL::bool" };
    let (inherit, set) = options.split_once(", ").unwrap_or((options, options));
    format!(
        "SELECT r.oid::int8 AS oid, r.rolname AS name, r.rolsuper AS superuser, r.rolbypassrls AS bypass,
                r.rolcreaterole AS create_role, r.rolcreatedb AS create_database, r.rolreplication AS replication,
                r.rolinherit AS inherit, r.rolcanlogin AS login,
                coalesce((SELECT json_agg(json_build_object('role', pg_get_userbyid(m.roleid),
                                   'grantor', pg_get_userbyid(m.grantor), 'admin', m.admin_option,
                                   'inherit', {inherit}, 'set', {set}) ORDER BY m.roleid, m.grantor)
                            FROM pg_auth_members AS m WHERE m.member = r.oid), '[]') AS memberships,
                coalesce((SELECT json_agg(DISTINCT pg_get_userbyid(m.member))
                            FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.member
                           WHERE m.roleid = r.oid AND NOT g.rolsuper), '[]') AS members
           FROM pg_roles AS r WHERE r.rolname = {}",
        literal(name)
    )
}

pub fn relations(role: u32, version: u32) -> String {
    let maintain = if version >= 170_000 { ", 'MAINTAIN'" } else { "" };
    format!(
        "SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
                c.relispartition AS is_partition, pg_get_userbyid(c.relowner) AS owner,
                (SELECT o.rolsuper FROM pg_roles AS o WHERE o.oid = c.relowner) AS owner_is_superuser,
                pg_has_role(c.relowner, 'USAGE') AS mine,
                EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                           AND d.deptype = 'e') AS of_extension,
                c.relrowsecurity AS row_security, c.relforcerowsecurity AS forced,
                coalesce((SELECT option_value::bool FROM pg_options_to_table(c.reloptions)
                           WHERE option_name = 'security_invoker'), false) AS security_invoker,
                coalesce((SELECT json_agg(json_build_object('name', a.attname,
                           'type_name', format_type(a.atttypid, a.atttypmod),
                           'base_type', (WITH RECURSIVE t AS (
                                 SELECT y.oid, y.typtype, y.typbasetype FROM pg_type AS y WHERE y.oid = a.atttypid
                                 UNION ALL
                                 SELECT y.oid, y.typtype, y.typbasetype FROM t JOIN pg_type AS y
                                     ON y.oid = t.typbasetype WHERE t.typtype = 'd')
                               SELECT format_type(t.oid, NULL) FROM t WHERE t.typtype <> 'd'),
                           'not_null', a.attnotnull,
                           'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(f.adbin, f.adrelid) END,
                           'generated', a.attgenerated <> '', 'identity', a.attidentity <> '',
                           'deterministic', coalesce((SELECT l.collisdeterministic FROM pg_collation AS l
                                                       WHERE l.oid = a.attcollation), true)) ORDER BY a.attnum)
                            FROM pg_attribute AS a LEFT JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
                           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'S'),
                         '[]') AS columns,
                CASE WHEN c.relkind = 'S'
                     THEN ARRAY(SELECT p FROM unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS p
                                 WHERE has_sequence_privilege({role}::oid, c.oid, p))
                     ELSE ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE',
                                                           'REFERENCES', 'TRIGGER'{maintain}]) AS p
                                 WHERE has_table_privilege({role}::oid, c.oid, p)) END AS privileges,
                CASE WHEN c.relkind = 'S' THEN '{{}}'
                     ELSE ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS p
                                 WHERE has_any_column_privilege({role}::oid, c.oid, p)) END AS column_privileges,
                (SELECT coalesce(json_agg(g), '[]') FROM (
                    SELECT CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END AS grantee,
                           x.privilege_type AS privilege, NULL AS column, x.is_grantable AS grantable
                      FROM aclexplode(c.relacl) AS x WHERE x.grantee IN (0, {role})
                    UNION ALL
                    SELECT CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type, a.attname,
                           x.is_grantable
                      FROM pg_attribute AS a, aclexplode(a.attacl) AS x
                     WHERE a.attrelid = c.oid AND NOT a.attisdropped AND x.grantee IN (0, {role})) AS g) AS grants,
                ARRAY(SELECT DISTINCT a.attname::text FROM pg_index AS i
                        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                       WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL) AS index_heads,
                (SELECT d.refobjid::int8 FROM pg_depend AS d
                  WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') LIMIT 1)
                  AS of_relation,
                EXISTS (SELECT FROM pg_depend AS d
                         WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
                           AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i') AS of_identity,
                ARRAY(SELECT DISTINCT d.refobjid::int8 FROM pg_attrdef AS f
                        JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                         AND d.refclassid = 'pg_class'::regclass
                        JOIN pg_class AS s ON s.oid = d.refobjid AND s.relkind = 'S'
                       WHERE f.adrelid = c.oid) AS default_sequences
           FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {OURS}
          ORDER BY n.nspname, c.relname"
    )
}

pub fn policies(role: u32) -> String {
    format!(
        "SELECT p.polrelid::int8 AS relation, p.polname AS name, p.polpermissive AS permissive, p.polcmd AS command,
                ARRAY(SELECT pg_get_userbyid(r)::text FROM unnest(p.polroles) AS r WHERE r <> 0) AS roles,
                0 = ANY (p.polroles) OR {role} = ANY (p.polroles)
                  OR ({role} <> 0 AND EXISTS (SELECT FROM unnest(p.polroles) AS r
                                               WHERE r <> 0 AND pg_has_role({role}::oid, r, 'MEMBER'))) AS applies,
                pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS check
           FROM pg_policy AS p ORDER BY p.polrelid, p.polname"
    )
}

/// Keys of the database's own; those that a partition has from its parent are the parent's.
pub const FOREIGN_KEYS: &str = "
    SELECT k.conname AS name, k.conrelid::int8 AS relation, k.confrelid::int8 AS target,
           ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (n, i)
                   JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.i) AS columns,
           ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (n, i)
                   JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.i) AS target_columns,
           k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd') AS cascades
      FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conname";

pub const UNIQUES: &str = "
    SELECT i.indrelid::int8 AS relation, x.relname AS index,
           ARRAY(SELECT coalesce(a.attname::text, '') FROM generate_series(0, i.indnkeyatts - 1) AS u (k)
                   LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[u.k] ORDER BY u.k) AS columns
      FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = x.relnamespace
     WHERE (i.indisunique OR i.indisexclusion) AND NOT x.relispartition AND n.nspname !~ '^pg_' ORDER BY x.relname";

pub const VIEW_EDGES: &str = "
    SELECT DISTINCT r.ev_class::int8 AS view, d.refobjid::int8 AS relation
      FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
      JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
     WHERE c.relkind IN ('v', 'm') AND d.refobjid <> r.ev_class";

pub fn functions(role: u32) -> String {
    format!(
        "SELECT p.oid::regprocedure::text AS signature, n.nspname AS schema, p.proname AS name,
                pg_get_userbyid(p.proowner) AS owner, pg_has_role(p.proowner, 'USAGE') AS mine, p.prosecdef AS definer,
                has_function_privilege({role}::oid, p.oid, 'EXECUTE') AS executable,
                has_schema_privilege({role}::oid, n.oid, 'USAGE') AS nameable,
                EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                           AND d.deptype = 'e') AS of_extension,
                p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AS is_trigger,
                ARRAY(SELECT CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END::text
                        FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS x
                       WHERE x.grantee IN (0, {role}) AND x.grantee <> p.proowner) AS grantees,
                p.prokind = 'p' AS procedure
           FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
          WHERE {OURS} ORDER BY 1"
    )
}

pub fn schemas(role: u32) -> String {
    format!(
        "SELECT n.nspname AS name, pg_has_role(n.nspowner, 'USAGE') AS mine,
                has_schema_privilege({role}::oid, n.oid, 'USAGE') AS usage,
                has_schema_privilege({role}::oid, n.oid, 'CREATE') AS create,
                ARRAY(SELECT CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END::text
                        FROM aclexplode(n.nspacl) AS x
                       WHERE x.privilege_type = 'CREATE' AND x.grantee IN (0, {role})) AS creators
           FROM pg_namespace AS n
          WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_(toast|temp|catalog)' ORDER BY n.nspname"
    )
}

/// Families of built-ins by which sessions of one role see or disturb one another.
const FAMILIES: &str = "(VALUES
    ('large objects', '^(lo_.*|lowrite|loread)$'),
    ('advisory locks', '^pg_(try_)?advisory_.*$'),
    ('signals to other sessions', '^(pg_cancel_backend|pg_terminate_backend|pg_log_backend_memory_contexts)$'),
    ('activity of other sessions', '^(pg_stat_get_activity|pg_stat_get_backend_activity|pg_prepared_xact|pg_stat_statements.*)$'),
    ('notifications', '^pg_notify$'),
    ('snapshots and messages', '^(pg_export_snapshot|pg_logical_emit_message)$'),
    ('files of the server', '^(pg_read_file|pg_read_binary_file|pg_ls_.*|pg_stat_file|lo_import|lo_export|pg_file_.*)$'),
    ('connections elsewhere', '^dblink(_connect_u|_connect|_exec|_send_query|_open)?$')) AS f (family, pattern)";

pub fn shared(role: u32) -> String {
    format!(
        "SELECT f.family, 'FUNCTION ' || p.oid::regprocedure::text AS object,
                pg_get_userbyid(p.proowner) AS owner, pg_has_role(p.proowner, 'USAGE') AS mine,
                has_function_privilege(0::oid, p.oid, 'EXECUTE') AS to_public
           FROM {FAMILIES} JOIN pg_proc AS p ON p.proname ~ f.pattern
          WHERE has_function_privilege({role}::oid, p.oid, 'EXECUTE')
            AND (p.pronamespace = 'pg_catalog'::regnamespace OR EXISTS (
                 SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
         UNION ALL
         SELECT 'activity of other sessions', 'TABLE ' || c.oid::regclass::text,
                pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'USAGE'),
                has_table_privilege(0::oid, c.oid, 'SELECT')
           FROM pg_class AS c
          WHERE c.relkind IN ('v', 'r') AND has_table_privilege({role}::oid, c.oid, 'SELECT')
            AND c.relname IN ('pg_stat_activity', 'pg_prepared_xacts', 'pg_largeobject_metadata', 'pg_stat_statements')
          ORDER BY 1, 2"
    )
}

/// Not the role's own: every role may write some for what it makes itself, and this one makes nothing.
pub fn default_grants(role: u32) -> String {
    format!(
        "SELECT pg_get_userbyid(d.defaclrole) AS creator, n.nspname AS schema,
                CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                     WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END AS kind,
                CASE x.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(x.grantee) END AS grantee,
                array_agg(x.privilege_type::text ORDER BY x.privilege_type) AS privileges
           FROM pg_default_acl AS d LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace,
                LATERAL aclexplode(d.defaclacl) AS x
          WHERE x.grantee IN (0, {role}) AND d.defaclobjtype IN ('r', 'S', 'n') AND d.defaclrole <> {role}
          GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3"
    )
}

pub const RULES: &str = "
    SELECT c.oid::regclass::text AS name, r.rulename AS detail
      FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE r.rulename <> '_RETURN' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1, 2";

pub fn foreign_servers(role: u32) -> String {
    format!(
        "SELECT s.srvname AS name, w.fdwname AS detail FROM pg_foreign_server AS s
           JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
          WHERE has_server_privilege({role}::oid, s.oid, 'USAGE') ORDER BY 1"
    )
}

pub const PUBLICATIONS: &str = "SELECT p.pubname AS name, CASE WHEN p.puballtables THEN 'all tables' ELSE '' END AS detail FROM pg_publication AS p";

/// What the role owns; not its default privileges, see [`default_grants`].
pub fn owned(role: u32) -> String {
    format!(
        "SELECT d.classid::regclass::text AS name, coalesce(pg_describe_object(d.classid, d.objid, 0), '') AS detail
           FROM pg_shdepend AS d
          WHERE {role} <> 0 AND d.refclassid = 'pg_authid'::regclass AND d.refobjid = {role} AND d.deptype = 'o'
            AND d.classid <> 'pg_default_acl'::regclass
            AND d.dbid IN (0, (SELECT b.oid FROM pg_database AS b WHERE b.datname = current_database()))"
    )
}

pub fn parameters(role: u32) -> String {
    format!(
        "SELECT p.parname AS name, string_agg(DISTINCT x.privilege_type, ', ') AS detail
           FROM pg_parameter_acl AS p, LATERAL aclexplode(p.paracl) AS x
          WHERE x.grantee = 0 OR x.grantee = {role} GROUP BY 1 ORDER BY 1"
    )
}

pub fn role_settings(role: u32) -> String {
    format!(
        "SELECT split_part(c, '=', 1) AS name,
                CASE WHEN s.setrole = 0 THEN 'database' ELSE 'role' END AS detail
           FROM pg_db_role_setting AS s, LATERAL unnest(s.setconfig) AS c
          WHERE (s.setrole = {role} OR s.setrole = 0)
            AND s.setdatabase IN (0, (SELECT b.oid FROM pg_database AS b WHERE b.datname = current_database()))
          ORDER BY 1"
    )
}

/// What is built in is pinned, and has no entry.
pub const POLICY_FUNCTIONS: &str = "
    SELECT DISTINCT p.polrelid::int8 AS relation, p.polname AS policy, f.oid::regprocedure::text AS function,
           f.provolatile AS volatility
      FROM pg_policy AS p
      JOIN pg_depend AS d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
      JOIN pg_proc AS f ON f.oid = d.refobjid";

pub const SCHEMA_OWNER: &str = "SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace AS n WHERE n.nspname = 'pgwarden'";

pub const READS_EPOCHS: &str = "
    SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = 'pgwarden' AND c.relname = 'epochs'";

pub const EPOCHS: &str = "SELECT e.epoch, e.fingerprint FROM pgwarden.epochs AS e ORDER BY e.epoch";

pub fn sealed_functions(role: u32) -> String {
    format!(
        "SELECT p.proname AS name, pg_get_function_identity_arguments(p.oid) AS arguments,
                format_type(p.prorettype, NULL) AS returns, pg_get_userbyid(p.proowner) AS owner, l.lanname AS language,
                p.provolatile AS volatility, p.proparallel AS parallel, p.proisstrict AS strict, p.prosecdef AS definer,
                coalesce(p.proconfig, '{{}}') AS config, p.prosrc AS body,
                has_function_privilege({role}::oid, p.oid, 'EXECUTE') AS executable,
                has_function_privilege(0::oid, p.oid, 'EXECUTE') AS by_public
           FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
          WHERE n.nspname = 'pgwarden' ORDER BY 1, 2"
    )
}

pub fn sealed_relations(role: u32) -> String {
    format!(
        "SELECT c.relname AS name, c.relkind AS kind, pg_get_userbyid(c.relowner) AS owner, c.relpersistence = 'u' AS unlogged,
                CASE WHEN c.relkind = 'S'
                     THEN ARRAY(SELECT p FROM unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS p
                                 WHERE has_sequence_privilege({role}::oid, c.oid, p))
                     ELSE ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',
                                                           'TRIGGER']) AS p
                                 WHERE CASE WHEN p IN ('DELETE', 'TRUNCATE', 'TRIGGER') THEN has_table_privilege({role}::oid, c.oid, p)
                                            ELSE has_any_column_privilege({role}::oid, c.oid, p) END) END AS privileges,
                s.seqmin AS sequence_min
           FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
           LEFT JOIN pg_sequence AS s ON s.seqrelid = c.oid
          WHERE n.nspname = 'pgwarden' AND c.relkind IN ('r', 'S', 'v', 'm', 'p') ORDER BY 1"
    )
}
