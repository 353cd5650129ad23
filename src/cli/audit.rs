//! `pgwarden audit`: the keys of a log.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::reveal::{self, RevealArguments, TenantKeyArguments};
use super::{Exit, fail, print};
use crate::chain::SigningKey;

#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Make the key that signs a log's checkpoints
    ///
    /// Writes the secret key to a file that only its owner can read, and prints the public key: give that to whoever verifies.
    #[command(after_long_help = "Examples:\n  pgwarden audit keygen example.com/audit --out /etc/pgwarden/audit.key")]
    Keygen {
        /// The key's name, for example the log's: it has no blanks and no plus signs
        name: String,
        /// Where the secret key goes; nothing is overwritten
        #[arg(long, value_name = "FILE", default_value = "audit.key")]
        out: PathBuf,
    },
    /// Make the key under which a tenant's texts are kept
    ///
    /// A file for its owner alone, in the directory that the configuration calls `raw_text_keys`. Whoever runs the proxy must
    /// be able to read it. Prints its id and its path; nothing is overwritten.
    #[command(after_long_help = "Examples:\n  pgwarden audit tenant-key acme --keys /etc/pgwarden/tenant-keys")]
    TenantKey(TenantKeyArguments),
    /// Show texts that a log keeps encrypted
    ///
    /// One line for each: a JSON string. Exit 1 where one cannot be shown, such as when its tenant's key is gone.
    #[command(after_long_help = "Examples:\n  pgwarden audit reveal 4711 --log /var/lib/pgwarden/audit \
        --keys /etc/pgwarden/tenant-keys")]
    Reveal(RevealArguments),
}

/// Runs the command.
pub(super) fn run(arguments: AuditArguments) -> Exit {
    match arguments.command {
        AuditCommand::Keygen { name, out } => keygen(&name, &out).unwrap_or_else(|error| fail(Exit::Failed, &error)),
        AuditCommand::TenantKey(arguments) => reveal::tenant_key(&arguments),
        AuditCommand::Reveal(arguments) => reveal::reveal(&arguments),
    }
}

fn keygen(name: &str, out: &Path) -> Result<Exit, String> {
    let key = SigningKey::from_seed(name, rand::random()).map_err(|error| error.to_string())?;
    let at = |error: std::io::Error| format!("{}: {error}", out.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(at)?;
    let written = file.write_all(format!("{}\n", key.to_text().expose()).as_bytes());
    written.and_then(|()| file.sync_all()).map_err(at)?;
    Ok(print(format!("{}\n", key.public()).as_bytes()))
}
