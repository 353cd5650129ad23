//! The sealed context: which objects it is made of on the database's side. Tokens are `crate::seal`'s.
//!
//! A session's tenant is the `currval` of sequences that only the functions here may set. `currval` is state of one
//! session: no other session sees it, ROLLBACK does not bring it back, DISCARD removes it (and then `tenant()` raises an
//! error). `enter` wants a token, an HMAC over the tenant, a turn, the server process's id and a nonce of the session.
//!
//! A hot standby has no sequences to set. There a transaction's tenant is a local setting that anybody may set, and that
//! counts only with an inner HMAC over the tenant, the server process's id and `now()`, which is the transaction's beginning:
//! in another transaction or session it says nobody. `enter_transaction` writes it for a token over the tenant, the process
//! and a time of expiry; `tenant()` checks it each time. Which of the two counts is the server's own state (in recovery or
//! not), never what a session has set.
//!
//! Rules that the bodies hold, each against an attack:
//! - `enter` makes the session nobody's before anything else, and no function is STRICT: no NULL, no bad token and no error
//!   keeps the tenant before.
//! - A turn is used once and only upwards; the nonce is new with every `hello` and is gone with whatever makes the session
//!   forget its turn. So no token is good twice.
//! - What touches a key's pads is a simple expression of PL/pgSQL, which is never planned with its values: a client may have
//!   plans printed to itself (`debug_print_plan`).
//! - Comparisons are `IS NOT TRUE` (a NULL refuses) and blinded by another hash (timing tells nothing).
//! - Names are found in `pg_catalog` or are qualified, operators and types included: no search_path of a caller matters.
//!   `tenant()` has no SET clause, which would cost more than all the rest, so everything in it is qualified.
//! - No literal has a backslash: `standard_conforming_strings` is the caller's.
//! - `tenant()` is STABLE and PARALLEL RESTRICTED: not folded into a plan, not run in a worker that has no `currval`.

use sha2::{Digest, Sha256};

use crate::config::SealKey;
use crate::tenant::KeyType;

/// The schema of everything that is ours.
pub const SCHEMA: &str = "pgwarden";
/// The role that owns it, and that nobody logs in as.
pub const OWNER: &str = "pgwarden_owner";

/// A function of the sealed context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    /// As `pg_get_function_identity_arguments` prints them.
    pub arguments: &'static str,
    /// As `format_type` prints it.
    pub returns: &'static str,
    /// `v` or `s`, as `pg_proc.provolatile` has it.
    pub volatility: char,
    /// `u` or `r`, as `pg_proc.proparallel` has it.
    pub parallel: char,
    /// The function's own search_path; absent where every name is qualified.
    pub path: Option<&'static str>,
    pub body: String,
}

const PATH: Option<&str> = Some("search_path=pg_catalog, pg_temp");

impl Function {
    /// `CREATE OR REPLACE FUNCTION`.
    pub fn create(&self) -> String {
        let volatility = if self.volatility == 's' { "STABLE" } else { "VOLATILE" };
        let parallel = if self.parallel == 'r' { "RESTRICTED" } else { "UNSAFE" };
        let path = if self.path.is_some() { " SET search_path = pg_catalog, pg_temp" } else { "" };
        format!(
            "CREATE OR REPLACE FUNCTION {SCHEMA}.{}({}) RETURNS {} LANGUAGE plpgsql {volatility} PARALLEL {parallel} \
             CALLED ON NULL INPUT SECURITY DEFINER{path} AS $pgwarden${}$pgwarden$",
            self.name, self.arguments, self.returns, self.body
        )
    }

    /// The function as GRANT and DROP name it.
    pub fn signature(&self) -> String {
        let types: Vec<&str> = self.arguments.split(", ").filter_map(|argument| argument.split(' ').nth(1)).collect();
        format!("{SCHEMA}.{}({})", self.name, types.join(", "))
    }
}

/// The functions for tenants of this key type, in the order in which they are made.
pub fn functions(kind: KeyType) -> Vec<Function> {
    vec![hello(), leave(), tenant_of_transaction(), tenant(kind), enter(kind), enter_transaction()]
}

