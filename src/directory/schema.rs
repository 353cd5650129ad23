//! The directory's tables as SQL: what makes them, and what reads them.
//!
//! The tables belong to the owner of the schema `pgwarden`. The directory's role may read them, and nothing else; no one
//! else may do anything. A change moves a sequence and notifies at its commit, once a statement.

use std::fmt::Write as _;

use crate::config::{Database, Isolation};
use crate::tenant::KeyType;

/// Where changes are told.
pub const CHANNEL: &str = "pgwarden_directory";

/// One snapshot for both tables.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub(super) const READ_REVISION: &str = "SELECT last_value FROM pgwarden.directory_revision";

pub(super) const READ_TENANTS: &str = "SELECT row_to_json(t)::text FROM (SELECT name, key, schema, server_database, \
                                       server_user, enabled, limits FROM pgwarden.tenants) AS t";

/// A moment before 1970 is past like any other; infinity is no limit.
pub(super) const READ_USERS: &str = "SELECT row_to_json(u)::text FROM (SELECT name, tenant, tenants, all_tenants, role, \
    verifier, enabled, CASE WHEN isfinite(valid_until) THEN greatest(floor(extract(epoch FROM valid_until)), 0)::bigint \
    WHEN valid_until < 'now' THEN 0 END AS valid_until FROM pgwarden.users) AS u";

/// The owner of the schema `pgwarden`, as which nobody logs in.
const OWNER: &str = "pgwarden_owner";

/// A script that makes the directory of a database, or brings it up to date, in one transaction; it can be run again. Who
/// runs it is a superuser, or may create roles and schemas. The schema is the one that `protect` uses: either may come first.
///
/// Absent: the database has no directory in its configuration.
pub fn script(database: &Database) -> Option<String> {
    let tenancy = database.tenancy.as_ref()?;
    let reader = &tenancy.directory.as_ref()?.user;
    let form = match &tenancy.isolation {
        Isolation::Row(row) => {
            let form = key_form(row.key_type);
            format!(
                "ADD CONSTRAINT tenants_place CHECK (key IS NOT NULL AND {form} AND num_nonnulls(schema, server_database, server_user) = 0)"
            )
        }
        Isolation::Schema => "ADD CONSTRAINT tenants_place CHECK (num_nonnulls(key, server_database) = 0 \
                              AND schema !~ '^pg_' AND schema NOT IN ('pgwarden', 'information_schema'))"
            .to_owned(),
        Isolation::Database => "ADD CONSTRAINT tenants_place CHECK (num_nonnulls(key, schema) = 0)".to_owned(),
    };
    let mut out =
        String::from("BEGIN;\nSET LOCAL search_path = pg_catalog;\nSET LOCAL client_min_messages = warning;\n");
    for (role, options) in [
        (OWNER, "NOLOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION"),
        (&**reader, "LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION"),
    ] {
        let missing = format!("NOT {}", exists(role));
        out.push_str(&only_if(&missing, &format!("CREATE ROLE {} {options}", ident(role))));
    }
    out.push_str(&only_if(NO_SUPERUSER, &format!("GRANT {OWNER} TO CURRENT_USER")));
    let reader = ident(reader);
    let _ = write!(
        out,
        "CREATE SCHEMA IF NOT EXISTS pgwarden AUTHORIZATION {OWNER};\nALTER SCHEMA pgwarden OWNER TO {OWNER};\n\
         SET LOCAL ROLE {OWNER};\n{}\n\
         ALTER TABLE pgwarden.tenants DROP CONSTRAINT IF EXISTS tenants_place, {form};\n{}\n\
         REVOKE ALL ON pgwarden.tenants, pgwarden.users FROM PUBLIC, {reader};\n\
         REVOKE ALL ON SEQUENCE pgwarden.directory_revision FROM PUBLIC, {reader};\n\
         REVOKE ALL ON FUNCTION pgwarden.directory_changed() FROM PUBLIC;\n\
         GRANT USAGE ON SCHEMA pgwarden TO {reader};\n\
         GRANT SELECT ON pgwarden.tenants, pgwarden.users TO {reader};\n\
         GRANT SELECT ON SEQUENCE pgwarden.directory_revision TO {reader};\n",
        TABLES.trim(),
        TRIGGERS.trim()
    );
    if let Isolation::Row(row) = &tenancy.isolation {
        let shared = &row.login.user;
        let objects = "pgwarden.tenants, pgwarden.users, pgwarden.directory_revision";
        out.push_str(&only_if(&exists(shared), &format!("REVOKE ALL ON {objects} FROM {}", ident(shared))));
    }
    out.push_str("RESET ROLE;\n");
    out.push_str(&only_if(NO_SUPERUSER, &format!("REVOKE {OWNER} FROM CURRENT_USER")));
    out.push_str("COMMIT;\n");
    Some(out)
}

