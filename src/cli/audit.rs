//! `pgwarden audit`: the keys of a log, and whatever is done with its files.

mod cat;
mod export;
mod prove;
mod reveal;
mod stats;
mod verify;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{ConfigFile, Exit, cannot_start, fail, load, print};
use crate::audit::Announcement;
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
    TenantKey(reveal::TenantKeyArguments),
    /// Show a text that a log keeps encrypted
    ///
    /// As a JSON string. Exit 1 where it cannot be shown, such as when its tenant's key is gone. The read is recorded in the
    /// log, or there is none.
    #[command(after_long_help = "Examples:\n  pgwarden audit reveal 4711\n  pgwarden audit reveal 4711 \
        /var/lib/pgwarden/audit --keys /etc/pgwarden/tenant-keys")]
    Reveal(reveal::RevealArguments),
    /// Verify a log from its files and the public key alone
    ///
    /// Computes every hash and every root again and compares them with the signed checkpoints, in the log's directory and
    /// those kept elsewhere. Says what is wrong and where. Exit 0: whole; 6: not what was signed; 7: its end is missing; 8:
    /// whole, but it says itself that something is not in it; 9: files cannot be read. A log may be written meanwhile.
    #[command(after_long_help = "Examples:\n  pgwarden audit verify /var/lib/pgwarden/audit --key audit.pub\n  \
        pgwarden audit verify copy/ --key audit.pub --checkpoint /mnt/worm/checkpoints\n  \
        pgwarden audit verify --proof record-1234.tlog-proof --key audit.pub\n  \
        pgwarden audit verify --export harbor.jsonl --key audit.pub")]
    Verify(verify::VerifyArguments),
    /// Show records
    ///
    /// Of options of one kind one has to fit, of each kind. The outcome of a statement that is shown is shown too. What is
    /// shown is not verified: `verify` does that. The read is recorded in the log, or there is none.
    #[command(after_long_help = "Examples:\n  pgwarden audit cat --tenant harbor --follow\n  \
        pgwarden audit cat --verdict refuse --since 2026-11-30T08:00:00Z --json | jq .sqlstate")]
    Cat(cat::CatArguments),
    /// Prove that a record is in the log
    ///
    /// Prints a proof that leads from the record to a signed checkpoint, in the format of https://c2sp.org/tlog-proof, with
    /// the record itself as its extra data. Whoever has the public key can check it, with this program or another.
    #[command(after_long_help = "Examples:\n  pgwarden audit prove 1234 > record-1234.tlog-proof")]
    Prove(prove::ProveArguments),
    /// Write what the log has of one tenant, with a proof for each record
    ///
    /// Nothing of other tenants is in it but hashes.
    #[command(after_long_help = "Examples:\n  pgwarden audit export --tenant harbor --out harbor.jsonl")]
    Export(export::ExportArguments),
    /// Count what is in the log
    #[command(after_long_help = "Examples:\n  pgwarden audit stats\n  pgwarden audit stats --json | jq .tenants")]
    Stats(stats::StatsArguments),
}

/// Which log.
#[derive(Debug, Args)]
struct Log {
    /// The log's directory; without it, audit.directory of the configuration
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// Which log to show something of.
#[derive(Debug, Args)]
struct Shown {
    #[command(flatten)]
    log: Log,
    /// Read although the read cannot be recorded: nobody will know of it
    #[arg(long)]
    unrecorded: bool,
}

/// Runs the command.
pub(super) fn run(arguments: AuditArguments) -> Exit {
    let done = match arguments.command {
        AuditCommand::Keygen { name, out } => {
            keygen(&name, &out).unwrap_or_else(|error| fail(Exit::Failed, &error)).into()
        }
        AuditCommand::TenantKey(arguments) => reveal::tenant_key(&arguments).into(),
        AuditCommand::Reveal(arguments) => reveal::reveal(&arguments),
        AuditCommand::Verify(arguments) => verify::run(&arguments),
        AuditCommand::Cat(arguments) => cat::run(&arguments),
        AuditCommand::Prove(arguments) => prove::run(&arguments),
        AuditCommand::Export(arguments) => export::run(&arguments),
        AuditCommand::Stats(arguments) => stats::run(&arguments),
    };
    done.0
}

/// How a command ended, told already.
struct Done(Exit);

impl From<Exit> for Done {
    fn from(exit: Exit) -> Self {
        Self(exit)
    }
}

impl Log {
    fn directory(&self) -> Result<PathBuf, Done> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        let loaded = load(&self.config.path).map_err(|problems| Done(cannot_start(&problems)))?;
        loaded.config.audit.map(|audit| audit.directory.clone()).ok_or_else(|| {
            Done(fail(Exit::Config, "the configuration has no audit: name the log's directory, or write [audit]"))
        })
    }
}

impl Shown {
    /// The log's directory, the read having been recorded.
    fn open(&self, command: &str, arguments: &str) -> Result<PathBuf, Done> {
        let directory = self.log.directory()?;
        if !directory.is_dir() {
            return Err(Done(fail(Exit::Unreadable, &format!("{}: not a directory", directory.display()))));
        }
        if self.unrecorded {
            return Ok(directory);
        }
        match Announcement::new(command, arguments).leave(&directory) {
            Ok(()) => Ok(directory),
            Err(error) => Err(Done(fail(
                Exit::Unrecorded,
                &format!(
                    "{}: the read cannot be recorded, so nothing is read: {error}\n\
                     hint: run it as the account that owns the log; --unrecorded reads a copy that cannot be written",
                    directory.display()
                ),
            ))),
        }
    }
}

fn keygen(name: &str, out: &Path) -> Result<Exit, String> {
    let key = SigningKey::from_seed(name, rand::random()).map_err(|error| error.to_string())?;
    write_new(out, format!("{}\n", key.to_text().expose()).as_bytes())?;
    Ok(print(format!("{}\n", key.public()).as_bytes()))
}

/// A file for its owner alone that was not there.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at)
}

fn read_text(path: &Path) -> Result<String, Done> {
    fs::read_to_string(path).map_err(|error| Done(fail(Exit::Unreadable, &format!("{}: {error}", path.display()))))
}