/// The sequences of this key type.
pub fn sequences(kind: KeyType) -> Vec<&'static str> {
    let mut names = vec!["s_nonce", "s_turn", "s_tenant"];
    if kind == KeyType::Uuid {
        names.extend(["s_high", "s_low"]);
    }
    names
}

/// `CREATE SEQUENCE`. Unlogged: no WAL, no transaction id. The two halves of a uuid may be any number.
pub fn create_sequence(name: &str) -> String {
    let min = if matches!(name, "s_high" | "s_low") { "-9223372036854775808" } else { "0" };
    format!("CREATE UNLOGGED SEQUENCE {SCHEMA}.{name} AS bigint MINVALUE {min} START 0")
}

/// Keys, secret: the pads of HMAC. Never granted.
pub const CREATE_KEYS: &str =
    "CREATE TABLE pgwarden.keys (epoch integer PRIMARY KEY, ipad bytea NOT NULL, opad bytea NOT NULL)";

/// Which keys there are, public: a fingerprint tells nothing of 32 random bytes.
pub const CREATE_EPOCHS: &str = "CREATE TABLE pgwarden.epochs (epoch integer PRIMARY KEY, fingerprint text NOT NULL)";

/// Text keys by a number that a sequence can hold.
pub const CREATE_NAMES: &str = "CREATE TABLE pgwarden.names (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                                key text COLLATE \"C\" NOT NULL UNIQUE)";

fn hello() -> Function {
    Function {
        name: "hello",
        arguments: "",
        returns: "bigint",
        volatility: 'v',
        parallel: 'u',
        path: PATH,
        body: "
DECLARE
  nonce bigint := (('x' || encode(substr(sha256(uuid_send(gen_random_uuid())), 1, 8), 'hex'))::bit(64)::bigint) & 9223372036854775807;
BEGIN
  PERFORM setval('pgwarden.s_tenant', 0);
  PERFORM setval('pgwarden.s_turn', 0);
  PERFORM setval('pgwarden.s_nonce', nonce);
  RETURN nonce;
END
"
        .to_owned(),
    }
}

fn leave() -> Function {
    Function {
        name: "leave",
        arguments: "",
        returns: "void",
        volatility: 'v',
        parallel: 'u',
        path: PATH,
        body: "
BEGIN
  PERFORM setval('pgwarden.s_tenant', 0);
END
"
        .to_owned(),
    }
}

fn enter(kind: KeyType) -> Function {
    let (declare, set) = match kind {
        KeyType::Int => ("  number integer;\n", ENTER_NUMBER),
        KeyType::Bigint => ("  number bigint;\n", ENTER_NUMBER),
        KeyType::Uuid => ("  halves text;\n", ENTER_UUID),
        KeyType::Text => ("  number bigint;\n", ENTER_TEXT),
    };
    let body = format!(
        "
DECLARE
  inner_pad bytea;
  outer_pad bytea;
  expected bytea;
  nonce bigint;
{declare}BEGIN
  PERFORM setval('pgwarden.s_tenant', 0);
  IF (epoch > 0 AND octet_length(tenant) BETWEEN 1 AND 255 AND turn > 0 AND octet_length(mac) = 32) IS NOT TRUE THEN
    RAISE EXCEPTION 'bad tenant token' USING ERRCODE = '28000';
  END IF;
  nonce := currval('pgwarden.s_nonce');
  SELECT k.ipad, k.opad INTO inner_pad, outer_pad FROM pgwarden.keys AS k WHERE k.epoch = enter.epoch;
  expected := sha256(outer_pad || sha256(inner_pad || convert_to(concat('pgw1|', epoch, '|', tenant, '|', turn, '|', pg_backend_pid(), '|', nonce), 'UTF8')));
  IF (sha256(outer_pad || expected) = sha256(outer_pad || mac)) IS NOT TRUE THEN
    RAISE EXCEPTION 'bad tenant token' USING ERRCODE = '28000';
  END IF;
  IF (turn > currval('pgwarden.s_turn')) IS NOT TRUE THEN
    RAISE EXCEPTION 'tenant token was used before' USING ERRCODE = '28000';
  END IF;
  PERFORM setval('pgwarden.s_turn', turn);
{set}  RETURN pgwarden.tenant()::text;
END
"
    );
    Function {
        name: "enter",
        arguments: "epoch integer, tenant text, turn bigint, mac bytea",
        returns: "text",
        volatility: 'v',
        parallel: 'u',
        path: PATH,
        body,
    }
}