/// What is the owner's is made as the owner: a superuser may, others join that role for as long.
const NO_SUPERUSER: &str = "NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)";

fn exists(role: &str) -> String {
    format!("EXISTS (SELECT FROM pg_roles WHERE rolname = {})", literal(role))
}

fn only_if(condition: &str, statement: &str) -> String {
    format!("DO $pgwarden$ BEGIN IF {condition} THEN {statement}; END IF; END $pgwarden$;\n")
}

const TABLES: &str = r#"
CREATE TABLE IF NOT EXISTS pgwarden.tenants (
  name text COLLATE "C" PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 63 AND name !~ '[[:cntrl:]@]'),
  key text COLLATE "C" UNIQUE,
  schema text COLLATE "C" UNIQUE CHECK (octet_length(schema) BETWEEN 1 AND 63),
  server_database text COLLATE "C" UNIQUE CHECK (octet_length(server_database) BETWEEN 1 AND 63),
  server_user text COLLATE "C" UNIQUE CHECK (octet_length(server_user) BETWEEN 1 AND 63),
  enabled boolean NOT NULL DEFAULT true,
  limits jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(limits) = 'object')
);
CREATE TABLE IF NOT EXISTS pgwarden.users (
  name text COLLATE "C" PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 63 AND name !~ '[[:cntrl:]@]'),
  tenant text COLLATE "C" REFERENCES pgwarden.tenants ON UPDATE CASCADE ON DELETE CASCADE,
  tenants text[] CHECK (array_position(tenants, NULL) IS NULL),
  all_tenants boolean NOT NULL DEFAULT false,
  role text,
  verifier text NOT NULL CHECK (verifier ~
    '^SCRAM-SHA-256[$][1-9][0-9]{0,9}:[A-Za-z0-9+/]{4,}={0,2}[$][A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$'),
  enabled boolean NOT NULL DEFAULT true,
  valid_until timestamptz,
  CONSTRAINT users_tenants CHECK (num_nonnulls(tenant, tenants) + all_tenants::int = 1)
);
CREATE INDEX IF NOT EXISTS users_tenant ON pgwarden.users (tenant);
CREATE SEQUENCE IF NOT EXISTS pgwarden.directory_revision;
"#;

const TRIGGERS: &str = r#"
CREATE OR REPLACE FUNCTION pgwarden.directory_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $pgwarden$
BEGIN
  PERFORM nextval('pgwarden.directory_revision');
  PERFORM pg_notify('pgwarden_directory', '');
  RETURN NULL;
END
$pgwarden$;
CREATE OR REPLACE TRIGGER pgwarden_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgwarden.tenants
  FOR EACH STATEMENT EXECUTE FUNCTION pgwarden.directory_changed();
CREATE OR REPLACE TRIGGER pgwarden_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgwarden.users
  FOR EACH STATEMENT EXECUTE FUNCTION pgwarden.directory_changed();
ALTER TABLE pgwarden.tenants ENABLE ALWAYS TRIGGER pgwarden_changed;
ALTER TABLE pgwarden.users ENABLE ALWAYS TRIGGER pgwarden_changed;
"#;

/// Keys as PostgreSQL prints them: no two texts for one key.
fn key_form(kind: KeyType) -> &'static str {
    match kind {
        KeyType::Int => "key ~ '^[1-9][0-9]{0,9}$' AND key::numeric <= 2147483647",
        KeyType::Bigint => "key ~ '^[1-9][0-9]{0,18}$' AND key::numeric < 9223372036854775807",
        KeyType::Uuid => "key ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'",
        KeyType::Text => "octet_length(key) BETWEEN 1 AND 255 AND key !~ '[[:cntrl:]]'",
    }
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
