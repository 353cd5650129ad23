//! `pgwarden audit reveal` and `tenant-key`: texts that a log keeps encrypted, and the keys for that.

use std::path::{Path, PathBuf};

use clap::Args;

use super::audit::{Done, announce};
use super::{Exit, fail, print};
use crate::audit::{self, raw};
use crate::record::quoted;

#[derive(Debug, Args)]
pub(super) struct TenantKeyArguments {
    /// The tenant, by its name in the configuration or the directory
    tenant: String,
    /// Directory of the keys: `raw_text_keys` of the configuration
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RevealArguments {
    /// Numbers of the records
    #[arg(required = true, value_name = "SEQ")]
    records: Vec<u64>,
    /// Directory of the log
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// Directory of the keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Read although the read cannot be recorded: nobody will know of it
    #[arg(long)]
    unrecorded: bool,
}

pub(super) fn tenant_key(arguments: &TenantKeyArguments) -> Exit {
    match raw::make_key(&arguments.keys, &arguments.tenant) {
        Ok((path, id)) => print(format!("{id} {}\n", path.display()).as_bytes()),
        Err(error) => {
            let path = raw::key_path(&arguments.keys, &arguments.tenant);
            fail(Exit::Failed, &format!("{}: {error}", path.display()))
        }
    }
}

/// Prints each text; goes on with the others where one cannot be shown.
pub(super) fn reveal(arguments: &RevealArguments) -> Done {
    if !arguments.unrecorded {
        let numbers: Vec<String> = arguments.records.iter().map(u64::to_string).collect();
        if let Err(done) = announce(&arguments.log, "reveal", &numbers.join(" ")) {
            return done;
        }
    }
    let origin = match audit::origin_of(&arguments.log) {
        Ok(origin) => origin,
        Err(error) => return fail(Exit::Failed, &format!("{}: {error}", arguments.log.display())).into(),
    };
    let mut exit = Exit::Done;
    for seq in &arguments.records {
        let printed = match text_of(&arguments.log, *seq, &origin, &arguments.keys) {
            Ok(text) => print(format!("{}\n", quoted(&text)).as_bytes()),
            Err(error) => fail(Exit::Failed, &format!("record {seq}: {error}")),
        };
        if printed != Exit::Done {
            exit = printed;
        }
    }
    exit.into()
}

fn text_of(log: &Path, seq: u64, origin: &str, keys: &Path) -> Result<String, String> {
    let line = audit::record_at(log, seq).map_err(|error| error.to_string())?;
    let record = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
    raw::reveal(&record, origin, keys).map_err(|error| error.to_string())
}