const ENTER_NUMBER: &str = "  number := tenant;
  IF (number > 0 AND number < 9223372036854775807) IS NOT TRUE THEN
    RAISE EXCEPTION 'bad tenant key' USING ERRCODE = '28000';
  END IF;
  PERFORM setval('pgwarden.s_tenant', number);
";

/// The flag comes last, and is no number that a tenant of another key type could have.
const ENTER_UUID: &str = "  halves := encode(uuid_send(tenant::uuid), 'hex');
  PERFORM setval('pgwarden.s_high', ('x' || substr(halves, 1, 16))::bit(64)::bigint);
  PERFORM setval('pgwarden.s_low', ('x' || substr(halves, 17, 16))::bit(64)::bigint);
  PERFORM setval('pgwarden.s_tenant', 9223372036854775807);
";

const ENTER_TEXT: &str = "  SELECT n.id INTO number FROM pgwarden.names AS n WHERE n.key = tenant;
  IF number IS NULL THEN
    INSERT INTO pgwarden.names (key) VALUES (tenant) ON CONFLICT DO NOTHING;
    SELECT n.id INTO STRICT number FROM pgwarden.names AS n WHERE n.key = tenant;
  END IF;
  PERFORM setval('pgwarden.s_tenant', number);
";

fn enter_transaction() -> Function {
    let body = format!(
        "
DECLARE
  inner_pad bytea;
  outer_pad bytea;
  expected bytea;
  content text;
BEGIN
  PERFORM set_config('{SETTING}', '', true);
  IF (pg_is_in_recovery() AND epoch > 0 AND octet_length(tenant) BETWEEN 1 AND 255 AND octet_length(mac) = 32) IS NOT TRUE THEN
    RAISE EXCEPTION 'bad tenant token' USING ERRCODE = '28000';
  END IF;
  SELECT k.ipad, k.opad INTO inner_pad, outer_pad FROM pgwarden.keys AS k WHERE k.epoch = enter_transaction.epoch;
  expected := sha256(outer_pad || sha256(inner_pad || convert_to(concat('pgt1|', epoch, '|', tenant, '|', pg_backend_pid(), '|', expires), 'UTF8')));
  IF (sha256(outer_pad || expected) = sha256(outer_pad || mac)) IS NOT TRUE THEN
    RAISE EXCEPTION 'bad tenant token' USING ERRCODE = '28000';
  END IF;
  IF (expires > date_part('epoch', clock_timestamp())) IS NOT TRUE THEN
    RAISE EXCEPTION 'tenant token has expired' USING ERRCODE = '28000';
  END IF;
  content := concat(epoch, '|', tenant);
  expected := sha256(outer_pad || sha256(inner_pad || convert_to(concat('pgi1|', content, '|', pg_backend_pid(), '|'), 'UTF8') || timestamptz_send(now())));
  content := encode(expected, 'hex') || content;
  PERFORM set_config('{SETTING}', content, true);
  RETURN pgwarden.tenant()::text;
END
"
    );
    Function {
        name: "enter_transaction",
        arguments: "epoch integer, tenant text, expires bigint, mac bytea",
        returns: "text",
        volatility: 'v',
        parallel: 'u',
        path: PATH,
        body,
    }
}

