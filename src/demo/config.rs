//! The proxy's configuration for the tour: a database whose tenants share tables, and one without tenants.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::stage::{Accounts, BILLING_DATABASE, BILLING_ROLE, CONSOLE, POOL, SANDBOX, SANDBOX_ROLE};
use crate::chain::SigningKey;
use crate::scram::Verifier;

/// PostgreSQL's own count.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("it is not zero");
/// Name of the file of keys, beside the configuration.
pub const KEYS: &str = "seal.keys";

/// The audit log's directory and key, beside the configuration.
pub const AUDIT: &str = "audit";
pub const AUDIT_KEY: &str = "audit.key";

/// The configuration file. `port` 0: any free one. `role_password`: of both roles on the server.
pub fn config(port: u16, server: SocketAddr, accounts: &Accounts, role_password: &str) -> String {
    let Accounts { harbor, lumen, support, north, south, operator } = accounts;
    let mut text = format!(
        r#"[server]
listen = ["127.0.0.1:{port}"]
workers = 1

[admin]
database = "{CONSOLE}"
admins = ["{ops}"]
http = "127.0.0.1:0"

[log]
level = "info"
format = "json"

[pool]
mode = "transaction"
size = {POOL}

[audit]
directory = "{AUDIT}"
key_file = "{AUDIT_KEY}"

[shards.main]
primary = {{ host = "{host}", port = {server_port}, tls = "disable" }}

[databases.{BILLING_DATABASE}]
shard = "main"

[databases.{BILLING_DATABASE}.tenancy]
server_user = "{BILLING_ROLE}"
server_password = "{role_password}"
keys_file = "{KEYS}"
rewrite = "tables"
rewrite_tables = ["usage_events"]

[databases.{SANDBOX}]
shard = "main"

[users.{ops}]
verifier = "{ops_verifier}"
databases = ["{CONSOLE}"]
"#,
        ops = operator.name,
        ops_verifier = verifier(&operator.password),
        host = server.ip(),
        server_port = server.port(),
    );
    for (key, account) in [(1, harbor), (2, lumen)] {
        let (name, verifier) = (&account.name, verifier(&account.password));
        let _ = write!(
            text,
            "\n[tenants.{name}]\nkey = \"{key}\"\nenabled = true\n\
             \n[users.{name}]\ntenant = \"{name}\"\nrole = \"writer\"\nverifier = \"{verifier}\"\n"
        );
    }
    let (name, operators) = (&support.name, verifier(&support.password));
    let _ = write!(text, "\n[users.{name}]\nall_tenants = true\nrole = \"operator\"\nverifier = \"{operators}\"\n");
    for account in [north, south] {
        let (name, verifier) = (&account.name, verifier(&account.password));
        let _ = write!(
            text,
            "\n[users.{name}]\nverifier = \"{verifier}\"\ndatabases = [\"{SANDBOX}\"]\n\
             server_user = \"{SANDBOX_ROLE}\"\nserver_password = \"{role_password}\"\n"
        );
    }
    text
}

/// A file of one new key, which nobody keeps.
pub fn keys() -> String {
    let bytes: [u8; 32] = rand::random();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("1:{hex}\n")
}

/// A new key for the audit's checkpoints.
pub fn audit_key() -> String {
    let key = SigningKey::from_seed("pgwarden.demo/audit", rand::random()).expect("the name is one");
    key.to_text().expose().to_owned()
}

/// What the proxy checks a password against: not the password itself.
fn verifier(password: &str) -> Verifier {
    Verifier::derive(password, &rand::random::<[u8; 16]>(), ITERATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TenantsOf;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_proxys_configuration_is_valid_and_warns_of_nothing() {
        let mut count = 0;
        let accounts = Accounts::new(|| {
            count += 1;
            format!("client password {count}")
        });
        let text = config(0, "127.0.0.1:5432".parse().expect("an address"), &accounts, "secret");
        let dir = tempfile::tempdir().expect("make a directory");
        let (file, keys_file) = (dir.path().join("pgwarden.toml"), dir.path().join(KEYS));
        let key_file = dir.path().join(AUDIT_KEY);
        std::fs::write(&key_file, audit_key()).expect("write a key");
        std::fs::write(&file, &text).expect("write it");
        std::fs::write(&keys_file, keys()).expect("write a key");
        for file in [&file, &keys_file, &key_file] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("set the mode");
        }
        let loaded = crate::config::load(&file).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        assert_eq!(loaded.warnings, []);
        let config = loaded.config;
        assert_eq!(config.users["north"].server_user, config.users["south"].server_user);
        assert_eq!(config.users["north"].pool.size, POOL);
        assert_eq!(config.users["support"].tenants, TenantsOf::All);
        assert_eq!(config.tenants.len(), 2);
        assert!(!text.contains("client password"), "a client's password is in the configuration");
    }
}