/// What is read back of a transaction's setting: 64 digits of the inner HMAC, the key's epoch, a bar, the tenant.
fn tenant_of_transaction() -> Function {
    let body = format!(
        "
DECLARE
  sealed pg_catalog.text := pg_catalog.current_setting('{SETTING}', true);
  content pg_catalog.text := pg_catalog.substr(sealed, 65);
  inner_pad pg_catalog.bytea;
  outer_pad pg_catalog.bytea;
  expected pg_catalog.bytea;
BEGIN
  SELECT k.ipad, k.opad INTO inner_pad, outer_pad FROM pgwarden.keys AS k WHERE k.epoch::pg_catalog.text OPERATOR(pg_catalog.=) pg_catalog.split_part(content, '|', 1);
  expected := pg_catalog.sha256(outer_pad OPERATOR(pg_catalog.||) pg_catalog.sha256(inner_pad OPERATOR(pg_catalog.||) pg_catalog.convert_to(pg_catalog.concat('pgi1|', content, '|', pg_catalog.pg_backend_pid(), '|'), 'UTF8') OPERATOR(pg_catalog.||) pg_catalog.timestamptz_send(pg_catalog.now())));
  IF (pg_catalog.sha256(outer_pad OPERATOR(pg_catalog.||) pg_catalog.convert_to(pg_catalog.encode(expected, 'hex'), 'UTF8')) OPERATOR(pg_catalog.=) pg_catalog.sha256(outer_pad OPERATOR(pg_catalog.||) pg_catalog.convert_to(pg_catalog.substr(sealed, 1, 64), 'UTF8'))) IS TRUE THEN
    RETURN pg_catalog.substr(content, pg_catalog.strpos(content, '|') OPERATOR(pg_catalog.+) 1);
  END IF;
  RAISE EXCEPTION 'no tenant in this transaction' USING ERRCODE = '28000';
END
"
    );
    Function {
        name: "tenant_of_transaction",
        arguments: "",
        returns: "text",
        volatility: 's',
        parallel: 'r',
        path: None,
        body,
    }
}

/// Where a standby's session keeps its transaction's tenant. Anybody may set it: the HMAC in it is what counts.
const SETTING: &str = "pgwarden.sealed";

fn tenant(kind: KeyType) -> Function {
    let (returns, declare, sequence) = match kind {
        KeyType::Int => ("integer", "", TENANT_NUMBER),
        KeyType::Bigint => ("bigint", "", TENANT_NUMBER),
        KeyType::Uuid => ("uuid", "", TENANT_UUID),
        KeyType::Text => ("text", "  name pg_catalog.text;\n", TENANT_TEXT),
    };
    let body = format!(
        "
DECLARE
  number pg_catalog.int8 := CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE pg_catalog.currval('pgwarden.s_tenant'::pg_catalog.regclass) END;
{declare}BEGIN
{sequence}  IF pg_catalog.pg_is_in_recovery() THEN
    RETURN pgwarden.tenant_of_transaction();
  END IF;
  RAISE EXCEPTION 'no tenant in this session' USING ERRCODE = '28000';
END
"
    );
    Function { name: "tenant", arguments: "", returns, volatility: 's', parallel: 'r', path: None, body }
}

const TENANT_NUMBER: &str = "  IF number OPERATOR(pg_catalog.>) 0 THEN
    RETURN number;
  END IF;
";

const TENANT_UUID: &str = "  IF number OPERATOR(pg_catalog.=) 9223372036854775807 THEN
    RETURN pg_catalog.encode(pg_catalog.int8send(pg_catalog.currval('pgwarden.s_high'::pg_catalog.regclass)) OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.currval('pgwarden.s_low'::pg_catalog.regclass)), 'hex')::pg_catalog.uuid;
  END IF;
";

/// The number is a variable before the look-up: `currval` in the condition is volatile and would scan the table.
const TENANT_TEXT: &str = "  IF number OPERATOR(pg_catalog.>) 0 THEN
    SELECT n.key INTO name FROM pgwarden.names AS n WHERE n.id OPERATOR(pg_catalog.=) number;
    IF name IS NOT NULL THEN
      RETURN name;
    END IF;
  END IF;
";

/// Bytes of a key.
const KEY_LENGTH: usize = 32;
/// Bytes of a block of SHA-256, to which HMAC pads its key.
const BLOCK: usize = 64;

fn key_bytes(key: &SealKey) -> [u8; KEY_LENGTH] {
    let hex = key.hex.expose().as_bytes();
    let digit = |at: usize| hex.get(at).and_then(|&byte| char::from(byte).to_digit(16)).unwrap_or_default() as u8;
    std::array::from_fn(|at| digit(2 * at) << 4 | digit(2 * at + 1))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The two pads of a key, in hexadecimal.
pub fn pads(key: &SealKey) -> (String, String) {
    let bytes = key_bytes(key);
    let pad = |with: u8| {
        let block: [u8; BLOCK] = std::array::from_fn(|at| bytes.get(at).copied().unwrap_or_default() ^ with);
        hexadecimal(&block)
    };
    (pad(0x36), pad(0x5c))
}

/// What tells two keys apart and says nothing of either.
pub fn fingerprint(key: &SealKey) -> String {
    let mut hash = Sha256::new();
    hash.update(b"pgw1|fingerprint|");
    hash.update(key_bytes(key));
    hexadecimal(&hash.finalize())
}

/// The statement that shows a token; for a client of ours that has no Bind.
pub fn enter_statement(key: &SealKey, tenant: &str, turn: i64, mac: &[u8]) -> String {
    statement("enter", key, tenant, turn, mac)
}

/// The same on a standby.
pub fn enter_transaction_statement(key: &SealKey, tenant: &str, expires: i64, mac: &[u8]) -> String {
    statement("enter_transaction", key, tenant, expires, mac)
}

fn statement(function: &str, key: &SealKey, tenant: &str, number: i64, mac: &[u8]) -> String {
    let tenant = super::quote::literal(tenant);
    let mac = hexadecimal(mac);
    format!("SELECT {SCHEMA}.{function}({}, {tenant}, {number}, '\\x{mac}'::pg_catalog.bytea)", key.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::seal::{Sealer, Session};
    use crate::tenant::TenantKey;

    const KINDS: [KeyType; 4] = [KeyType::Int, KeyType::Bigint, KeyType::Uuid, KeyType::Text];

    #[test]
    fn pads_and_token_are_those_of_hmac() {
        let key = SealKey { epoch: 3, hex: Secret::new("0b".repeat(32)) };
        let (inner, outer) = pads(&key);
        assert_eq!((&inner[..6], &outer[..6]), ("3d3d3d", "575757"));
        assert_eq!((&inner[64..68], &outer[126..]), ("3636", "5c"));
        let unhex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let within = Sha256::digest([&unhex(&inner)[..], b"pgw1|3|7|1|42|99"].concat());
        let whole = Sha256::digest([&unhex(&outer)[..], &within[..]].concat());
        let session = Session { pid: 42, nonce: 99, turn: 1 };
        let tenant = TenantKey::parse(KeyType::Bigint, "7").unwrap();
        assert_eq!(Sealer::new(&key).unwrap().token(&tenant, session)[..], whole[..]);
    }

    #[test]
    fn bodies_have_no_backslash_and_no_name_that_a_caller_could_replace() {
        for kind in KINDS {
            for function in functions(kind) {
                assert!(!function.body.contains('\\') && !function.body.contains("$pgwarden$"), "{}", function.name);
                if function.path.is_none() {
                    for operator in [" > ", " = ", " || ", " < ", " + "] {
                        let code = function.body.replace("USING ERRCODE = ", "");
                        assert!(!code.contains(operator), "{operator} in {code}");
                    }
                }
            }
        }
    }

    #[test]
    fn signatures_are_those_of_grant() {
        let signatures: Vec<String> = functions(KeyType::Bigint).iter().map(Function::signature).collect();
        assert_eq!(
            signatures,
            [
                "pgwarden.hello()",
                "pgwarden.leave()",
                "pgwarden.tenant_of_transaction()",
                "pgwarden.tenant()",
                "pgwarden.enter(integer, text, bigint, bytea)",
                "pgwarden.enter_transaction(integer, text, bigint, bytea)"
            ]
        );
    }
}
